"""What work costs, at every stage, in the same units."""

from glasshouse.meter.cost import Cost as Cost
from glasshouse.meter.cost import MeterConfig as MeterConfig
from glasshouse.meter.cost import price as price
from glasshouse.meter.device import DeviceProfile as DeviceProfile
from glasshouse.meter.device import available_cores as available_cores
from glasshouse.meter.device import available_memory_bytes as available_memory_bytes
from glasshouse.meter.device import measure_device as measure_device
from glasshouse.meter.device import peak_memory_bytes as peak_memory_bytes
from glasshouse.meter.meter import Meter as Meter
from glasshouse.meter.meter import predict_cost as predict_cost
