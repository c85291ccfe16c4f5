# SPDX-License-Identifier: Apache-2.0
"""Samples of interleaved rounds become the lines of a table. Pure.

A ratio is that of one round to the base of the same round, so that what slows a whole round down cancels out.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

UNKNOWN = "-"


@dataclass(slots=True)
class Sample:
    """One load under one setting in one round. What an agent has to say is None without an agent, `bpf_ns` and
    `empty_ns` also where the BPF programs were not timed; both are for each turn.
    """

    ns: float
    cpu_s: float | None = None
    events: int | None = None
    dropped: int | None = None
    peak_mb: float | None = None
    bpf_ns: float | None = None
    empty_ns: float | None = None


def median(values: Iterable[float | None]) -> float | None:
    """Of those that are known; None when none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0 to 1) of the values do not exceed. Raises ValueError when there are none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(len(ordered) * share) - 1))]


def ratios(rounds: Sequence[Sample], base: Sequence[Sample]) -> list[float]:
    """Of each round that both have, in order."""
    return [one.ns / other.ns for one, other in zip(rounds, base, strict=False) if other.ns]


def number(value: float | None, digits: int = 0) -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def layout(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> Iterator[str]:
    """The first `words` columns to the left, the others, which are numbers, to the right."""
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    for row in (heads, *rows):
        cells = [
            cell.ljust(width) if at < words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


HEADS = (
    "load", "setting", "ns/turn", "ratio", "from", "to", "BPF ns/turn", "empty", "agent CPU s", "events", "dropped",
    "peak MB",
)  # fmt: skip


def row(load: str, setting: str, rounds: Sequence[Sample], base: Sequence[Sample]) -> tuple[str, ...]:
    """Medians, but for the most that was dropped and the highest peak."""
    found = ratios(rounds, base)
    return (
        load,
        setting,
        number(median(one.ns for one in rounds)),
        number(median(found), 2),
        number(min(found, default=None), 2),
        number(most(found), 2),
        number(median(one.bpf_ns for one in rounds)),
        number(median(one.empty_ns for one in rounds)),
        number(median(one.cpu_s for one in rounds), 2),
        number(median(one.events for one in rounds)),
        number(most(one.dropped for one in rounds)),
        number(most(one.peak_mb for one in rounds)),
    )


def table(samples: Mapping[tuple[str, str], Sequence[Sample]], base: str) -> Iterator[str]:
    """`samples`: rounds by (load, setting), in the order of the table; `base`: the setting that ratios are to."""
    rows = []
    last = None
    for (load, setting), rounds in samples.items():
        rows.append(row(load if load != last else "", setting, rounds, samples.get((load, base), ())))
        last = load
    yield from layout(HEADS, rows, 2)
