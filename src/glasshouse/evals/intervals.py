"""How sure a mean is; the house's own file for it is `core/intervals.py`, which feedback and report use too."""

from glasshouse.core.intervals import bootstrap_interval as bootstrap_interval
from glasshouse.core.intervals import proportion_intervals as proportion_intervals
from glasshouse.core.intervals import wilson_interval as wilson_interval
