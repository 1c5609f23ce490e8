"""The server under load: a soak of 10,000 requests with clients of every sort, and the time to the first token.

    python benchmarks/serving.py                    about ten minutes; prints its figures
    python benchmarks/serving.py --requests 500     a short soak

`benchmarks/engine.py` calls `soak_figures`, `first_token_figures` and `output_rate`; the last works against any server
that speaks the API.  Clients here are bare sockets in one thread: a client library would cost more than the server.
"""

import argparse
import asyncio
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from record import Figure

HOST = "127.0.0.1"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
WORDS = ("import", "os", "json", "self", "def", "class", "return", "for", "in", "range", "if", "not", "None", "open")
GLASS = (sys.executable, "-m", "glasshouse.cli.main")  # as the command `glass` begins, with its signals and its exits


# A server and what is asked of it


@contextmanager
def serving(checkpoint: Path, *options: str) -> Iterator[tuple[int, psutil.Process]]:
    """(port, process) of `glass serve` on a checkpoint, by the command itself."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    command = [*GLASS, "serve", str(checkpoint), "--port", str(port), *options]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until_ready(port, process)
            yield port, psutil.Process(process.pid)
        except BaseException:
            log.seek(0)
            print(log.read()[-3000:].decode("utf-8", "replace"), file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait(60)


def wait_until_ready(port: int, process: "subprocess.Popen[bytes]", seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/ready", timeout=2)
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the server did not start")


def tiny_checkpoint(folder: Path) -> Path:
    """A random model small enough that the server, not the model, is what is measured."""
    import shutil as source

    import torch

    from glasshouse.checkpoint import save_checkpoint
    from glasshouse.model import ModelConfig, Transformer
    from glasshouse.tokenizer import TokenizerConfig, train_tokenizer

    text = Path(source.__file__).read_text(encoding="utf-8")
    tokenizer = train_tokenizer([text], TokenizerConfig(vocab_size=400))
    shape = ModelConfig(vocab_size=tokenizer.vocab_size, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, d_head=16,
                        d_ff=64, max_seq_len=256)  # fmt: skip
    model = Transformer(shape, seed=5)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(4)  # at initial size every answer would repeat one token
    return save_checkpoint(folder / "tiny", model, tokenizer, recipe={}, cost=None, provenance={})


@dataclass
class Reply:
    """What came back; times in seconds from the moment of sending."""

    status: int = 0
    data: bytes = b""
    first_event_s: float | None = None
    whole_s: float = 0.0

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def events(self) -> list[Any]:
        lines = [line[6:] for line in self.data.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(line) for line in lines if line != b"[DONE]"]

    @property
    def is_done(self) -> bool:
        return self.data.endswith(b"data: [DONE]\n\n")

    def text(self) -> str:
        """What was said, streamed or not, of the first choice."""
        parts = [event["choices"][0] for event in (self.events or [self.json]) if event["choices"]]
        said = [part.get("delta") or part.get("message") or {"content": part.get("text")} for part in parts]
        return "".join(piece.get("content") or "" for piece in said)


async def post(port: int, path: str, body: bytes, *, leaves_after: int | None = None) -> Reply:
    """One request on one connection.  `leaves_after`: close after so many bytes of the answer (0: before any)."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        started_at, reply = time.perf_counter(), Reply()
        if leaves_after == 0:
            await writer.drain()
            return reply
        answer_head = await reader.readuntil(b"\r\n\r\n")
        reply.status = int(answer_head.split(b" ", 2)[1])
        is_chunked = b"transfer-encoding: chunked" in answer_head.lower()
        while piece := await (_chunk(reader) if is_chunked else reader.read(65536)):
            reply.first_event_s = reply.first_event_s or time.perf_counter() - started_at
            reply.data += piece
            if leaves_after is not None and len(reply.data) >= leaves_after:
                break
        reply.whole_s = time.perf_counter() - started_at
        return reply
    finally:
        writer.close()


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await reader.readline(), 16)
    data = await reader.readexactly(size)
    await reader.readexactly(2)
    return data


def chat_body(text: str, **options: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], "temperature": 0, **options}


# The soak

