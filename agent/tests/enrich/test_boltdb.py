# SPDX-License-Identifier: Apache-2.0
"""containerd's and podman's databases are read without their lock, and damage in them is told as such."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.enrich.boltdb import DamagedError, State, read
from tests.enrich.hosts import PAGE_BYTES, Tree, database, meta

if TYPE_CHECKING:
    from pathlib import Path

TREE: Tree = {
    "v1": {
        "default": {
            "containers": {f"web{i}": {"image": f"image{i}".encode(), "labels": {"a": b"1"}} for i in range(40)},
            "large": {"key": b"x" * 10000, "other": b"y"},
        }
    }
}


def found(raw: bytes, look: Any, path: Path) -> Any:
    path.write_bytes(raw)
    file = os.open(path, os.O_RDONLY)
    try:
        return read(file, look)
    finally:
        os.close(file)


@pytest.mark.parametrize("entries_max", [2, 3, 100])
def test_values_are_found_at_their_paths(tmp_path: Path, entries_max: int) -> None:
    def look(state: State) -> None:
        here = "v1", "default", "containers"
        for i in (0, 7, 39):
            assert state.value(*here, f"web{i}", "image") == f"image{i}".encode()
            assert state.values(*here, f"web{i}", "labels") == {b"a": b"1"}
        assert state.values(*here, "web1") == {b"image": b"image1"}
        assert state.value("v1", "default", "large", "key") == b"x" * 10000

    found(database(TREE, entries_max=entries_max), look, tmp_path / "meta.db")


@pytest.mark.parametrize(
    "path",
    [
        ("v2",),
        ("",),
        ("v1", "default", "containers", "web40", "image"),
        ("v1", "default", "large", "key", "x"),
        ("v1",),
    ],
)
def test_what_is_not_there_is_none(tmp_path: Path, path: tuple[str, ...]) -> None:
    assert found(database(TREE), lambda state: state.value(*path), tmp_path / "meta.db") is None


def test_the_newest_complete_state_counts(tmp_path: Path) -> None:
    raw = database({"a": {"b": b"1"}})
    half = b"\xff" * 90 + raw[90:]
    assert found(half, lambda state: state.value("a", "b"), tmp_path / "meta.db") == b"1"
    older = meta(0, 1 << 30, 3) + raw[PAGE_BYTES:]
    assert found(older, lambda state: state.value("a", "b"), tmp_path / "meta.db") == b"1"


def test_a_state_that_was_overtaken_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "meta.db"
    seen = []

    def look(state: State) -> bytes | None:
        value = state.value("a", "b")
        seen.append(value)
        if len(seen) == 1:
            path.write_bytes(database({"a": {"b": b"2"}}, state=9))
        return value

    assert found(database({"a": {"b": b"1"}}), look, path) == b"2"
    assert seen == [b"1", b"2"]


def test_one_that_never_rests_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "meta.db"
    states = iter(range(10, 100))

    def look(state: State) -> bytes | None:
        path.write_bytes(database({"a": {"b": b"2"}}, state=next(states)))
        return state.value("a", "b")

    with pytest.raises(DamagedError):
        found(database({"a": {"b": b"1"}}), look, path)


@given(damage=st.lists(st.tuples(st.integers(0, 20 * PAGE_BYTES), st.binary(min_size=1, max_size=8)), max_size=30))
def test_any_damage_is_told_as_damage(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes]]
) -> None:
    raw = bytearray(database(TREE))
    for at, content in damage:
        at %= len(raw)
        raw[at : at + len(content)] = content

    def look(state: State) -> None:
        state.value("v1", "default", "containers", "web7", "image")
        state.values("v1", "default", "containers", "web7", "labels")

    path = tmp_path_factory.getbasetemp() / "damaged.db"
    with contextlib.suppress(DamagedError):
        found(bytes(raw), look, path)


def test_pages_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    raw = bytearray(database(TREE, entries_max=2))
    count = len(raw) // PAGE_BYTES
    for number in range(2, count):
        page = raw[number * PAGE_BYTES : (number + 1) * PAGE_BYTES]
        if page[8] == 1:  # a branch: to itself
            raw[number * PAGE_BYTES + 24 : number * PAGE_BYTES + 32] = number.to_bytes(8, "little")
    with pytest.raises(DamagedError):
        found(bytes(raw), lambda state: state.value("v1", "default", "containers", "web7", "image"), tmp_path / "x")
