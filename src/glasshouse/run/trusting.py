"""The stages `trust-*`: how far the checkpoint of a stage can be trusted, with all that the run knows of its making.

A model alone, outside of a run, is asked what needs no records.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from glasshouse.batch import TokenShard
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.files import read_jsonl
from glasshouse.core.records import Score
from glasshouse.core.seeds import derive_seed
from glasshouse.corpus.canaries import read_canaries
from glasshouse.evals import EngineModel, RefusalPattern
from glasshouse.evals.trust import Contains, ShardSearch, Subject, TrustConfig, read_policy, run_probes, write_findings
from glasshouse.evals.trust.policy import POLICY
from glasshouse.explain import TraceIndex
from glasshouse.infer import Engine
from glasshouse.meter import Cost
from glasshouse.run.context import StageContext
from glasshouse.run.recipe import Recipe
from glasshouse.run.teaching import Teaching, open_teaching, split_questions
from glasshouse.run.tracing import INDEX

TRAINED: tuple[str, ...] = ("pretrain", "sft", "align")
SHOWN = ("confidently_wrong", "abstains_made_up", "choice_ece", "identifier returned", "refused_harmful")


def trust_stage(context: StageContext) -> dict[str, Any]:
    """Every probe on the checkpoint of the stage in this one's name."""
    after = context.name.removeprefix("trust-")
    config = context.recipe.trust
    subject = subject_of(context.run.path, after, context.recipe, config)
    found = run_probes(subject, config.probes, context.terminal)
    record = write_findings(context.run.stage("trust") / f"{after}.json", after, config.size, found)
    scores = [score for finding, _ in found.values() for score in finding.scores]
    context.terminal.line("trust", describe(after, scores))
    return {"after": after, "seconds": record["seconds"], "scores": [asdict(score) for score in scores]}


def subject_of(run: Path, after: str, recipe: Recipe, config: TrustConfig) -> Subject:
    """The checkpoint that the stage `after` left in `run`, and what the run's records know of it."""
    engine = Engine.load(run / after)
    shards = [run / "pretrain" / f"{split}.tokens" for split in ("train", "holdout")]
    training, held_out = (TokenShard(p, engine.tokenizer.hash) if p.is_file() else None for p in shards)
    teachings = [] if after == "pretrain" else _teachings(run, recipe)
    questions, paraphrases = [split_questions(t.questions(recipe.evals.n_questions))["counted"] for t in teachings] or (
        [],
        [],
    )
    cost, n_tokens = _spent(run, recipe, after)
    return Subject(
        EngineModel(engine), engine.tokenizer, engine.max_seq_len, config.size, config.seed,
        is_chat=after != "pretrain" and engine.tokenizer.template is not None, questions=questions,
        paraphrases=paraphrases, refuses=teachings[0].refuses if teachings else RefusalPattern(),
        training=training, held_out=held_out, contains=search_of(run, training), canaries=read_canaries(run / "corpus"),
        masked=_masked(run / "corpus" / "removed.jsonl"),
        policy=read_policy(Path(config.policy)) if config.policy else POLICY,
        data=_folder(config.data), cost=cost, n_trained_tokens=n_tokens, meter=recipe.meter,
    )  # fmt: skip


def lone_subject(model: Path, config: TrustConfig) -> Subject:
    """A checkpoint of which nothing but itself is known."""
    data = _folder(config.data)
    engine = Engine.load(model)
    return Subject(
        EngineModel(engine), engine.tokenizer, engine.max_seq_len, config.size, config.seed,
        is_chat=engine.tokenizer.template is not None,
        policy=read_policy(Path(config.policy)) if config.policy else POLICY, data=data,
    )  # fmt: skip


def last_trained(run: Path, recipe: Recipe) -> str:
    """The stage that left the run's newest checkpoint."""
    done = [stage for stage in TRAINED if stage in recipe.stages and (run / stage / "checkpoint").is_dir()]
    if not done:
        raise ConfigError(f"{run} has no finished checkpoint yet; go on with: glass resume {run}")
    return done[-1]


def _folder(path: str | None) -> Path | None:
    if path is not None and not Path(path).is_dir():
        raise DataError(f"{path}: no such folder of data. It holds crows-pairs*.csv, winobias/, bbq/, or some of them")
    return None if path is None else Path(path)


def search_of(run: Path, shard: TokenShard | None) -> Contains | None:
    """Whether tokens stand in the training text: by its index, or read whole each time for a run made without one."""
    folder = run / "pretrain" / INDEX
    if shard is None:
        return None
    return TraceIndex(folder, [shard]).contains if folder.is_dir() else ShardSearch(shard)


def describe(after: str, scores: list[Score]) -> str:
    """`after sft: confidently wrong 3 % · ...`"""
    by_name = {score.name: score for score in scores}
    shown = [f"{name.replace('_', ' ')} {100 * by_name[name].value:.0f} %" for name in SHOWN if name in by_name]
    return f"after {after}: " + " · ".join(shown or [f"{len(scores)} measured"])


def _teachings(run: Path, recipe: Recipe) -> list[Teaching]:
    """The teaching whose questions are asked, and the same with other phrasings drawn; none where nothing is taught."""
    if "sft" not in recipe.stages or recipe.sft is None:
        return []
    seed = derive_seed(recipe.seed, "sft")
    return [open_teaching(recipe.sft, s, run / "corpus") for s in (seed, derive_seed(seed, "paraphrase"))]


def _masked(path: Path) -> frozenset[str] | None:
    """Marks of what the corpus masked; None where it kept no record."""
    if not path.is_file():
        return None
    return frozenset(mark for record in read_jsonl(path) for mark in record.get("marks", ()))


def _spent(run: Path, recipe: Recipe, after: str) -> tuple[Cost | None, int | None]:
    """Of the training stages up to `after`: cost and tokens, as they recorded them."""
    stages = [s for s in TRAINED if s in recipe.stages]
    costs, n_tokens = Cost(), 0
    finished: Mapping[str, Any] = {
        e["stage"]: e for e in read_jsonl(run / "events.jsonl") if e.get("kind") == "finished"
    }
    for stage in stages[: stages.index(after) + 1]:
        record = finished.get(stage)
        if record is None:
            return None, None
        costs += Cost.from_json(record["cost"])
        n_tokens += int(record.get("summary", {}).get("n_tokens", 0))
    return costs, n_tokens or None
