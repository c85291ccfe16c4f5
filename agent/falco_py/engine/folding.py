# SPDX-License-Identifier: Apache-2.0
"""Repeats of an alert become one alert that tells how often it came.

The first goes out at once; those that follow within the interval are counted, and at its end the last of them goes out
with their number. Invariant: no alert vanishes: each is told or counted in one that is; at most MAX_GROUPS are held,
and what comes beyond them is told at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from .alert import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..config.model import Folding as Settings
    from .alert import Alert

MAX_GROUPS: Final = 4096
REPEATS: Final = "falco_py.repeats"
"""The output field that holds how many alerts this one stands for."""


class _Group:
    __slots__ = ("count", "ends_s", "last")

    def __init__(self, ends_s: float) -> None:
        self.ends_s = ends_s
        self.count = 0
        self.last: Alert | None = None


class Folding:
    """`folded` counts the alerts that were not told one by one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folded = 0
        self._groups: dict[Any, _Group] = {}  # the oldest first: all live equally long

    def is_repeat(self, alert: Alert, now_s: float) -> bool:
        """Whether the alert is counted and needs not be told."""
        key = self._key(alert)
        group = self._groups.get(key)
        if group is None or now_s >= group.ends_s:
            if group is None and len(self._groups) < MAX_GROUPS:
                self._groups[key] = _Group(now_s + self.settings.interval_s)
            return False
        group.count += 1
        group.last = alert
        self.folded += 1
        return True

    def _key(self, alert: Alert) -> Any:
        if not self.settings.by:
            return alert.rule, alert.message
        fields = alert.fields
        return (alert.rule, *(str(plain(fields.get(name))) for name in self.settings.by))

    def due(self, now_s: float) -> Iterator[Alert]:
        """What is to be told of groups whose time is over."""
        while self._groups:
            key, group = next(iter(self._groups.items()))
            if now_s < group.ends_s:
                return
            yield from self._summed(key)

    def rest(self) -> Iterator[Alert]:
        """What is to be told of all groups, at the end."""
        while self._groups:
            yield from self._summed(next(iter(self._groups)))

    def _summed(self, key: Any) -> Iterator[Alert]:
        group = self._groups.pop(key)
        if group.last is not None:
            again = f" (and {group.count} more like this in {self.settings.interval_s:g} s)"
            yield replace(
                group.last, message=group.last.message + again, fields={**group.last.fields, REPEATS: group.count}
            )
