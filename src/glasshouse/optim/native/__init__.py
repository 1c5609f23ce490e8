"""Muon's iteration in C++, compiled on first use."""

from glasshouse.optim.native.orthogonalize import is_native as is_native
from glasshouse.optim.native.orthogonalize import orthogonalize_ as orthogonalize_
