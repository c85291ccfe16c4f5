# SPDX-License-Identifier: Apache-2.0
"""An alert becomes the body of a request: Falco's own line, or what Slack or Alertmanager takes.

Invariant: whatever the alert holds, the body is one that the receiver takes: valid JSON, names of labels as they must
be, no markup that a watched process could have written.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from ..config.keys import PRIORITIES
from ..visible import json_line, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from .item import AlertLike, Item

JSON: Final = "application/json"
TEXT: Final = "text/plain"
SLACK_CHARACTERS: Final = 40_000  # of a message; Slack cuts longer ones
_LABEL_CHARACTERS: Final = 1024
_ANNOTATION_CHARACTERS: Final = 16_384
_CUT: Final = "…"
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_ENTITY: Final = re.compile("&[a-z]*$")
_NS: Final = 1_000_000_000

_SEVERITIES: Final = ("critical", "critical", "critical", "warning", "warning", "info", "info", "info")
"""Of each priority: the words that Alertmanager's routes are commonly written for."""

_PLACES: Final = {
    "namespace": ("k8s.ns.name",),
    "pod": ("k8s.pod.name",),
    "container": ("container.name", "container.id"),
}
"""Labels, and the output fields that they are taken from, the first that has a value."""

_NOWHERE: Final = ("", "host", "<NA>")


class Body(NamedTuple):
    type: str  # Content-Type
    data: bytes


def shape(format: str, *, json_output: bool) -> Callable[[Item], Body]:
    """For each of config.keys.HTTP_FORMATS."""
    if format == "slack":
        return slack
    if format == "alertmanager":
        return alertmanager
    type = JSON if json_output else TEXT
    return lambda item: Body(type, item.line.encode("utf-8", "replace"))


def slack(item: Item) -> Body:
    text = _message(item).translate(_ESCAPES)
    if len(text) > SLACK_CHARACTERS:
        text = _ENTITY.sub("", text[: SLACK_CHARACTERS - len(_CUT)]) + _CUT
    return Body(JSON, json_line({"text": text}).encode())


def _message(item: Item) -> str:
    """The alert's text, with time and priority, and the host's name."""
    alert = item.alert
    text = ""
    if item.line.startswith("{"):
        try:
            output = json.loads(item.line).get("output")
        except ValueError:
            output = None
        text = output if isinstance(output, str) else ""
    else:
        text = item.line
    if not text:  # json_include_output_property is off
        text = f"{_rfc3339(alert.ts_ns)}: {PRIORITIES[alert.priority]} {alert.message}"
    return visible(f"{text} hostname={alert.hostname}")


def alertmanager(item: Item) -> Body:
    """For `POST /api/v2/alerts`. Alerts with equal labels are one alert there."""
    alert = item.alert
    labels = {
        "alertname": alert.rule,
        "severity": _SEVERITIES[alert.priority],
        "priority": PRIORITIES[alert.priority].lower(),
        "source": alert.source,
        "hostname": alert.hostname,
        **_places(alert),
    }
    annotations = {"summary": alert.message, "description": item.line, "tags": ",".join(sorted(alert.tags))}
    made = {
        "labels": {name: _cut(value, _LABEL_CHARACTERS) for name, value in labels.items() if value},
        "annotations": {name: _cut(value, _ANNOTATION_CHARACTERS) for name, value in annotations.items() if value},
        "startsAt": _rfc3339(alert.ts_ns),
    }
    return Body(JSON, json_line([made]).encode())


def _places(alert: AlertLike) -> dict[str, str]:
    found: dict[str, str] = {}
    for label, names in _PLACES.items():
        for name in names:
            value = alert.fields.get(name)
            if isinstance(value, str) and value not in _NOWHERE:
                found[label] = value
                break
    return found


def _cut(text: str, most: int) -> str:
    text = visible(text)
    return text if len(text) <= most else text[: most - len(_CUT)] + _CUT


def _rfc3339(ts_ns: int) -> str:
    seconds, ns = divmod(ts_ns, _NS)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{ns:09d}Z"
