# SPDX-License-Identifier: Apache-2.0
"""What the API server tells of a ConfigMap counts in place of its volume, until the volume is known to be newer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from falco_py.config.model import Config
from falco_py.engine.overlay import Mount, Overlay, files_of
from falco_py.engine.watching import Watcher, fingerprint
from falco_py.prepared import Input, read_rules
from tests.outputs.items import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from falco_py.engine.watching import Fingerprint


class Volume:
    """A directory as the kubelet fills it: names that are links to a directory that is swapped as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        path.mkdir()

    def put(self, **texts: str) -> None:
        self.count += 1
        new = self.path / f"..2026_{self.count}"
        new.mkdir()
        for name, text in texts.items():
            (new / f"{name}.yaml").write_text(text)
        (self.path / "..data_tmp").symlink_to(new.name)
        os.replace(self.path / "..data_tmp", self.path / "..data")
        for old in self.path.glob("*.yaml"):
            old.unlink()
        for name in texts:
            (self.path / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")


class World:
    """A volume, and a watch of the same ConfigMap."""

    def __init__(self, directory: Path) -> None:
        self.volume = Volume(directory / "rules.d")
        self.texts: Mapping[str, str] | None = None
        self.connected = True
        self.mount = Mount(str(self.volume.path), lambda: self.texts, lambda: self.connected)
        self.volume.put(a="old\n")

    def api(self, **texts: str) -> None:
        self.texts = {f"{name}.yaml": text for name, text in texts.items()}

    def loaded(self) -> dict[str, str]:
        """File name to text of what would be loaded now."""
        overlay = self.mount.now()
        read = Input(Config(), files_of(str(self.volume.path), None), rules_paths=(str(self.volume.path),))
        read = read.under(overlay)
        return {os.path.basename(path): text for path, text in read_rules(read.rules_files, read.overlay)}

    def seen(self) -> object:
        return fingerprint([str(self.volume.path)], self.mount.now())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_volume_counts_while_the_api_server_has_told_nothing(world: World) -> None:
    assert world.loaded() == {"a.yaml": "old\n"}


def test_what_the_api_server_tells_counts_and_brings_and_takes_files(world: World) -> None:
    world.api(b="new\n", c="more\n")
    assert world.loaded() == {"b.yaml": "new\n", "c.yaml": "more\n"}


def test_files_keep_their_paths(world: World) -> None:
    world.api(a="new\n")
    overlay = world.mount.now()
    assert files_of(str(world.volume.path), overlay) == [str(world.volume.path / "a.yaml")]


def test_nothing_has_changed_when_the_volume_catches_up(world: World) -> None:
    world.api(a="new\n")
    before = world.seen()
    world.volume.put(a="new\n")
    assert world.seen() == before
    world.connected = False
    assert world.seen() == before


def test_nothing_has_changed_when_the_api_server_tells_what_the_volume_has(world: World) -> None:
    before = world.seen()
    world.api(a="old\n")
    assert world.seen() == before


def test_the_volume_counts_when_it_changes_while_nobody_watches(world: World) -> None:
    world.api(a="new\n")
    assert world.loaded() == {"a.yaml": "new\n"}
    world.connected = False
    assert world.loaded() == {"a.yaml": "new\n"}  # as before: nothing has changed
    world.volume.put(a="newer\n")
    assert world.loaded() == {"a.yaml": "newer\n"}
    assert world.loaded() == {"a.yaml": "newer\n"}  # and goes on doing so


def test_what_the_kubelet_is_late_with_does_not_count(world: World) -> None:
    """The watch saw two edits; the kubelet brings the first of them before the watch breaks."""
    world.api(a="second\n")
    world.loaded()
    world.volume.put(a="first\n")
    assert world.loaded() == {"a.yaml": "second\n"}
    world.connected = False
    assert world.loaded() == {"a.yaml": "second\n"}


def test_the_api_server_counts_again_when_it_is_back(world: World) -> None:
    world.api(a="new\n")
    world.loaded()
    world.connected = False
    world.volume.put(a="newer\n")
    assert world.loaded() == {"a.yaml": "newer\n"}
    world.connected = True
    assert world.loaded() == {"a.yaml": "new\n"}


def test_the_volume_counts_when_the_configmap_is_deleted(world: World) -> None:
    world.api(a="new\n")
    world.loaded()
    world.texts = None
    assert world.loaded() == {"a.yaml": "old\n"}


def test_files_elsewhere_stay_and_the_order_is_that_of_the_paths(world: World, tmp_path: Path) -> None:
    first, last = tmp_path / "first.yaml", tmp_path / "last.yaml"
    for file in (first, last):
        file.write_text(f"{file.name}\n")
    world.api(z="new\n", b="new\n")
    directory = str(world.volume.path)
    paths = (str(first), directory, str(last), str(tmp_path / "missing.yaml"))
    read = Input(Config(), (), rules_paths=paths).under(world.mount.now())
    assert read.rules_files == [str(first), f"{directory}/b.yaml", f"{directory}/z.yaml", str(last)]


def test_a_single_file_of_the_directory_counts_as_the_api_server_has_it(world: World) -> None:
    world.api(a="new\n")
    directory = str(world.volume.path)
    overlay = world.mount.now()
    assert overlay == Overlay(directory, {"a.yaml": "new\n"})
    assert files_of(f"{directory}/a.yaml", overlay) == [f"{directory}/a.yaml"]
    assert files_of(f"{directory}/b.yaml", overlay) == []
    assert read_rules([f"{directory}/a.yaml"], overlay) == [(f"{directory}/a.yaml", "new\n")]


def test_lines_end_as_in_a_file(world: World) -> None:
    world.api(a="one\r\ntwo\r\n")
    assert world.loaded() == {"a.yaml": "one\ntwo\n"}
    before = world.seen()
    (world.volume.path / "..data" / "a.yaml").write_bytes(b"one\r\ntwo\r\n")
    world.connected = False
    assert world.seen() == before


def test_a_watcher_tells_of_what_the_api_server_tells_and_not_of_the_volume_that_follows(world: World) -> None:
    told: list[object] = []
    looks: list[object] = []

    def look(paths: Iterable[str]) -> Fingerprint:
        looks.append(fingerprint(paths, world.mount.now()))
        return looks[-1]

    directory = str(world.volume.path)
    watcher = Watcher(lambda: told.append(None), look)
    try:
        world.api(a="new\n")
        watcher.follow([directory], look([directory]))
        until(lambda: len(looks) > 1)
        before = len(looks)
        world.volume.put(a="new\n")
        until(lambda: len(looks) > before)
        assert not told
        world.connected = False
        world.volume.put(a="newer\n")
        until(lambda: told)
    finally:
        watcher.close()
