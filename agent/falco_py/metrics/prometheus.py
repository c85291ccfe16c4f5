# SPDX-License-Identifier: Apache-2.0
"""A Reading becomes the text that Prometheus scrapes (format 0.0.4).

Imported only where metrics are served: prometheus_client takes some megabytes. Invariant: no series stands in the text
twice and all of it is UTF-8, whatever names rules and files have.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from .table import METRICS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric as Family

    from ..config.model import Metrics
    from .reading import Reading
    from .table import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4"


class Exposition:
    """`text` may be called from any thread."""

    def __init__(self, settings: Metrics) -> None:
        self._metrics = [metric for metric in METRICS if metric.name and metric.switch.on(settings)]
        self._settings = settings
        self._reading: Reading | None = None
        self._lock = threading.Lock()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self, reading: Reading) -> tuple[bytes, str]:
        """The text and its content type."""
        with self._lock:
            self._reading = reading
            try:
                return generate_latest(self._registry), CONTENT_TYPE
            finally:
                self._reading = None

    def describe(self) -> Iterable[Family]:
        """For the registry: names are not reserved there, so none is told."""
        return ()

    def collect(self) -> Iterator[Family]:
        """For the registry."""
        if self._reading is not None:
            for metric in self._metrics:
                yield from _families(metric, self._settings, self._reading)


def _families(metric: Metric, settings: Metrics, reading: Reading) -> Iterable[Family]:
    families: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for name, labels, value in metric.exposed(settings, reading):
        series = families.setdefault(name, {})
        key = tuple(sorted((label, _encodable(text)) for label, text in labels.items()))
        series[key] = value if metric.kind is Kind.INFO else series.get(key, 0) + value
    for name, series in families.items():
        made: Family
        if metric.kind is Kind.COUNTER:
            made = CounterMetricFamily(name, metric.help)
        else:
            made = GaugeMetricFamily(name, metric.help)
        for labels_of, value in series.items():
            made.add_sample(name, dict(labels_of), value)
        yield made


def _encodable(text: str) -> str:
    """Names from files may hold bytes that are no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
