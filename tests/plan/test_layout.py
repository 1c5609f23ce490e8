import pytest

from glasshouse.model import PRESETS, count_parameters, flops_per_token
from glasshouse.parallel import MeshConfig
from glasshouse.plan import DEVICES
from glasshouse.plan.layout import Layout, rank_memory, step_time, tokens_per_s
from glasshouse.train import TrainConfig

LLAMA_2_70B = PRESETS["llama-2-70b"]
A100 = DEVICES["a100-80"]


def test_seventy_billion_weigh_and_cost_what_is_published() -> None:
    assert count_parameters(LLAMA_2_70B).total == 68_976_648_192  # the published weight files
    # 6 N D, without the embedding's look-up, and 12 L D T of attention (arXiv:2204.02311, appendix B)
    six_n = 6 * (68_976_648_192 - 32_000 * 8192 - 161 * 8192)
    assert flops_per_token(LLAMA_2_70B, 4096) == pytest.approx(six_n + 12 * 80 * 8192 * 4096)


def test_what_lasts_is_divided_and_sixteen_bytes_a_parameter() -> None:
    for layout in (Layout(), Layout(fsdp=64), Layout(fsdp=8, tp=8)):
        memory = rank_memory(LLAMA_2_70B, 4096, layout)
        lasting = memory.weights + memory.gradients + memory.optimizer
        assert lasting * layout.n_devices == pytest.approx(16 * count_parameters(LLAMA_2_70B).total)


@pytest.mark.parametrize("is_tied", [False, True])
def test_the_ends_of_a_pipeline_hold_their_layers_and_the_embedding_or_the_head(is_tied: bool) -> None:
    model = LLAMA_2_70B.model_copy(update={"ties_embeddings": is_tied})
    count, layout = count_parameters(model), Layout(fsdp=16, tp=8, pp=4)
    assert rank_memory(model, 4096, layout).weights * 16 * 8 == 4 * (
        (count.matrices + count.norms) / 4 + count.embedding
    )


def test_copies_do_not_shrink_what_a_rank_holds() -> None:
    assert rank_memory(LLAMA_2_70B, 4096, Layout(fsdp=64, dp=4)).weights == rank_memory(
        LLAMA_2_70B, 4096, Layout(fsdp=64)
    ).weights  # fmt: skip


def test_checkpointing_trades_time_for_memory() -> None:
    found = [Layout(fsdp=64, checkpointing=kind) for kind in ("none", "selective", "full")]
    memory = [rank_memory(LLAMA_2_70B, 4096, layout).activations for layout in found]
    seconds = [step_time(LLAMA_2_70B, 4096, A100, layout).total for layout in found]
    assert memory == sorted(memory, reverse=True)
    assert seconds == sorted(seconds)


def test_no_layout_beats_the_peak() -> None:
    speed = tokens_per_s(LLAMA_2_70B, 4096, A100, Layout(fsdp=64, micro_batch=4))
    computed = flops_per_token(LLAMA_2_70B, 4096) - 12 * 80 * 8192 * 4096 / 2  # half the scores are masked
    assert speed * computed < A100.bf16_flops_per_s * A100.matmul_share * 1.01


def test_a_pipeline_s_bubble_shrinks_with_its_microbatches() -> None:
    few, many = (
        step_time(LLAMA_2_70B, 4096, A100, Layout(fsdp=8, pp=8, n_microbatches=n)) for n in (8, 64)
    )  # fmt: skip
    assert few.bubble / few.total > 3 * many.bubble / many.total


def test_a_layout_is_told_as_a_recipe_says_it() -> None:
    layout = Layout(fsdp=8, tp=2, micro_batch=2, n_microbatches=4, checkpointing="selective", is_fp8=True)
    settings = layout.settings(4096)
    assert settings["pretrain.batch_tokens"] == layout.step_tokens(4096) == 8 * 2 * 4 * 4096
    mesh = MeshConfig(**{key[5:]: value for key, value in settings.items() if key.startswith("mesh.")})
    assert mesh.sizes(16) == {"pp": 1, "dp": 1, "fsdp": 8, "cp": 1, "tp": 2}
    training = {key[9:]: value for key, value in settings.items() if key.startswith("pretrain.")}
    config = TrainConfig(steps=1, **training)
    assert (config.recompute, config.recompute_keeps, config.precision) == (1.0, "products", "fp8")
