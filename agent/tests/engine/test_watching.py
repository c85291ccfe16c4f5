# SPDX-License-Identifier: Apache-2.0
"""Files that change in each way that files change: written, renamed over, links swapped, made, removed."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from falco_py.engine import inotify
from falco_py.engine.watching import Watcher, directories, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

WAIT_S = 10.0


class Watch:
    def __init__(self) -> None:
        self.event = threading.Event()
        self.count = 0
        self.watcher = Watcher(self._changed)

    def _changed(self) -> None:
        self.count += 1
        self.event.set()

    def follow(self, *paths: Path) -> None:
        names = tuple(map(str, paths))
        self.watcher.follow(names, fingerprint(names))

    def seen(self) -> bool:
        """Whether a change is told in time."""
        found = self.event.wait(WAIT_S)
        self.event.clear()
        return found


@pytest.fixture
def watch() -> Iterator[Watch]:
    made = Watch()
    yield made
    made.watcher.close()


def in_place(path: Path) -> None:
    path.write_text("b: 2\n")


def renamed_over(path: Path) -> None:
    new = path.with_name(".new")
    new.write_text("b: 2\n")
    new.rename(path)


def removed(path: Path) -> None:
    path.unlink()


def moved_away_and_made(path: Path) -> None:
    path.rename(path.with_suffix(".yaml~"))
    path.write_text("b: 2\n")


@pytest.mark.parametrize("edit", [in_place, renamed_over, removed, moved_away_and_made])
def test_an_edit_of_a_file_is_seen(watch: Watch, tmp_path: Path, edit: Callable[[Path], None]) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("a: 1\n")
    watch.follow(path)
    edit(path)
    assert watch.seen()


def test_a_file_that_was_missing_is_seen_when_it_comes(watch: Watch, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "rules.yaml"
    watch.follow(path)
    path.parent.mkdir(parents=True)
    path.write_text("a: 1\n")
    assert watch.seen()


def test_a_directory_that_comes_while_the_kernel_is_asked_is_watched(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked = tmp_path / "deep" / "er" / "rules.yaml", inotify.watch

    def late(wanted: Iterable[str]) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        return asked(wanted)

    monkeypatch.setattr(inotify, "watch", late)
    looked = watch.watcher._look

    def look() -> bool:
        found = looked()
        if not path.exists():
            path.write_text("a: 1\n")
        return found

    monkeypatch.setattr(watch.watcher, "_look", look)
    watch.follow(path)
    assert watch.seen()


def test_files_that_come_into_a_directory_are_seen(watch: Watch, tmp_path: Path) -> None:
    rules = tmp_path / "rules.d"
    rules.mkdir()
    watch.follow(rules)
    (rules / "one.yaml").write_text("a: 1\n")
    assert watch.seen()
    (rules / "one.yaml").unlink()
    assert watch.seen()


def test_the_links_of_a_config_map_are_followed(watch: Watch, tmp_path: Path) -> None:
    """As the kubelet swaps them: a new directory, a new link to it, renamed over the old one."""
    mount = tmp_path / "rules.d"
    mount.mkdir()

    def publish(version: str, text: str) -> None:
        data = mount / f"..{version}"
        data.mkdir()
        (data / "rules.yaml").write_text(text)
        link = mount / "..data_tmp"
        link.symlink_to(data.name)
        link.rename(mount / "..data")

    publish("1", "a: 1\n")
    (mount / "rules.yaml").symlink_to("..data/rules.yaml")
    watch.follow(mount)
    publish("2", "a: 2\n")
    assert watch.seen()
    publish("3", "a: 3\n")
    assert watch.seen()


def test_a_link_to_a_file_elsewhere_is_followed(watch: Watch, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "rules.yaml"
    real.parent.mkdir()
    real.write_text("a: 1\n")
    link = tmp_path / "etc" / "rules.yaml"
    link.parent.mkdir()
    link.symlink_to(real)
    watch.follow(link)
    real.write_text("a: 2\n")
    assert watch.seen()


def test_what_leaves_the_content_as_it_was_is_not_told(watch: Watch, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("a: 1\n")
    watch.follow(path)
    os.utime(path)
    (tmp_path / "other.txt").write_text("x")
    path.write_text("a: 1\n")
    path.write_text("a: 2\n")
    assert watch.seen()
    assert watch.count == 1


def test_other_files_can_be_followed_later(watch: Watch, tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "1.yaml", tmp_path / "b" / "2.yaml"
    for path in (first, second):
        path.parent.mkdir()
        path.write_text("a: 1\n")
    watch.follow(first)
    watch.follow(second)
    second.write_text("a: 2\n")
    assert watch.seen()


def test_a_change_between_reading_and_watching_is_seen(watch: Watch, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("a: 1\n")
    seen = fingerprint([str(path)])
    path.write_text("a: 2\n")
    watch.watcher.follow((str(path),), seen)
    assert watch.seen()


def test_directories_of_files_of_links_and_of_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert directories([str(tmp_path / "link" / "no" / "file.yaml")]) == {
        str(tmp_path / "link"),
        str(tmp_path / "real"),
    }
    assert directories([str(tmp_path / "real")]) == {str(tmp_path / "real"), str(tmp_path)}


def test_opens_and_noise_in_the_directory_cost_next_to_nothing(watch: Watch, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("a: 1\n")
    watch.follow(path)
    looks = 0
    looked = watch.watcher._look

    def counted() -> bool:
        nonlocal looks
        looks += 1
        return looked()

    watch.watcher._look = counted  # type: ignore[method-assign]
    ends_s = time.monotonic() + 1.5
    while time.monotonic() < ends_s:
        for number in range(200):
            (tmp_path / f"noise-{number}").write_text("x")
            path.read_text()
    assert looks <= 6
    path.write_text("a: 2\n")
    assert watch.seen()


def test_without_room_for_watches_files_are_looked_at(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(_directories: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(inotify, "watch", full)
    path = tmp_path / "rules.yaml"
    path.write_text("a: 1\n")
    watch.follow(path)
    path.write_text("a: 2\n")
    assert watch.seen()
    assert capfd.readouterr().err.count("files cannot be watched: Too many open files") == 1


def test_a_thread_ends_with_the_watcher(tmp_path: Path) -> None:
    watch = Watch()
    watch.follow(tmp_path / "rules.yaml")
    thread = watch.watcher._thread
    assert thread is not None
    watch.watcher.close()
    thread.join(10)
    assert not thread.is_alive()
