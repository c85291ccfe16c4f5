# SPDX-License-Identifier: Apache-2.0
"""The record layout is written in C for the kernel, in C for the reader and in Python: they agree."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from falco_py.engine.shedding import FILLED
from falco_py.events import model, record
from falco_py.kernel import decisions, learning, load, paths, pushdown, tables
from falco_py.rules.priority import SHEDDING
from tests.events.layout import EXEC_FACTS

ROOT = Path(__file__).parents[3]
TYPES = ROOT / "bpf/lib/types.h"
READER = ROOT / "agent/falco_py/kernel/_ring.c"
ITEMS = ROOT / "agent/falco_py/events/_items.c"
FD_FACTS = struct.calcsize("=iHBBIIQII")


def _members(path: Path, name: str) -> list[tuple[str, str]]:
    body = re.search(rf"struct {name} \{{(.*?)\}};", path.read_text(), re.DOTALL)
    assert body is not None
    return [
        (kind.replace("uint", "u").replace("int", "s").replace("_t", ""), name)
        for kind, name in re.findall(r"^\s*(\w+) (\w+)(?:\[16\])?;", body[1], re.MULTILINE)
    ]


def test_both_headers_in_c_have_the_same_members() -> None:
    assert _members(TYPES, "header") == _members(READER, "header")


def test_the_reader_of_items_knows_the_layout_of_the_kernel_side() -> None:
    assert _members(TYPES, "fd_facts") == _members(ITEMS, "fd_facts")
    assert _members(TYPES, "exec_facts") == _members(ITEMS, "exec_facts")
    assert _defined(ITEMS)["EXEC_MEMBERS"] == len(record.Exec._fields)
    known = {**_enum("ITEM_", ""), **_enum("FD_", ""), **_defined(TYPES)}
    of_items = {name: value for name, value in _defined(ITEMS).items() if re.match("(ITEM|FD)_(?!MEMBERS)", name)}
    assert {name: known[name] for name in of_items} == of_items


def _defined(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"#define (\w+)\s+(\d+)\b(?!x)", path.read_text())}


def test_the_header_tuple_has_the_members_of_the_c_header() -> None:
    names = [name for _, name in _members(TYPES, "header") if name != "len"]
    assert names == list(record.Header._fields)


def _enum(prefix: str, cut: str | None = None) -> dict[str, int]:
    values: dict[str, int] = {}
    for body in re.findall(r"enum \w+ \{(.*?)\};", TYPES.read_text(), re.DOTALL):
        last = -1
        for name, value in re.findall(r"(\w+)(?: = (\w+))?,", body):
            last = int(value, 0) if value else last + 1
            values[name] = last
    return {
        name.removeprefix(prefix if cut is None else cut): value
        for name, value in values.items()
        if name.startswith(prefix)
    }


def test_operation_numbers_agree() -> None:
    assert _enum("OP_") == {op.name: int(op) for op in model.Op}


def test_item_tags_agree() -> None:
    tags = _enum("ITEM_")
    assert tags == {name: getattr(record, f"ITEM_{name}") for name in tags}


def test_record_kinds_agree() -> None:
    kinds = _enum("KIND_")
    assert kinds == {name: getattr(record, f"KIND_{name}") for name in kinds}


def test_structures_have_the_sizes_that_python_unpacks(tmp_path: Path) -> None:
    clang = shutil.which("clang")
    assert clang, "clang is needed to build the BPF objects"
    sizes = {
        "item": record._ITEM.size,
        "fd_facts": FD_FACTS,
        "sock_facts": record._SOCK.size,
        "exec_facts": EXEC_FACTS.size,
        "fork_facts": record._FORK.size,
        "exit_facts": record._EXIT.size,
        "row": tables.ROW_SIZE,
        "process_entry": learning.ENTRY_BYTES,
        "slot": len(pushdown.pack_slot(pushdown.everything(), tables.NumberTable("x86_64").row_names())),
    }
    source = tmp_path / "sizes.c"
    places = {
        "self": load._SELF_OFFSET,
        "generation": load._GENERATION_OFFSET,
        "level": load._LEVEL_OFFSET,
        "cpu": load._COUNTERS_OFFSET,
        "slots": load._SLOTS_OFFSET,
    }
    assert places["cpu"] % 64 == places["slots"] % 64 == 0, "a cache line"
    source.write_text(
        '#include "lib/types.h"\n'
        + "".join(
            f'_Static_assert(__builtin_offsetof(struct control, {name}) == {at}, "{name}");\n'
            for name, at in places.items()
        )
        + "".join(f'_Static_assert(sizeof(struct {name}) == {size}, "{name}");\n' for name, size in sizes.items())
    )
    host = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    command = [clang, "-target", "bpf", "-D__TARGET_ARCH_x86", f"-I{ROOT}/bpf", f"-I{ROOT}/bpf/include"]
    command += ["-idirafter", f"/usr/include/{host}-linux-gnu", "-fsyntax-only", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_number_has_a_row_the_kernel_can_hold(machine: str) -> None:
    for index, row in tables.row_entries(tables.NumberTable(machine)):
        assert 0 <= index < 2 * tables.MAX_SYSCALLS
        assert len(row) == tables.ROW_SIZE


def test_only_wanted_calls_are_marked() -> None:
    numbers = tables.NumberTable("x86_64")
    mask = tables.wanted_mask(numbers, {"openat"}, state=False)
    assert {nr for nr, bits in enumerate(mask) if bits & tables.WANTED_64} == {257}
    assert {nr for nr, bits in enumerate(mask) if bits & tables.WANTED_32} == {295}


def test_the_filter_has_the_same_classes_on_both_sides() -> None:
    known = _defined(TYPES)
    assert known["EXACT_RESULTS"] == decisions.EXACT_RESULTS
    assert known["ERRNOS"] == decisions.ERRNOS
    assert known["OPEN_CLASSES"] == len(decisions.OPEN_CLASSES)
    assert (known["OPEN_UNKNOWN"], known["OPEN_CREAT"]) == (tables.UNKNOWN_OPEN, tables.CREAT_CALL)
    assert (known["VALUES"], known["VALUE_NONE"]) == (decisions.VALUES, tables.VALUE_NONE)
    assert known["SUFFIX_BYTES"] == paths.SUFFIX_BYTES
    assert known["FD_NUMBERS"] == decisions.FD_NUMBERS
    assert (known["VALUE_BITS"], known["NO_BIT"]) == (tables.VALUE_BITS, tables.NO_BIT)
    assert known["VECTOR_WORDS"] * 64 == pushdown.MAX_CLAUSES
    assert (known["TRIE_KEY_BYTES"], known["NAME_KEY_BYTES"]) == (paths.TRIE_KEY_BYTES, paths.NAME_KEY_BYTES)
    assert _enum("IS_", "")["IS_OTHER"] == decisions.OTHER_KIND
    assert known["LEVELS"] == len(SHEDDING)
    assert [(known["FIRST_EIGHTHS"] + n) / 8 for n in range(known["LEVELS"] - 1)] == list(FILLED)
    vectors = (
        12
        + known["LEVELS"]
        + decisions.RESULT_CLASSES
        + known["OPEN_CLASSES"]
        + len(decisions.KINDS)
        + known["FD_NUMBERS"]
        + 2 * tables.MAX_SYSCALLS
    )
    packed = pushdown.pack_slot(pushdown.everything(), tables.NumberTable("x86_64").row_names())
    assert len(packed) == vectors * pushdown.VECTOR_BYTES + known["NAME_BITS"] // 8 + 64
