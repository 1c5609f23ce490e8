"""A recipe planned for machines that are not this one: its model on a rented cluster, or traced on a world of fakes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glasshouse.core.environment import default_device
from glasshouse.core.errors import ConfigError
from glasshouse.core.terminal import format_bytes
from glasshouse.meter import MeterConfig, measure_device
from glasshouse.meter.energy import WATTS_PER_CORE
from glasshouse.model import ModelConfig
from glasshouse.parallel import check_model
from glasshouse.plan import (
    CHINCHILLA,
    ClusterConfig,
    ClusterPlan,
    Device,
    ScalingFit,
    device_here,
    find_device,
    plan_for_cluster,
)
from glasshouse.plan.cluster import USABLE_MEMORY
from glasshouse.plan.dry_run import DryRun, dry_run
from glasshouse.run.recipe import Recipe
from glasshouse.run.resolve import SHAPE_KEYS, UNDECIDED, Draft, load_draft


@dataclass(frozen=True, slots=True)
class Job:
    """What a recipe that settles its model asks of a cluster: its pretraining."""

    recipe: Recipe
    model: ModelConfig

    @property
    def tokens(self) -> int:
        return self._training.steps * self._training.batch_tokens

    @property
    def seq_len(self) -> int:
        return self._training.seq_len

    @property
    def batch_tokens(self) -> int:
        return self._training.batch_tokens

    @property
    def _training(self) -> Any:
        return self.recipe.training("pretrain")


def read_job(path: Path, settings: tuple[str, ...] = ()) -> Job:
    """`ConfigError` where the recipe leaves the model or the length of its pretraining to the dial."""
    draft = load_draft(path, settings)
    recipe = draft.parse(UNDECIDED)
    missing = [f"model.{key}" for key in SHAPE_KEYS if key not in draft.values.get("model", {})]
    missing += [] if "steps" in draft.values.get("pretrain", {}) else ["pretrain.steps"]
    if missing:
        raise ConfigError(f"{path}: a plan for other machines needs the model and its training settled; missing: "
                          f"{', '.join(missing)}. recipes/llama-70b.toml is an example")  # fmt: skip
    return Job(recipe, recipe.model.model_copy(update=_vocabulary(draft, recipe)))


def _vocabulary(draft: Draft, recipe: Recipe) -> dict[str, int]:
    given = draft.values.get("model", {})
    return {
        "vocab_size": given.get("vocab_size", recipe.tokenizer.vocab_size),
        "max_seq_len": given.get("max_seq_len", recipe.training("pretrain").seq_len),
    }


def plan_job(job: Job, config: ClusterConfig, device: Device, law: ScalingFit = CHINCHILLA) -> ClusterPlan:
    """The recipe's own tokens, batch and length of rows, unless the budget says otherwise."""
    settled: dict[str, Any] = {"seq_len": job.seq_len, "batch_tokens": str(job.batch_tokens)}
    if not any((config.time, config.usd, config.flops, config.tokens)):
        settled["tokens"] = str(job.tokens)
    return plan_for_cluster(config.model_copy(update=settled), device, job.model, law)


def device_named(name: str) -> Device:
    """A device of the table, or `here`: this machine, measured."""
    if name != "here":
        return find_device(name)
    profile = measure_device(default_device().type)
    return device_here(profile, WATTS_PER_CORE * profile.n_cores, MeterConfig().usd_per_kwh)


def trace_job(job: Job, world_size: int) -> DryRun:
    """One microbatch of the recipe's pretraining on its own mesh."""
    training = job.recipe.training("pretrain")
    sizes = job.recipe.mesh.sizes(world_size)
    n_rows, n_data = training.batch_tokens // job.seq_len, sizes["dp"] * sizes["fsdp"]
    check_model(job.model, sizes, job.seq_len, n_rows)
    of_rank = n_rows // n_data
    rows = max(1, min(of_rank, training.planned_microbatch_tokens // job.seq_len))
    return dry_run(
        job.model, job.recipe.mesh, world_size, seq_len=job.seq_len, rows=rows, optim=training.optim,
        is_bf16=training.precision != "fp32", recomputed=training.recompute,
        keeps=training.recompute_keeps,
    )  # fmt: skip


def what_would_fit(found: DryRun, device: Device) -> str | None:
    """None where the traced step fits the device; else what does not, and what would help."""
    usable = USABLE_MEMORY * device.memory_bytes
    if found.peak_bytes <= usable:
        return None
    lasting = found.weights_bytes + found.optimizer_bytes + found.gradients_bytes
    remedy = (
        "fewer tokens at a time (pretrain.microbatch_tokens), layers computed twice (pretrain.recompute) or a larger "
        "mesh.tp" if lasting < usable / 2
        else "more processes (mesh.fsdp, mesh.tp)"
    )  # fmt: skip
    return (f"a rank needs {format_bytes(found.peak_bytes)}, and {device.name} has {format_bytes(usable)} to use. "
            f"What would help: {remedy}, or a device with more memory")  # fmt: skip