MESSAGE = b'"messages": [{"role": "user", "content": "x"}]'
BAD_BODIES = (
    b"", b"{", b"[]", b"\xff\xfe", b'{"model": "tiny"}', b'{"model": "other", ' + MESSAGE + b"}",
    json.dumps(chat_body("x", temperature=-1)).encode(), json.dumps(chat_body("x", n=0)).encode(),
    json.dumps(chat_body("word " * 3000)).encode(), json.dumps(chat_body("x", max_tokens="many")).encode(),
    json.dumps(chat_body("x", response_format={"type": "regex", "pattern": "("})).encode(), b"x" * 5_000_000,
)  # fmt: skip


@dataclass
class Soak:
    """What a soak saw."""

    counts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    rss_bytes: list[int] = field(default_factory=list)
    seconds: float = 0.0


def good_requests(n: int, seed: int) -> list[dict[str, Any]]:
    """Requests of many lengths; half begin alike, so that prefixes are shared; all have one right answer."""
    rng = random.Random(seed)
    requests = []
    for number in range(n):
        words = " ".join(rng.choices(WORDS, k=rng.randint(1, 60)))
        text = ("You are a helpful assistant who answers in few words. " if number % 2 else "") + words
        sampling = {"temperature": 0} if number % 3 else {"temperature": 1.0, "seed": number}
        requests.append({**chat_body(text), **sampling, "max_tokens": rng.randint(1, 40)})
    return requests


async def soak(port: int, process: psutil.Process, n_requests: int, n_concurrent: int, seed: int = 1) -> Soak:
    """`n_requests` by `n_concurrent` clients: good ones, bad bodies, and clients who leave early or at once."""
    result, rng = Soak(), random.Random(seed)
    requests = good_requests(60, seed)
    expected = [(await post(port, CHAT, json.dumps(body).encode())).text() for body in requests]
    numbers, started_at = iter(range(n_requests)), time.perf_counter()

    async def client() -> None:
        for number in numbers:
            if number % max(n_requests // 50, 1) == 0:
                result.rss_bytes.append(process.memory_info().rss)
            which, kind = rng.randrange(len(requests)), rng.random()
            body = requests[which]
            if kind < 0.10:
                result.counts["bad body"] += 1
                _note_refusal(result, await post(port, CHAT, rng.choice(BAD_BODIES)))
            elif kind < 0.25:
                result.counts["left early"] += 1
                stream = json.dumps({**body, "stream": True, "max_tokens": 200}).encode()
                await post(port, CHAT, stream, leaves_after=rng.choice([0, 1, 200, 1500]))
            elif kind < 0.30:
                result.counts["left unanswered"] += 1
                await post(port, CHAT, json.dumps({**body, "max_tokens": 200}).encode(), leaves_after=0)
            else:
                is_streamed = kind < 0.65
                result.counts["good, streamed" if is_streamed else "good"] += 1
                reply = await post(port, CHAT, json.dumps({**body, "stream": is_streamed}).encode())
                _note_answer(result, reply, expected[which], is_streamed=is_streamed)

    await asyncio.gather(*(client() for _ in range(n_concurrent)))
    result.seconds = time.perf_counter() - started_at
    return result


def _note_refusal(result: Soak, reply: Reply) -> None:
    result.statuses[reply.status] += 1
    if not 400 <= reply.status < 500 or set(reply.json) != {"error"}:
        result.wrong.append(f"a bad body was answered {reply.status}: {reply.data[:200]!r}")


def _note_answer(result: Soak, reply: Reply, expected: str, *, is_streamed: bool) -> None:
    result.statuses[reply.status] += 1
    if reply.status == 429:  # the queue was full, and said so
        return
    if reply.status != 200 or (is_streamed and not reply.is_done) or reply.text() != expected:
        result.wrong.append(f"{reply.status}: {reply.data[-300:]!r}, expected {expected!r}")


def metrics(port: int) -> dict[str, float]:
    text = urllib.request.urlopen(f"http://{HOST}:{port}/metrics").read().decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name.split("{")[0]: float(value) for name, value in lines}


