"""From a number of parameters to a transformer's shape.

Width over depth grows slowly with width, as in published families: 40 at width 160, 62 at 1,024 and 73 at 2,048, which
is 4, 16 and 28 layers (Qwen3-1.7B has 28 at 2,048).
"""

from glasshouse.model import ModelConfig, count_parameters

WIDTHS = (32, 64, 96, 128, 160, 192, 224, 256, 384, 512, 640, 768, 896, 1024, 1280, 1536, 2048, 2560, 3072,
          4096, 5120, 6144, 8192, 10240, 12288, 16384)  # fmt: skip
DEEP, DEPTH_STEP = 16, 4  # from so many layers on the depth is fitted too, in steps that pipelines divide


def shape_of_width(d_model: int, vocab_size: int, max_seq_len: int) -> ModelConfig:
    """The family's member of that width.  A feed-forward layer is three times as wide, as in Qwen3-0.6B."""
    n_heads = 4 if d_model <= 256 else d_model // (64 if d_model < 1024 else 128)
    return ModelConfig(
        vocab_size=vocab_size,
        d_model=d_model,
        n_layers=max(2, round(d_model / (12.6 * d_model**0.23))),
        n_heads=n_heads,
        n_kv_heads=_kv_heads(n_heads),
        d_head=d_model // n_heads,
        d_ff=3 * d_model,
        max_seq_len=max_seq_len,
        ties_embeddings=d_model < 2560,  # published families tie below about 3 G parameters
    )


def shape_for(n_parameters: float, vocab_size: int, max_seq_len: int) -> ModelConfig:
    """The member of the family nearest to `n_parameters` (by ratio)."""

    def distance(config: ModelConfig) -> float:
        ratio = count_parameters(config).total / n_parameters
        return max(ratio, 1 / ratio)

    nearest = min((shape_of_width(width, vocab_size, max_seq_len) for width in WIDTHS), key=distance)
    if nearest.n_layers < DEEP:
        return nearest
    depths = range(DEEP, 2 * nearest.n_layers, DEPTH_STEP)  # widths are far apart up there: depth makes up for it
    return min((nearest.model_copy(update={"n_layers": n}) for n in depths), key=distance)


def _kv_heads(n_heads: int) -> int:
    """Queries share keys and values: about two to a pair below 16 heads, four from there on."""
    wanted = n_heads // (2 if n_heads < 16 else 4)
    return max(n for n in range(1, wanted + 1) if n_heads % n == 0)
