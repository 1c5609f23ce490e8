"""The trust suite: every probe on one subject, each timed, into one record.

{"after", "size", "seconds", "probes": {name: {scores, examples, data, missing, seconds}}}
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from glasshouse.core.config import Config
from glasshouse.core.errors import suggest
from glasshouse.core.files import write_json
from glasshouse.core.terminal import Terminal
from glasshouse.evals.trust.bias import bias
from glasshouse.evals.trust.calibration import calibration
from glasshouse.evals.trust.hallucination import asked, hallucination
from glasshouse.evals.trust.memorisation import memorisation
from glasshouse.evals.trust.misuse import misuse
from glasshouse.evals.trust.privacy import privacy
from glasshouse.evals.trust.probe import Finding, Probe, Size, Subject
from glasshouse.evals.trust.robustness import robustness
from glasshouse.evals.trust.spending import spending

# In the order they run and are shown.
PROBES: Mapping[str, Probe] = {
    "hallucination": hallucination,
    "calibration": calibration,
    "bias": bias,
    "memorisation": memorisation,
    "privacy": privacy,
    "robustness": robustness,
    "misuse": misuse,
    "spending": spending,
}


class TrustConfig(Config):
    size: Size = "short"  # short: seconds after every stage; whole: minutes, narrower intervals
    probes: tuple[str, ...] = tuple(PROBES)
    data: str | None = None  # a folder with crows-pairs*.csv, winobias/, bbq/, or some of them
    policy: str | None = None  # a JSON lines file of {"harmful", "harmless"}; None: a small one that comes with it
    seed: int = Field(default=1, ge=0)

    @field_validator("probes")
    @classmethod
    def _check(cls, probes: tuple[str, ...]) -> tuple[str, ...]:
        for name in probes:
            if name not in PROBES:
                raise ValueError(f"no probe is called {name!r}.{suggest(name, PROBES)} There are: {', '.join(PROBES)}")
        if not probes or len(set(probes)) != len(probes):
            raise ValueError(f"probes are one or more, once each, of {', '.join(PROBES)}")
        return probes


def run_probes(
    subject: Subject, probes: Sequence[str] = tuple(PROBES), terminal: Terminal | None = None
) -> dict[str, tuple[Finding, float]]:
    """Finding and seconds of each probe, by its name."""
    found = {}
    with (terminal or Terminal(is_quiet=True)).task("trust", total=len(probes)) as task:
        for number, name in enumerate(probes):
            task.advance_to(number, name)
            started_at = time.perf_counter()
            finding = PROBES[name](subject)
            found[name] = (finding, time.perf_counter() - started_at)
    asked.cache_clear()  # it holds the subject, and so the model
    return found


def write_findings(path: Path, after: str, size: Size, found: Mapping[str, tuple[Finding, float]]) -> dict[str, Any]:
    """The record of the suite, written to `path`."""
    probes = {name: {**finding.to_json(), "seconds": seconds} for name, (finding, seconds) in found.items()}
    record = {"after": after, "size": size, "seconds": sum(seconds for _, seconds in found.values()), "probes": probes}
    write_json(path, record)
    return record
