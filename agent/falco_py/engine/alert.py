# SPDX-License-Identifier: Apache-2.0
"""A rule and its event become an alert: a line of text or of JSON, in Falco's form.

Invariant: either form is one line, whatever the values hold. In text, control characters are spelled out
(`visible`); JSON keeps the values as they are, escaped.
"""

from __future__ import annotations

import ipaddress
import math
import os
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..config.keys import PRIORITIES
from ..visible import json_line, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config import Config

_NS: Final = 1_000_000_000


def hostname() -> str:
    """The name that alerts carry: FALCO_HOSTNAME (a DaemonSet sets it to the node's name) or the machine's own."""
    return os.environ.get("FALCO_HOSTNAME") or socket.gethostname()


HOSTNAME: Final = hostname()


@dataclass(frozen=True, slots=True)
class Alert:
    """One match of one rule. `ts_ns` is the event's time, nanoseconds since the epoch; `priority` a severity 0..7."""

    rule: str
    priority: int
    source: str
    tags: tuple[str, ...]
    ts_ns: int
    message: str  # the rule's output, without time and priority
    fields: Mapping[str, object] = field(default_factory=dict)
    hostname: str = HOSTNAME

    def text(self, iso: bool = False) -> str:
        """`17:35:48.519227972: Warning message` (local time), or with the UTC date and time when `iso`."""
        return visible(self._line(iso))

    def _line(self, iso: bool) -> str:
        when = iso_time(self.ts_ns) if iso else clock_time(self.ts_ns)
        return f"{when}: {PRIORITIES[self.priority]} {self.message}"

    def json(self, config: Config) -> str:
        """The alert as one JSON object on one line, keys in alphabetical order, chosen by json_include_*."""
        iso = config.time_format_iso_8601
        made: dict[str, object] = {
            "hostname": self.hostname,
            "priority": PRIORITIES[self.priority],
            "rule": self.rule,
            "source": self.source,
            "time": utc_time(self.ts_ns),
        }
        if config.json_include_output_property:
            made["output"] = self._line(iso)
        if config.json_include_message_property:
            made["message"] = self.message
        if config.json_include_output_fields_property:
            fields = {key: plain(value) for key, value in self.fields.items()}
            fields["evt.time.iso8601" if iso else "evt.time"] = self.ts_ns
            made["output_fields"] = fields
        if config.json_include_tags_property:
            made["tags"] = sorted(self.tags)
        return json_line(made)

    def line(self, config: Config) -> str:
        """The alert in the form that the configuration asks for."""
        return self.json(config) if config.json_output else self.text(config.time_format_iso_8601)


@dataclass(frozen=True, slots=True)
class InternalAlert(Alert):
    """What the agent has to say of itself. `fields` are texts; text alerts show them, JSON has no tags."""

    def _line(self, iso: bool) -> str:
        when = iso_time(self.ts_ns) if iso else clock_time(self.ts_ns)
        fields = " ".join(f"{key}={json_line(value)}" for key, value in sorted(self.fields.items()))
        return f"{when}: {PRIORITIES[self.priority]} {self.message} ({fields})"

    def json(self, config: Config) -> str:
        return json_line({
            "hostname": self.hostname,
            "output": self.message,
            "output_fields": dict(self.fields),
            "priority": PRIORITIES[self.priority],
            "rule": self.rule,
            "source": self.source,
            "time": utc_time(self.ts_ns),
        })  # fmt: skip


def clock_time(ts_ns: int) -> str:
    """`HH:MM:SS.nnnnnnnnn`, local."""
    seconds, ns = divmod(ts_ns, _NS)
    t = time.localtime(seconds)
    return f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}.{ns:09d}"


def _date_time(ts_ns: int) -> str:
    seconds, ns = divmod(ts_ns, _NS)
    t = time.gmtime(seconds)
    return f"{t.tm_year:04d}-{t.tm_mon:02d}-{t.tm_mday:02d}T{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}.{ns:09d}"


def iso_time(ts_ns: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.nnnnnnnnn+0000`, as text alerts have it."""
    return _date_time(ts_ns) + "+0000"


def utc_time(ts_ns: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ`, as JSON has it."""
    return _date_time(ts_ns) + "Z"


def plain(value: object) -> object:
    """`value` as what JSON can hold."""
    if value is None or isinstance(value, str | int):  # bool is an int
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return str(value)
    return str(value)
