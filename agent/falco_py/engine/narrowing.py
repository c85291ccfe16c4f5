# SPDX-License-Identifier: Apache-2.0
"""Why the kernel told a call becomes the rules that need to be tested on it: a function for just these, once it pays.

A record ends with the clauses that could hold when it was told; rules of which none is among them cannot match. The
function for a set of rules is made when the set has come often. Invariant: whatever a record says, the function tests
every rule that could match; a record of another set of rules is tested by all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..events import _items
from ..events.record import clauses_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..rules.bundle import Bundle

    Matcher = Callable[[Any], Any]

PAYS_AFTER: Final = 256  # events: to make a function takes as long as to test all rules that often
MAX_MADE: Final = 256
MAX_COUNTED: Final = 4096


class Narrowing:
    """For one bundle and the plan of its rules. `rules_of` gives the names of the rules of a set of clauses.

    `generation`: of the plan in the kernel.
    """

    def __init__(self, bundle: Bundle, rules_of: Callable[[int], Iterable[str]], generation: int) -> None:
        self.paused = False  # no function is made: rules are being compiled in another thread
        self._bundle = bundle
        self._rules_of = rules_of
        self._generation = generation
        self._matchers: dict[tuple[str, bytes], Matcher] = {}
        self._seen: dict[tuple[str, bytes], int] = {}
        self._of_names: dict[tuple[str, frozenset[str]], Matcher] = {}

    @property
    def made(self) -> int:
        """How many functions were."""
        return len(self._of_names)

    def matcher(self, event: str, payload: bytes, whole: Matcher) -> Matcher:
        """The function for an event of this type with this record; `whole` tests all rules."""
        left = _items.left(payload)
        if left is None:
            return whole
        key = event, left
        found = self._matchers.get(key)
        if found is not None:
            return found
        seen = self._seen.get(key, 0) + 1
        if seen < PAYS_AFTER:
            if len(self._seen) < MAX_COUNTED or seen > 1:
                self._seen[key] = seen
            return whole
        told = clauses_left(payload)
        if self.paused or len(self._matchers) >= MAX_MADE or told is None or told[0] != self._generation:
            return whole
        del self._seen[key]
        found = self._matchers[key] = self._made(event, told[1], whole)
        return found

    def _made(self, event: str, left: int, whole: Matcher) -> Matcher:
        names = frozenset(self._rules_of(left))
        if not names:
            return whole
        found = self._of_names.get((event, names))
        if found is None:
            found = self._of_names[event, names] = self._bundle.narrowed(event, names) or _none
        return found


def _none(_event: Any) -> None:
    """None of the rules can match events of this type."""
