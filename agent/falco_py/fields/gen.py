# SPDX-License-Identifier: Apache-2.0
"""Fields that events of every source have: number, time, source, host; and `util.cnt`."""

from __future__ import annotations

import itertools
import os
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

from .model import Field, FieldType, fixed, row

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
_row = partial(row, _K, source="any")
_EPOCH = fixed("e.ts")  # times print as text, but are numbers in JSON
ROWS: tuple[Field, ...] = (
    _row("evt.num", T.UINT64, "Number of the event, from 1.", "e.num", "ID"),
    _row("evt.time", T.CHARBUF, "Local time of day, with nanoseconds.", "time_of_day(e)", json_code=_EPOCH),
    _row("evt.time.s", T.CHARBUF, "Local time of day.", "time_of_day_s(e)", json_code=_EPOCH),
    _row("evt.time.iso8601", T.CHARBUF, "UTC date and time as in ISO 8601.", "time_iso8601(e)", json_code=_EPOCH),
    _row("evt.datetime", T.CHARBUF, "Local date and time, with nanoseconds.", "date_time(e)", json_code=_EPOCH),
    _row("evt.datetime.s", T.CHARBUF, "Local date and time.", "date_time_s(e)", json_code=_EPOCH),
    row("evt", "evt.outputtime", T.CHARBUF, "The same as evt.time.", "time_of_day(e)", json_code=_EPOCH),
    _row("evt.rawtime", T.ABSTIME, "Epoch time in ns.", "e.ts", "DEC"),
    _row("evt.rawtime.s", T.ABSTIME, "Epoch time, whole seconds.", "e.ts // 1000000000", "DEC"),
    _row("evt.rawtime.ns", T.ABSTIME, "Nanoseconds below the second.", "e.ts % 1000000000", "10_PADDED_DEC"),
    _row("evt.reltime", T.RELTIME, "Time since the agent started, ns.", "relative_ns(e)", "10_PADDED_DEC"),
    _row("evt.reltime.s", T.RELTIME, "Whole seconds of evt.reltime.", "relative_ns(e) // 1000000000", "DEC"),
    _row(
        "evt.reltime.ns",
        T.RELTIME,
        "Nanoseconds of evt.reltime below a second.",
        "relative_ns(e) % 1000000000",
        "10_PADDED_DEC",
    ),
    _row("evt.pluginname", T.CHARBUF, "Plugin that made the event; missing for system calls.", "None"),
    _row("evt.plugininfo", T.CHARBUF, "A plugin's summary of its event; missing for system calls.", "None"),
    _row("evt.source", T.CHARBUF, "Source of the event.", "'syscall'", words=frozenset(("syscall", "k8s_audit"))),
    _row("evt.is_async", T.BOOL, "Whether the event was injected.", "False"),
    _row("evt.asynctype", T.CHARBUF, "Name of an injected event.", "None"),
    _row("evt.hostname", T.CHARBUF, "Name of the host: FALCO_HOSTNAME when it is set.", "HOSTNAME"),
    Field(
        name="util.cnt",
        klass="utils",
        source="any",
        type=T.UINT64,
        doc="Counts how often it was read.",
        code=fixed("count_up(e)"),
        print_format="ID",
    ),
)
