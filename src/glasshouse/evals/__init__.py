"""Scores with uncertainty: held-out text, question sets, and honesty about what is not known."""

from glasshouse.evals.abstention import REFUSAL_SENTENCE as REFUSAL_SENTENCE
from glasshouse.evals.abstention import RefusalPattern as RefusalPattern
from glasshouse.evals.answers import Item as Item
from glasshouse.evals.answers import QuestionResults as QuestionResults
from glasshouse.evals.answers import evaluate_questions as evaluate_questions
from glasshouse.evals.engine_model import EngineModel as EngineModel
from glasshouse.evals.language_model import LanguageModel as LanguageModel
from glasshouse.evals.language_model import Likelihood as Likelihood
from glasshouse.evals.language_model import Prompt as Prompt
from glasshouse.evals.language_model import TooLong as TooLong
from glasshouse.evals.likelihood import HeldOutResult as HeldOutResult
from glasshouse.evals.likelihood import HeldOutText as HeldOutText
from glasshouse.evals.likelihood import LikelihoodConfig as LikelihoodConfig
from glasshouse.evals.likelihood import bits_per_byte as bits_per_byte
from glasshouse.evals.questions import MADE_UP as MADE_UP
from glasshouse.evals.questions import choose_questions as choose_questions
from glasshouse.evals.questions import read_questions as read_questions
from glasshouse.evals.questions import write_questions as write_questions
from glasshouse.evals.results import write_results as write_results
from glasshouse.evals.sandbox import SandboxError as SandboxError
from glasshouse.evals.sandbox import describe_protection as describe_protection
from glasshouse.evals.scorers import SCORERS as SCORERS
from glasshouse.evals.scorers import score_all as score_all
