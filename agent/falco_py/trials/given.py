# SPDX-License-Identifier: Apache-2.0
"""Values of fields that somebody wrote down become an event that conditions and outputs can read.

The rules are compiled as for the agent, over a catalogue whose fields read these values. Invariant: every value has
the type of its field; a field without a value is missing (None), and `known` tells whether that was said.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..engine.alert import clock_time
from ..rules.bundle import Default
from ..rules.literals import LiteralError, to_value
from ..rules.problems import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..fields.model import Field

EVENT_TYPE = "evt.type"
_NUMBERS = frozenset(
    ("INT64", "INT32", "INT16", "UINT64", "UINT32", "PORT", "RELTIME", "ABSTIME")
)  # what a number may be given for
_TIME_FIELDS = ("evt.time", "evt.time.iso8601", "evt.datetime")  # JSON alerts have them as nanoseconds
_MAX_NUMBER = 1 << 64
_NS = 1_000_000_000


class GivenError(Exception):
    """A value cannot be used; `hint` says what to write."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Given:
    """An event. `values`: field as a rule spells it -> typed value; a field that is there with None is known to be
    missing. `partial`: fields of several values of which only some are known. `name` is "" for an unknown type."""

    __slots__ = ("name", "partial", "ts", "values")

    def __init__(self, values: Mapping[str, Any], partial: frozenset[str] = frozenset()) -> None:
        self.values = dict(values)
        self.partial = partial
        self.name: str = self.values.get(EVENT_TYPE) or ""
        raw = self.values.get("evt.rawtime")
        self.ts: int = raw if isinstance(raw, int) else 0

    def known(self, spelling: str) -> bool:
        return spelling in self.values


class GivenCatalogue(Default):
    """The agent's fields and events, read from `Given`."""

    def __init__(self) -> None:
        super().__init__()
        self.key = None  # its fields read other values, so nothing is shared with loads of the agent
        self._own = self.lookup
        self._rows: dict[str, Field] = {}
        self.lookup: Any = self._lookup
        # Nobody is asked for the addresses of a name: a domain is given as the name that it is.
        self.ENV = {**self.ENV, "domain_match": lambda value, names: value in names, "domain_text": str}

    def original(self, spelling: str) -> tuple[Field, str | None] | None:
        found: tuple[Field, str | None] | None = self._own(spelling)
        return found

    def _lookup(self, spelling: str) -> tuple[Field, str | None] | None:
        found = self.original(spelling)
        if found is None:
            return None
        row, arg = found
        known = self._rows.get(row.name)
        if known is None:
            known = self._rows[row.name] = _reading(row)
        return known, arg


def _reading(row: Field) -> Field:
    def code(arg: str | None) -> str:
        return f"e.values.get({spelled(row, arg)!r})"

    return replace(row, code=code, print_code=None, json_code=None, pinned=False, cost_ns=50)


def spelled(row: Field, arg: str | None) -> str:
    """One spelling for each field: `evt.arg.flags` and `evt.arg[flags]` are the same."""
    return row.name if arg is None else f"{row.name}[{arg}]"


def field_of(catalogue: GivenCatalogue, written: str) -> tuple[Field, str]:
    """(row, its one spelling) of a field as it was written. Raises GivenError."""
    reason = catalogue.refused(written)
    if reason is not None:
        raise GivenError(f"`{written}` cannot be used: {reason}")
    found = catalogue.original(written)
    if found is None:
        name = written.partition("[")[0]
        raise GivenError(f"`{written}`: no such field", nearest(name, catalogue.CATALOGUE) or
                         "falco-py --list shows the fields")  # fmt: skip
    row, arg = found
    if arg is None and row.arg == "required":
        raise GivenError(f"`{written}` needs an argument, such as {row.name}[...]")
    error = row.check_arg(arg) if arg is not None and row.check_arg is not None else None
    if error is not None:
        raise GivenError(error)
    return row, spelled(row, arg)


def typed(row: Field, spelling: str, value: Any, known_events: frozenset[str]) -> Any:
    """`value` (text, number, boolean, list, None) as the field has it. Raises GivenError."""
    if value is None or (value == "<NA>" and row.type != "CHARBUF"):
        return None
    arg = spelling[len(row.name) + 1 : -1] if spelling != row.name else None
    kind = str(row.type_of(arg) if row.type_of is not None else row.type)
    if row.name in _TIME_FIELDS and isinstance(value, int):
        return _clock(value)
    many = row.is_list or (row.multi and arg is None)
    if many:
        return tuple(_one(kind, spelling, item) for item in _items(value))
    if isinstance(value, list | tuple | dict):
        raise GivenError(f"`{spelling}` has one value, not a {'mapping' if isinstance(value, dict) else 'list'}")
    made = _one(kind, spelling, value)
    if row.name in (EVENT_TYPE, "syscall.type") and made not in known_events:
        raise GivenError(f"unknown event type {made}", nearest(str(made), known_events))
    return made


def _items(value: Any) -> list[Any]:
    """A list is written as one, or as outputs print it: `(a,b)`."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str) and value.startswith("(") and value.endswith(")"):
        return value[1:-1].split(",") if len(value) > 2 else []
    return [value]


def _one(kind: str, spelling: str, value: Any) -> Any:
    if isinstance(value, list | tuple | dict) or value is None:
        raise GivenError(f"`{spelling}`: the items of the list are no plain values")
    if kind == "BOOL" and isinstance(value, bool):
        return value
    if isinstance(value, bool):
        value = "true" if value else "false"
    if kind in _NUMBERS and isinstance(value, int):
        if not -_MAX_NUMBER < value < _MAX_NUMBER:
            raise GivenError(f"`{spelling}`: {value} has more than 64 bits")
        return value
    if kind == "DOUBLE":
        try:
            return float(value)
        except ValueError:
            raise GivenError(f"`{spelling}`: {value} is not a number") from None
    text = str(value)
    if kind in _NUMBERS and text[:2].lower() in ("0x", "0o"):
        try:
            return int(text, 0)
        except ValueError:
            raise GivenError(f"`{spelling}`: {text} is not a number") from None
    try:
        return to_value(text, "IPADDR" if kind == "IPNET" else "CHARBUF" if kind == "DOMAIN" else kind, "=")
    except LiteralError as wrong:
        raise GivenError(f"`{spelling}`: {wrong.message}", wrong.hint) from None


def _clock(ts_ns: int) -> str:
    """As evt.time prints it; empty for what no clock shows."""
    try:
        return clock_time(max(0, min(ts_ns, 1 << 63)))
    except (OverflowError, OSError, ValueError):
        return ""
