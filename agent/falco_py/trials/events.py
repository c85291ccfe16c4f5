# SPDX-License-Identifier: Apache-2.0
"""Events that were written down become `Given` events: alerts as the agent prints them, recordings, or plain values.

Invariant: a value of a field that does not exist or of the wrong type is a `FileError` with its place; what an alert
holds beside fields (names that `append_output` made) is left out and named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..rules.problems import nearest
from .documents import FileError, Value, beginning, documents
from .facts import completed
from .given import EVENT_TYPE, Given, GivenCatalogue, GivenError, field_of, typed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..rules.places import Where

_ALERT = "output_fields"
_ALERT_KEYS = frozenset(("rule", "priority", "output", "source", "time", "hostname", "tags", "message", "uuid"))


@dataclass(frozen=True, slots=True)
class Written:
    """An event as it was written. `rule`: of an alert, the rule that it is about; `ignored`: what is no field."""

    values: dict[str, Any]
    where: Where
    rule: str = ""
    ignored: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        place = self.where[1]
        return f"{place.file}:{place.line}"

    def given(self, *, assume: bool, event_type: str | None = None) -> Given:
        values = dict(self.values)
        if event_type is not None:
            values.setdefault(EVENT_TYPE, event_type)
        return Given(*completed(values, assume=assume))


def read_events(file: str, text: str, catalogue: GivenCatalogue) -> list[Written]:
    """Raises FileError."""
    made: list[Written] = []
    for document in documents(file, text):
        several = document.plain if isinstance(document.plain, list) else [document]
        made += [event_of(one, catalogue) for one in several]
    if not made:
        raise FileError(beginning(file, text), "there is no event in this file",
                          "write one event a line as JSON, or fields and values as YAML")  # fmt: skip
    return made


def event_of(value: Value, catalogue: GivenCatalogue, defaults: dict[str, Any] | None = None) -> Written:
    """Raises FileError."""
    if not isinstance(value.plain, dict):
        raise FileError(value.where, "an event is a mapping of fields to values, such as 'proc.name: cat'")
    inner = value.plain.get(_ALERT)
    if inner is None or not isinstance(inner.plain, dict):
        return Written({**(defaults or {}), **_values(value, catalogue)}, value.where)
    rule = value.plain["rule"].plain if "rule" in value.plain else ""
    ignored: list[str] = []
    values = _values(inner, catalogue, ignored)
    return Written({**(defaults or {}), **values}, value.where, str(rule or ""), tuple(ignored))


def _values(mapping: Value, catalogue: GivenCatalogue, ignored: list[str] | None = None) -> dict[str, Any]:
    """`ignored` takes the names that are no fields; without it they are mistakes."""
    made: dict[str, Any] = {}
    for written, value in mapping.plain.items():
        where = mapping.keys[written] if mapping.keys else value.where
        try:
            row, spelling = field_of(catalogue, written)
        except GivenError as wrong:
            if ignored is not None:
                ignored.append(written)
                continue
            hint = wrong.hint
            if written in _ALERT_KEYS:
                hint = f"'{written}' is a key of an alert; an alert also has '{_ALERT}'"
            raise FileError(where, wrong.message, hint) from None
        try:
            plain = value.bare()
            if ignored is not None and row.print_format == "HEX" and isinstance(plain, str):
                plain = f"0x{plain}"  # as alerts print it
            made[spelling] = typed(row, spelling, plain, catalogue.known_events)
        except GivenError as wrong:
            raise FileError(value.where, wrong.message, wrong.hint) from None
    return made


def chosen_type(name: str, catalogue: GivenCatalogue) -> str:
    """Raises GivenError for a type that no event has."""
    if name in catalogue.universe:
        return name
    raise GivenError(f"unknown event type {name}", nearest(name, catalogue.universe))


def types_of(events: Sequence[Written]) -> frozenset[str]:
    return frozenset(name for one in events if isinstance(name := one.values.get(EVENT_TYPE), str))
