"""Whether this machine can do the work, found by trying: versions, devices, threads, compiler, numerics, speed.

Each finding says what to do about a problem.  Nothing here changes the machine.
"""

import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from glasshouse import __version__
from glasshouse.core.environment import cache_directory, n_threads_asked, start_torch
from glasshouse.core.terminal import format_bytes
from glasshouse.meter.device import available_cores, available_memory_bytes, measure_device
from glasshouse.meter.energy import find_sources

OPTIONAL = {"ftfy": "corpus", "pyarrow": "corpus", "pypdf": "corpus", "selectolax": "corpus", "zstandard": "corpus",
            "altair": "report", "vl_convert": "report"}  # fmt: skip
DISTRIBUTIONS = {"vl_convert": "vl-convert-python"}
MIN_FREE_BYTES = 2e9


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis.  `remedy` is empty where all is well."""

    name: str
    text: str
    remedy: str = ""

    @property
    def is_well(self) -> bool:
        return not self.remedy


def diagnose() -> Iterator[Finding]:
    """Each finding as soon as it is known."""
    yield _python()
    yield _torch()
    yield from _optional_packages()
    yield from _devices()
    yield _threads()
    yield _memory()
    yield _disk()
    yield _compiler()
    yield _denormals()
    yield from _numerics()
    yield from _speed()
    yield _energy()


def _python() -> Finding:
    text = f"Glasshouse {__version__} on Python {platform.python_version()}, {platform.platform()}"
    remedy = "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer"
    return Finding("python", text, remedy)


def _torch() -> Finding:
    import torch

    is_known = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) >= (2, 11)
    return Finding("torch", torch.__version__, "" if is_known else "pip install 'torch>=2.11'")


def _optional_packages() -> Iterator[Finding]:
    missing: dict[str, list[str]] = {}
    for module, extra in OPTIONAL.items():
        try:
            version(DISTRIBUTIONS.get(module, module))
        except PackageNotFoundError:
            missing.setdefault(extra, []).append(module)
    for extra, modules in missing.items():
        yield Finding(f"[{extra}]", f"missing: {', '.join(modules)}", f"pip install 'glasshouse[{extra}]'")
    if not missing:
        yield Finding("extras", "corpus and report are installed")


def _devices() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        yield Finding("device", "cpu (no CUDA device is visible)")
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding("device", f"cuda:{index} {properties.name}, {format_bytes(properties.total_memory)}")


def _threads() -> Finding:
    import torch

    n_threads, n_cores, asked = torch.get_num_threads(), available_cores(), n_threads_asked()
    text = f"{n_threads} threads on {n_cores} usable cores"
    if n_threads > n_cores:
        return Finding("threads", text, f"more threads than cores slow each other down: set OMP_NUM_THREADS={n_cores}")
    if n_threads < n_cores and asked is None:
        return Finding("threads", text, f"set OMP_NUM_THREADS={n_cores} to use every core")
    return Finding("threads", text + (f" (OMP_NUM_THREADS={asked})" if asked else ""))


def _memory() -> Finding:
    n_bytes = available_memory_bytes()
    remedy = "" if n_bytes >= 3e9 else "the quickstart needs 3 GB: turn its dial down, --params 1M"
    return Finding("memory", format_bytes(n_bytes), remedy)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    remedy = "" if free >= MIN_FREE_BYTES else f"free some space: a run needs about {format_bytes(MIN_FREE_BYTES)}"
    return Finding("disk", f"{format_bytes(free)} free here; measurements are kept in {cache_directory()}", remedy)


def _compiler() -> Finding:
    """torch.compile on CPU needs a C++ compiler; everything works without it, a little slower."""
    import torch

    compilers = [name for name in ("g++", "clang++") if shutil.which(name)]
    if not compilers:
        return Finding("compile", "not available (no C++ compiler)", "optional, for speed: apt-get install g++")
    try:
        torch.compiler.reset()
        compiled = torch.compile(lambda x: torch.sin(x) + 1)
        x = torch.linspace(0, 1, 64)
        is_right = torch.allclose(compiled(x), torch.sin(x) + 1)
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0][:100]
        return Finding("compile", f"fails: {first_line}", "training falls back to eager; check python3-dev and g++")
    return Finding("compile", f"works ({compilers[0]})", "" if is_right else "gives wrong numbers: report this")


def _denormals() -> Finding:
    import torch

    start_torch()
    is_flushed = (torch.full((1,), 1e-38) * 1e-3).item() == 0.0
    remedy = "" if is_flushed else "this processor cannot flush denormals; late training may be slow"
    return Finding("denormals", "flushed to zero" if is_flushed else "kept", remedy)


def _numerics() -> Iterator[Finding]:
    """A product and an attention in fp32 against fp64: error far above rounding means a broken library or machine."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    q, k, v = (torch.randn(1, 2, 64, 32, generator=generator) for _ in range(3))
    errors = {
        "matmul": (a @ b - (a.double() @ b.double())).abs().max().item(),
        "attention": (
            scaled_dot_product_attention(q, k, v, is_causal=True)
            - scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=True)
        ).abs().max().item(),
    }  # fmt: skip
    for name, error in errors.items():
        remedy = "" if error < 1e-3 else "numbers are wrong: reinstall torch; test the memory of this machine"
        yield Finding("numerics", f"{name} in fp32 differs from fp64 by {error:.1e}", remedy)


def _speed() -> Iterator[Finding]:
    import torch

    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        profile = measure_device(device, is_fresh=True)
        text = f"{profile.flops_per_s / 1e9:.0f} GFLOP/s matmul, {profile.bytes_per_s / 1e9:.1f} GB/s copy ({device})"
        is_slow = device == "cpu" and profile.flops_per_s < 5e9 * profile.n_cores
        remedy = "slow for so many cores: close other programs, check power saving" if is_slow else ""
        yield Finding("speed", text, remedy)


def _energy() -> Finding:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Finding("energy", " + ".join(source.name for source in find_sources(device, None)))
