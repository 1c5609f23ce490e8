"""C++ kernels compiled on first use: building them, and the vectors and matrix products they share."""

from glasshouse.core.native.build import NativeError as NativeError
from glasshouse.core.native.build import is_available as is_available
from glasshouse.core.native.build import library as library
