# SPDX-License-Identifier: Apache-2.0
"""What an output is given: an alert and its line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class AlertLike(Protocol):
    """What outputs read of an alert; engine.alert.Alert is the real one."""

    @property
    def rule(self) -> str: ...
    @property
    def priority(self) -> int: ...  # a severity, 0 to 7; syslog's number
    @property
    def source(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def ts_ns(self) -> int: ...  # since the epoch
    @property
    def message(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, object]: ...
    @property
    def hostname(self) -> str: ...


class Item(NamedTuple):
    alert: AlertLike
    line: str  # text or JSON as the configuration says, without newline
