"""The engine beside llama.cpp and transformers, the same random weights in all, in turns in one run.

    python benchmarks/engine.py                             about forty minutes on two cores, with nothing beside it
    python benchmarks/engine.py --only soak                 some figures; printed, and nothing written
    python benchmarks/engine.py --only soak --update        the same; their rows in the result are replaced

The model has SmolLM2-135M's shape.  Each rate is the better of a few tries in a fresh process; peers take turns, and a
figure is the median over rounds of the ratio within a round, so that a slow stretch of the machine hits both.
llama.cpp comes prebuilt from npm (node-llama-cpp), its files are written with the gguf package; both are fetched into a
temporary folder, or given with --llama.  Its 4-bit file keeps the embedding (which is the head) in 8 bits, as
llama.cpp's own quantizer does for this shape, and as ours does.
"""

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from record import ROOT, Figure, kept_figures, replace_figures, write_result
from serving import first_token_figures, output_rate, serving, soak_figures

from glasshouse.checkpoint import load_model, save_checkpoint
from glasshouse.core.environment import start_torch
from glasshouse.infer import Engine, SamplingConfig
from glasshouse.infer.native import best_runner
from glasshouse.infer.quantize import load_quantized, quantize
from glasshouse.model import ModelConfig, Transformer
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

SHAPE = ModelConfig(
    vocab_size=49152, d_model=576, n_layers=30, n_heads=9, n_kv_heads=3, d_head=64, d_ff=1536, max_seq_len=2048,
    norm_eps=1e-5, has_qk_norm=False,
)  # fmt: skip
LLAMA_KINDS = {"int8": ("Q8_0", "Q8_0"), "int4": ("Q4_0", "Q8_0")}  # layers, embedding
PACKAGES = ("node-llama-cpp", "@node-llama-cpp/linux-x64")
N_PROMPT, N_NEW = 128, 64
WORDS = ("decode", "prefill", "many", "transformers", "first", "soak", "schemathesis")  # of --only


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--llama", type=Path, help="a folder that has node_modules/node-llama-cpp and the gguf package")
    parser.add_argument("--only", nargs="*", choices=WORDS, help="some of the figures; nothing is written")
    parser.add_argument("--update", action="store_true", help="with --only: replace their rows in the result")
    parser.add_argument("--skip", nargs="*", default=[], choices=("soak", "schemathesis"),
                        help="long ones to leave out; their rows are written as not measured")  # fmt: skip
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure_here(arguments.measure[0], Path(arguments.measure[1]), arguments.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        figures = Comparison(Path(folder), arguments).figures()
    if arguments.update:
        write_result("engine", replace_figures(kept_figures("engine"), figures))
    elif arguments.only:
        print(*figures, sep="\n")
    else:
        write_result("engine", figures)


class Comparison:
    """One model in every format and the rounds over it."""

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.folder, self.rounds, self.threads = folder, arguments.rounds, arguments.threads
        self.only, self.skip = arguments.only, arguments.skip
        self.peers = arguments.llama or fetch_peers(folder / "peers")
        self.model = make_checkpoint(folder)

    def figures(self) -> list[Figure]:
        found = []
        if self.wants("decode", "prefill"):
            found += self.against_llama("int8", decode=1.2, prefill=2.0)
            found += self.against_llama("int4", decode=1.1, prefill=None)
        if self.wants("many"):
            found += self.many()
        for rows, least in ((1, 2.0), (8, 2.5)):
            if self.wants("transformers"):
                found.append(self.against_transformers(rows, least))
        if self.wants("first"):
            found += first_token_figures(self.model, "--weights", "int8")
        if self.wants("soak"):
            found += soak_figures() if "soak" not in self.skip else [not_measured("soak, 10,000 requests, 64 at once")]
        if self.wants("schemathesis"):
            what = "schemathesis on the OpenAPI document"
            found.append(schemathesis_figure(what) if "schemathesis" not in self.skip else not_measured(what))
        return found

    def wants(self, *words: str) -> bool:
        return not self.only or any(word in self.only for word in words)

    def against_llama(self, weights: str, decode: float, prefill: float | None) -> list[Figure]:
        quantize(self.model, weights)  # type: ignore[arg-type]
        file = self.llama_file(weights)
        pairs = [(self.ours(weights), self.llama(file, "one")) for _ in range(self.rounds)]
        name = LLAMA_KINDS[weights][0]
        n_bytes = (self.model / "glasshouse" / "quantized" / f"{weights}.safetensors").stat().st_size
        speed = statistics.median(ours["decode"] for ours, _ in pairs)
        return [
            ratio_figure(f"decode, batch 1, {weights}, against llama.cpp {name}", pairs, "decode", decode),
            ratio_figure(f"prefill of 128 tokens, {weights}, against llama.cpp {name}", pairs, "prefill", prefill),
            Figure(f"weights read while decoding, {weights}", round(speed * n_bytes / 1e9, 1), "GB/s"),
        ]

    def many(self) -> list[Figure]:
        """Through HTTP, and in process as llama.cpp is on its side: it pays for no HTTP, which is in its favour."""
        quantize(self.model, "int8")
        file = self.llama_file("int8")
        rounds = [
            (self.ours("many"), self.http_rate(), self.llama(file, "many")) for _ in range(max(1, self.rounds // 2))
        ]
        what = "32 concurrent requests, 128 in / 128 out, int8"
        return [
            ratio_figure(f"{what}, through HTTP, against llama.cpp in process", [r[1:] for r in rounds], "output", 3.0),
            ratio_figure(f"{what}, both in process", [(r[0], r[2]) for r in rounds], "output", None),
        ]

    def http_rate(self) -> dict[str, float]:
        with serving(self.model, "--weights", "int8") as (port, _):
            prompts: list[str | list[int]] = [prompt(row, N_PROMPT) for row in range(32)]
            rate = asyncio.run(output_rate(port, self.model.name, prompts, 128))
        print(f"  http many {rate:.0f}", flush=True)
        return {"output": rate}

    def against_transformers(self, rows: int, least: float) -> Figure:
        pairs = [(self.ours(f"fp32-{rows}"), self.ours(f"transformers-{rows}")) for _ in range(self.rounds)]
        return ratio_figure(f"batch {rows}, fp32, against transformers generate", pairs, "output", least)

    def ours(self, what: str) -> dict[str, float]:
        """In a process of its own, as llama.cpp has one."""
        command = [sys.executable, __file__, "--threads", str(self.threads), "--measure", what, str(self.model)]
        return last_json(command, {**os.environ, "OMP_NUM_THREADS": str(self.threads)})

    def llama(self, file: Path, kind: str) -> dict[str, float]:
        module = self.peers / "node_modules" / "node-llama-cpp" / "dist" / "index.js"
        command = ["node", str(Path(__file__).with_name("llama_peer.mjs")), str(file), str(self.threads), kind]
        return last_json(command, {**os.environ, "LLAMA_MODULE": str(module)})

    def llama_file(self, weights: str) -> Path:
        path = self.folder / f"{weights}.gguf"
        if not path.exists():
            write_gguf(self.model, path, *LLAMA_KINDS[weights], self.peers)
        return path


def not_measured(what: str) -> Figure:
    return Figure(what, None, "", "no failure", False)


def schemathesis_figure(what: str) -> Figure:
    """Every case that schemathesis makes of the OpenAPI document, against a real server."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", "tests/serve/test_openapi.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    is_whole = done.returncode == 0
    return Figure(
        what, "no failure" if is_whole else done.stdout[-300:] or done.stderr[-300:], "", "no failure", is_whole
    )


def ratio_figure(what: str, pairs: list[tuple[dict[str, float], dict[str, float]]], key: str,
                 least: float | None) -> Figure:  # fmt: skip
    """Median ratio of the rounds; values are "ratio (ours)", and the peer's median."""
    ratio = statistics.median(ours[key] / peer[key] for ours, peer in pairs)
    mine, theirs = (statistics.median(pair[side][key] for pair in pairs) for side in (0, 1))
    target = None if least is None else f">= {least:g}x"
    is_met = None if least is None else ratio >= least
    return Figure(what, f"{ratio:.2f}x ({mine:.0f})", "tok/s", target, is_met, round(theirs, 1))


# ---- the model ------------------------------------------------------------------------------------------------------


def make_checkpoint(folder: Path) -> Path:
    """Random weights, and a tokenizer of as many tokens: all bytes, then pairs of bytes."""
    start_torch()
    small = train_tokenizer(["glass house"], TokenizerConfig(vocab_size=300))
    small.save(folder / "tokenizer")
    path = folder / "tokenizer" / "tokenizer.json"
    record = json.loads(path.read_text())
    vocab, merges = record["model"]["vocab"], record["model"]["merges"]
    single = [token for token in vocab if len(token) == 1]
    for a, b in itertools.product(single, single):
        if len(vocab) == SHAPE.vocab_size:
            break
        merges.append([a, b])
        vocab[a + b] = len(vocab)
    path.write_text(json.dumps(record))
    tokenizer = Tokenizer.load(path.parent)
    return save_checkpoint(folder / "model", Transformer(SHAPE, seed=0), tokenizer, recipe={}, cost=None, provenance={})


def write_gguf(model: Path, path: Path, layers: str, embedding: str, packages: Path) -> None:
    """The checkpoint as llama.cpp reads it.  Its RoPE turns neighbours, so rows of q and k are in another order."""
    sys.path.insert(0, str(packages))
    import gguf

    transformer, _ = load_model(model)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(SHAPE.max_seq_len)
    writer.add_embedding_length(SHAPE.d_model)
    writer.add_block_count(SHAPE.n_layers)
    writer.add_feed_forward_length(SHAPE.d_ff)
    writer.add_head_count(SHAPE.n_heads)
    writer.add_head_count_kv(SHAPE.n_kv_heads)
    writer.add_layer_norm_rms_eps(SHAPE.norm_eps)
    writer.add_rope_freq_base(SHAPE.rope_theta)
    writer.add_rope_dimension_count(SHAPE.d_head)
    writer.add_vocab_size(SHAPE.vocab_size)
    n_plain = SHAPE.vocab_size - 259
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *map(str, range(n_plain))])
    writer.add_token_scores([0.0] * SHAPE.vocab_size)
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * n_plain])  # unknown, control, byte, normal
    for name, parameter in transformer.named_parameters():
        tensor = parameter.detach()
        if "q_proj" in name or "k_proj" in name:
            tensor = tensor.unflatten(0, (-1, 2, SHAPE.d_head // 2)).transpose(1, 2).flatten(0, 2).contiguous()
        kind = "F32" if tensor.ndim == 1 else embedding if "embed" in name else layers
        kind = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(gguf_name(name), gguf.quants.quantize(tensor.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


GGUF_NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "q_proj": "attn_q", "k_proj": "attn_k",
    "v_proj": "attn_v", "o_proj": "attn_output", "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
}  # fmt: skip


def gguf_name(name: str) -> str:
    """`gguf_name("model.layers.3.mlp.up_proj.weight")` -> `blk.3.ffn_up.weight`."""
    parts = name.split(".")
    if parts[1] == "layers":
        return f"blk.{parts[2]}.{GGUF_NAMES[parts[-2]]}.weight"
    return {"embed_tokens": "token_embd", "norm": "output_norm"}[parts[1]] + ".weight"


def fetch_peers(folder: Path) -> Path:
    folder.mkdir(parents=True)
    subprocess.run(["npm", "install", "--omit=optional", *PACKAGES], cwd=folder, check=True, capture_output=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), "gguf"], check=True
    )
    return folder


# ---- one measurement, in a process of its own -----------------------------------------------------------------------


def measure_here(what: str, folder: Path, threads: int) -> None:
    start_torch()
    torch.set_num_threads(threads)
    kind, _, rows = what.partition("-")
    if kind == "transformers":
        result = transformers_rate(folder, int(rows))
    elif kind == "fp32":
        result = engine_rate(make_engine(folder, "fp32"), int(rows), 16, N_NEW)
    elif kind == "many":
        result = engine_rate(make_engine(folder, "int8"), 32, N_PROMPT, 128, n_tries=1)
    else:
        result = engine_alone(make_engine(folder, kind))
    print(json.dumps(result))


def make_engine(folder: Path, weights: Any) -> Engine:
    model, tokenizer = load_model(folder, checks_hashes=False)
    quantized = load_quantized(folder, weights) if weights != "fp32" else None
    runner = best_runner(model, n_blocks=32 * 20, weights=weights, quantized=quantized)
    return Engine(model, tokenizer, runner=runner)


def prompt(seed: int, length: int) -> list[int]:
    return torch.randint(300, 48000, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def engine_alone(engine: Engine) -> dict[str, float]:
    """Prefill: until the first token is there; decode: from then on.  Every try has a prompt never seen before."""
    best = {"prefill": 0.0, "decode": 0.0}
    for seed in range(3):
        times = [time.perf_counter()]
        sequence = engine.add(prompt(seed, N_PROMPT), SamplingConfig(max_tokens=N_NEW + 1, ignores_end=True))
        while sequence.finish_reason is None:
            n_tokens = len(engine.step())
            times += [time.perf_counter()] * n_tokens
        best["prefill"] = max(best["prefill"], N_PROMPT / (times[1] - times[0]))
        best["decode"] = max(best["decode"], N_NEW / (times[-1] - times[1]))
    return best


def engine_rate(engine: Engine, rows: int, n_prompt: int, n_new: int, n_tries: int = 3) -> dict[str, float]:
    best = 0.0
    for attempt in range(n_tries):
        prompts = [prompt(1000 * attempt + row, n_prompt) for row in range(rows)]
        start = time.perf_counter()
        engine.generate(prompts, SamplingConfig(max_tokens=n_new, ignores_end=True))
        best = max(best, rows * n_new / (time.perf_counter() - start))
    return {"output": best}


def transformers_rate(folder: Path, rows: int, n_tries: int = 3) -> dict[str, float]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    best = 0.0
    for attempt in range(n_tries):
        ids = torch.tensor([prompt(1000 * attempt + row, 16) for row in range(rows)])
        start = time.perf_counter()
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=N_NEW, min_new_tokens=N_NEW,
                       do_sample=False, pad_token_id=0)  # fmt: skip
        best = max(best, rows * N_NEW / (time.perf_counter() - start))
    return {"output": best}


def last_json(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    rates: dict[str, float] = json.loads(lines[-1])
    print(f"  {command[-2]} {command[-1] if command[0] == 'node' else ''} {rates}", flush=True)
    return rates


if __name__ == "__main__":
    main()
