"""The head and its softmax in C++, compiled on first use."""

from glasshouse.objective.native.head import is_native as is_native
from glasshouse.objective.native.head import log_probabilities as log_probabilities
from glasshouse.objective.native.head import loss_and_gradients as loss_and_gradients
