"""What Prometheus is told: the one file that imports `prometheus_client`.

Rates (tokens a second) are left to Prometheus: rate(glasshouse_generated_tokens_total[1m]).  The engines' own figures
are read at the moment of the scrape.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from glasshouse.core.extras import require
from glasshouse.serve.generation import Record

require("prometheus_client", "serve", "metrics")

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE  # noqa: E402
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest  # noqa: E402
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily  # noqa: E402

if TYPE_CHECKING:
    from glasshouse.serve.served import Models

__all__ = ["CONTENT_TYPE", "Metrics"]

FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
REQUEST_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
# name, attribute of the engine's statistics, what it is, whether it only grows
ENGINE_FIGURES = (
    ("glasshouse_waiting", "n_waiting", "Sequences that wait for their first step", False),
    ("glasshouse_running", "n_running", "Sequences that are being generated", False),
    ("glasshouse_kv_blocks", "n_blocks", "Blocks of the key/value cache", False),
    ("glasshouse_kv_blocks_used", "n_used_blocks", "Blocks of the key/value cache in use", False),
    ("glasshouse_prompt_tokens", "n_prompt_tokens", "Prompt tokens taken in", True),
    ("glasshouse_cached_prompt_tokens", "n_cached_tokens", "Prompt tokens found in the prefix cache", True),
    ("glasshouse_generated_tokens", "n_generated_tokens", "Tokens generated", True),
    ("glasshouse_drafted_tokens", "n_drafted_tokens", "Tokens guessed ahead (speculation)", True),
    ("glasshouse_accepted_tokens", "n_accepted_tokens", "Tokens guessed ahead that were right", True),
    ("glasshouse_preemptions", "n_preemptions", "Sequences set back because memory was short", True),
    ("glasshouse_engine_steps", "n_steps", "Steps of the engine", True),
)


class Metrics:
    """The counters of one app (several apps in one process do not mix)."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "glasshouse_requests", "Requests answered", ["route", "status"], registry=self._registry
        )
        self._seconds = self._histogram("glasshouse_request_seconds", "Whole requests", REQUEST_S)
        self._first_token = self._histogram(
            "glasshouse_time_to_first_token_seconds", "Until the first token", FIRST_TOKEN_S
        )
        self._per_token = self._histogram(
            "glasshouse_time_per_token_seconds", "Between tokens, mean of a request", TOKEN_S
        )

    def _histogram(self, name: str, text: str, bounds: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, ["model"], registry=self._registry, buckets=bounds)

    def observe(self, route: str, status: int, seconds: float, record: Record) -> None:
        """`route` is the path as declared, never as asked: a client cannot make new series."""
        self._requests.labels(route, str(status)).inc()
        if record.model is None:
            return
        self._seconds.labels(record.model).observe(seconds)
        if (first := record.seconds_to_first_token) is not None:
            self._first_token.labels(record.model).observe(first)
        if (per_token := record.seconds_per_token) is not None:
            self._per_token.labels(record.model).observe(per_token)

    def render(self, models: "Models") -> bytes:
        registry = CollectorRegistry()
        registry.register(_EngineFigures(models))
        return bytes(generate_latest(self._registry) + generate_latest(registry))


class _EngineFigures:
    def __init__(self, models: "Models") -> None:
        self._models = models

    def collect(self) -> Iterable[Any]:
        stats = {name: served.engine.stats() for name, served in self._models.by_name.items()}
        for name, attribute, text, only_grows in ENGINE_FIGURES:
            family = (CounterMetricFamily if only_grows else GaugeMetricFamily)(name, text, labels=["model"])
            for model, figures in stats.items():
                family.add_metric([model], getattr(figures, attribute))
            yield family
