"""Named shapes.  The published ones repeat their public config.json; their parameter counts are tested."""

from glasshouse.model.config import ModelConfig, RopeScaling


def _qwen3(d_model: int, n_layers: int, n_heads: int, d_ff: int, ties_embeddings: bool = True) -> ModelConfig:
    return ModelConfig(
        vocab_size=151936, d_model=d_model, n_layers=n_layers, n_heads=n_heads, n_kv_heads=8, d_head=128, d_ff=d_ff,
        max_seq_len=40960, rope_theta=1e6, norm_eps=1e-6, ties_embeddings=ties_embeddings, has_qk_norm=True,
    )  # fmt: skip


def _llama3(
    d_model: int, n_layers: int, n_heads: int, d_head: int, d_ff: int, factor: float = 32.0, is_tied: bool = True
) -> ModelConfig:
    return ModelConfig(
        vocab_size=128256, d_model=d_model, n_layers=n_layers, n_heads=n_heads, n_kv_heads=8, d_head=d_head, d_ff=d_ff,
        max_seq_len=131072, rope_theta=5e5, rope_scaling=RopeScaling(factor=factor), norm_eps=1e-5,
        ties_embeddings=is_tied, has_qk_norm=False,
    )  # fmt: skip


def _llama2(d_model: int, n_layers: int, n_heads: int, n_kv_heads: int, d_ff: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=32000, d_model=d_model, n_layers=n_layers, n_heads=n_heads, n_kv_heads=n_kv_heads, d_head=128,
        d_ff=d_ff, max_seq_len=4096, norm_eps=1e-5, ties_embeddings=False, has_qk_norm=False,
    )  # fmt: skip


def _smollm2(d_model: int, n_layers: int, n_heads: int, n_kv_heads: int, d_ff: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=49152, d_model=d_model, n_layers=n_layers, n_heads=n_heads, n_kv_heads=n_kv_heads, d_head=64,
        d_ff=d_ff, max_seq_len=8192, rope_theta=1e5, norm_eps=1e-5, has_qk_norm=False,
    )  # fmt: skip


PRESETS: dict[str, ModelConfig] = {
    "tiny": ModelConfig(
        vocab_size=512, d_model=64, n_layers=2, n_heads=2, n_kv_heads=2, d_head=32, d_ff=160, max_seq_len=256
    ),
    "quickstart": ModelConfig(
        vocab_size=4096, d_model=160, n_layers=4, n_heads=5, n_kv_heads=5, d_head=32, d_ff=448, max_seq_len=1024
    ),
    "smollm2-135m": _smollm2(576, 30, 9, 3, 1536),
    "smollm2-360m": _smollm2(960, 32, 15, 5, 2560),
    "qwen3-0.6b": _qwen3(1024, 28, 16, 3072),
    "qwen3-1.7b": _qwen3(2048, 28, 16, 6144),
    "qwen3-4b": _qwen3(2560, 36, 32, 9728),
    "qwen3-8b": _qwen3(4096, 36, 32, 12288, ties_embeddings=False),
    "llama-3.2-1b": _llama3(2048, 16, 32, 64, 8192),
    "llama-3.2-3b": _llama3(3072, 28, 24, 128, 8192),
    "llama-3.1-8b": _llama3(4096, 32, 32, 128, 14336, factor=8.0, is_tied=False),
    "llama-3.1-70b": _llama3(8192, 80, 64, 128, 28672, factor=8.0, is_tied=False),
    "llama-3.1-405b": _llama3(16384, 126, 128, 128, 53248, factor=8.0, is_tied=False),
    "llama-2-7b": _llama2(4096, 32, 32, 32, 11008),
    "llama-2-13b": _llama2(5120, 40, 40, 40, 13824),
    "llama-2-70b": _llama2(8192, 80, 64, 8, 28672),
}
