"""The native runner against the torch model: the same logits, whatever is beside a row and wherever its pages lie."""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.infer.native import NativeRunner, best_runner, why_unavailable
from glasshouse.infer.native.packing import pack
from glasshouse.infer.quantize import (
    QuantizedMatrix,
    integer_linear,
    quantize_matrix,
    quantize_tensors,
    quantized_transformer,
)
from glasshouse.infer.runner import StepBatch, TorchRunner
from glasshouse.model import ModelConfig, Transformer
from glasshouse.model.config import RopeScaling

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

QWEN = ModelConfig(vocab_size=515, d_model=160, n_layers=3, n_heads=4, n_kv_heads=2, d_head=40, d_ff=480,
                   max_seq_len=128)  # fmt: skip
LLAMA = ModelConfig(vocab_size=130, d_model=102, n_layers=2, n_heads=6, n_kv_heads=2, d_head=16, d_ff=90,
                    max_seq_len=128, has_qk_norm=False, ties_embeddings=False, norm_eps=1e-5,
                    rope_scaling=RopeScaling(factor=8.0, original_max_seq_len=32))  # fmt: skip
ALONE = ModelConfig(vocab_size=64, d_model=64, n_layers=1, n_heads=3, n_kv_heads=3, d_head=64, d_ff=64,
                    max_seq_len=128)  # fmt: skip
WEIGHTS = ("fp32", "bf16", "int8", "int4")


