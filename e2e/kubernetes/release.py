# SPDX-License-Identifier: Apache-2.0
"""The chart becomes an agent on the cluster's node, and the lines of its log become alerts.

It is used as people use it: helm, and kubectl in the namespace `default`. Invariant: `uninstall` leaves nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from e2e.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from e2e.cluster.cluster import Cluster

CHART: Final = Path(__file__).resolve().parents[2] / "charts" / "falco-py"
NAME: Final = "falco-py"
RULES: Final = "falco-rules"
MISSING: Final = "<NA>"
READY_S: Final = 90.0
LINE_S: Final = 20.0
FACTS: Final = ("k8s_pod_name", "k8s_ns_name", "container_name", "container_image_repository", "container_image_tag")
"""Of a container, as every alert in text has them."""

_ALERT: Final = re.compile(r"(?P<time>\d{4}-\d\d-\d\dT[\d:.]+[+-]\d{4}): (?P<priority>[A-Z][a-z]+) (?P<text>.+ \| .+)")
_FIELD: Final = re.compile(r"(?:^| )([a-z][a-z0-9_.]*(?:\[[^\]]*\])?)=(.*?)(?= [a-z][a-z0-9_.]*(?:\[[^\]]*\])?=|$)")
_SELECTOR: Final = f"--selector=app={NAME}"


@dataclass(frozen=True)
class Alert:
    """`time_s`: of the event, since 1970; `title`: what is said before the fields, which have their names of the
    text, such as k8s_pod_name.
    """

    time_s: float
    title: str
    fields: dict[str, str]

    def facts(self) -> dict[str, str]:
        return {name: self.fields.get(name, "not printed") for name in FACTS}


def parsed(line: str) -> Alert | None:
    """None for what is no alert."""
    found = _ALERT.fullmatch(line.strip())
    if found is None:
        return None
    title, _, rest = found["text"].partition(" | ")
    time_s = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", found["time"])).timestamp()
    return Alert(time_s, title, dict(_FIELD.findall(rest)))


class Release:
    """One release of the chart, in the namespace `default`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    # Life

    def install(self, values: Mapping[str, Any] | None = None) -> None:
        """Returns when the agent is Ready."""
        self._helm("install", values or {})

    def upgrade(self, values: Mapping[str, Any]) -> None:
        """To these values; returns when the agent, or its successor, is Ready."""
        self._helm("upgrade", values)
        self.ready()

    def ready(self) -> None:
        self.cluster.kubectl("rollout", "status", f"daemonset/{NAME}", f"--timeout={READY_S:.0f}s",
                             timeout_s=2 * READY_S)  # fmt: skip

    def uninstall(self, *, rules: bool = True) -> None:
        """Also when there is none; with `rules` those that people edited go as well."""
        self.cluster.helm("uninstall", NAME, "--wait", "--ignore-not-found")
        self.cluster.kubectl("wait", "--for=delete", "pod", _SELECTOR, "--timeout=60s", timeout_s=90)
        if rules:
            self.cluster.kubectl("delete", "configmap", RULES, "--ignore-not-found")

    def _helm(self, verb: str, values: Mapping[str, Any]) -> None:
        self.cluster.helm(verb, NAME, str(CHART), "--values=-", "--wait", f"--timeout={READY_S:.0f}s",
                          text=json.dumps(values), timeout_s=2 * READY_S)  # fmt: skip

    # The agent

    def pod(self) -> dict[str, Any]:
        """The agent's, of those that are not about to end. Raises AssertionError."""
        found = self.get("pods", _SELECTOR)["items"]
        (one,) = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        made: dict[str, Any] = one
        return made

    def get(self, *words: str) -> Any:
        """Objects, as kubectl has them."""
        return json.loads(self.cluster.kubectl("get", *words, "--output=json").stdout)

    def ask(self, path: str) -> str:
        """What the agent's web server answers, through the API server."""
        name = self.pod()["metadata"]["name"]
        return self.cluster.kubectl("get", f"--raw=/api/v1/namespaces/default/pods/{name}:8765/proxy{path}").stdout

    def health(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ask("/healthz"))
        return answer

    def lines(self, *texts: str) -> list[str]:
        """The lines of the log that have all of these."""
        said = self.cluster.kubectl("logs", _SELECTOR, "--tail=-1").stdout.splitlines()
        return [line for line in said if all(text in line for text in texts)]

    def alerts(self, *texts: str) -> list[Alert]:
        return [alert for line in self.lines(*texts) if (alert := parsed(line)) is not None]

    def expect(self, *texts: str, act: Callable[[], object] = lambda: None, deadline_s: float = LINE_S) -> Alert:
        """The first alert with all of `texts`; `act` is done until it is there. Raises AssertionError."""

        def look() -> Alert | None:
            act()
            return next(iter(self.alerts(*texts)), None)

        return until(look, deadline_s, lambda: f"no alert with {texts}:\n{self.tail()}")

    def tail(self) -> str:
        """The last of what the agent says of itself, and of its alerts."""
        said = self.lines()
        own = [line for line in said if parsed(line) is None]
        return "\n".join([*own[-20:], "...", *said[-3:]])
