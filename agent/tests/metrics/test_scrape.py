# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes the web server and answers questions about what it found."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from falco_py.background import Background
from falco_py.config.model import WebServer as Settings
from falco_py.metrics.prometheus import Exposition
from falco_py.web.server import Health, WebServer
from tests.metrics.made import ALL, reading
from tests.metrics.scraping import found, prometheus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "a token with spaces"


@pytest.fixture
def started() -> Iterator[Callable[..., str]]:
    """Starts a web server and a Prometheus that scrapes it; gives the address of the latter."""
    with ExitStack() as stack:

        def start(directory: Path, given: str) -> str:
            background, exposition = Background(), Exposition(ALL)
            settings = Settings(
                listen_address="127.0.0.1", listen_port=0, prometheus_metrics_enabled=True, bearer_token=TOKEN
            )
            web = WebServer(settings, background, Health, dict, lambda: exposition.text(reading()))
            stack.callback(background.close)
            stack.callback(web.close)
            web.start()
            return stack.enter_context(prometheus(directory, f"127.0.0.1:{web.port}", given))

        yield start


def test_prometheus_knows_the_figures(started: Callable[..., str], tmp_path: Path) -> None:
    address = started(tmp_path, TOKEN)
    (rule,) = found(address, 'falcosecurity_falco_rules_matches_total{tag_T1555="true"}')
    assert rule["value"][1] == "5"
    assert rule["metric"]["rule_name"] == "Read sensitive file (untrusted)"
    (lost,) = found(address, "sum(falcosecurity_scap_n_drops_total) / sum(falcosecurity_scap_n_evts_total)")
    assert float(lost["value"][1]) == pytest.approx(10 / 810)
    (start,) = found(address, "falcosecurity_falco_start_timestamp_nanoseconds / 1e9")
    assert float(start["value"][1]) == 1_700_000_000
    assert [one["value"][1] for one in found(address, "up")] == ["1"]
    assert len(found(address, '{__name__=~"falcosecurity_.+"}')) > 100


def test_prometheus_with_another_token_gets_nothing(started: Callable[..., str], tmp_path: Path) -> None:
    address = started(tmp_path, "wrong")
    assert [one["value"][1] for one in found(address, "up")] == ["0"]
