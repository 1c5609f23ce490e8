"""The stage `align`: the fine-tuned model learns from judged answers, its own or people's.

Its own: what is true decides (`own_answers`), and DPO or KTO learns from the pairs, or GRPO or PPO from the rewards.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glasshouse.align import Prompt, train_on_preferences, train_on_rewards
from glasshouse.align.rewards import HonestReward
from glasshouse.core.files import read_json, write_json
from glasshouse.core.records import Conversation, Preference, Question
from glasshouse.core.seeds import derive_seed
from glasshouse.feedback import read_demonstrations, read_preferences, write_conversations, write_preferences
from glasshouse.infer import Engine
from glasshouse.run.context import StageContext
from glasshouse.run.doubting import learn_doubt, questions_to_doubt_by
from glasshouse.run.own_answers import (
    answer_questions,
    examples_from,
    fresh_conversations,
    outcomes,
    preferences_from,
)
from glasshouse.run.teaching import Teaching, open_teaching
from glasshouse.train import TrainResult

OWN_ANSWERS = "answers:"
KEPT, RIGHT, ABOUT = "preferences.jsonl", "right.jsonl", "answers.json"


def align(context: StageContext) -> TrainResult:
    """Train on from the fine-tuned checkpoint.  Its answers are kept, so that a resumed run learns from the same."""
    recipe, config = context.recipe, context.recipe.align
    assert config is not None and recipe.sft is not None  # checked with the recipe
    parent = context.run.path / "sft" / "checkpoint"
    teaching = open_teaching(recipe.sft, derive_seed(recipe.seed, "sft"), context.run.path / "corpus")
    doubted = questions_to_doubt_by(teaching) if config.may_withhold else []
    result = _learn(context, parent, teaching)
    if doubted:
        found = learn_doubt(result.checkpoint, doubted, teaching, config.may_withhold, context.terminal)
        write_json(context.folder / "align.json", {**read_json(context.folder / "align.json"), "doubt": found})
    return result


def _learn(context: StageContext, parent: Path, teaching: Teaching) -> TrainResult:
    config = context.recipe.align
    assert config is not None
    if config.online is not None:
        asked = fresh_conversations(teaching, config.n_questions)
        return train_on_rewards(
            parent, [_prompt(c) for c in asked], HonestReward(config.wrong, "exact", refuses=teaching.refuses),
            config.online, run=context.run, folder=context.folder, terminal=context.terminal, meter=context.meter,
            profile=context.profile,
        )  # fmt: skip
    assert config.offline is not None
    about: Mapping[str, Any] = {}
    examples: list[Conversation] = []
    if config.judged == OWN_ANSWERS:
        preferences, examples, about = _from_own_answers(context, parent, teaching)
    else:
        preferences = list(
            read_preferences(config.judged, lambda n, why: context.terminal.warn("align", f"{n}: {why}"))
        )
    result = train_on_preferences(
        parent, preferences, config.offline, context.run, context.folder, context.terminal, context.meter,
        context.profile, examples=examples, held_out=() if about else None,
    )  # fmt: skip
    write_json(context.folder / "align.json", {**read_json(context.folder / "align.json"), **about})
    return result


def _from_own_answers(
    context: StageContext, parent: Path, teaching: Teaching
) -> tuple[list[Preference], list[Conversation], Mapping[str, Any]]:
    """(preferences, examples, what became of the answers).  Right answers are examples where the loss weighs them."""
    config, kept, right = context.recipe.align, context.folder / KEPT, context.folder / RIGHT
    assert config is not None and config.offline is not None
    if not (context.folder / ABOUT).exists():
        seed = derive_seed(context.recipe.seed, "align")
        asked = fresh_conversations(teaching, config.n_questions)
        answered = answer_questions(Engine.load(parent), asked, teaching, config.temperature, seed)
        by_sort = preferences_from(answered, config.faults)
        write_preferences(kept, [p for preferences in by_sort.values() for p in preferences])
        write_conversations(right, examples_from(answered))
        write_json(context.folder / ABOUT, {
            "n_asked": len(asked), "sampled": outcomes(answered),
            "preferences": {sort: len(preferences) for sort, preferences in by_sort.items()},
        })  # fmt: skip
    about = read_json(context.folder / ABOUT)
    sampled = ", ".join(f"{count:,} {outcome}" for outcome, count in about["sampled"].items())
    pairs = ", ".join(f"{count:,} {sort}" for sort, count in about["preferences"].items())
    context.terminal.line("align", f"{about['n_asked']:,} questions answered by itself: {sampled} → {pairs}")
    weighs_examples = config.offline.method == "dpo" and config.offline.dpo.nll_weight > 0
    examples = list(read_demonstrations(right)) if weighs_examples and about["sampled"]["right"] else []
    return list(read_preferences(kept)), examples, about


def _tell(context: StageContext, path: str, number: int, why: str) -> None:
    context.terminal.warn(context.name, f"{path}: record {number} is left out: {why}")


def _prompt(conversation: Conversation) -> Prompt:
    *before, answer = conversation.messages
    question = Question(
        conversation.id, before[-1].content, (answer.content,), str(conversation.meta.get("kind", "")),
        name=str(conversation.meta.get("name", "")),
    )  # fmt: skip
    return Prompt(tuple(before), question)
