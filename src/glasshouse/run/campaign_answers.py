"""Answers for a campaign of labels: the checkpoints it names answer the prompts that came without.

Each model answers each prompt `n_answers` times, every answer with a seed of its own made of the campaign's, the
prompt, and the weights, so that the same campaign gets the same answers wherever they are sampled.  What is kept beside
an answer, and shown to no annotator, is the model's name and which weights that meant: `runs/quickstart@3f2a9c...`.
Equal answers to a prompt are asked of people once.  Where answers are judged one by one (thumbs, ratings, edits), a
prompt becomes an item for each.  Stored a few prompts at a time: what was sampled before an interruption stays.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from glasshouse.align.reference import weights_id
from glasshouse.core.environment import start_torch
from glasshouse.core.errors import ConfigError, DataError
from glasshouse.core.seeds import derive_seed
from glasshouse.core.terminal import Terminal
from glasshouse.feedback.campaign import ANSWERS_NEEDED, Campaign, Candidate, Item
from glasshouse.feedback.store import FeedbackStore
from glasshouse.infer import Engine, SamplingConfig, chat_ids
from glasshouse.infer.location import locate

AT_ONCE = 16  # prompts that are sampled, then stored
ID_CHARS = 12  # of a hash of weights, as many as tell them apart


@dataclass(frozen=True, slots=True)
class Sampled:
    """What became of the prompts that waited for answers."""

    n_answered: int
    n_answers: int  # different ones
    n_waiting: int  # still: the models had too little to say, or the prompt does not fit into a context


def sample_for_campaign(store: FeedbackStore, campaign: Campaign, terminal: Terminal) -> Sampled:
    """Let `campaign.models` answer what waits for answers in the campaign of that name."""
    if not campaign.models:
        raise ConfigError(f"the campaign {campaign.name!r} names no models. Name one with --model")
    waiting = [item for item in store.items(campaign.name) if not item.candidates]
    if not waiting:
        return Sampled(0, 0, 0)
    start_torch()
    speakers = [_Speaker(model, campaign) for model in campaign.models]
    n_answered = n_answers = 0
    with terminal.task("answers", len(waiting)) as task:
        for start in range(0, len(waiting), AT_ONCE):
            part = waiting[start : start + AT_ONCE]
            said: dict[str, list[Candidate]] = {item.id: [] for item in part}
            for speaker in speakers:
                for item, answer in speaker.answers(part):
                    said[item.id].append(answer)
            for item in part:
                kept = _different(said[item.id])
                if _store(store, campaign, item, kept, terminal):
                    n_answered, n_answers = n_answered + 1, n_answers + len(kept)
            task.advance_to(start + len(part), f"{n_answers} answers")
    return Sampled(n_answered, n_answers, len(waiting) - n_answered)


class _Speaker:
    """One model that answers."""

    def __init__(self, model: str, campaign: Campaign) -> None:
        found = locate(model)
        self.engine, self.campaign = Engine.load(found.folder), campaign
        self.version = found.hub.commit if found.hub else weights_id(found.folder)
        self.name = f"{found.hub.repo if found.hub else model}@{self.version[:ID_CHARS]}"

    def answers(self, items: Sequence[Item]) -> Iterator[tuple[Item, Candidate]]:
        """To each prompt that fits, `n_answers` of them; empty ones are left out."""
        ids = {item.id: chat_ids(self.engine.tokenizer, item.prompt) for item in items}
        asked = [item for item in items if len(ids[item.id]) < self.engine.max_seq_len]
        turns = [(item, number) for item in asked for number in range(self.campaign.n_answers)]
        completions = self.engine.generate([ids[item.id] for item, _ in turns], [self._how(*turn) for turn in turns])
        for (item, _), completion in zip(turns, completions):
            if completion.text.strip():
                yield item, Candidate(completion.text.strip(), self.name)

    def _how(self, item: Item, number: int) -> SamplingConfig:
        campaign = self.campaign
        seed = derive_seed(campaign.seed, "answer", item.id, self.version, number)
        return SamplingConfig(temperature=campaign.temperature, max_tokens=campaign.max_tokens, seed=seed)


def _different(answers: Sequence[Candidate]) -> list[Candidate]:
    """Each text once; of a text that several models said, all their names."""
    models: Mapping[str, list[str]] = {answer.text: [] for answer in answers}
    for answer in answers:
        if answer.model not in models[answer.text]:
            models[answer.text].append(answer.model)
    return [Candidate(text, ", ".join(names)) for text, names in models.items()]


def _store(
    store: FeedbackStore, campaign: Campaign, item: Item, answers: Sequence[Candidate], terminal: Terminal
) -> bool:
    """Whether the prompt can be judged now."""
    fewest, most = ANSWERS_NEEDED[campaign.kind]
    if len(answers) < fewest:
        return False
    store.add_items(campaign.name, [replace(item, id="", candidates=(answer,)) for answer in answers[most:]])
    try:
        store.add_answers(campaign.name, item.id, answers[:most])
    except DataError as error:  # somebody added answers, or took the prompt away, meanwhile
        terminal.warn("answers", f"{item.id}: {error}")
        return False
    return True
