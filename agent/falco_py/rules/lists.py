# SPDX-License-Identifier: Apache-2.0
"""Lists are written into conditions, as text, before anything is parsed.

Invariant: the result never grows over `MAX_CONDITION` characters; a list that would make it is a problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .places import Scalar, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .collector import ListDef

MAX_CONDITION = 4_000_000
MAX_ITEMS = 200_000

_BLANKS = " \t\n\r"
_DELIMITERS = _BLANKS + "(),="


class TooLargeError(Exception):
    """Lists of lists (of lists) grew without reason; `args[0]` is the list's name."""


@dataclass(frozen=True, slots=True)
class ResolvedList:
    """A list whose items are final texts, ready to be joined."""

    definition: ListDef
    items: tuple[Scalar, ...]
    name: str
    text: str


def _quoted(item: Scalar) -> str:
    text = item.value
    if text[:1] not in ("'", '"') and any(c in text for c in _BLANKS):
        return f'"{text}"'
    return text or '""'


def resolve_lists(lists: Iterable[ListDef]) -> list[ResolvedList]:
    """In definition order; items that name a list which was first defined before are replaced by its items."""
    ordered = sorted(lists, key=lambda d: d.position)
    by_name = {d.name: d for d in ordered}
    done: dict[str, tuple[Scalar, ...]] = {}

    def items_of(definition: ListDef, above: frozenset[str]) -> tuple[Scalar, ...]:
        if definition.name in done:
            return done[definition.name]
        found: list[Scalar] = []
        for item in definition.items:
            inner = by_name.get(item.value)
            if inner is None or inner.name in above or inner.position >= definition.visible_from:
                found.append(item)
                continue
            inner.used = True
            found.extend(items_of(inner, above | {inner.name}))
            if len(found) > MAX_ITEMS:
                raise TooLargeError(definition.name)
        result = tuple(found)
        if above == {definition.name}:
            done[definition.name] = result
        return result

    resolved = []
    for definition in ordered:
        items = items_of(definition, frozenset((definition.name,)))
        resolved.append(ResolvedList(definition, items, definition.name, ", ".join(map(_quoted, items))))
    return resolved


def _occurrences(text: str, name: str) -> list[tuple[int, int]]:
    """(start, end) of each use of the list, surrounding blanks included."""
    found = []
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        if (at == 0 or text[at - 1] in _DELIMITERS) and (end == len(text) or text[end] in _DELIMITERS):
            start = at
            while start > 0 and text[start - 1] in _BLANKS:
                start -= 1
            while end < len(text) and text[end] in _BLANKS:
                end += 1
            found.append((start, end))
            at = text.find(name, end)
        else:
            at = text.find(name, at + 1)
    return found


def uses(text: str, name: str) -> bool:
    """Does the text of a condition name the list?"""
    return name in text and bool(_occurrences(text, name))


def _written(text: Text, used: ResolvedList, places: Sequence[tuple[int, int]]) -> Text:
    value = text.value
    parts: list[Text] = []
    last = 0
    for start, end in places:
        start = max(start, last)
        name_at = value.find(used.name, start)
        if not used.items:
            if start > last and value[start - 1] == ",":
                start -= 1
            elif end < len(value) and value[end] == ",":
                end += 1
        scalar, offset = text.origin(name_at)
        written = (" " if start > 0 else "") + used.text + " "
        parts += [text.slice(last, start - last), Text.at(written, scalar, offset)]
        last = end
    parts.append(text.slice(last, len(value) - last))
    return Text.join(parts)


def write_lists(text: Text, lists: Sequence[ResolvedList]) -> Text:
    """`text` with every list written out, in definition order; the lists used are marked."""
    value = text.value
    for one in lists:
        if one.name not in value:
            continue
        places = _occurrences(value, one.name)
        if not places:
            continue
        one.definition.used = True
        if len(value) + len(places) * len(one.text) > MAX_CONDITION:
            raise TooLargeError(one.name)
        text = _written(text, one, places)
        value = text.value
    return text
