# SPDX-License-Identifier: Apache-2.0
"""Offsets in a text become file, line and column, also after texts were joined and lists put in.

Invariant: every character of a `Text` knows the scalar of the YAML file that it came from, so a problem found
in a condition that was appended to, or into which a list was written, still points at the user's own line.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_SNIPPET_WIDTH = 160
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


class Place(NamedTuple):
    """A position in a file; line and column count from 1, `offset` from 0."""

    file: str
    line: int
    column: int
    offset: int = 0


class Source:
    """One rules file. Line breaks are those of YAML 1.1 that libyaml counts."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text.removeprefix("\ufeff")

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(found.end() for found in _BREAK.finditer(self.text))]

    def place(self, index: int) -> Place:
        index = max(0, min(index, len(self.text)))
        line = bisect_right(self._starts, index)
        return Place(self.file, line, index - self._starts[line - 1] + 1, index)

    def snippet(self, place: Place) -> str:
        """The line of `place` and a caret below it, cut to 160 characters around the caret."""
        start = self._starts[place.line - 1]
        end = self._starts[place.line] if place.line < len(self._starts) else len(self.text)
        line = "".join(c if c.isprintable() else " " for c in self.text[start:end].rstrip("\r\n\x85\u2028\u2029"))
        column = place.column - 1
        if len(line) > _SNIPPET_WIDTH:
            left = max(0, min(column - _SNIPPET_WIDTH // 2, len(line) - _SNIPPET_WIDTH))
            cut = line[left : left + _SNIPPET_WIDTH]
            column -= left
            if left:
                cut, column = "..." + cut, column + 3
            line = cut + "..." if left + _SNIPPET_WIDTH < len(line) else cut
        return f"{line}\n{' ' * column}^"


Where = tuple[Source, Place]


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A YAML scalar: its value, and the part of the file it was written in."""

    source: Source
    value: str
    start: int
    end: int
    style: str | None = None

    @property
    def place(self) -> Place:
        return self.source.place(self.start)

    @property
    def where(self) -> Where:
        return self.source, self.place

    def place_at(self, offset: int) -> Place:
        """Place of the character `offset` of the value; exact but for escapes in double-quoted scalars."""
        raw = self.source.text
        index = self.start
        if self.style in ("|", ">"):
            newline = raw.find("\n", index, self.end)
            index = self.end if newline < 0 else newline + 1
        elif self.style in ("'", '"'):
            index += 1
        wanted = self.value[: offset + 1]
        found = index
        for char in wanted:
            if not char.isspace():
                found = raw.find(char, index, self.end)
                if found < 0:
                    return self.place
                index = found + 1
        if wanted[-1:].isspace():
            found = index
        return self.source.place(min(found, self.end))


class _Part(NamedTuple):
    start: int  # offset in the text
    scalar: Scalar
    offset: int  # offset in the scalar's value
    fixed: bool  # True: everything in this part is at `offset`


class Text:
    """A string whose characters know where they were written."""

    __slots__ = ("parts", "value")

    def __init__(self, value: str, parts: Sequence[_Part]) -> None:
        self.value = value
        self.parts = tuple(parts)

    @classmethod
    def of(cls, scalar: Scalar) -> Text:
        return cls(scalar.value, (_Part(0, scalar, 0, False),))

    @classmethod
    def made(cls, value: str, scalar: Scalar) -> Text:
        """Text that was made because of `scalar`."""
        return cls(value, (_Part(0, scalar, 0, True),))

    @classmethod
    def at(cls, value: str, scalar: Scalar, offset: int) -> Text:
        """Text that stands for what is written at `offset` of `scalar`."""
        return cls(value, (_Part(0, scalar, offset, True),))

    @property
    def scalar(self) -> Scalar:
        return self.parts[0].scalar

    def origin(self, offset: int) -> tuple[Scalar, int]:
        part = self.parts[max(0, bisect_right(self.parts, offset, key=lambda p: p.start) - 1)]
        return part.scalar, part.offset if part.fixed else part.offset + offset - part.start

    def where(self, offset: int) -> Where:
        scalar, at = self.origin(offset)
        return scalar.source, scalar.place_at(at)

    def is_verbatim(self, start: int, end: int) -> bool:
        """Was everything from `start` to `end`, both included, written where it stands, and nothing put in?"""
        first = max(0, bisect_right(self.parts, start, key=lambda p: p.start) - 1)
        last = max(0, bisect_right(self.parts, end, key=lambda p: p.start) - 1)
        return first == last and not self.parts[first].fixed

    def strip(self) -> Text:
        value = self.value.strip(" \t\r\n")
        return self.slice(self.value.find(value) if value else 0, len(value))

    def slice(self, start: int, length: int) -> Text:
        parts = []
        for index, part in enumerate(self.parts):
            after = self.parts[index + 1].start if index + 1 < len(self.parts) else len(self.value) + 1
            if after <= start or part.start >= max(start + length, start + 1):
                continue
            skip = max(0, start - part.start)
            parts.append(
                _Part(max(0, part.start - start), part.scalar, part.offset + (0 if part.fixed else skip), part.fixed)
            )
        return Text(self.value[start : start + length], parts or self.parts[:1])

    @staticmethod
    def join(texts: Sequence[Text]) -> Text:
        parts: list[_Part] = []
        length = 0
        for text in [t for t in texts if t.value] or texts[:1]:
            parts.extend(part._replace(start=part.start + length) for part in text.parts)
            length += len(text.value)
        return Text("".join(t.value for t in texts), parts)
