# SPDX-License-Identifier: Apache-2.0
"""Alerts for outputs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from falco_py.outputs.item import Item

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Made:
    rule: str = "rule"
    priority: int = 4
    source: str = "syscall"
    tags: tuple[str, ...] = ()
    ts_ns: int = 0
    message: str = "message"
    fields: dict[str, Any] = field(default_factory=dict)
    hostname: str = "host"


def item(line: str, priority: int = 4) -> Item:
    return Item(Made(priority=priority, message=line), line)


def until(holds: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """What `holds` gives as soon as it is true. Fails after `timeout_s`."""
    ends_s = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < ends_s, "it did not become true in time"
        time.sleep(0.005)
    return found
