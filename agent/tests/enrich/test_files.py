# SPDX-License-Identifier: Apache-2.0
"""Files of runtimes are read as what they are: anybody's."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.enrich.files import REASONS, SIZE_MAX, Files
from tests.enrich.hosts import put

if TYPE_CHECKING:
    from pathlib import Path


def failed(files: Files) -> dict[str, int]:
    return {reason: count for reason, count in files.failures.items() if count}


def test_an_object_is_read(tmp_path: Path) -> None:
    put(tmp_path, "run/box/id/config.json", {"a": 1})
    files = Files(tmp_path)
    assert files.read("/run/box", "id", "config.json") == {"a": 1}
    assert files.read("/run/box", "none", "config.json") is None
    assert failed(files) == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "syntax"), (b"{", "syntax"), (b"\xff\xfe\xff", "syntax"), (b"[" * 200_000, "syntax"), (b"[]", "shape"),
     (b"1" * 5000, "syntax"), (b'"x"', "shape"), (b" " * SIZE_MAX + b"{}", "size")],
)  # fmt: skip
def test_damage_is_counted(tmp_path: Path, content: bytes, reason: str) -> None:
    put(tmp_path, "run/config.json", content)
    files = Files(tmp_path)
    assert files.read("/run", "config.json") is None
    assert failed(files) == {reason: 1}


def test_links_below_the_directory_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "secret/config.json", {"a": 1})
    (tmp_path / "run/box").mkdir(parents=True)
    (tmp_path / "run/box/id").symlink_to(tmp_path / "secret")
    (tmp_path / "run/box/own").mkdir()
    (tmp_path / "run/box/own/config.json").symlink_to(tmp_path / "secret/config.json")
    files = Files(tmp_path)
    assert files.read("/run/box", "id", "config.json") is None
    assert files.read("/run/box", "own", "config.json") is None
    assert files.read("/run/box", "..", "..", "secret") is None
    assert failed(files) == {"kind": 2, "link": 1}


def test_a_pipe_does_not_hold_anybody_up(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run/config.json")
    (tmp_path / "run/dir").mkdir()
    files = Files(tmp_path)
    assert files.read("/run", "config.json") is None
    assert files.read("/run", "dir") is None
    assert files.database(lambda _: 1, "/run", "config.json") is None
    assert failed(files) == {"kind": 3}


def test_links_to_the_directory_lead_where_the_host_follows_them(tmp_path: Path) -> None:
    put(tmp_path, "data/docker/x/config.json", {"a": 1})
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "var/lib/docker").symlink_to("/data/./old/../docker")
    (tmp_path / "var/run").symlink_to("../../../../../../data")
    files = Files(tmp_path)
    assert files.read("/var/lib/docker", "x", "config.json") == {"a": 1}
    assert files.read("/var/run/docker", "x", "config.json") == {"a": 1}
    (tmp_path / "loop").symlink_to("/loop")
    assert files.read("/loop", "config.json") is None


def test_a_shared_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    put(tmp_path, "run/list.json", [1])
    files = Files(tmp_path)
    first = files.kept("/run", "list.json")
    assert files.kept("/run", "list.json") is first
    put(tmp_path, "run/list.json", [1, 2])
    assert files.kept("/run", "list.json") == [1, 2]


def test_names_of_a_directory_are_few(tmp_path: Path) -> None:
    for number in range(100):
        put(tmp_path, f"run/{number}", "")
    assert len(Files(tmp_path).names("/run")) == 64
    assert Files(tmp_path).names("/none") == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(content=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_object_or_a_counted_reason(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.getbasetemp() / "any"
    put(root, "run/config.json", content)
    files = Files(root)
    value: Any = files.read("/run", "config.json")
    assert isinstance(value, dict) or value is None
    if value is None and content.strip() != b"null":
        assert sum(failed(files).values()) == 1
    assert set(files.failures) == set(REASONS)
