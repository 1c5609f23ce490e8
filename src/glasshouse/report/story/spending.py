"""What every stage cost."""

from dataclasses import dataclass
from typing import Any

from glasshouse.report.records import Record, RunRecords
from glasshouse.report.story.whole import total_cost, total_seconds
from glasshouse.report.units import (
    NO_VALUE,
    format_co2,
    format_energy,
    format_flops,
    format_money,
    format_seconds,
)


@dataclass(frozen=True)
class CostRow:
    stage: str
    seconds: float
    share: float  # percent of the longest
    time: str
    flops: str
    energy: str
    money: str
    co2: str
    is_total: bool = False


def costs(records: RunRecords) -> list[CostRow]:
    spent = [stage for stage in records.stages if stage.cost or stage.seconds]
    if not spent:
        return []
    longest = max(stage.seconds or 0 for stage in spent) or 1.0
    rows = [_cost_row(stage.name, stage.cost, stage.seconds or 0, longest) for stage in spent]
    other_s = total_seconds(records) - sum(stage.seconds or 0 for stage in spent)
    if other_s > 0.5:
        rows.append(_cost_row("everything else", {}, other_s, longest))
    total = _cost_row("together", total_cost(records), total_seconds(records), longest)
    return [*rows, CostRow(**{**total.__dict__, "is_total": True, "share": 0.0})]


def _cost_row(name: str, cost: Record, seconds: float, longest: float) -> CostRow:
    def shown(key: str, form: Any) -> str:
        return form(cost[key]) if cost.get(key) else NO_VALUE

    return CostRow(
        name, seconds, 100 * seconds / longest, format_seconds(seconds), shown("flops", format_flops),
        shown("joules", format_energy), shown("usd", format_money), shown("co2_g", format_co2),
    )  # fmt: skip
