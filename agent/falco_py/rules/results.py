# SPDX-License-Identifier: Apache-2.0
"""Checking rules files becomes one result a file, as text in blocks or as Falco's JSON.

Each file is loaded with those before it. Invariant: a file is good when it has no error of its own; whether an item
is of use only the last file tells. Text counts lines and columns from 1, JSON from 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..visible import visible
from .bundle import load
from .locations import Location, Locations
from .problems import PHRASES, Problem, RulesError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .places import Place

_RULE = "------"
_STRUCTURE = ("LOAD_ERR_YAML_PARSE", "LOAD_ERR_YAML_VALIDATE", "LOAD_UNKNOWN_ITEM", "LOAD_UNKNOWN_KEY")
_FIELD = re.compile(r"field '([^']+)'")
# What JSON says of a warning's code.
_DESCRIPTIONS = {
    "LOAD_UNKNOWN_SOURCE": "The rule is for a source of events that is not known, so it is left out.",
    "LOAD_UNSAFE_NA_CHECK": "The condition compares a field with <NA>, which a missing value never equals; use exists.",
    "LOAD_NO_EVTTYPE": "The condition does not say for which event types it is, so it is tested on many events.",
    "LOAD_UNKNOWN_FILTER": "A field or an event type is not known; the rule asks to be left out in that case.",
    "LOAD_UNUSED_MACRO": "No rule and no other macro uses this macro.",
    "LOAD_UNUSED_LIST": "No rule, no macro and no other list uses this list.",
    "LOAD_UNKNOWN_ITEM": "The item is neither a rule, a macro or a list nor a requirement, and is ignored.",
    "LOAD_DEPRECATED_ITEM": "The item should not be used any more.",
    "LOAD_APPEND_NO_VALUES": "An exception is appended to or overridden without values, which changes nothing.",
    "LOAD_EXCEPTION_NAME_NOT_UNIQUE": "A rule has several exceptions of the same name.",
    "LOAD_INVALID_MACRO_NAME": "The name of the macro cannot be written in every condition.",
    "LOAD_INVALID_LIST_NAME": "The name of the list cannot be written in every condition.",
    "LOAD_COMPILE_CONDITION": "The condition is legal but may not mean what its author meant.",
    "LOAD_UNKNOWN_KEY": "The item has a key that is not known and is ignored.",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What was found in one file, each problem with the stack of what it lies in.

    `odd`: what loads but does not fit the schema of rules files, besides the problems.
    """

    file: str
    errors: tuple[tuple[Problem, tuple[Location, ...]], ...]
    warnings: tuple[tuple[Problem, tuple[Location, ...]], ...]
    odd: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        return "Invalid" if self.errors else "Ok, with warnings" if self.warnings else "Ok"

    def text(self) -> str:
        """The verdict and a block a problem, for reading."""
        lines = [f"{self.file}: {self.verdict}"]
        if self.errors and self.odd:
            lines.append(f"{len(self.odd)} Schema warning{'s' * (len(self.odd) > 1)}:")
            lines += [line for odd in self.odd for line in (_RULE, odd)]
            lines.append(_RULE)
        for what, group in (("Error", self.errors), ("Warning", self.warnings)):
            if group:
                lines.append(f"{len(group)} {what}{'s' * (len(group) > 1)}:")
            for problem, stack in group:
                lines += _block(problem, stack)
        return "\n".join(visible(line) for line in lines)

    def summary(self) -> str:
        """One line that tells how many errors there are and of which kind."""
        count = len(self.errors)
        codes = dict.fromkeys(problem.code for problem, _ in self.errors)
        return visible(f"{self.file}: {self.verdict}, {count} error{'s' * (count != 1)}: {', '.join(codes)}")

    def json(self) -> dict[str, Any]:
        found = (problem for problem, _ in (*self.errors, *self.warnings))
        odd = [*(problem.message for problem in found if problem.code in _STRUCTURE), *self.odd]
        return {
            "errors": [_problem(problem, stack) for problem, stack in self.errors],
            "name": self.file,
            "schema_valid": not odd,
            "schema_warnings": odd,
            "successful": not self.errors,
            "warnings": [_problem(problem, stack) for problem, stack in self.warnings],
        }


def check(files: Sequence[tuple[str, str]], settings: Mapping[str, Any]) -> list[Result]:
    """`settings`: further arguments of `load`."""
    problems: dict[Problem, None] = {}  # a set that keeps the order
    for end in range(1, len(files) + 1):
        found: Sequence[Problem]
        try:
            found = load(files[:end], **settings).warnings
        except RulesError as error:
            found = error.problems
        problems.update(dict.fromkeys(p for p in found if end == len(files) or p.severity == "error"))
    made = []
    for name, text in dict(files).items():
        locations = Locations(name, text)
        here = [(problem, tuple(locations.stack(problem))) for problem in problems if problem.file == name]
        made.append(
            Result(
                name,
                tuple(one for one in here if one[0].severity == "error"),
                tuple(one for one in here if one[0].severity != "error"),
                tuple(f"priority: '{word}' is not in capitals" for word in locations.odd_priorities()),
            )
        )
    return made


def _block(problem: Problem, stack: Sequence[Location]) -> list[str]:
    lines = []
    for index, (kind, name, place) in enumerate(stack):
        named = kind if not name else f"{kind} {name}" if name.startswith('"') else f"{kind} '{name}'"
        lines.append(f"{'    ' if index else 'In '}{named}: ({place.file}:{place.line}:{place.column})")
    if problem.snippet:
        lines += [_RULE, *problem.snippet.splitlines(), _RULE]
    field = _field(problem)
    phrase = problem.phrase + (f": field '{field}'" if field else "")
    lines.append(f"{problem.code} ({phrase}): {problem.message}")
    if problem.hint:
        lines.append(problem.hint)
    return lines


def _field(problem: Problem) -> str:
    """The deprecated field that a warning is about, or nothing."""
    found = _FIELD.match(problem.message) if problem.code == "LOAD_DEPRECATED_ITEM" else None
    return found[1] if found else ""


def _problem(problem: Problem, stack: Sequence[Location]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "code": problem.code,
        "codedesc": _DESCRIPTIONS.get(problem.code) or PHRASES.get(problem.code, problem.code),
        "context": {
            "locations": [
                {"item_name": name, "item_type": kind, "position": _position(place)} for kind, name, place in stack
            ],
            "snippet": problem.snippet + "\n" if problem.snippet else "",
        },
        "message": f"{problem.message}; {problem.hint}" if problem.hint else problem.message,
    }
    field = _field(problem)
    if field:
        made["deprecated_field"] = field
    return made


def _position(place: Place) -> dict[str, Any]:
    return {"column": place.column - 1, "line": place.line - 1, "name": place.file, "offset": place.offset}
