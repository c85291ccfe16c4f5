# SPDX-License-Identifier: Apache-2.0
"""Health is what the agent does, not that it answers."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from falco_py.background import Background
from falco_py.reports import UNREAD_S, Reports
from falco_py.web.server import Health


@pytest.fixture
def running() -> Any:
    output = SimpleNamespace(name="http", problem="", gone=False)
    return SimpleNamespace(
        turned_s=time.monotonic(),
        quiet=SimpleNamespace(dead=False),
        now=SimpleNamespace(bundle=SimpleNamespace(rules=("a rule",))),
        hub=SimpleNamespace(outputs={"http": output}),
        reloader=SimpleNamespace(refused=False),
    )


def health(running: Any) -> Health:
    return Reports(running, Background()).health()


def test_an_agent_that_reads_with_rules_and_outputs_is_well(running: Any) -> None:
    assert health(running) == Health()


def test_nobody_reads_the_ring(running: Any) -> None:
    running.turned_s -= UNREAD_S + 1
    assert health(running).unhealthy == (f"nobody has read the kernel's events for {UNREAD_S + 1:.0f} s",)


def test_the_capture_is_dead(running: Any) -> None:
    running.quiet.dead = True
    assert health(running).unhealthy == ("the kernel does not tell events",)


def test_no_rules_are_loaded(running: Any) -> None:
    running.now.bundle.rules = ()
    assert health(running).unhealthy == ("no rules are loaded",)


def test_an_output_that_fails_and_a_refused_reload_are_no_reason_to_kill_the_agent(running: Any) -> None:
    running.hub.outputs["http"].problem = "it cannot be reached"
    running.reloader.refused = True
    assert health(running) == Health(degraded=("http output fails", "the last reload was refused"))
