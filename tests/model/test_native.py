"""The compiled decoder against the torch modules: hidden states and every gradient, in fp32 and against float64."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from glasshouse.core.errors import ConfigError
from glasshouse.model import InitConfig, ModelConfig, Transformer
from glasshouse.model.config import RopeScaling
from glasshouse.model.native import is_native, why_no_bf16, why_torch, why_unavailable
from glasshouse.model.native.block import Block, block_of
from glasshouse.model.native.choose import has_unbroken_documents
from glasshouse.model.native.function import first_positions
from glasshouse.model.transformer import Linear

has_bf16 = pytest.mark.skipif(why_no_bf16() is not None, reason=str(why_no_bf16()))
pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

QWEN = ModelConfig(vocab_size=97, d_model=48, n_layers=3, n_heads=4, n_kv_heads=2, d_head=12, d_ff=80, max_seq_len=300)
LLAMA = QWEN.model_copy(update={
    "d_model": 102, "n_heads": 6, "d_head": 16, "d_ff": 90, "n_layers": 2, "has_qk_norm": False,
    "ties_embeddings": False, "norm_eps": 1e-5, "rope_scaling": RopeScaling(factor=8.0, original_max_seq_len=32),
})  # fmt: skip
EVEN = QWEN.model_copy(update={"d_model": 128, "d_head": 32, "d_ff": 384, "n_layers": 1})
WIDE_HEAD = QWEN.model_copy(update={"n_heads": 1, "n_kv_heads": 1, "d_head": 64, "d_model": 33, "n_layers": 1})
CASES = [
    pytest.param(config, n_rows, n_time, has_documents, id=f"{name}-{n_rows}x{n_time}{'-documents' * has_documents}")
    for name, config, n_rows, n_time, has_documents in (
        ("qwen", QWEN, 5, 17, False), ("qwen", QWEN, 3, 64, True), ("qwen", QWEN, 1, 2, False),
        ("llama", LLAMA, 2, 31, True), ("llama", LLAMA, 1, 1, False), ("llama", LLAMA, 20, 140, False),
        ("even", EVEN, 4, 32, False), ("wide-head", WIDE_HEAD, 2, 261, True),
    )
]  # fmt: skip


def model_of(config: ModelConfig) -> Transformer:
    """Weights large enough that no part is without effect."""
    model = Transformer(config, InitConfig(std=0.15, embedding_std=0.2), seed=4)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def inputs(config: ModelConfig, n_rows: int, n_time: int, has_documents: bool) -> tuple[Tensor, Tensor | None, Tensor]:
    """(ids, documents, a gradient of the hidden states)."""
    generator = torch.Generator().manual_seed(n_rows)
    ids_BT = torch.randint(config.vocab_size, (n_rows, n_time), generator=generator)
    is_new_BT = torch.rand((n_rows, n_time), generator=generator) < 0.15
    gradient_BTD = torch.randn((n_rows, n_time, config.d_model), generator=generator)
    return ids_BT, is_new_BT.cumsum(1) if has_documents else None, gradient_BTD


def computed(model: Transformer, given: tuple[Tensor, Tensor | None, Tensor], kernels: str) -> dict[str, Tensor]:
    """Hidden states and the gradients of the decoder's parameters."""
    ids_BT, document_BT, gradient_BTD = given
    model.kernels = kernels  # type: ignore[assignment]
    model.zero_grad()
    hidden_BTD = model.hidden(ids_BT, document_BT=document_BT)
    hidden_BTD.backward(gradient_BTD.to(hidden_BTD.dtype))
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"hidden": hidden_BTD.detach(), **found}


