# SPDX-License-Identifier: Apache-2.0
"""What is wrong with rules becomes problems: a code, a place, a message and a remedy.

Invariant: problems are collected, never raised one at a time; the loader raises a single `RulesError` that holds
all of them. Codes and their phrases are Falco's.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .places import Where

Severity = Literal["error", "warning"]

PHRASES = {
    "LOAD_ERR_YAML_PARSE": "YAML parse error",
    "LOAD_ERR_YAML_VALIDATE": "Error validating internal structure of YAML file",
    "LOAD_ERR_COMPILE_CONDITION": "Error compiling condition",
    "LOAD_ERR_COMPILE_OUTPUT": "Error compiling output",
    "LOAD_ERR_VALIDATE": "Error validating rule/macro/list/exception objects",
    "LOAD_UNKNOWN_SOURCE": "Unknown event source",
    "LOAD_UNSAFE_NA_CHECK": "Unsafe <NA> comparison in condition",
    "LOAD_NO_EVTTYPE": "Condition has no event-type restriction",
    "LOAD_UNKNOWN_FILTER": "Unknown field or event-type in condition or output",
    "LOAD_UNUSED_MACRO": "Unused macro",
    "LOAD_UNUSED_LIST": "Unused list",
    "LOAD_UNKNOWN_ITEM": "Unknown rules file item",
    "LOAD_DEPRECATED_ITEM": "Used deprecated item",
    "LOAD_APPEND_NO_VALUES": "Overriding/appending with no values",
    "LOAD_EXCEPTION_NAME_NOT_UNIQUE": "Multiple exceptions defined with the same name",
    "LOAD_INVALID_MACRO_NAME": "Invalid macro name",
    "LOAD_INVALID_LIST_NAME": "Invalid list name",
    "LOAD_COMPILE_CONDITION": "Warning in rule condition",
    "LOAD_UNKNOWN_KEY": "Unknown key in item definition",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. `line` and `column` count from 1, `offset` from 0; `snippet` is the line and a caret, or empty.

    `item_type` and `item_name` name the rule, macro or list it was found in.
    """

    severity: Severity
    code: str
    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    snippet: str = ""
    item_type: str = ""
    item_name: str = ""
    offset: int = 0

    @property
    def phrase(self) -> str:
        return PHRASES.get(self.code, self.code)

    def __str__(self) -> str:
        item = f" in {self.item_type} '{self.item_name}'" if self.item_name else ""
        lines = [f"{self.file}:{self.line}:{self.column}: {self.severity}{item}"]
        lines += ["    " + line for line in self.snippet.splitlines()]
        lines.append(f"    {self.code} ({self.phrase}): {self.message}")
        if self.hint:
            lines.append(f"    {self.hint}")
        return "\n".join(lines)


class RulesError(Exception):
    """The rules cannot be loaded; `problems` holds every error and warning found, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem inside a text, before it is known which item the text belongs to.

    `unknown` marks what `skip-if-unknown-filter` forgives. `code` of an error says only what kind of text it is in.
    """

    at: int
    message: str
    hint: str = ""
    unknown: bool = False
    code: str = "LOAD_ERR_COMPILE_CONDITION"

    @property
    def is_error(self) -> bool:
        return self.code.startswith("LOAD_ERR_")


@dataclass(slots=True)
class Problems:
    """Collects problems; the same problem at the same place is kept once."""

    found: list[Problem] = field(default_factory=list)
    _seen: set[tuple[str, str, int, int, str]] = field(default_factory=set)

    def add(
        self,
        severity: Severity,
        code: str,
        where: Where,
        message: str,
        hint: str = "",
        item: tuple[str, str] = ("", ""),
    ) -> None:
        source, place = where
        key = (code, place.file, place.line, place.column, message)
        if key in self._seen:
            return
        self._seen.add(key)
        self.found.append(
            Problem(
                severity,
                code,
                place.file,
                place.line,
                place.column,
                message,
                hint,
                source.snippet(place),
                *item,
                place.offset,
            )
        )

    def extend(self, more: Iterable[Problem]) -> None:
        """Adds problems that were found elsewhere."""
        for one in more:
            key = one.code, one.file, one.line, one.column, one.message
            if key not in self._seen:
                self._seen.add(key)
                self.found.append(one)

    def in_order(self, files: Sequence[str]) -> None:
        """Sorts the problems by place, files in the order given."""
        order = {name: index for index, name in reversed(list(enumerate(files)))}
        self.found.sort(key=lambda p: (order.get(p.file, len(order)), p.line, p.column))

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.found if p.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.found if p.severity == "warning")


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the known spelling nearest to `word`, or an empty text."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return f"did you mean '{names[close[0]]}'?" if close else ""
