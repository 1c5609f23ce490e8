"""Raw text in, clean text out, every removal recorded with its reason."""

from glasshouse.corpus.build import CorpusConfig as CorpusConfig
from glasshouse.corpus.build import CorpusSummary as CorpusSummary
from glasshouse.corpus.build import read_documents as read_documents
from glasshouse.corpus.build import run_corpus as run_corpus
from glasshouse.corpus.conversations import read_conversations as read_conversations
from glasshouse.corpus.pipeline import STEPS as STEPS
from glasshouse.corpus.pipeline import Pipeline as Pipeline
from glasshouse.corpus.problem import Problem as Problem
from glasshouse.corpus.reader import read as read
from glasshouse.corpus.step import KeyStep as KeyStep
from glasshouse.corpus.step import MapStep as MapStep
from glasshouse.corpus.step import Step as Step
