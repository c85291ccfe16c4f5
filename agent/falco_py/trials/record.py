# SPDX-License-Identifier: Apache-2.0
"""Events of the kernel become lines of JSON with the values of their fields, for explanations and tests of rules.

Environments, which hold passwords, are left out unless a rule reads them. Invariant: what is written can be read again
by `events`; no more than `most` events are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine.alert import plain
from ..fields import catalogue
from ..rules.checks import checks, fields
from ..rules.syntax import spelled
from ..visible import json_line
from .given import spelled as one_spelling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..events.event import Event
    from ..fields.model import Field
    from ..rules.bundle import Rule

# Told by tables or with a memory of their own, or not to be written down unasked.
_LEFT_OUT = frozenset(("util.cnt", "proc.env", "proc.aenv", "fd.types", "proc.fdopencount", "evt.info"))
_LATE = ("proc.stdin", "proc.stdout", "proc.stderr")  # read from /proc, for the rules that ask


def read_by(rules: Iterable[Rule]) -> frozenset[str]:
    """The fields that conditions and outputs read, as they are written."""
    found = {spelled(expr) for rule in rules for check in checks(rule.tree) for expr in fields(check)}
    return frozenset(found | {key for rule in rules for key in rule.format.keys})


def _usual() -> list[str]:
    return [
        row.name
        for row in catalogue.CATALOGUE.values()
        if row.source in ("syscall", "any") and row.arg != "required" and not row.pinned and not row.deprecated
        and row.klass not in ("json", "k8s_audit") and row.type != "DOMAIN"
        and row.name not in _LEFT_OUT and not row.name.startswith(_LATE)
    ]  # fmt: skip


class Recorder:
    """`wanted`: fields that rules read, beside the usual ones. `write` gets a line an event."""

    def __init__(self, wanted: Iterable[str], write: Callable[[str], None], most: int) -> None:
        self.write = write
        self.most = most
        self.count = 0
        self.full: Callable[[], None] = lambda: None  # called when enough was written
        self._last = 0
        self._getters: dict[str, Callable[[Event], Any]] = {}
        for written in (*_usual(), *sorted(wanted)):
            found = catalogue.lookup(written)
            if found is not None and not found[0].pinned and found[0].type != "DOMAIN":
                self._add(*found)

    def _add(self, row: Field, arg: str | None) -> None:
        if arg is None and row.arg == "required":
            return
        key = one_spelling(row, arg)
        if key not in self._getters:
            self._getters[key] = eval(f"lambda e: {row.code(arg)}", dict(catalogue.ENV))

    def matcher(self, rules: Callable[[Event], Any] | None, firing: bool) -> Callable[[Event], Any]:
        """What the loop calls instead of the matcher `rules`; `firing`: only events that one fires on are written."""

        def record(event: Event) -> None:
            if event.num == self._last or self.count >= self.most:
                return
            if firing and (rules is None or not rules(event)):
                return
            self._last = event.num
            self.count += 1
            self.write(json_line(self.of(event)))
            if self.count >= self.most:
                self.full()

        return record

    def of(self, event: Event) -> dict[str, Any]:
        """Field -> what JSON can hold; None for a missing value."""
        made = {name: plain(read(event)) for name, read in self._getters.items()}
        for param in event.row.params:
            if not param.name.startswith("_"):
                key = f"evt.arg[{param.name}]"
                if key not in self._getters:
                    self._add(*catalogue.lookup(f"evt.arg.{param.name}"))  # type: ignore[misc]
                made[key] = plain(self._getters[key](event))
        return made
