"""Numbers as a person reads them.  Every function takes SI units and gives plain text, never markup."""

from glasshouse.core.terminal import format_bytes as format_bytes
from glasshouse.core.terminal import format_count as format_count
from glasshouse.core.terminal import format_seconds as format_seconds

NO_VALUE = "–"


def format_share(value: float, digits: int = 0) -> str:
    """`format_share(0.934)` -> `93 %`.  Nearly all and nearly none are not rounded to all and none."""
    percent = 100 * value
    if digits == 0 and (0 < percent < 1 or 99 < percent < 100):
        digits = 1
    return f"{percent:.{digits}f} %"


def format_score(value: float, unit: str) -> str:
    """A score by its unit: shares as percent, everything else with three figures."""
    return format_share(value) if is_share(unit) else f"{value:.3g}"


def format_number(value: float) -> str:
    """Three figures, with a true minus: `format_number(-0.0312)` -> `−0.0312`."""
    return f"{value:.3g}".replace("-", "−")


def format_interval(low: float, high: float, unit: str) -> str:
    """`format_interval(0.91, 0.953, "share")` -> `91–95`."""
    if is_share(unit):
        digits = 1 if high - low < 0.01 else 0
        return f"{100 * low:.{digits}f}–{100 * high:.{digits}f}"
    return f"{low:.3g}–{high:.3g}"


def is_share(unit: str) -> bool:
    return unit in ("", "share", "fraction", "%")


def format_energy(joules: float) -> str:
    """Watt-hours from 360 J on, because that is how electricity is sold."""
    if joules < 360:
        return f"{joules:.0f} J" if joules >= 10 else f"{joules:.1f} J"
    if joules < 3.6e6:
        hours = joules / 3600
        return f"{hours:.2g} Wh" if hours < 1 else f"{hours:.1f} Wh" if hours < 10 else f"{hours:.0f} Wh"
    return f"{joules / 3.6e6:.3g} kWh"


def format_money(usd: float) -> str:
    if usd >= 1:
        return f"${usd:,.2f}"
    cents = 100 * usd
    if 0 < cents < 0.001:
        return "<0.001 ¢"
    return f"{cents:.2g} ¢" if 0 < cents < 10 else f"{cents:.0f} ¢" if cents else "$0"


def format_co2(grams: float) -> str:
    return f"{grams:.2g} g" if grams < 100 else f"{grams:.0f} g" if grams < 1000 else f"{grams / 1000:.3g} kg"


def format_flops(flops: float) -> str:
    """`format_flops(3.2e13)` -> `32 TFLOP`."""
    count, _, unit = format_count(flops).partition(" ")
    return f"{count} {unit}FLOP" if flops else NO_VALUE


def plural(count: int, thing: str) -> str:
    """`plural(1, "document")` -> `1 document`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
