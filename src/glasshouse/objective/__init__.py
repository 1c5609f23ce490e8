"""One pure loss per file."""

from glasshouse.objective.answer_logps import answer_logps as answer_logps
from glasshouse.objective.answer_logps import token_logps as token_logps
from glasshouse.objective.answer_logps import token_logps_and_entropy as token_logps_and_entropy
from glasshouse.objective.classification import classification_loss as classification_loss
from glasshouse.objective.cross_entropy import cross_entropy_sum as cross_entropy_sum
from glasshouse.objective.dpo import DPOConfig as DPOConfig
from glasshouse.objective.dpo import dpo_loss as dpo_loss
from glasshouse.objective.grpo import GRPOConfig as GRPOConfig
from glasshouse.objective.grpo import group_advantages as group_advantages
from glasshouse.objective.grpo import grpo_loss as grpo_loss
from glasshouse.objective.kto import KTOConfig as KTOConfig
from glasshouse.objective.kto import balanced_range as balanced_range
from glasshouse.objective.kto import kto_loss as kto_loss
from glasshouse.objective.lm import LanguageModel as LanguageModel
from glasshouse.objective.lm import LossOutput as LossOutput
from glasshouse.objective.lm import Objective as Objective
from glasshouse.objective.lm import kernels_of as kernels_of
from glasshouse.objective.lm import lm_loss as lm_loss
from glasshouse.objective.pair import Pair as Pair
from glasshouse.objective.ppo import PPOConfig as PPOConfig
from glasshouse.objective.ppo import ppo_loss as ppo_loss
from glasshouse.objective.reward import RewardLossConfig as RewardLossConfig
from glasshouse.objective.reward import reward_loss as reward_loss
