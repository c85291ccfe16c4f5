# SPDX-License-Identifier: Apache-2.0
"""Where a ConfigMap is mounted, its files become those that the API server tells of, which are newer.

The kubelet brings a change to the volume within about a minute; a watch tells of it at once. Invariant: the files of
one `Overlay` are of one version of the ConfigMap, and keep the paths that they have in the volume.
"""

from __future__ import annotations

import os
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.load import yaml_files
from ..config.problem import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Overlay:
    """`texts`: file name to text of all that counts as lying in `directory`, an absolute path."""

    directory: str
    texts: Mapping[str, str]

    def files(self, path: str) -> list[str] | None:
        """As config.load.yaml_files; None when `path` is neither the directory nor a file in it."""
        full = os.path.abspath(path)
        if full == self.directory:
            return [os.path.join(path, name) for name in sorted(self.texts)]
        if os.path.dirname(full) == self.directory:
            return [path] if os.path.basename(full) in self.texts else []
        return None

    def text(self, path: str) -> str | None:
        """None when the file on the disk counts."""
        directory, name = os.path.split(os.path.abspath(path))
        return self.texts.get(name) if directory == self.directory else None


def files_of(path: str, overlay: Overlay | None) -> list[str]:
    found = None if overlay is None else overlay.files(path)
    return yaml_files(path) if found is None else found


class Mount:
    """A directory where a ConfigMap is mounted. `now` may be called from any thread.

    While the watch is connected (`connected`), what it told (`texts`; None: nothing) counts. When it is not, and the
    volume becomes another than before, the volume counts: it is what was told by then, or newer.
    """

    def __init__(
        self, directory: str, texts: Callable[[], Mapping[str, str] | None], connected: Callable[[], bool]
    ) -> None:
        self.directory = os.path.abspath(directory)
        self._texts = texts
        self._connected = connected
        self._lock = threading.Lock()
        self._told: Mapping[str, str] | None = None
        self._seen: dict[str, tuple[int, int]] = {}  # of the volume, at the look before
        self._volume_counts = False

    def now(self) -> Overlay | None:
        """None: the volume counts."""
        with self._lock:
            texts = self._texts()
            if texts is None:
                return None
            volume = self._volume()
            if texts is not self._told or self._connected():
                self._volume_counts = False
            elif volume != self._seen:
                self._volume_counts = True
            self._told, self._seen = texts, volume
            return None if self._volume_counts else Overlay(self.directory, texts)

    def _volume(self) -> dict[str, tuple[int, int]]:
        """File name to length and CRC-32."""
        found = {}
        try:
            paths = yaml_files(self.directory)
        except ConfigError:  # whoever loads it will tell
            paths = []
        for path in paths:
            name = os.path.basename(path)
            if not name.startswith("."):
                with suppress(OSError):  # it was there a moment ago
                    content = Path(path).read_bytes()
                    found[name] = len(content), zlib.crc32(content)
        return found
