# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a configuration becomes text with the place and the way out.

Invariant: every problem of a configuration is reported at once, each on one screen; the agent never starts with one.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SNIPPET_WIDTH = 160


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands. `line` and `column` count from 1; 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    place: Place
    message: str
    hint: str = ""
    snippet: str = ""

    def __str__(self) -> str:
        lines = [visible(f"{self.place}: {self.message}")]
        if self.snippet:
            lines += ["  " + visible(line) for line in self.snippet.split("\n")]
        if self.hint:
            lines.append("  " + visible(self.hint))
        return "\n".join(lines)


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds all reasons found; `str()` gives them as text."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SettingError(Exception):
    """A value that is well formed cannot be used: a certificate that is none. `key` is dotted."""

    def __init__(self, key: str, message: str, remedy: str) -> None:
        super().__init__(f"{key}: {message}\n  What to do: {remedy}")
        self.key = key
        self.message = message
        self.remedy = remedy


def snippet(lines: Sequence[str], line: int, column: int) -> str:
    """The line and a caret below the column, both counted from 1; empty when there is no such line."""
    if not 1 <= line <= len(lines):
        return ""
    shown = lines[line - 1].replace("\t", " ")
    start = max(0, column - _SNIPPET_WIDTH // 2) if len(shown) > _SNIPPET_WIDTH else 0
    # Spelled-out control characters are longer than one column: the caret counts what is shown.
    before = visible(shown[start : column - 1])
    return f"{before}{visible(shown[column - 1 : start + _SNIPPET_WIDTH])}\n{' ' * len(before)}^"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, None when nothing is like it."""
    found = difflib.get_close_matches(word[:100], list(known), n=1, cutoff=0.6)
    return found[0] if found else None
