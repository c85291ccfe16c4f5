# SPDX-License-Identifier: Apache-2.0
"""What becomes of an edit becomes Events of a small API server."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from falco_py.background import Background
from falco_py.kube import reporting
from falco_py.kube.access import Access
from falco_py.kube.client import Client
from falco_py.kube.reporting import MAX_MESSAGE_BYTES, Reporter
from falco_py.kube.rules import RulesMap
from tests.kube.configmaps import NAME, NAMESPACE, ApiServer
from tests.outputs.items import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WHAT = "/etc/falco/rules.d/a.yaml:3:14: rule 'one': no such field (2 errors)"
END = "what ran before goes on"
FAST_S = 0.001


class Told:
    """A reporter that runs, on a ConfigMap that is known or not."""

    def __init__(self, server: ApiServer, kubeconfig: Path, stack: ExitStack) -> None:
        self.background = Background()
        stack.callback(self.background.close)
        self.client = Client(Access(str(kubeconfig)))
        stack.callback(lambda: self.background.call(self.client.close(), 10))
        self.rules = RulesMap(self.client, NAMESPACE, NAME, lambda: None)
        self._stack = stack

    def known(self) -> Told:
        self.watch()
        until(lambda: self.rules.version)
        return self

    def watch(self) -> None:
        future = self.background.start(self.rules.watch.run())
        self._stack.callback(future.cancel)

    def reporter(self, pause_s: float = FAST_S) -> Reporter:
        made = Reporter(self.client, self.background, self.rules, "node-1", pause_s)
        future = self.background.start(made.run())
        self._stack.callback(future.cancel)
        return made


@pytest.fixture
def server() -> Iterator[ApiServer]:
    made = ApiServer().start()
    made.put({"a.yaml": "one\n"})
    yield made
    made.stop()


@pytest.fixture
def told(server: ApiServer, tmp_path: Path) -> Iterator[Told]:
    with ExitStack() as stack:
        yield Told(server, server.kubeconfig(tmp_path / "kubeconfig"), stack)


def test_a_refusal_is_a_warning_on_the_configmap(server: ApiServer, told: Told) -> None:
    told.known().reporter().refused(WHAT, END)
    until(server.written)
    (event,) = server.written()
    assert event["involvedObject"] == {
        "apiVersion": "v1", "kind": "ConfigMap", "namespace": NAMESPACE, "name": NAME, "uid": f"uid-{NAME}",
        "resourceVersion": "101",
    }  # fmt: skip
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "RulesRefused", 1)
    assert event["message"] == f"node node-1: {WHAT}; {END}"
    assert event["source"] == {"component": "falco-py", "host": "node-1"}
    assert event["reportingComponent"] == "falco-py"
    assert event["metadata"]["namespace"] == NAMESPACE
    assert event["metadata"]["name"].startswith(f"{NAME}.")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["lastTimestamp"])
    assert event["firstTimestamp"] == event["lastTimestamp"]


def test_the_same_again_raises_the_count_of_the_same_event(server: ApiServer, told: Told) -> None:
    reporter = told.known().reporter()
    for count in (1, 2, 3):
        reporter.refused(WHAT, END)
        until(lambda count=count: server.written() and server.written()[0]["count"] == count)
    assert len(server.written()) == 1
    reporter.refused("something else", END)
    until(lambda: len(server.written()) == 2)
    reporter.refused(WHAT, END)
    until(lambda: len(server.written()) == 3)


def test_one_that_the_server_has_forgotten_is_made_anew(server: ApiServer, told: Told) -> None:
    reporter = told.known().reporter()
    reporter.refused(WHAT, END)
    until(lambda: reporter.written == 1)
    server.events.clear()
    reporter.refused(WHAT, END)
    until(lambda: reporter.written == 2)
    assert [one["count"] for one in server.written()] == [1]


def test_rules_that_are_loaded_again_are_a_normal_event(server: ApiServer, told: Told) -> None:
    reporter = told.known().reporter()
    reporter.loaded("40 rules, rules generation 3, digest 0123456789ab")
    until(server.written)
    (event,) = server.written()
    assert (event["type"], event["reason"]) == ("Normal", "RulesLoaded")
    assert event["message"] == "node node-1: 40 rules, rules generation 3, digest 0123456789ab"


def test_a_flood_of_edits_is_one_event_and_then_the_last(server: ApiServer, told: Told) -> None:
    reporter = told.known().reporter(pause_s=1.0)
    reporter.refused("first", END)
    until(server.written)
    began_s = time.monotonic()
    for number in range(500):
        reporter.refused(f"edit {number}", END)
    until(lambda: len(server.written()) == 2)
    assert time.monotonic() - began_s > 0.5
    assert server.written()[1]["message"] == f"node node-1: edit 499; {END}"
    assert server.asked("POST", "events") == 2


def test_an_event_waits_for_the_watch_to_tell_of_the_configmap(server: ApiServer, told: Told) -> None:
    reporter = told.reporter()
    reporter.refused(WHAT, END)
    told.known()
    until(server.written)
    assert server.written()[0]["involvedObject"]["uid"] == f"uid-{NAME}"
    assert {path for method, path, _ in server.requests if method == "GET"} == {
        f"/api/v1/namespaces/{NAMESPACE}/configmaps"  # there is no right to get it
    }


def test_a_watch_that_tells_nothing_is_not_waited_for_for_ever(
    server: ApiServer, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "KNOWN_S", 0.05)
    told.reporter().refused(WHAT, END)
    until(server.written)
    assert "uid" not in server.written()[0]["involvedObject"]


def test_one_that_is_not_there_has_its_event_all_the_same(server: ApiServer, told: Told) -> None:
    server.delete()
    reporter = told.reporter()
    told.watch()
    reporter.refused(WHAT, END)
    until(server.written)
    assert server.written()[0]["involvedObject"] == {
        "apiVersion": "v1", "kind": "ConfigMap", "namespace": NAMESPACE, "name": NAME,
    }  # fmt: skip


def test_without_the_right_there_is_one_warning_and_nothing_else(
    server: ApiServer, told: Told, logged: Callable[[], str]
) -> None:
    server.refuse["POST", "events"] = 403
    reporter = told.known().reporter()
    reporter.refused(WHAT, END)
    until(lambda: reporter.failures == 1)
    reporter.refused("another", END)
    until(lambda: reporter.failures == 2)
    assert server.asked("POST", "events") == 2
    assert logged().count("cannot be written") == 1
    assert "it is tried again" not in logged()


def test_a_server_that_fails_gets_it_later(server: ApiServer, told: Told, logged: Callable[[], str]) -> None:
    server.refuse["POST", "events"] = 503
    reporter = told.known().reporter()
    reporter.refused(WHAT, END)
    until(lambda: reporter.failures >= 3)
    assert logged().count("cannot be written") == 1
    assert "it is tried again" in logged()
    server.refuse.clear()
    until(server.written)
    until(lambda: reporter.written == 1)


def test_what_is_newer_takes_the_place_of_what_could_not_be_written(server: ApiServer, told: Told) -> None:
    server.refuse["POST", "events"] = 503
    reporter = told.known().reporter()
    reporter.refused(WHAT, END)
    until(lambda: reporter.failures >= 1)
    reporter.loaded("rules")
    failures = reporter.failures
    until(lambda: reporter.failures > failures)
    server.refuse.clear()
    until(server.written)
    assert [one["reason"] for one in server.written()] == ["RulesLoaded"]


@pytest.mark.parametrize("what", ["x" * 5000, "ä" * 2000, "\udcff" * 3000])
def test_a_message_is_no_longer_than_the_server_takes(server: ApiServer, told: Told, what: str) -> None:
    told.known().reporter().refused(what, END)
    until(server.written)
    message = server.written()[0]["message"]
    assert len(message.encode()) <= MAX_MESSAGE_BYTES
    assert message.endswith(f"; {END}")