def random_model(config: ModelConfig) -> Transformer:
    """Weights large enough that no part is without effect."""
    model = Transformer(config, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(4)
            else:
                weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return model


def random_ids(n: int, config: ModelConfig, seed: int = 0) -> list[int]:
    return torch.randint(0, config.vocab_size, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def step(pieces: Sequence[tuple[Sequence[int], int, Sequence[int]]]) -> StepBatch:
    """A step of (new ids, position of the first, block table) a sequence, all logits wanted."""
    widest = max(len(blocks) for _, _, blocks in pieces)
    return StepBatch(
        ids_T=torch.tensor([id for ids, _, _ in pieces for id in ids]),
        position_T=torch.cat([torch.arange(start, start + len(ids)) for ids, start, _ in pieces]),
        sequence_T=torch.cat([torch.full((len(ids),), r) for r, (ids, _, _) in enumerate(pieces)]),
        block_table_RP=torch.tensor([[*b, *[0] * (widest - len(b))] for _, _, b in pieces], dtype=torch.int32),
        length_R=torch.tensor([start + len(ids) for ids, start, _ in pieces]),
        logit_rows=torch.arange(sum(len(ids) for ids, _, _ in pieces)),
    )


def whole(runner: NativeRunner, ids: Sequence[int], blocks: Sequence[int]) -> Tensor:
    return runner.run(step([(ids, 0, blocks)]))


@pytest.mark.parametrize("config", [QWEN, LLAMA, ALONE], ids=["qwen", "llama", "one-layer"])
def test_fp32_equals_the_torch_model(config: ModelConfig) -> None:
    model, ids = random_model(config), random_ids(77, config)
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0]
    logits = whole(NativeRunner.of_model(model, n_blocks=9), ids, [7, 2, 5, 0, 3])
    assert expected.std() > 0.3
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_bf16_equals_the_model_with_rounded_weights() -> None:
    model, ids = random_model(QWEN), random_ids(40, QWEN)
    logits = whole(NativeRunner.of_model(model, n_blocks=3, weights="bf16"), ids, [2, 1, 0])
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.copy_(weight.bfloat16())
        torch.testing.assert_close(logits, model(torch.tensor([ids]))[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("config", [QWEN, LLAMA], ids=["qwen", "llama"])
def test_integers_equal_the_same_arithmetic_in_torch(config: ModelConfig, weights: str) -> None:
    model, ids = random_model(config), random_ids(50, config)
    tensors = quantize_tensors([(n, p.detach()) for n, p in model.named_parameters()], weights)  # type: ignore[arg-type]
    logits = whole(NativeRunner(config, tensors, n_blocks=4), ids, [3, 2, 1, 0])
    with torch.no_grad():
        hidden_TD = quantized_transformer(config, tensors).hidden(torch.tensor([ids]))[0]
        head = tensors["model.embed_tokens.weight" if config.ties_embeddings else "lm_head.weight"]
        assert isinstance(head, QuantizedMatrix)
        expected = integer_linear(hidden_TD, head)
        plain = model(torch.tensor([ids]))[0]
    # A value within rounding of the middle between two codes may fall to either side, and all that follows with it:
    # most rows agree to float rounding, and no row strays as far as rounding the weights does.
    error_T = (logits - expected).abs().amax(1)
    assert error_T.median() < 1e-4
    assert (logits - expected).norm() < 0.5 * (plain - expected).norm()
    assert 0 < (plain - expected).norm() / plain.norm() < (0.3 if weights == "int8" else 1.0)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_row_does_not_depend_on_what_is_beside_it(weights: str) -> None:
    """To the last bit: alone or among others, whole or in chunks, in any blocks, whatever the number of threads."""
    model = random_model(QWEN)
    prompts = [random_ids(n, QWEN, seed=n) for n in (37, 5, 64, 1, 18)]
    tables = [[11, 3, 7], [2], [9, 0, 4, 1], [5], [8, 6]]
    alone = NativeRunner.of_model(model, n_blocks=4, weights=weights)  # type: ignore[arg-type]
    expected = [whole(alone, ids, range(4)) for ids in prompts]
    together = NativeRunner.of_model(model, n_blocks=12, weights=weights)  # type: ignore[arg-type]
    whole_step = step([(ids, 0, table) for ids, table in zip(prompts, tables)])
    assert torch.equal(together.run(whole_step), torch.cat(expected))
    chunked = NativeRunner.of_model(model, n_blocks=6, block_size=32, weights=weights)  # type: ignore[arg-type]
    cuts = [0, 1, 6, 7, 31, 33, 64]
    pieces = [chunked.run(step([(prompts[2][a:b], a, [4, 1])])) for a, b in pairwise(cuts)]
    assert torch.equal(torch.cat(pieces), expected[2])
    torch.set_num_threads(3)
    assert torch.equal(together.run(whole_step), torch.cat(expected))
    torch.set_num_threads(1)


def test_decoding_beside_prefill_equals_each_alone() -> None:
    runner = NativeRunner.of_model(random_model(LLAMA), n_blocks=8, weights="int8")
    long, short = random_ids(60, LLAMA), random_ids(20, LLAMA, seed=9)
    expected = whole(runner, long, [0, 1, 2, 3])[-1], whole(runner, short, [4, 5])
    runner.run(step([(long[:59], 0, [3, 1, 6, 2])]))
    mixed = runner.run(step([(short, 0, [7, 0]), (long[59:], 59, [3, 1, 6, 2])]))
    assert torch.equal(mixed[:20], expected[1])
    assert torch.equal(mixed[20], expected[0])


def test_blocks_can_be_shared_within_one_step_and_copied() -> None:
    """One sequence may read a block that another fills in the same step."""
    runner = NativeRunner.of_model(random_model(QWEN), n_blocks=8)
    shared, ends = random_ids(16, QWEN), [random_ids(9, QWEN, seed=s) for s in (1, 2)]
    expected = [whole(runner, shared + end, [6, 7])[16:] for end in ends]
    logits = runner.run(step([(shared + ends[0], 0, [0, 1]), (ends[1], 16, [0, 2])]))
    assert torch.equal(logits[16:], torch.cat(expected))
    runner.copy_block(0, 5)
    assert torch.equal(runner.run(step([(ends[1], 16, [5, 4])])), expected[1])


def test_greedy_tokens_equal_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = random_model(LLAMA)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{
        k: v for k, v in LLAMA.to_hf().items() if k not in ("architectures", "model_type")
    })).eval()  # fmt: skip
    theirs.load_state_dict(model.state_dict())
    prompt = random_ids(12, LLAMA)
    expected = theirs.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, 12, dtype=torch.long), max_new_tokens=40,
        min_new_tokens=40, do_sample=False, eos_token_id=None, pad_token_id=0,
    )[0].tolist()  # fmt: skip
    runner, ids = NativeRunner.of_model(model, n_blocks=4), list(prompt)
    logits = whole(runner, ids, [1, 3, 0, 2])
    while len(ids) < 52:
        ids.append(int(logits[-1].argmax()))
        logits = runner.run(step([(ids[-1:], len(ids) - 1, [1, 3, 0, 2])]))
    assert ids == expected


