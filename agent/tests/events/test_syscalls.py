# SPDX-License-Identifier: Apache-2.0
"""The event table is Falco's: names, categories, flags, parameters; it asks the kernel only for what it can give."""

from __future__ import annotations

from pathlib import Path

import pytest

from falco_py.events.flags import TABLES
from falco_py.events.model import RESULT, Kernel, Op, Row, User
from falco_py.events.syscalls import NEVER, ROWS, SYSCALLS_ARM64, SYSCALLS_I386, SYSCALLS_X86_64, UNREAD
from falco_py.kernel.tables import MAX_OPS, NumberTable, pack_row, row_entries

# The full table where it lies beside the repository, else the part of it kept here.
_FULL = Path(__file__).parents[3] / "../shared/spec/events.tsv"
_TSV = _FULL if _FULL.exists() else Path(__file__).with_name("event_table.tsv")
KEPT_FLAGS = {"creates_fd", "uses_fd", "destroys_fd", "reads_fd", "writes_fd", "modifies_state", "waits"}
# Told through user memory (pairs of fds), or about no open file.
NO_FD = {"pipe", "pipe2", "socketpair"}


def _table() -> list[dict[str, str]]:
    head, *lines = _TSV.read_text(encoding="utf-8").splitlines()
    return [dict(zip(head.split("\t"), line.split("\t"), strict=False)) for line in lines]


def _params(line: dict[str, str]) -> list[tuple[str, str, str, str | None, int | None]]:
    text = next(value for key, value in line.items() if key.startswith("params"))
    out = []
    for item in [] if text == "-" else text.split(" | "):
        _, name, kind, number_format, *more = item.split(":")
        table = next((word for word in more if not word.startswith("rel(")), None)
        rel = next((int(word[4:-1]) for word in more if word.startswith("rel(")), None)
        out.append((name, kind, number_format, table, rel))
    return out


TABLE = _table()
CALLS = [line for line in TABLE if line["origin"] == "syscall" and line["dir"] == "exit"] + [
    line for line in TABLE if line["name"] == "procexit"
]
DETAILED = [line for line in CALLS if line["enum"] != "GENERIC_X"]


def test_the_table_of_the_tests_is_whole() -> None:
    assert len(DETAILED) > 150
    assert len(CALLS) > 420


def test_every_system_call_of_falco_has_a_row() -> None:
    assert [line["name"] for line in CALLS if line["name"] not in ROWS] == []


def test_every_number_has_a_row() -> None:
    for numbers in (SYSCALLS_X86_64, SYSCALLS_I386, SYSCALLS_ARM64):
        assert set(numbers.values()) <= set(ROWS)


@pytest.mark.parametrize("line", DETAILED, ids=lambda line: line["name"])
def test_parameters_are_falcos(line: dict[str, str]) -> None:
    row = ROWS[line["name"]]
    ours = [
        (p.name, p.type, p.format, "file_flags" if p.table == "fd_flags" else p.table, p.rel)
        for p in row.params
        if not p.name.startswith("_")
    ]
    assert ours == _params(line)
    assert not row.generic


@pytest.mark.parametrize("line", DETAILED, ids=lambda line: line["name"])
def test_category_and_flags_are_falcos(line: dict[str, str]) -> None:
    row = ROWS[line["name"]]
    assert row.category == line["category"]
    assert row.flags == KEPT_FLAGS & set(line["flags"].split(","))


@pytest.mark.parametrize("line", [line for line in CALLS if line["enum"] == "GENERIC_X"], ids=lambda line: line["name"])
def test_generic_events_have_a_name_and_nothing_else(line: dict[str, str]) -> None:
    row = ROWS[line["name"]]
    assert (row.generic, row.category, row.params, row.fd, row.flags) == (True, "other", (), None, frozenset())


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_operations_are_ones_the_kernel_program_has(row: Row) -> None:
    assert len(row.kernel_params) <= MAX_OPS
    for param in row.params:
        assert param.table is None or param.table in TABLES or param.type == "DYN"
        if isinstance(param.source, User):
            assert param.source.what
            continue
        source: Kernel = param.source
        assert 0 <= source.arg < 6
        if source.op == Op.VALUE:
            assert source.a in (1, 2, 4, 8)
        if source.op == Op.MEMORY:
            assert 1 <= source.b <= 8
        if source.op in (Op.PATH, Op.DATA):
            assert source.a < 6 or source.a == RESULT


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_types_and_operations_agree(row: Row) -> None:
    for _, param in ((i, p) for i, p in enumerate(row.params) if isinstance(p.source, Kernel)):
        source = param.source
        assert isinstance(source, Kernel)
        if source.op == Op.PATH:
            assert param.type in ("FSPATH", "FSRELPATH")
        elif param.type in ("FSPATH", "FSRELPATH"):
            assert source.op == Op.PATH
        if source.op in (Op.SOCKADDR, Op.MSGNAME):
            assert param.type == "SOCKADDR"
        if param.type in ("FD", "PID") and source.op == Op.VALUE:
            assert (source.a, source.b) == (4, 1), f"{param.name}: an int"


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_relative_paths_start_at_the_fd_that_is_printed(row: Row) -> None:
    for param in row.params:
        if param.rel is not None:
            directory = row.params[param.rel].source
            assert isinstance(param.source, Kernel)
            assert isinstance(directory, Kernel)
            assert (directory.op, directory.arg) == (Op.VALUE, param.source.a)


@pytest.mark.parametrize("row", [row for row in ROWS.values() if not row.generic], ids=lambda row: row.name)
def test_the_fd_of_an_event_follows_falcos_flags(row: Row) -> None:
    if row.name in NO_FD:
        assert row.fd is None
    elif "creates_fd" in row.flags:
        assert row.fd == RESULT
    elif row.flags & {"uses_fd", "destroys_fd"}:
        assert row.fd is not None
        assert row.fd < 6
        assert any(p.type == "FD" and p.source == Kernel(Op.VALUE, row.fd, 4, 1) for p in row.params)
    else:
        assert row.fd is None


def test_datagrams_carry_the_address_of_the_call() -> None:
    for name in ("sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg"):
        assert ROWS[name].params[-1].name == "_addr"
        assert ROWS[name].params[-1].type == "SOCKADDR"


def test_events_that_never_happen_have_no_row() -> None:
    assert NEVER.isdisjoint(ROWS)
    assert {"container", "switch", "signaldeliver", "pluginevent"} <= NEVER


def test_every_parameter_of_falco_is_known() -> None:
    read = {param.name for row in ROWS.values() for param in row.params}
    named = {parameter[0] for line in TABLE for parameter in _params(line)}
    assert named - read <= {"ID", *UNREAD}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_kernel_table_takes_every_row(machine: str) -> None:
    numbers = NumberTable(machine)
    assert len(dict(row_entries(numbers))) == len(numbers.native) + len(numbers.compat)
    assert len({len(pack_row(row)) for row in ROWS.values()}) == 1
