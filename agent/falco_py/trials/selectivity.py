# SPDX-License-Identifier: Apache-2.0
"""A clause becomes a guess: the part of an ordinary machine's calls that the kernel lets through to user space.

The guesses about each fact stand here, and what is the same in rules.costs is taken from there. Facts count as
independent. Invariant: guesses are told as such, to a power of ten, and decide nothing.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from ..events.syscalls import ROWS
from ..kernel.decisions import ERRNOS, OPEN_CLASSES, Opened, of_kind, of_open, of_result, texts_of
from ..kernel.formulas import AllOf, Fact, Leaf, group_of, possible
from ..kernel.paths import Patterns, patterns_of
from ..kernel.tables import CREAT_CALL, UNKNOWN_OPEN
from ..rules.costs import likely

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..kernel.formulas import Clause, Formula
    from ..rules.syntax import Check

# Results: what part of the calls gives them. Most failures are paths that are looked for in several places.
_FAILURES = {2: 0.08, 11: 0.01, 13: 0.002, 1: 0.001, 22: 0.001}
_FDS = {3: 0.3, 4: 0.2, 30: 0.4}
_NUMBERS = {0: 0.6, 1: 0.1, 2: 0.02, 100: 0.18}

# How files are opened.
_OPENED = {
    Opened(0): 0.82,
    Opened(0, create=True): 0.01,
    Opened(1): 0.02,
    Opened(2): 0.04,
    Opened(1, create=True): 0.03,
    Opened(1, create=True, truncate=True): 0.05,
    Opened(2, create=True): 0.02,
    Opened(2, tmpfile=True): 0.01,
}
# As KINDS: directory, pipe, IPv4 (TCP, UDP, other), IPv6 (the same), unix, netlink, all else.
_KIND = (0.03, 0.1, 0.07, 0.025, 0.005, 0.015, 0.004, 0.001, 0.1, 0.005, 0.645)

# Paths: by directory, then by how deep a beginning goes.
_OF_KIND = {"exact": 1e-5, "name": 1e-4, "suffix": 1e-3}  # of kernel.paths.Pattern
_UNDECIDED_PATH = 1e-4  # passed with `..` or the like, which only user space follows
_BELOW = {"/usr/": 0.35, "/proc/": 0.2, "/lib/": 0.05, "/sys/": 0.05, "/dev/": 0.05, "/etc/": 0.1, "/var/": 0.05}
_BELOW_DEPTH = (1.0, 0.03, 0.003, 0.0003)  # 0: "/", 1: "/srv/", 2: "/srv/x/", and deeper

_WORDS = {"true": True, "false": False}
_MOST, _HALF = 0.9, 0.3
_FEWEST = 6  # powers of ten


def part_of(clauses: Iterable[Clause], event: str) -> float:
    """The part of the calls of an event type that some clause leaves, from 0 to 1."""
    missed = 1.0
    for clause in clauses:
        missed *= 1 - math.prod(_of_fact(fact, clause.formulas(fact), event) for fact, _ in clause.parts)
    return 1 - missed


def wording(part: float) -> str:
    """`about 1 in 1,000 calls reaches user space`."""
    if part <= 0:
        return "no call reaches user space"
    if part >= 1:
        return "every call reaches user space"
    if part >= _MOST:
        return "nearly every call reaches user space"
    if part >= _HALF:
        return "about half of the calls reach user space"
    power = max(1, round(-math.log10(part)))
    if power > _FEWEST:
        return f"fewer than 1 in {10**_FEWEST:,} calls reaches user space"
    return f"about 1 in {10**power:,} calls reaches user space"


def _of_fact(fact: Fact, formulas: Sequence[Formula], event: str) -> float:
    if fact is Fact.RESULT:
        return _shared(formulas, _results(event), of_result)
    if fact is Fact.OPEN:
        return _shared(formulas, _opens(event), of_open)
    if fact is Fact.KIND:
        return _shared(formulas, dict(enumerate(_KIND)), of_kind)
    parts = [_alone(formula, fact) for formula in formulas]
    return min(1.0, _UNDECIDED_PATH + min(parts)) if fact is Fact.PATH else math.prod(parts)


def _results(event: str) -> dict[int, float]:
    fine = _FDS if group_of(ROWS[event]).result_is_fd else _NUMBERS
    made = {**fine, **{-number: part for number, part in _FAILURES.items()}}
    rest = (1 - sum(made.values())) / ERRNOS
    return {**made, **{-number: rest for number in range(1, ERRNOS + 1) if -number not in made}}


def opens_of(event: str) -> tuple[Opened, ...]:
    """The ways in which a call can open, as far as the kernel's filter tells them apart."""
    special = {"creat": CREAT_CALL, "openat2": UNKNOWN_OPEN}
    return (OPEN_CLASSES[special[event]],) if event in special else OPEN_CLASSES[:UNKNOWN_OPEN]


def _opens(event: str) -> dict[Opened, float]:
    ways = opens_of(event)
    return {ways[0]: 1.0} if len(ways) == 1 else _OPENED


def _shared(formulas: Sequence[Formula], parts: dict[Any, float], truth: Callable[[Check, Any], bool | None]) -> float:
    """Of values whose parts are known."""
    found = 0.0
    for value, part in parts.items():
        if all(possible(formula, partial(_of_value, truth, value)) for formula in formulas):
            found += part
    return min(1.0, found)


def _of_value(truth: Callable[[Check, Any], bool | None], value: Any, check: Check) -> bool | None:
    return truth(check, value)


def _alone(formula: Formula, fact: Fact) -> float:
    if isinstance(formula, Leaf):
        if fact is Fact.PATH:
            return _of_patterns(patterns_of(formula.check))
        name = getattr(formula.check.left, "name", "")
        constants = [_WORDS.get(text.lower(), text) for text in texts_of(formula.check)]
        part = likely(formula.check.op, name, constants)
        return part if formula.positive else 1 - part
    parts = [_alone(term, fact) for term in formula.terms]
    if isinstance(formula, AllOf):
        return min(parts) if fact is Fact.PATH else math.prod(parts)  # of paths only the most telling are looked up
    return min(1.0, sum(parts))


def _of_patterns(patterns: Patterns) -> float:
    if patterns is None:
        return 1.0
    return min(1.0, sum(_OF_KIND.get(one.kind) or _below(one.text) for one in patterns))


def _below(prefix: str) -> float:
    known = _BELOW.get(prefix if prefix.endswith("/") else prefix + "/")
    depth = len([part for part in prefix.split("/") if part])
    return known if known is not None else _BELOW_DEPTH[min(depth, len(_BELOW_DEPTH) - 1)]
