"""What an assistant is taught and asked: conversations for fine-tuning, questions for judging, by one name in a recipe.

stdlib:        facts about the standard library of this interpreter, true by introspection
text:          facts found by rule in the text that the run itself was grown on
a file         conversations in OpenAI, ShareGPT or Alpaca form; its last twentieth is held out as questions
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from glasshouse.batch import ConversationLoader, encode_conversations
from glasshouse.core.errors import DataError
from glasshouse.core.records import Conversation, Question
from glasshouse.corpus import own_questions, read_conversations
from glasshouse.corpus.library import Library
from glasshouse.corpus.own_text import OwnText
from glasshouse.corpus.questions import evaluation_questions, is_refusal, training_conversations
from glasshouse.evals import MADE_UP, RefusalPattern
from glasshouse.run.recipe import FinetuneConfig
from glasshouse.tokenizer import Tokenizer

APART = {
    "held_out_name": "never_taught",
    "unrecited": "unrecited",
}  # kinds of question, and what they are told apart as


@dataclass(frozen=True, slots=True)
class Teaching:
    """`conversations(epoch)` may differ from epoch to epoch; `questions(limit)` are never among them.

    `development(limit)`: questions in the phrasings by which the wordings of training were improved; None where none
    were.
    """

    conversations: Callable[[int], Sequence[Conversation]]
    questions: Callable[[int | None], Sequence[Question]]
    refuses: Callable[[str], bool]
    description: str
    development: Callable[[int | None], Sequence[Question]] | None = None


def open_teaching(config: FinetuneConfig, seed: int, corpus: Path) -> Teaching:
    """What a recipe teaches; `corpus` is the run's own.  `DataError` where there is nothing usable to teach."""
    name = config.conversations
    if name == "stdlib:":
        library = Library.introspect()
        return Teaching(
            lambda epoch: training_conversations(library, seed, epoch, config.questions),
            lambda limit: evaluation_questions(library, seed, limit),
            is_refusal,
            f"{len(library.taught):,} names taught, {len(library.held_out):,} held out",
            lambda limit: evaluation_questions(library, seed, limit, "development"),
        )
    if name == "text:":
        own = OwnText.read(corpus)
        return Teaching(
            lambda epoch: own_questions.training_conversations(own, seed, epoch, config.questions),
            lambda limit: own_questions.evaluation_questions(own, seed, limit),
            is_refusal,
            own.describe(),
            lambda limit: own_questions.evaluation_questions(own, seed, limit, "development"),
        )
    conversations = list(read_conversations(Path(name)))
    if not conversations:
        raise DataError(f"{name}: no usable conversation. Each record is one of the forms OpenAI, ShareGPT or Alpaca")
    n_held_out = len(conversations) // 20
    kept, held_out = conversations[: len(conversations) - n_held_out], conversations[len(conversations) - n_held_out :]
    return Teaching(
        lambda epoch: kept,
        lambda limit: [q for c in held_out[:limit] if (q := _question(c)) is not None],
        RefusalPattern(),
        f"{len(kept):,} conversations taught, {n_held_out:,} held out",
    )


def conversation_loader(
    teaching: Teaching, config: FinetuneConfig, tokenizer: Tokenizer, seed: int
) -> ConversationLoader:
    """Batches of what is taught."""
    return ConversationLoader(
        lambda epoch: encode_conversations(teaching.conversations(epoch), tokenizer), config.seq_len,
        config.batch_tokens, seed, tokenizer_hash=tokenizer.hash, pad_id=tokenizer.end_of_text_id, config=config.layout,
    )  # fmt: skip


def split_questions(questions: Sequence[Question]) -> dict[str, list[Question]]:
    """`counted`: what an answer can be right or wrong about by training.  The rest apart: there not to know is right.

    `never_taught`: real names without a lesson; `unrecited`: signatures that were not.
    """
    split: dict[str, list[Question]] = {"counted": [q for q in questions if q.kind not in APART]}
    for kind, group in APART.items():
        split[group] = [replace(q, kind=MADE_UP) for q in questions if q.kind == kind]
    return split


def _question(conversation: Conversation) -> Question | None:
    """A held-out conversation of one question and one answer, asked anew."""
    roles = [m.role for m in conversation.messages]
    if roles[-2:] != ["user", "assistant"] or len([r for r in roles if r != "system"]) != 2:
        return None
    question, answer = conversation.messages[-2:]
    return Question(conversation.id, question.content, (answer.content,), "conversation", "", conversation.id)
