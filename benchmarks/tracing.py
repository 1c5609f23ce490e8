"""The trace index at 100 M tokens: how fast it is built, what it takes on disk, how long a question waits.

    python benchmarks/tracing.py          about two minutes on two cores, 2 GB of memory, 0.6 GB of disk, given back

The corpus is ../shared/data/text, cut by a tokenizer of 16,384 tokens that is learned from it and repeated until there
are 100 M.  Questions are whole traces (tokens, longest matches, counts, three places of each of ten quotations, with
their neighbourhood): a third are passages of the corpus, a third such passages with a changed token in every fifteen, a
third source code of the Python standard library, which is not in it.  Each has 20 to 200 tokens.
"""

import argparse
import json
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from record import SHARED, Figure, write_result

from glasshouse.batch import EncodedDocument, TokenShard, write_shard
from glasshouse.explain import TraceIndex, build_index, next_tokens, trace
from glasshouse.explain.suffix_array import why_slow
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

N_TOKENS = 100_000_000
VOCAB_SIZE = 16_384
N_QUESTIONS, N_WARM = 300, 60


def trace_figures(n_tokens: int = N_TOKENS) -> list[Figure]:
    texts = read_texts(SHARED / "text")
    if not texts:
        return [Figure(f"trace query, {n_tokens / 1e6:g} M tokens", None, "ms", "p50 <= 20, p99 <= 100", False)]
    tokenizer = train_tokenizer(texts, TokenizerConfig(vocab_size=VOCAB_SIZE, max_train_bytes=8_000_000))
    encoded = tokenizer.encode_batch(texts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.tokens"
        shard = write_shard(path, repeated(encoded, n_tokens), tokenizer)
        started_at = time.perf_counter()
        index = build_index([shard], Path(folder) / "trace")
        built_s = time.perf_counter() - started_at
        rate, n_bytes = shard.n_tokens / built_s / 1e6, index.n_bytes / shard.n_tokens
        answer_ms, next_ms = question_times(index, tokenizer, shard, texts)
    p50, p99 = statistics.median(answer_ms), statistics.quantiles(answer_ms, n=100)[-1]
    size = f"{shard.n_tokens / 1e6:.0f} M tokens"
    return [
        Figure(f"trace index: built, {size}", round(rate, 2), "M tok/s", ">= 2", rate >= 2),
        Figure("trace index: size, beside the tokens", round(n_bytes, 4), "bytes/token", "<= 8", n_bytes <= 8),
        Figure(f"trace query, {size}: p50", round(p50, 1), "ms", "<= 20", p50 <= 20),
        Figure(f"trace query, {size}: p99", round(p99, 1), "ms", "<= 100", p99 <= 100),
        Figure(f"next tokens by training text, {size}: p50", round(statistics.median(next_ms), 1), "ms"),
        Figure("trace index: peak memory of the benchmark", round(peak_bytes() / 1e9, 2), "GB"),
    ]


def read_texts(folder: Path) -> list[str]:
    """Text files whole; of JSON lines each text."""
    texts = [p.read_text(encoding="utf-8", errors="replace") for p in sorted(folder.rglob("*"))
             if p.suffix in (".txt", ".rst")]  # fmt: skip
    for path in sorted(folder.rglob("*.jsonl")):
        records = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        texts += [text for record in records for text in record.values() if isinstance(text, str) and len(text) > 200]
    return texts


def repeated(encoded: list[list[int]], n_tokens: int) -> Iterator[EncodedDocument]:
    n_done = 0
    for number, ids in enumerate(cycle(encoded)):
        if n_done >= n_tokens:
            return
        yield EncodedDocument(f"d{number}", ids, f"text-{number % len(encoded)}")
        n_done += len(ids) + 1


def question_times(
    index: TraceIndex, tokenizer: Tokenizer, shard: TokenShard, texts: list[str]
) -> tuple[list[float], list[float]]:
    """Milliseconds of each trace, and of each look at what follows the question's first eight tokens."""
    rng = random.Random(1)
    foreign = [
        p.read_text(encoding="utf-8", errors="replace") for p in sorted(Path(random.__file__).parent.glob("*.py"))
    ]
    answer_ms, next_ms = [], []
    for number in range(N_WARM + N_QUESTIONS):
        question = make_question(rng, number % 3, shard, texts, foreign, tokenizer)
        started_at = time.perf_counter()
        trace(index, tokenizer, question)
        answered_at = time.perf_counter()
        next_tokens(index, tokenizer, tokenizer.encode(question)[:8])
        if number >= N_WARM:
            answer_ms.append(1e3 * (answered_at - started_at))
            next_ms.append(1e3 * (time.perf_counter() - answered_at))
    return answer_ms, next_ms


def make_question(
    rng: random.Random, kind: int, shard: TokenShard, texts: list[str], foreign: list[str], tokenizer: Tokenizer
) -> str:
    n = rng.randint(20, 200)
    if kind == 2:
        text = rng.choice([text for text in foreign if len(text) > 2000])
        at = rng.randrange(len(text) - 1000)
        return tokenizer.decode(tokenizer.encode(text[at : at + 1000])[:n])
    at = rng.randrange(shard.n_tokens - n)
    ids = [id for id in shard.ids[at : at + n].tolist() if id != tokenizer.end_of_text_id]
    if kind == 1:
        ids = [rng.randrange(10, VOCAB_SIZE) if i % 15 == 14 else id for i, id in enumerate(ids)]
    return tokenizer.decode(ids)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=N_TOKENS, help="with another number nothing is written")
    arguments = parser.parse_args()
    if (slow := why_slow()) is not None:
        print(slow)
    figures = trace_figures(arguments.tokens)
    if arguments.tokens == N_TOKENS:
        write_result("trace", figures)
    for figure in figures:
        print(f"{figure.what}: {figure.value} {figure.unit}" + (f" (target {figure.target})" if figure.target else ""))


if __name__ == "__main__":
    main()