@pytest.mark.parametrize("bits", [8, 4])
def test_packing_loses_nothing(bits: int) -> None:
    """One-hot inputs read a packed matrix back through the embedding and through the torch arithmetic."""
    weight_NK = torch.randn(70, 100, generator=torch.Generator().manual_seed(0))
    matrix = quantize_matrix(weight_NK, bits)
    packed = pack(matrix)
    lanes = packed.data if bits == 8 else torch.cat((packed.data & 15, packed.data >> 4), dim=2)
    code_NK = (lanes.short() - (128 if bits == 8 else 8)).transpose(1, 2).flatten(2).flatten(0, 1)
    assert torch.equal(code_NK[:70], matrix.code_NK.short())
    torch.testing.assert_close(integer_linear(torch.eye(100), matrix).T, matrix.dequantize())


def test_broken_weights_show_as_nan_in_their_own_row_only() -> None:
    """Rounding to integers must not hide them."""
    model = random_model(QWEN)
    with torch.no_grad():
        model.model.embed_tokens.weight[7, 3] = torch.nan
    tensors = {n: p.detach() for n, p in model.named_parameters()}
    runner = NativeRunner(QWEN, tensors, n_blocks=2)
    logits = runner.run(step([([7, 1], 0, [0]), ([1, 2], 0, [1])]))
    assert logits[0].isnan().any()
    assert logits[2:, :7].isfinite().all()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ids_T", torch.tensor([1, 515]), "ids_T"),
        ("ids_T", torch.tensor([1, -1]), "ids_T"),
        ("ids_T", torch.tensor([1, 2], dtype=torch.int32), "ids_T"),
        ("ids_T", torch.tensor([1, 2, 3]), "a step needs"),
        ("position_T", torch.tensor([0, 2]), "position_T"),  # at or beyond the sequence's length
        ("position_T", torch.tensor([-1, 0]), "position_T"),
        ("sequence_T", torch.tensor([0, 1]), "sequence_T"),
        ("length_R", torch.tensor([17]), "length_R"),  # more than its blocks hold
        ("length_R", torch.tensor([2, 2]), "a step needs"),
        ("block_table_RP", torch.tensor([[4]], dtype=torch.int32), "block_table_RP"),
        ("block_table_RP", torch.tensor([[-1]], dtype=torch.int32), "block_table_RP"),
        ("block_table_RP", torch.tensor([[0]]), "block_table_RP"),
        ("logit_rows", torch.tensor([2]), "logit_rows"),
    ],
)
def test_what_would_read_or_write_elsewhere_is_refused(name: str, value: Tensor, message: str) -> None:
    runner = NativeRunner.of_model(random_model(QWEN), n_blocks=4)
    good = step([([1, 2], 0, [3])])
    assert runner.run(good).isfinite().all()
    with pytest.raises(ConfigError, match=message):
        runner.run(dataclasses.replace(good, **{name: value}))


def test_settings_that_cannot_work_are_refused() -> None:
    model = random_model(ALONE)
    with pytest.raises(ConfigError, match="multiple of 16"):
        NativeRunner.of_model(model, n_blocks=4, block_size=24)
    with pytest.raises(ConfigError, match="n_blocks"):
        NativeRunner.of_model(model, n_blocks=0)
    with pytest.raises(ConfigError, match="fp16"):
        NativeRunner.of_model(model, n_blocks=4, weights="fp16")  # type: ignore[arg-type]


def test_without_a_compiler_torch_computes_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, batch = random_model(LLAMA), step([(random_ids(20, LLAMA), 0, [1, 0])])
    for weights in WEIGHTS:
        native = best_runner(model, n_blocks=2, weights=weights).run(batch)  # type: ignore[arg-type]
        with monkeypatch.context() as patch:
            patch.setattr("glasshouse.infer.native.choose.why_unavailable", lambda: "no compiler")
            runner = best_runner(model, n_blocks=2, weights=weights)  # type: ignore[arg-type]
        assert isinstance(runner, TorchRunner)
        error = (runner.run(batch) - native).norm() / native.norm()
        assert error < (1e-5 if weights == "fp32" else 0.05)
