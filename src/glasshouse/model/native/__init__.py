"""The decoder's forward and backward pass in C++, compiled on first use: training on CPU without torch's detours."""

from glasshouse.model.native.choose import Kernels as Kernels
from glasshouse.model.native.choose import computes_in_autocast as computes_in_autocast
from glasshouse.model.native.choose import is_native as is_native
from glasshouse.model.native.choose import why_torch as why_torch
from glasshouse.model.native.function import hidden_states as hidden_states
from glasshouse.model.native.kernels import why_no_bf16 as why_no_bf16
from glasshouse.model.native.kernels import why_unavailable as why_unavailable
