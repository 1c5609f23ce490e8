"""One pure loss per file."""

from glasshouse.objective.cross_entropy import cross_entropy_sum as cross_entropy_sum
from glasshouse.objective.lm import LanguageModel as LanguageModel
from glasshouse.objective.lm import LossOutput as LossOutput
from glasshouse.objective.lm import Objective as Objective
from glasshouse.objective.lm import lm_loss as lm_loss
