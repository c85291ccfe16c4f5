# SPDX-License-Identifier: Apache-2.0
"""Whatever bytes a record holds, every field reads without an exception, and its value is of its type."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from falco_py.events.event import Event
from falco_py.events.record import ITEM_FACTS, ITEM_FD, ITEM_VALUE, Exec, Exit, Header
from falco_py.events.syscalls import ROWS
from falco_py.fields.catalogue import CATALOGUE, FieldType
from falco_py.state.process import Process
from falco_py.state.processes import ProcessTable
from tests.fields.made import compiled, item

if TYPE_CHECKING:
    from collections.abc import Callable

    from falco_py.fields.model import Field

_ZERO = Header(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b"", 0, 0, 0)
_KINDS: dict[FieldType, tuple[type, ...]] = {
    FieldType.CHARBUF: (str,),
    FieldType.FSPATH: (str,),
    FieldType.BOOL: (bool,),
    FieldType.DOUBLE: (float,),
    FieldType.BYTEBUF: (bytes,),
    **dict.fromkeys((FieldType.IPADDR, FieldType.IPNET, FieldType.DOMAIN), (IPv4Address, IPv6Address)),
}
_RAW_NAMES = sorted({param.name for row in ROWS.values() for param in row.params if not param.name.startswith("_")})
_ARGS: dict[str, tuple[str, ...]] = {
    "evt.arg": (*_RAW_NAMES, "0", "1", "3"),
    "evt.rawarg": tuple(_RAW_NAMES),
    "evt.type.is": ("open", "switch"),
    "evt.around": ("5",),
    "evt.abspath": ("src", "dst"),
    "proc.aenv": ("1", "A"),
}


def _forms() -> list[tuple[str, FieldType, Field, Callable[[Any], Any], bool]]:
    """(what is read, its type, field, reader, whether filters compare it)"""
    forms = []
    for field in CATALOGUE.values():
        args: list[str | None] = [] if field.arg == "required" else [None]
        if field.arg != "none":
            args += _ARGS.get(field.name, ("x",) if field.arg_kind == "key" else ("0", "1"))
        for arg in args:
            kind = field.type_of(arg) if field.type_of is not None else field.type
            for form in (field.code, field.print_code, field.json_code):
                if form is not None:
                    compared = form is field.code
                    forms.append((f"{field.name}[{arg}]", kind, field, compiled(form(arg)), compared and arg is None))
    return forms


FORMS = _forms()


def _fits(kind: FieldType, value: Any) -> bool:
    if kind is FieldType.DYN:
        return isinstance(value, (str, int, bytes))
    kinds = _KINDS.get(kind)
    if kinds is not None:
        return isinstance(value, kinds)
    return isinstance(value, int) and not isinstance(value, bool)


def read_all(e: Event) -> None:
    for name, kind, field, read, whole in FORMS:
        value = read(e)
        if value is None:
            continue
        if field.is_list or (field.multi and whole):
            assert isinstance(value, tuple), name
            assert all(_fits(kind, one) for one in value), name
        elif field.print_code is None and field.json_code is None:
            assert _fits(kind, value), (name, e.name, value)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ProcessTable:
    return ProcessTable(tmp_path_factory.mktemp("root"))


def event(row: str, header: Header, payload: bytes, table: ProcessTable) -> Event:
    e = Event(ROWS[row], header, payload, 1, header.ts)
    e.table = table
    e.process = Process(header.pid, header.start)
    e.process.comm = "x"
    return e


def test_open_with_nothing_in_it(table: ProcessTable) -> None:
    read_all(event("openat", _ZERO, b"", table))


def test_every_event_type_with_nothing_in_it(table: ProcessTable) -> None:
    for name in ROWS:
        e = event(name, _ZERO, b"", table)
        for _, _, _, read, _ in FORMS:
            read(e)


_NUMBER = st.integers(0, 2**64 - 1).map(lambda number: item(ITEM_VALUE, number.to_bytes(8, "little")))
_ITEM = st.builds(item, st.integers(0, ITEM_FACTS + 1), st.binary(max_size=40), st.integers(0, 3))
_FD = st.builds(
    lambda head, rest: item(ITEM_FD, head + rest), st.binary(min_size=36, max_size=36), st.binary(max_size=190)
)
_PAYLOAD = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda fd, items: fd + b"".join(items),
        st.one_of(_FD, st.just(b"")),
        st.lists(st.one_of(_ITEM, _NUMBER), max_size=12),
    ),
)
_U32, _U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
_HEADER = st.builds(
    Header,
    st.integers(0, 4), st.integers(0, 3), st.integers(0, 2**62), st.integers(-(2**63), 2**63 - 1), _U32, _U32, _U32,
    _U32, _U32, _U32, _U32, _U32, _U32, _U32, _U64, _U64, _U64, st.binary(max_size=15), _U64, _U64, _U64,
)  # fmt: skip
_LIFE = st.one_of(
    st.none(),
    st.builds(Exit, _U32, _U32),
    st.builds(Exec, loginuid=st.integers(-1, 2**32 - 2), args=st.lists(st.text(), max_size=3).map(tuple)),
)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(row=st.sampled_from(sorted(ROWS)), header=_HEADER, payload=_PAYLOAD, life=_LIFE, spelling=st.integers(0, 1))
def test_any_record(row: str, header: Header, payload: bytes, life: Any, spelling: int, table: ProcessTable) -> None:
    e = event(row, header, payload, table)
    e.life = life
    e.spelling = spelling
    read_all(e)
