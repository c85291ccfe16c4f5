# SPDX-License-Identifier: Apache-2.0
"""Fields that events of every source have: number, time, source, host; and `util.cnt`."""

from __future__ import annotations

import itertools
import os
import socket
import time
from typing import TYPE_CHECKING

from .model import Field, FieldType, fixed

if TYPE_CHECKING:
    from falco_py.events.event import Event

T = FieldType
SECOND_NS = 1_000_000_000

HOSTNAME = os.environ.get("FALCO_HOSTNAME") or socket.gethostname()
START_NS = time.time_ns()

# One formatted second for each layout: alerts come in bursts.
_last: dict[str, tuple[int, str]] = {}
_counter = itertools.count(1)


def _second(ts: int, layout: str, utc: bool = False) -> str:
    second = ts // SECOND_NS
    known = _last.get(layout)
    if known is not None and known[0] == second:
        return known[1]
    text = time.strftime(layout, time.gmtime(second) if utc else time.localtime(second))
    _last[layout] = (second, text)
    return text


def time_of_day_s(e: Event) -> str:
    return _second(e.ts, "%H:%M:%S")


def time_of_day(e: Event) -> str:
    return f"{_second(e.ts, '%H:%M:%S')}.{e.ts % SECOND_NS:09d}"


def time_iso8601(e: Event) -> str:
    return f"{_second(e.ts, '%Y-%m-%dT%H:%M:%S', utc=True)}.{e.ts % SECOND_NS:09d}+0000"


def date_time_s(e: Event) -> str:
    return _second(e.ts, "%Y-%m-%d %H:%M:%S")


def date_time(e: Event) -> str:
    return f"{_second(e.ts, '%Y-%m-%d %H:%M:%S')}.{e.ts % SECOND_NS:09d}"


def relative_ns(e: Event) -> int:
    """Time since the agent started."""
    return max(e.ts - START_NS, 0)


def count_up(_e: Event) -> int:
    return next(_counter)


_K = "gen_event"
_EPOCH = fixed("e.ts")  # times print as text, but are numbers in JSON
ROWS: tuple[Field, ...] = (
    Field(
        name="evt.num",
        klass=_K,
        source="any",
        type=T.UINT64,
        doc="Number of the event, from 1.",
        code=fixed("e.num"),
        print_format="ID",
    ),
    Field(
        name="evt.time",
        klass=_K,
        source="any",
        type=T.CHARBUF,
        doc="Local time of day, with nanoseconds.",
        code=fixed("time_of_day(e)"),
        json_code=_EPOCH,
    ),
    Field(
        name="evt.time.s",
        klass=_K,
        source="any",
        type=T.CHARBUF,
        doc="Local time of day.",
        code=fixed("time_of_day_s(e)"),
        json_code=_EPOCH,
    ),
    Field(
        name="evt.time.iso8601",
        klass=_K,
        source="any",
        type=T.CHARBUF,
        doc="UTC date and time as in ISO 8601.",
        code=fixed("time_iso8601(e)"),
        json_code=_EPOCH,
    ),
    Field(
        name="evt.datetime",
        klass=_K,
        source="any",
        type=T.CHARBUF,
        doc="Local date and time, with nanoseconds.",
        code=fixed("date_time(e)"),
        json_code=_EPOCH,
    ),
    Field(
        name="evt.datetime.s",
        klass=_K,
        source="any",
        type=T.CHARBUF,
        doc="Local date and time.",
        code=fixed("date_time_s(e)"),
        json_code=_EPOCH,
    ),
    Field(
        name="evt.outputtime",
        klass=_K,
        type=T.CHARBUF,
        doc="The same as evt.time.",
        code=fixed("time_of_day(e)"),
        json_code=_EPOCH,
    ),
    Field(
        name="evt.rawtime",
        klass=_K,
        source="any",
        type=T.ABSTIME,
        doc="Epoch time in ns.",
        code=fixed("e.ts"),
        print_format="DEC",
    ),
    Field(
        name="evt.rawtime.s",
        klass=_K,
        source="any",
        type=T.ABSTIME,
        doc="Epoch time, whole seconds.",
        code=fixed("e.ts // 1000000000"),
        print_format="DEC",
    ),
    Field(
        name="evt.rawtime.ns",
        klass=_K,
        source="any",
        type=T.ABSTIME,
        doc="Nanoseconds below the second.",
        code=fixed("e.ts % 1000000000"),
        print_format="10_PADDED_DEC",
    ),
    Field(
        name="evt.reltime",
        klass=_K,
        source="any",
        type=T.RELTIME,
        doc="Time since the agent started, ns.",
        code=fixed("relative_ns(e)"),
        print_format="10_PADDED_DEC",
    ),
    Field(
        name="evt.reltime.s",
        klass=_K,
        source="any",
        type=T.RELTIME,
        doc="Whole seconds of evt.reltime.",
        code=fixed("relative_ns(e) // 1000000000"),
        print_format="DEC",
    ),
    Field(
        name="evt.reltime.ns",
        klass=_K,
        source="any",
        type=T.RELTIME,
        doc="Nanoseconds of evt.reltime below a second.",
        code=fixed("relative_ns(e) % 1000000000"),
        print_format="10_PADDED_DEC",
    ),
    Field(
        name="evt.pluginname",
        klass=_K,
        source="any",
        type=T.CHARBUF,
        doc="Plugin that made the event; missing for system calls.",
        code=fixed("None"),
    ),
    Field(
        name="evt.plugininfo",
        klass=_K,
        source="any",
        type=T.CHARBUF,
        doc="A plugin's summary of its event; missing for system calls.",
        code=fixed("None"),
    ),
    Field(
        name="evt.source", klass=_K, source="any", type=T.CHARBUF, doc="Source of the event.", code=fixed("'syscall'")
    ),
    Field(
        name="evt.is_async",
        klass=_K,
        source="any",
        type=T.BOOL,
        doc="Whether the event was injected.",
        code=fixed("False"),
    ),
    Field(
        name="evt.asynctype",
        klass=_K,
        source="any",
        type=T.CHARBUF,
        doc="Name of an injected event.",
        code=fixed("None"),
    ),
    Field(
        name="evt.hostname",
        klass=_K,
        source="any",
        type=T.CHARBUF,
        doc="Name of the host: FALCO_HOSTNAME when it is set.",
        code=fixed("HOSTNAME"),
    ),
    Field(
        name="util.cnt",
        klass="utils",
        source="any",
        type=T.UINT64,
        doc="Counts how often it was read.",
        code=fixed("count_up(e)"),
        print_format="DEC",
    ),
)
