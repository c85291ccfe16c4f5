# SPDX-License-Identifier: Apache-2.0
"""What loads of much the same rules would make again is made once: files read, trees opened, findings, terms, source.

Everything is looked up by all that it was made of, so a load after others gives what it would give in a fresh process.
What two loads in a row did not ask for is forgotten, and everything is when it grows over `MAX_ENTRIES`; loads run in
one thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .expressions import Writer
from .shapes import Shapes
from .terms import Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from .formats import OutputFormat
    from .items import Items
    from .problems import Finding, Problem
    from .syntax import Node
    from .terms import Folded

MAX_ENTRIES = 100_000  # the upstream rules make some 10,000

_Made = TypeVar("_Made")


class Memo(Generic[_Made]):
    """What was made of objects, told apart by identity, and of `more`, told apart by value."""

    def __init__(self) -> None:
        self._now: dict[Hashable, tuple[tuple[object, ...], _Made]] = {}  # the objects are kept: their ids stay theirs
        self._before: dict[Hashable, tuple[tuple[object, ...], _Made]] = {}

    def __len__(self) -> int:
        return len(self._now) + len(self._before)

    def get(self, objects: tuple[object, ...], more: Hashable, make: Callable[[], _Made]) -> _Made:
        """What `make` gave for the same objects. What it raises is raised, and not kept."""
        key = more, *map(id, objects)
        found = self._now.get(key)
        if found is None:
            found = self._before.get(key)
            if found is None:
                found = objects, make()
            self._now[key] = found
        return found[1]

    def end(self) -> None:
        """A load is over: what it did not ask for is forgotten after the next."""
        self._before, self._now = self._now, {}


class Kept:
    """All that is kept for one catalogue of fields, which must not change its answers meanwhile."""

    def __init__(self, catalogue: Any) -> None:
        self.writer = Writer(catalogue)
        self.terms = Terms(self.writer)
        self.shapes = Shapes(catalogue)
        self._memos: list[Memo[Any]] = []
        self.files: Memo[tuple[Items, list[Problem]]] = self._memo()  # by name and text
        self.nodes: Memo[Node] = self._memo()  # of opened trees
        self.references: Memo[frozenset[str]] = self._memo()  # names of the macros in a tree
        self.findings: Memo[Sequence[Finding]] = self._memo()  # of conditions as written
        self.foreign: Memo[Sequence[Finding]] = self._memo()  # fields of another source than the rule's
        self.reviews: Memo[Sequence[tuple[str, Finding]]] = self._memo()  # of whole conditions
        self.event_types: Memo[frozenset[str]] = self._memo()
        self.outputs: Memo[OutputFormat] = self._memo()
        self.conditions: Memo[Folded] = self._memo()  # by what the event type decides
        self.sources: Memo[str] = self._memo()  # of functions

    def _memo(self) -> Memo[Any]:
        made: Memo[Any] = Memo()
        self._memos.append(made)
        return made

    def __len__(self) -> int:
        return sum(map(len, self._memos)) + len(self.writer) + len(self.terms) + len(self.shapes)

    def end(self) -> None:
        for memo in self._memos:
            memo.end()


_last: list[tuple[object, Kept]] = []


def kept_for(catalogue: Any) -> Kept:
    """What earlier loads with the same fields kept. A catalogue without a `key` may be any, so nothing is kept for it:
    catalogues with equal keys answer alike.
    """
    key = getattr(catalogue, "key", None)
    if key is None:
        return Kept(catalogue)
    if _last and _last[0][0] == key and len(_last[0][1]) <= MAX_ENTRIES:
        return _last[0][1]
    _last[:] = [(key, Kept(catalogue))]
    return _last[0][1]


def forget() -> None:
    """As in a fresh process, but for conditions parsed and functions compiled."""
    _last.clear()
