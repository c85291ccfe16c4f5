# SPDX-License-Identifier: Apache-2.0
"""What is read natively of an open file says what the general way says, for any fd and any path."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py.events.event import Event
from falco_py.events.flags import translate
from falco_py.events.record import ITEM_CUT, ITEM_DIR, ITEM_FD, ITEM_PATH, decode_fd
from falco_py.events.syscalls import ROWS
from falco_py.fields.catalogue import ENV, lookup
from tests.fields.made import compiled, header, item, number

FIELDS = ("fd.num", "fd.typechar", "fd.type", "fd.name", "fd.directory", "fd.filename", "fd.containerdirectory")
MODES = (0o100644, 0o100644, 0o040755, 0o020620, 0o010600, 0o140777, 0)
MAGICS = (0xEF53, 0x09041934, 0x50495045, 0x50494446, 0)
NAMES = (
    b"", b"/", b"x", b"/x", b"/x/", b"/etc/passwd", b"/\xff/\xfe/a", b"/\xc3/\xa9", "/ä/π/🦅".encode(), b"a/b",
    b"memfd:x", b"memfd", b"memfd:a/b", b"bpf-map", b"[eventfd]", b"pipe:[5]", b"/a//b", b"/a/./b", b"/a/../b",
    b"/a/..", b"/a/...", b"/a/.b", b"/a/b.", b"//a", b"/.",
)  # fmt: skip
facts = st.builds(
    lambda num, mode, flags, magic: struct.pack("=iHBBIIQII", num, mode, 1, flags, 0xFE00000, magic, 9, 0, 0),
    st.sampled_from((3, 0, 70000, -1, -13)), st.sampled_from(MODES), st.sampled_from((16, 16, 16, 16, *range(32))),
    st.sampled_from((0xEF53,) * 9 + MAGICS),
)  # fmt: skip
names = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), st.binary(max_size=12))
READ = {name: compiled(found[0].code(None)) for name in FIELDS if (found := lookup(name)) is not None}


def event(row: str, facts: bytes, name: bytes, passed: bytes, base: bytes, base_flags: int) -> Event:
    fd = item(ITEM_FD, facts + name)
    payload = fd + number(-100) + item(ITEM_PATH, passed) + item(ITEM_DIR, base, base_flags) + number(0) + number(0)
    made = Event(ROWS[row], header(ret=3), payload, 1, 1)
    made.process = type("Process", (), {"container_id": ""})
    return made


@settings(max_examples=3000, deadline=None)
@given(
    row=st.sampled_from(("openat", "openat2", "openat", "read", "connect", "getpid", "mkdirat")),
    facts=facts,
    name=names,
    passed=st.one_of(st.just(None), names),
    base=st.sampled_from((b"/", b"", b"/a", b"/etc", b"/x/", b"a")),
    base_flags=st.sampled_from((0, ITEM_CUT)),
    spelling=st.sampled_from((0, 0, 1)),
)
def test_an_open_file_reads_as_any_other_fd(
    row: str, facts: bytes, name: bytes, passed: bytes | None, base: bytes, base_flags: int, spelling: int
) -> None:
    if passed is None:  # what was opened, relative to the directory when it is below
        passed = name.removeprefix(base + b"/")
    quick, general = (event(row, facts, name, passed, base, base_flags) for _ in range(2))
    quick.spelling = general.spelling = spelling
    fd = decode_fd(facts + name)
    assert fd is not None
    general.replace_fd(fd)
    assert {name: read(quick) for name, read in READ.items()} == {name: read(general) for name, read in READ.items()}
    assert quick.cut == general.cut
    assert quick.other_spelling() == general.other_spelling()


@pytest.mark.parametrize("path", [b"/etc/passwd", b"/x", b"x/y"])
def test_an_open_that_was_spelled_as_it_is_takes_no_decoding(path: bytes) -> None:
    facts = struct.pack("=iHBBIIQII", 3, 0o100644, 0, 16, 0xFE00000, 0xEF53, 9, 0, 0)
    whole = path if path.startswith(b"/") else b"/base/" + path
    made = event("openat", facts, whole, path, b"/base", 0)
    assert not made.other_spelling()
    assert (made._fd, made._args) == (None, None)


@pytest.mark.parametrize("flags", [0, 1, 2, 3, 0o101, 0o102, 0o1103, 0o2000002, -1])
def test_the_access_of_an_open_is_that_of_its_flags(flags: int) -> None:
    payload = number(-100) + item(ITEM_PATH, b"/x") + item(ITEM_DIR, b"/") + number(flags) + number(0)
    made = Event(ROWS["openat"], header(ret=3), payload, 1, 1)
    for access in (1, 2):
        assert ENV["open_access"](made, access) is (translate("file_flags", flags) & access != 0)
