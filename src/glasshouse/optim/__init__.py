"""Update rules and schedules."""

from glasshouse.optim.adamw import AdamW as AdamW
from glasshouse.optim.groups import BESIDE as BESIDE
from glasshouse.optim.groups import OptimConfig as OptimConfig
from glasshouse.optim.groups import ParameterGroup as ParameterGroup
from glasshouse.optim.groups import describe_groups as describe_groups
from glasshouse.optim.groups import group_parameters as group_parameters
from glasshouse.optim.muon import Muon as Muon
from glasshouse.optim.optimizer import OptimizerSet as OptimizerSet
from glasshouse.optim.optimizer import build_optimizer as build_optimizer
from glasshouse.optim.optimizer import parameter_name as parameter_name
from glasshouse.optim.schedules import SCHEDULES as SCHEDULES
from glasshouse.optim.schedules import ScheduleConfig as ScheduleConfig
from glasshouse.optim.schedules import factor as factor
