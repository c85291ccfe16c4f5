# SPDX-License-Identifier: Apache-2.0
"""Pods that the tests make: what trips a rule, when, and how often."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from e2e.cluster.images import BUSYBOX
from e2e.kubernetes.release import MISSING, Alert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2e.cluster.cluster import Cluster

SENSITIVE: Final = "Sensitive file opened for reading by non-trusted program"
POD_S: Final = 60.0

BEACON: Final = "Beacon"
BEACON_RULE: Final = """\
- rule: Beacon
  desc: A program that is started again and again, each time with the next number.
  condition: evt.type in (execve, execveat) and proc.name = true and proc.args startswith beacon-
  output: Beacon | args=%proc.args parent=%proc.aname[1]
  priority: NOTICE
"""
# An event is told by the first rule that matches, so there is a second program for rules of the tests.
_BEACON: Final = 'i=0; while :; do i=$((i + 1)); /bin/true "beacon-$i"; /bin/true "probe-$i"; sleep 0.2; done'


def pod(name: str, *command: str, namespace: str = "default", image: str = BUSYBOX, **more: Any) -> dict[str, Any]:
    """`more`: of its spec."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": f"{name}-container", "image": image, "command": list(command)}],
            **more,
        },
    }


def beacon(name: str = "beacon") -> dict[str, Any]:
    """Starts two programs five times a second: `true beacon-N`, for BEACON_RULE, and `true probe-N`."""
    return pod(name, "sh", "-c", _BEACON)


def facts(of: dict[str, Any]) -> dict[str, str]:
    """What alerts must say of a pod with one container, as `Alert.facts`; `of` is as the API has it."""
    (container,) = of["spec"]["containers"]
    repository, _, tag = container["image"].rpartition(":")
    return {
        "k8s_pod_name": of["metadata"]["name"],
        "k8s_ns_name": of["metadata"]["namespace"],
        "container_name": container["name"],
        "container_image_repository": repository,
        "container_image_tag": tag,
    }


def make(cluster: Cluster, *objects: dict[str, Any]) -> None:
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def started(cluster: Cluster, *pods: dict[str, Any]) -> None:
    """Makes pods; returns when they run."""
    make(cluster, *pods)
    for one in pods:
        of = one["metadata"]
        cluster.kubectl("wait", "--for=condition=Ready", f"--namespace={of['namespace']}", f"pod/{of['name']}",
                        f"--timeout={POD_S:.0f}s")  # fmt: skip


def removed(cluster: Cluster, *objects: dict[str, Any], cascade: str = "background") -> None:
    """Also what was never made. With `cascade` foreground what belongs to them has gone first."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.kubectl("delete", "--filename=-", "--ignore-not-found", f"--cascade={cascade}", text=text)


def numbers(alerts: Sequence[Alert]) -> list[int]:
    """Of the beacon's alerts, in their order."""
    return [int(alert.fields["args"].removeprefix("beacon-")) for alert in alerts if alert.title == BEACON]


def gaps(alerts: Sequence[Alert]) -> list[tuple[int, int]]:
    """Pairs of numbers of the beacon between which some are missing, or that came twice."""
    found = numbers(alerts)
    return [(before, after) for before, after in pairwise(found) if after != before + 1]


def incomplete(alerts: Sequence[Alert], wanted: dict[str, str]) -> list[Alert]:
    """Those that say anything but `wanted` of their container."""
    assert MISSING not in wanted.values()
    return [alert for alert in alerts if alert.facts() != wanted]
