"""A transformer built by hand, whose every part has a known trade, to see whether looking inside finds it.

Twenty tokens, each with a coordinate of its own in each of three parts of the residual stream: what the token is, what
the token before it was, and what comes next (which alone the head reads).
  layer 0, head 0   previous-token head: writes what the token before it was
  layer 0, neuron 3 a fact: after token FACT comes token FACT_ANSWER
  layer 1, head 0   induction head: looks for a place whose previous token is this one, and says the token there
All other heads and neurons are zero.  Position is known by RoPE alone: pairs 0 and 1 of a head turn quickly and tell
t - 1 apart; with this theta the pairs from 4 on hardly turn, so that they compare tokens wherever they stand.
"""

import math

import torch

from glasshouse.model import ModelConfig, Transformer

N_TOKENS, H = 20, 32
FACT, FACT_ANSWER, FACT_NEURON = 17, 18, 3
CONSTANT, IS, WAS, NEXT = 0, 1, 21, 41  # where each part of the residual stream begins
SLOW = torch.tensor([*range(4, 16), *range(20, 32)])[:N_TOKENS]  # coordinates of a head that hardly turn
CONFIG = ModelConfig(
    vocab_size=N_TOKENS, d_model=64, n_layers=2, n_heads=2, n_kv_heads=2, d_head=H, d_ff=8, max_seq_len=64,
    rope_theta=1e12, has_qk_norm=False, ties_embeddings=False,
)  # fmt: skip


@torch.no_grad()
def planted_model() -> Transformer:
    model = Transformer(CONFIG, seed=0).eval()
    for name, weight in model.named_parameters():
        weight.fill_(1.0 if name.endswith("norm.weight") else 0.0)
    token = torch.arange(N_TOKENS)
    embedding, head = model.model.embed_tokens.weight, model.head_weight_VD
    embedding[:, CONSTANT] = 1.0
    embedding[token, IS + token] = 1.0
    head[token, NEXT + token] = 1.0
    _plant_previous_token_head(dict(model.named_parameters()), token)
    _plant_induction_head(dict(model.named_parameters()), token)
    _plant_fact(dict(model.named_parameters()))
    return model


def _plant_previous_token_head(weight: dict[str, torch.Tensor], token: torch.Tensor) -> None:
    prefix, strength = "model.layers.0.self_attn.", 6.0
    for pair in (0, 1):
        angle = CONFIG.rope_theta ** (-2 * pair / H)  # one position's turn
        weight[prefix + "k_proj.weight"][pair, CONSTANT] = strength
        weight[prefix + "q_proj.weight"][pair, CONSTANT] = strength * math.cos(angle)  # the key, turned back by one
        weight[prefix + "q_proj.weight"][pair + H // 2, CONSTANT] = -strength * math.sin(angle)
    weight[prefix + "v_proj.weight"][token, IS + token] = 0.2
    weight[prefix + "o_proj.weight"][WAS + token, token] = 1.0


def _plant_induction_head(weight: dict[str, torch.Tensor], token: torch.Tensor) -> None:
    prefix = "model.layers.1.self_attn."
    weight[prefix + "q_proj.weight"][SLOW, IS + token] = 6.0
    weight[prefix + "k_proj.weight"][SLOW, WAS + token] = 6.0
    weight[prefix + "v_proj.weight"][token, IS + token] = 0.2
    weight[prefix + "o_proj.weight"][NEXT + token, token] = 1.0


def _plant_fact(weight: dict[str, torch.Tensor]) -> None:
    prefix = "model.layers.0.mlp."
    weight[prefix + "gate_proj.weight"][FACT_NEURON, IS + FACT] = 2.0
    weight[prefix + "up_proj.weight"][FACT_NEURON, CONSTANT] = 1.0
    weight[prefix + "down_proj.weight"][NEXT + FACT_ANSWER, FACT_NEURON] = 0.03
