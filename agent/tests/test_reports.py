# SPDX-License-Identifier: Apache-2.0
"""Health is what the agent does, not that it answers."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from falco_py.background import Background
from falco_py.reports import UNREAD_S, Reports
from falco_py.ruleset import LeftOut, Mistake
from falco_py.web.server import Health


@pytest.fixture
def running() -> Any:
    output = SimpleNamespace(name="http", problem="", gone=False)
    return SimpleNamespace(
        turned_s=time.monotonic(),
        quiet=SimpleNamespace(dead=False),
        now=SimpleNamespace(bundle=SimpleNamespace(rules=("a rule",)), left_out=(), rules_digest="0123456789ab"),
        hub=SimpleNamespace(outputs={"http": output}),
        reloader=SimpleNamespace(refused=False, done=3),
        refusal="",
        old_link=False,
        link=None,
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
    running.refusal = "/etc/falco/rules.d/a.yaml:3:7: unknown field"
    assert health(running) == Health(
        degraded=("http output fails", "the last reload was refused: /etc/falco/rules.d/a.yaml:3:7: unknown field")
    )


def test_rules_files_that_are_left_out_are_named(running: Any) -> None:
    running.now.left_out = (LeftOut("/a.yaml", Mistake("/a.yaml:1:2", "no such field", 3)),)
    assert health(running).degraded == ("/a.yaml is left out: /a.yaml:1:2: no such field (3 errors)",)


def test_a_section_that_counts_from_the_next_start_on_is_told(running: Any) -> None:
    running.old_link = True
    assert health(running).degraded == ("kubernetes in falco.yaml is another than at the start, which counts",)


def test_an_api_server_that_cannot_be_watched_is_told_without_its_address(running: Any) -> None:
    running.link = SimpleNamespace(problem="pods: Unreachable: https://192.0.2.1")
    assert health(running).degraded == ("the API server cannot be watched",)


def test_versions_tell_which_rules_run(running: Any) -> None:
    versions = Reports(running, Background()).versions()
    assert (versions["rules_generation"], versions["rules_digest"]) == (3, "0123456789ab")
