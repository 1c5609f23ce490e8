"""The fast CPU runner: one C++ forward pass, compiled on first use."""

from glasshouse.core.native import NativeError as NativeError
from glasshouse.infer.native.choose import best_runner as best_runner
from glasshouse.infer.native.choose import torch_model as torch_model
from glasshouse.infer.native.choose import why_torch as why_torch
from glasshouse.infer.native.kernels import why_unavailable as why_unavailable
from glasshouse.infer.native.runner import NativeRunner as NativeRunner
