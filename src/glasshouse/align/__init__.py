"""Learn from preferences and rewards."""

from glasshouse.align.alarms import AlarmConfig as AlarmConfig
from glasshouse.align.best_of_n import BestOfNConfig as BestOfNConfig
from glasshouse.align.best_of_n import best_of_n as best_of_n
from glasshouse.align.best_of_n import run_best_of_n as run_best_of_n
from glasshouse.align.online import OnlineConfig as OnlineConfig
from glasshouse.align.online import train_on_rewards as train_on_rewards
from glasshouse.align.preference_training import PreferenceTrainingConfig as PreferenceTrainingConfig
from glasshouse.align.preference_training import train_on_preferences as train_on_preferences
from glasshouse.align.rejection import RejectionConfig as RejectionConfig
from glasshouse.align.rejection import train_on_best_answers as train_on_best_answers
from glasshouse.align.reward_model import RewardModel as RewardModel
from glasshouse.align.reward_quality import judge_reward_model as judge_reward_model
from glasshouse.align.reward_training import RewardTrainingConfig as RewardTrainingConfig
from glasshouse.align.reward_training import train_reward_model as train_reward_model
from glasshouse.align.rewards import REWARDS as REWARDS
from glasshouse.align.rewards import Exchange as Exchange
from glasshouse.align.rewards import Reward as Reward
from glasshouse.align.rewards import describe_reward as describe_reward
from glasshouse.align.rewards import make_reward as make_reward
from glasshouse.align.rewards import reward_models as reward_models
from glasshouse.align.rollout import Prompt as Prompt
from glasshouse.align.rollout import RolloutConfig as RolloutConfig
from glasshouse.align.value_head import ValueHead as ValueHead
