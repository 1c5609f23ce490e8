"""From a budget to a recipe, with its predicted loss, time, memory, money and energy."""

from glasshouse.plan.budget import Budget as Budget
from glasshouse.plan.budget import DialConfig as DialConfig
from glasshouse.plan.budget import parse_count as parse_count
from glasshouse.plan.budget import parse_duration as parse_duration
from glasshouse.plan.cluster import ClusterConfig as ClusterConfig
from glasshouse.plan.cluster import ClusterPlan as ClusterPlan
from glasshouse.plan.cluster import plan_for_cluster as plan_for_cluster
from glasshouse.plan.devices import DEVICES as DEVICES
from glasshouse.plan.devices import Device as Device
from glasshouse.plan.devices import device_here as device_here
from glasshouse.plan.devices import find_device as find_device
from glasshouse.plan.known_laws import CHINCHILLA as CHINCHILLA
from glasshouse.plan.known_laws import SMALL as SMALL
from glasshouse.plan.ladder import Prediction as Prediction
from glasshouse.plan.ladder import Rung as Rung
from glasshouse.plan.ladder import Step as Step
from glasshouse.plan.ladder import read_fit as read_fit
from glasshouse.plan.planner import Measured as Measured
from glasshouse.plan.planner import Plan as Plan
from glasshouse.plan.planner import StagePlan as StagePlan
from glasshouse.plan.planner import Workload as Workload
from glasshouse.plan.planner import plan_for_budget as plan_for_budget
from glasshouse.plan.scaling import ScalingFit as ScalingFit
from glasshouse.plan.scaling import ScalingLaw as ScalingLaw
from glasshouse.plan.scaling import fit_scaling_law as fit_scaling_law
from glasshouse.plan.shape import shape_for as shape_for