class Rounded(torch.autograd.Function):
    """A linear layer whose three products have factors rounded to bf16."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return F.linear(in_bf16(x), in_bf16(weight))

    @staticmethod
    def backward(ctx, *grads):
        x, weight = ctx.saved_tensors
        dy, x, weight = in_bf16(grads[0]), in_bf16(x), in_bf16(weight)
        return dy @ weight, dy.flatten(0, -2).T @ x.flatten(0, -2)


def in_bf16(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).to(x.dtype)


def error(found: Tensor, expected: Tensor, scale: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / scale.double().norm())


@pytest.mark.parametrize(("config", "n_rows", "n_time", "has_documents"), CASES)
def test_hidden_states_and_gradients_are_those_of_torch(
    config: ModelConfig, n_rows: int, n_time: int, has_documents: bool
) -> None:
    model, given = model_of(config), inputs(config, n_rows, n_time, has_documents)
    torch_fp32 = computed(model, given, "torch")
    native = computed(model, given, "auto")
    exact = computed(model.double(), given, "auto")  # float64 is never native
    assert native.keys() == exact.keys()
    for name, expected in exact.items():
        # one token alone has nothing to weigh: the gradients of q and k are 0 but for rounding
        size = expected if expected.norm() > 1e-6 else exact["model.embed_tokens.weight"]
        assert error(native[name], expected, size) < 1e-5, name
        assert error(native[name], torch_fp32[name], size) < 2e-5, name


@has_bf16
@pytest.mark.parametrize(("config", "n_rows", "n_time", "has_documents"), CASES)
def test_in_bf16_the_factors_of_products_with_weights_are_rounded_and_nothing_else(
    config: ModelConfig, n_rows: int, n_time: int, has_documents: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, given = model_of(config), inputs(config, n_rows, n_time, has_documents)
    with torch.autocast("cpu", torch.bfloat16):
        assert is_native(model, given[1])
        native, torch_s = computed(model, given, "auto"), computed(model, given, "torch")
    exact = computed(model.double(), given, "torch")
    monkeypatch.setattr(Linear, "product", staticmethod(Rounded.apply))
    expected = computed(model, given, "torch")
    for name in exact:
        size = exact[name] if exact[name].norm() > 1e-6 else exact["model.embed_tokens.weight"]
        # a sum may fall to the other side of what is rounded to one factor or its neighbour
        rounding = max(error(exact[name], expected[name], size), 1e-4)
        assert error(native[name], expected[name], size) < 0.3 * rounding, name
        assert error(native[name], exact[name], size) < 1.2 * error(torch_s[name], exact[name], size) + 1e-6, name


@pytest.mark.parametrize("is_bf16", [False, pytest.param(True, marks=has_bf16)])
def test_bits_are_the_same_again_and_on_any_number_of_threads(is_bf16: bool) -> None:
    model, given = model_of(QWEN), inputs(QWEN, 40, 70, True)  # two groups of rows
    before = torch.get_num_threads()
    results = []
    for n_threads in (1, 1, 2, 3):
        torch.set_num_threads(n_threads)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            results.append(computed(model, given, "auto"))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(value, other[name]) for name, value in results[0].items())


def test_rows_of_a_batch_add_up() -> None:
    model, (ids_BT, _, gradient_BTD) = model_of(LLAMA), inputs(LLAMA, 6, 20, False)
    whole = computed(model, (ids_BT, None, gradient_BTD), "auto")
    model.zero_grad()
    for rows in (slice(0, 1), slice(1, 4), slice(4, 6)):
        model.hidden(ids_BT[rows]).backward(gradient_BTD[rows])
    for name, p in model.named_parameters():
        if p.grad is not None:
            assert error(p.grad, whole[name], whole[name]) < 1e-6


def test_a_tied_head_adds_to_the_embedding() -> None:
    model, (ids_BT, _, _) = model_of(EVEN), inputs(EVEN, 2, 9, False)
    gradients = []
    for kernels in ("auto", "torch"):
        model.kernels = kernels  # type: ignore[assignment]
        model.zero_grad()
        model(ids_BT).logsumexp(-1).sum().backward()
        gradients.append(model.model.embed_tokens.weight.grad.clone())  # type: ignore[union-attr]
    assert error(gradients[0], gradients[1], gradients[1]) < 1e-5


def test_weights_that_do_not_learn_get_no_gradient() -> None:
    model, given = model_of(QWEN), inputs(QWEN, 2, 9, False)
    model.model.embed_tokens.weight.requires_grad_(False)
    assert "model.embed_tokens.weight" not in computed(model, given, "auto")


def test_it_is_used_where_it_can_be_and_nowhere_else() -> None:
    model, (_, document_BT, _) = model_of(QWEN), inputs(QWEN, 2, 9, True)
    assert why_torch(model) is None and is_native(model, document_BT)
    with torch.no_grad():
        assert not is_native(model, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert is_native(model, None) == (why_no_bf16() is None)
    with torch.autocast("cpu", torch.float16):
        assert not is_native(model, None)
    assert not is_native(model, torch.tensor([[1, 2, 1]]))  # a document that comes back
    handle = model.model.layers[0].mlp.register_forward_hook(lambda *_: None)
    assert not is_native(model, None)
    handle.remove()
    model.kernels = "torch"
    assert "asked for" in str(why_torch(model)) and not is_native(model, None)
    model.kernels = "auto"
    model.model.layers[0].mlp.extra = torch.nn.Linear(2, 2)  # type: ignore[union-attr]
    assert "added to" in str(why_torch(model)) and not is_native(model, None)
    assert "float64" in str(why_torch(model_of(QWEN).double()))
    assert "meta" in str(why_torch(model_of(QWEN).to("meta")))


def test_documents_are_ranges() -> None:
    document_BT = torch.tensor([[4, 4, 1, 1, 1, -1], [0, 0, 0, 0, 0, 0]])
    assert first_positions(document_BT).tolist() == [[0, 0, 2, 2, 2, 5], [0] * 6]
    assert has_unbroken_documents(document_BT) and has_unbroken_documents(document_BT[:, :1])
    assert not has_unbroken_documents(torch.tensor([[0, 0, 0], [0, 1, 0]]))


def test_what_cannot_be_is_refused() -> None:
    model = model_of(QWEN)
    for ids in ([[0, 97]], [[-1, 0]]):
        with pytest.raises(ConfigError, match="ids go from 0 to 96"):
            model.hidden(torch.tensor(ids))
    with pytest.raises(ConfigError, match="at most 300"):
        model.hidden(torch.zeros(1, 301, dtype=torch.int64))


def test_second_derivatives_are_refused() -> None:
    model = model_of(QWEN)
    hidden_BTD = model.hidden(torch.tensor([[1, 2, 3]]))
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(hidden_BTD.square().sum(), model.model.norm.weight, create_graph=True)


def test_a_block_is_lent_once_at_a_time() -> None:
    block = Block()
    first = block.borrow(100)
    place = first.data_ptr()
    view = first.view(10, 10)
    del first
    assert block.borrow(50).data_ptr() != place  # a view holds it
    del view
    again = block.borrow(50)
    assert again.data_ptr() == place and again.shape == (50,)
    del again
    assert block.borrow(101).shape == (101,)


def test_a_step_s_block_is_the_next_one_s() -> None:
    """The second pass, and a smaller one, ask for no memory to keep things in."""
    model, (ids_BT, _, gradient_BTD) = model_of(QWEN), inputs(QWEN, 5, 17, False)
    model.hidden(ids_BT).backward(gradient_BTD)
    owned = block_of(model)._owned
    for rows in (slice(0, 5), slice(0, 2)):
        kept_hidden_BTD = model.hidden(ids_BT[rows])  # alive, as the loss of a microstep is
        kept_hidden_BTD.backward(gradient_BTD[rows])
        assert block_of(model)._owned is owned and block_of(model)._borrower() is None  # type: ignore[misc]


def test_passes_that_are_alive_together_do_not_share_a_block() -> None:
    model, (ids_BT, _, gradient_BTD) = model_of(QWEN), inputs(QWEN, 5, 17, False)
    alone = []
    for rows in (slice(0, 3), slice(3, 5), slice(1, 4)):
        alone.append(computed(model, (ids_BT[rows], None, gradient_BTD[rows]), "auto"))
    model.zero_grad()
    first, second = model.hidden(ids_BT[:3]), model.hidden(ids_BT[3:])
    with torch.no_grad():
        model.hidden(ids_BT)  # an evaluation between
    model.hidden(ids_BT[1:4])  # a pass whose graph is dropped
    names, leaves = zip(*model.named_parameters())
    for _ in range(2):  # one graph may be gone through twice
        for hidden_BTD, gradient, expected in (
            (second, gradient_BTD[3:], alone[1]),
            (first, gradient_BTD[:3], alone[0]),
        ):
            found = torch.autograd.grad(hidden_BTD, leaves, gradient, retain_graph=True, allow_unused=True)
            for name, value in zip(names, found):
                assert value is None or torch.equal(value, expected[name]), name
        third = model.hidden(ids_BT[1:4])
    third.backward(gradient_BTD[1:4])
    assert all(torch.equal(p.grad, alone[2][name]) for name, p in model.named_parameters() if p.grad is not None)


def test_a_block_goes_with_its_model() -> None:
    model, (ids_BT, _, _) = model_of(QWEN), inputs(QWEN, 2, 9, False)
    model.hidden(ids_BT).sum().backward()
    owned = weakref.ref(block_of(model)._owned)
    del model
    gc.collect()
    assert owned() is None
