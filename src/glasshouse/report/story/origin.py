"""What the run was made of: machine, versions, hashes, shape and recipe."""

from dataclasses import dataclass, field

from glasshouse.report.records import RunRecords, StageRecord, mapping
from glasshouse.report.units import format_bytes, format_count, plural


@dataclass(frozen=True)
class Provenance:
    rows: list[tuple[str, str, bool]]  # what, value, whether it is a hash or path to be set in a fixed width
    recipe: list[tuple[str, str]] = field(default_factory=list)  # line, where its value came from


def provenance(records: RunRecords) -> Provenance:
    device = mapping(records.plan.get("device"))
    rows: list[tuple[str, str, bool]] = []
    if device:
        size = format_bytes(device.get("memory_bytes", 0))
        rows.append(("machine", f"{device.get('name', '')}, {plural(device.get('n_cores', 0), 'core')}, {size}", False))
        speed = f"{format_count(device.get('flops_per_s', 0))}FLOP/s, {format_bytes(device.get('bytes_per_s', 0))}/s"
        rows.append(("measured speed", speed, False))
    rows += [(name, str(version), False) for name, version in mapping(records.actual.get("versions")).items()]
    for stage, key, label in (("corpus", "sha256", "corpus sha256"), ("tokenizer", "hash", "tokenizer sha256")):
        record = records.stage(stage)
        if record and record.summary.get(key):
            rows.append((label, str(record.summary[key]), True))
    return Provenance(rows, [_recipe_line(line) for line in records.recipe.strip().splitlines()])


def _recipe_line(line: str) -> tuple[str, str]:
    """Split the note on where a value came from off its line (`dump_toml` writes it behind two spaces and a #)."""
    value, mark, note = line.rpartition("  # ")
    return (value, note) if mark else (line, "")


def model_rows(records: RunRecords) -> list[tuple[str, str]]:
    """The shape of the network in words."""
    stage = next((s for s in reversed(records.stages) if s.summary.get("model")), None)
    return _shape_rows(stage) if stage else []


def _shape_rows(stage: StageRecord) -> list[tuple[str, str]]:
    model = mapping(stage.summary.get("model"))
    labels = {
        "n_layers": "layers", "d_model": "width", "n_heads": "attention heads", "n_kv_heads": "key and value heads",
        "d_ff": "feed-forward width", "max_seq_len": "context, tokens", "vocab_size": "vocabulary",
    }  # fmt: skip
    return [(label, f"{model[key]:,}") for key, label in labels.items() if isinstance(model.get(key), int)]
