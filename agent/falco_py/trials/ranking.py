# SPDX-License-Identifier: Apache-2.0
"""What a running agent tells of its costs becomes two tables: rules and event types, the costliest first.

Invariant: whatever answers, lines hold no control characters and a document that is not an agent's is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..visible import visible
from ..web.status import StatusError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NS_IN_MS, _NS_IN_US = 1_000_000, 1_000
_SECONDS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class _Rule(NamedTuple):
    delivered: int
    ns: int
    matches: int
    name: str


def ranking(told: dict[str, Any]) -> str:
    """`told`: see kernel.accounts. Raises StatusError."""
    try:
        return _ranking(told)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StatusError("the answer is not that of an agent") from None


def _ranking(told: dict[str, Any]) -> str:
    rules = sorted(
        (_Rule(int(one["delivered"]), int(one["ns"]), int(one["matches"]), str(one["rule"])) for one in told["rules"]),
        key=lambda one: (-one.delivered, -one.ns, -one.matches, one.name),
    )
    costly = [one for one in rules if one.delivered or one.ns or one.matches]
    uptime = float(told["uptime_s"])
    numbers = f"{int(told['events']):,} events tested, {int(told['measured']):,} of them measured"
    lines = [f"Agent {int(told['pid'])}, running for {_time(uptime)}: {numbers}"]
    lines += _table(
        ("delivered", "a second", "time ms", "matches", "rule"),
        [
            (f"{one.delivered:,}", _rate(one.delivered / uptime if uptime else 0.0), f"{one.ns / _NS_IN_MS:,.1f}",
             f"{one.matches:,}", visible(one.name))
            for one in costly
        ],
    )  # fmt: skip
    if len(costly) < len(rules):
        lines.append(f"and {len(rules) - len(costly)} rules that cost nothing so far")
    types = sorted(told["event_types"], key=lambda one: (-int(one["ns"]), str(one["type"])))
    lines += ["", *_table(
        ("tested", "us each", "time ms", "", "event type"),
        [
            (f"{int(one['events']):,}", f"{int(one['ns']) / max(1, int(one['events'])) / _NS_IN_US:,.1f}",
             f"{int(one['ns']) / _NS_IN_MS:,.1f}", "", visible(str(one["type"])))
            for one in types
        ],
    )]  # fmt: skip
    return "\n".join(lines)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Figures to the right, the last column to the left."""
    all_rows = [head, *rows]
    widths = [max(len(row[column]) for row in all_rows) for column in range(len(head) - 1)]
    return [
        "  ".join([*(f"{cell:>{width}}" for cell, width in zip(row[:-1], widths, strict=True) if width), row[-1]])
        for row in all_rows
    ]


def _rate(number: float) -> str:
    return f"{number:,.1f}" if number < 10 else f"{number:,.0f}"


def _time(seconds: float) -> str:
    for size, unit in _SECONDS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "less than a second"