def soak_figures(n_requests: int = 10_000, n_concurrent: int = 64) -> list[Figure]:
    """What must be nought, and whether memory stays flat (after the first fifth: caches and threads come first)."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(tiny_checkpoint(Path(folder)), "--memory-gib", "1") as (port, process),
    ):
        result = asyncio.run(soak(port, process, n_requests, n_concurrent))
        n_left = _n_left(port)
    n_failed = sum(n for status, n in result.statuses.items() if status >= 500)
    early, late = (statistics.median(part) / 2**20 for part in (result.rss_bytes[10:20], result.rss_bytes[-10:]))
    for line in result.wrong[:5]:
        print("wrong:", line)
    what = f"soak, {n_requests:,} requests, {n_concurrent} at once"
    is_flat = late < 1.05 * early + 8
    return [
        Figure(f"{what}: wrong answers", len(result.wrong), "", "0", not result.wrong),
        Figure(f"{what}: answers 5xx", n_failed, "", "0", n_failed == 0),
        Figure(f"{what}: sequences and blocks left", n_left, "", "0", n_left == 0),
        Figure(f"{what}: memory after a fifth, at the end", [round(early), round(late)], "MiB", "flat", is_flat),
        Figure(f"{what}: clients", dict(sorted(result.counts.items())), ""),
        Figure(f"{what}: statuses", {str(status): n for status, n in sorted(result.statuses.items())}, ""),
        Figure(f"{what}: rate", round(n_requests / result.seconds), "requests/s"),
    ]


def _n_left(port: int, seconds: float = 10) -> int:
    """Sequences that still run or wait, and blocks they hold, once every client has gone."""
    names = ("glasshouse_running", "glasshouse_waiting", "glasshouse_kv_blocks_used")
    end = time.monotonic() + seconds
    while (n_left := int(sum(metrics(port)[name] for name in names))) and time.monotonic() < end:
        time.sleep(0.1)
    return n_left


# Time to the first token, and tokens a second


async def first_token_times(port: int, model: str, n_concurrent: int, n_rounds: int) -> list[float]:
    """Seconds to the first token of short requests, `n_concurrent` of them always under way."""
    times: list[float] = []

    async def client(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(n_rounds):
            text = " ".join(rng.choices(WORDS, k=12))
            body = chat_body(text, model=model, max_tokens=16, stream=True, ignore_eos=True)
            reply = await post(port, CHAT, json.dumps(body).encode())
            times.append(reply.first_event_s or float("inf"))

    await asyncio.gather(*(client(seed) for seed in range(n_concurrent)))
    return times


def first_token_figures(checkpoint: Path, *options: str, n_concurrent: int = 16, n_rounds: int = 20) -> list[Figure]:
    with serving(checkpoint, *options) as (port, _):
        asyncio.run(first_token_times(port, checkpoint.name, n_concurrent, 2))  # warm
        times = sorted(asyncio.run(first_token_times(port, checkpoint.name, n_concurrent, n_rounds)))
    median, p99 = statistics.median(times), times[min(len(times) - 1, int(0.99 * len(times)))]
    what = f"time to first token, {n_concurrent} concurrent short requests"
    return [
        Figure(f"{what}: median", round(1000 * median, 1), "ms"),
        Figure(f"{what}: p99 / median", round(p99 / median, 2), "ratio", "<= 3", p99 <= 3 * median),
    ]


async def output_rate(
    port: int, model: str, prompts: Sequence[str | list[int]], n_output: int, *, path: str = TEXT, **options: Any
) -> float:
    """Tokens generated a second, all prompts sent at once, by what the server says it generated."""

    async def one(prompt: str | list[int]) -> int:
        body = {"model": model, "prompt": prompt, "max_tokens": n_output, "temperature": 0, "stream": True,
                "stream_options": {"include_usage": True}, "ignore_eos": True, **options}  # fmt: skip
        reply = await post(port, path, json.dumps(body).encode())
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {reply.data[:500]!r}")
        return int(reply.events[-1]["usage"]["completion_tokens"])

    started_at = time.perf_counter()
    counts = await asyncio.gather(*map(one, prompts))
    return sum(counts) / (time.perf_counter() - started_at)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    arguments = parser.parse_args()
    figures = soak_figures(arguments.requests)
    with tempfile.TemporaryDirectory() as folder:
        figures += first_token_figures(tiny_checkpoint(Path(folder)))
    for figure in figures:
        print(figure.is_met, figure.what, figure.value, figure.unit)


if __name__ == "__main__":
    main()
