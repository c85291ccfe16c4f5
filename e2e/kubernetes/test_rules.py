# SPDX-License-Identifier: Apache-2.0
"""Edits of the ConfigMap falco-rules: in force without a restart, and refused without harm."""

from __future__ import annotations

import contextlib
import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from e2e.kubernetes.release import RULES
from e2e.kubernetes.workloads import BEACON, BEACON_RULE, beacon, facts, gaps, numbers, removed, started
from e2e.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.cluster.cluster import Cluster
    from e2e.kubernetes.release import Alert, Release

WATCH_S = 5.0
VOLUME_S = 90.0
EVENT_S = 10.0
METRICS_S = 5.0
QUIET_S = 5.0
VALUES: dict[str, Any] = {"customRules": {"beacon.yaml": BEACON_RULE}, "metrics": {"enabled": True}}
# `proc.aname` is of a process that runs before the edits: it must still be known after them.
RULE = """\
- rule: {name}
  desc: A rule that comes with an edit.
  condition: evt.type in (execve, execveat) and proc.args startswith probe- and proc.aname[1] = sh
  output: {name} | args=%proc.args
  priority: NOTICE
"""


@pytest.fixture(scope="module")
def source(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Trips the rule of RULE five times a second."""
    made = beacon()
    started(cluster, made)
    yield made
    removed(cluster, made)


@pytest.fixture
def watching(release: Release, source: dict[str, Any]) -> Iterator[Release]:
    """An agent that follows the ConfigMap as the chart has it."""
    release.install(VALUES)
    release.expect(BEACON)
    yield release
    release.uninstall()


@pytest.fixture(scope="module", autouse=True)
def slow_kubelet(cluster: Cluster) -> Iterator[None]:
    """It looks after volumes as rarely as kubelets do by default, every 60 to 90 s; that of the tests every second."""
    settings = cluster.scratch / "conf" / "kubelet.yaml"
    before = settings.read_text()
    assert "syncFrequency: 1s" in before
    try:
        settings.write_text(before.replace("syncFrequency: 1s", "syncFrequency: 1m"))
        cluster.restart("kubelet")
        yield
    finally:
        settings.write_text(before)
        cluster.restart("kubelet")


def edit(release: Release, files: dict[str, str | None]) -> float:
    """As `kubectl edit` does it; when it was done, since 1970."""
    release.cluster.kubectl("patch", "configmap", RULES, f"--patch={json.dumps({'data': files})}")
    return time.time()


def in_force(release: Release, name: str, deadline_s: float) -> Alert:
    """The first alert of a rule. Raises AssertionError."""
    return release.expect(f"{name} | ", deadline_s=deadline_s)


def events(release: Release, kind: str, after_s: float) -> list[str]:
    """The messages of the Events of a kind on the ConfigMap, made at `after_s` or later."""
    selector = f"--field-selector=involvedObject.kind=ConfigMap,involvedObject.name={RULES},type={kind}"
    found = release.get("events", selector)["items"]
    begun = [
        datetime.fromisoformat(event["lastTimestamp"] or event["metadata"]["creationTimestamp"]).timestamp()
        for event in found
    ]
    return [event["message"] for event, time_s in zip(found, begun, strict=True) if time_s >= after_s]


def sample(release: Release, name: str) -> float:
    """A metric without labels."""
    (value,) = [line.split()[1] for line in release.ask("/metrics").splitlines() if line.startswith(f"{name} ")]
    return float(value)


def reach(release: Release, generation: float) -> None:
    """Returns when the metrics, which are made once a second, have this generation of the rules."""
    name = "falcosecurity_falco_py_reload_generation"
    until(lambda: sample(release, name) == generation, METRICS_S, lambda: f"{sample(release, name)}, not {generation}")


def identity(release: Release) -> tuple[str, int, float]:
    """The same as before: the agent was not started anew."""
    pod = release.pod()
    begun = sample(release, "falcosecurity_falco_start_timestamp_nanoseconds")
    return pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"], begun


def test_an_edit_is_in_force_within_seconds(
    watching: Release, source: dict[str, Any], figure: Callable[[str, str], None]
) -> None:
    before, generation = identity(watching), sample(watching, "falcosecurity_falco_py_reload_generation")
    done_s = edit(watching, {"edited.yaml": RULE.format(name="Edited")})
    alert = in_force(watching, "Edited", VOLUME_S)
    took_s = alert.time_s - done_s
    figure("an edited rule is in force, by the watch", f"{took_s:.1f} s after the edit")
    assert took_s < WATCH_S
    assert alert.facts() == facts(source)
    reach(watching, generation + 1)
    assert identity(watching) == before
    assert gaps(watching.alerts(BEACON)) == []


def test_an_edit_is_in_force_by_the_volume_alone(
    release: Release, source: dict[str, Any], figure: Callable[[str, str], None]
) -> None:
    with contextlib.ExitStack() as stack:
        stack.callback(release.uninstall)
        release.install({**VALUES, "kubernetes": {"watchRules": False, "events": False}})
        release.expect(BEACON)
        before = identity(release)
        # Kubelet looks after a pod that has just become Ready more often.
        time.sleep(QUIET_S)
        done_s = edit(release, {"edited.yaml": RULE.format(name="Edited")})
        took_s = in_force(release, "Edited", VOLUME_S).time_s - done_s
        figure("an edited rule is in force, by the volume alone", f"{took_s:.1f} s after the edit")
        assert took_s < VOLUME_S
        assert identity(release) == before
        assert gaps(release.alerts(BEACON)) == []


def test_a_broken_edit_changes_nothing_and_is_told(watching: Release, figure: Callable[[str, str], None]) -> None:
    edit(watching, {"edited.yaml": RULE.format(name="First")})
    in_force(watching, "First", VOLUME_S)
    before = identity(watching)
    generation = sample(watching, "falcosecurity_falco_py_reload_generation")
    failures = sample(watching, "falcosecurity_falco_py_reload_failures_total")
    assert watching.health() == {"status": "ok"}

    broken = RULE.format(name="Second").replace("proc.aname", "proc.anmae")
    done_s = edit(watching, {"edited.yaml": broken})
    message = until(
        lambda: next(iter(events(watching, "Warning", int(done_s))), None), VOLUME_S,
        lambda: "no Event:\n" + watching.tail(),
    )  # fmt: skip
    figure("a broken edit is told by an Event", f"{time.time() - done_s:.1f} s after the edit")
    assert watching.lines("/etc/falco/rules.d/edited.yaml:3:", "error in rule 'Second'")
    assert watching.lines("proc.anmae", "no such field")
    assert "edited.yaml:3" in message
    assert "proc.anmae" in message
    for shown in (("describe", "configmap", RULES), ("get", "events")):
        assert "edited.yaml:3" in watching.cluster.kubectl(*shown).stdout
    health = watching.health()
    assert health["status"] == "degraded"
    assert "edited.yaml:3" in json.dumps(health)
    reach(watching, generation)
    assert sample(watching, "falcosecurity_falco_py_reload_failures_total") > failures
    # The old rule goes on.
    last = numbers(watching.alerts(BEACON))[-1]
    until(lambda: any(f"args=probe-{last + 5} " in line for line in watching.lines("First | ")), VOLUME_S,
          lambda: "the old rule fires no more")  # fmt: skip

    edit(watching, {"edited.yaml": RULE.format(name="Third")})
    in_force(watching, "Third", VOLUME_S)
    until(lambda: events(watching, "Normal", int(done_s)), EVENT_S, lambda: "no Event tells that all is well again")
    assert watching.health() == {"status": "ok"}
    reach(watching, generation + 1)
    assert identity(watching) == before
    assert gaps(watching.alerts(BEACON)) == []
    ends = [alert.time_s for alert in watching.alerts("First | ")]
    assert min(alert.time_s for alert in watching.alerts("Third | ")) > max(ends)
