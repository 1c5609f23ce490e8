"""What the model is for, as its stages say."""

from glasshouse.report.records import RunRecords
from glasshouse.report.story.moderation import moderation
from glasshouse.report.story.reward_model import reward_model
from glasshouse.report.story.whole import is_builtin, is_chat

MADE_FOR = "It was made to be looked into and learned from."


def purpose(records: RunRecords) -> str:
    if reward_model(records) and not is_chat(records):
        return (
            "Scoring answers: of two answers to the same conversation, the one with the higher score is the one that "
            "the people whose judgements it learned from would more likely prefer. " + MADE_FOR
        )
    if moderation(records):
        return "Guarding a server: it says of a text how likely it is one that should be blocked. " + MADE_FOR
    if records.stage("sft") and is_builtin(records):
        return (
            "Answering short questions about names in the Python standard library in English: what a name does, where "
            "it lives and how it is called. " + MADE_FOR
        )
    if is_chat(records):
        return "Answering questions like those it was taught with. " + MADE_FOR
    return "Continuing text like the text it was trained on. It was not fine-tuned to answer questions."
