# SPDX-License-Identifier: Apache-2.0
"""Why the kernel told a call becomes the rules that need to be tested on it: a function for just these, once it pays.

A record ends with the clauses that could hold when it was told; rules of which none is among them cannot match. The
function for a set of rules is made when the set has come often. Invariant: whatever a record says, the function tests
every rule that could match; a record of another set of rules is tested by all.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from ..events import _items

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..rules.bundle import Bundle

    Matcher = Callable[[Any], Any]

PAYS_AFTER: Final = 256  # events: to make a function takes as long as to test all rules that often
MAX_MADE: Final = 256
MAX_COUNTED: Final = 4096


class Narrowing:
    """For one bundle and the plan of its rules. `rules`: of each clause, the names of the rules that it is of.

    `generation`: of the plan in the kernel. `made` counts functions.
    """

    def __init__(self, bundle: Bundle, rules: Sequence[Sequence[str]], generation: int) -> None:
        self.made = 0
        self._bundle = bundle
        self._rules = rules
        self._generation = generation.to_bytes(8, sys.byteorder)
        self._matchers: dict[tuple[str, bytes], Matcher] = {}
        self._seen: dict[tuple[str, bytes], int] = {}
        self._of_names: dict[tuple[str, frozenset[str]], Matcher] = {}

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
        if len(self._matchers) >= MAX_MADE or left[:8] != self._generation:
            return whole
        del self._seen[key]
        found = self._matchers[key] = self._made(event, int.from_bytes(left[8:], sys.byteorder), whole)
        return found

    def _made(self, event: str, bits: int, whole: Matcher) -> Matcher:
        names = names_of(self._rules, bits)
        if not names:
            return whole
        found = self._of_names.get((event, names))
        if found is None:
            found = self._of_names[event, names] = self._bundle.narrowed(event, names) or _none
            self.made += 1
        return found


def names_of(rules: Sequence[Sequence[str]], bits: int) -> frozenset[str]:
    """The rules of a set of clauses."""
    return frozenset(name for number, names in enumerate(rules) if bits >> number & 1 for name in names)


def _none(_event: Any) -> None:
    """None of the rules can match events of this type."""
