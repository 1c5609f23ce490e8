"""The one loop: next batch, loss, backward, step, record, save, resume."""

from glasshouse.train.checks import check_corpus as check_corpus
from glasshouse.train.config import TrainConfig as TrainConfig
from glasshouse.train.evaluation import held_out_loss as held_out_loss
from glasshouse.train.gradient import add_gradient as add_gradient
from glasshouse.train.gradient import computing_in as computing_in
from glasshouse.train.guard import GuardConfig as GuardConfig
from glasshouse.train.interrupt import Interrupted as Interrupted
from glasshouse.train.progress import TrainResult as TrainResult
from glasshouse.train.progress import TrainState as TrainState
from glasshouse.train.trainer import Trainer as Trainer
