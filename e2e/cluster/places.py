# SPDX-License-Identifier: Apache-2.0
"""The host's directories that a cluster mounts its own over become existing ones, and go again after the last cluster.

A mount needs a directory to be mounted on. The missing ones are empty and lie on the host itself, where they may be
removed only while no namespace at all has something mounted on them: removing such a directory takes the mount away
from everybody. So the clusters of a machine share a lock, and the last to give it up removes what was made.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.cluster.programs import cache

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each path as containerd, kubelet, the CNI plugins or mount(8) has it built in, or as every host has it.
PLACES: Final = (
    "/run/containerd", "/run/netns", "/run/mount", "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/cni",
    "/var/log/pods", "/var/log/containers", "/etc/cni",
)  # fmt: skip


class Places:
    """One cluster's share in them."""

    def __init__(self) -> None:
        self._share: int | None = None

    def take(self) -> int:
        """Makes the missing ones. A descriptor: the share lasts until the last process that has it closes it."""
        with _alone() as record:
            made = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
            for place in map(Path, PLACES):
                for missing in reversed([path for path in (place, *place.parents) if not path.exists()]):
                    # Noted before it is made: a note too many does no harm.
                    made.append(str(missing))
                    record.write_text("".join(f"{path}\n" for path in made), encoding="utf-8")
                    missing.mkdir()
            self._share = os.open(_users(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._share, fcntl.LOCK_SH)
        return self._share

    def give_up(self) -> None:
        """Removes those that were made, unless another cluster has its share or somebody put something in them."""
        with _alone() as record:
            if self._share is not None:
                os.close(self._share)
                self._share = None
            if not record.exists():
                return
            users = os.open(_users(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            finally:
                os.close(users)  # nobody takes a share while we are alone
            for path in reversed(record.read_text(encoding="utf-8").splitlines()):
                with contextlib.suppress(OSError):  # somebody's by now, or gone
                    Path(path).rmdir()
            record.unlink()


def owed() -> frozenset[str]:
    """The paths that are there for the clusters of now, and go with the last of them."""
    record = cache() / "places"
    return frozenset(record.read_text(encoding="utf-8").splitlines() if record.exists() else [])


def _users() -> Path:
    return cache() / "places.users"


@contextlib.contextmanager
def _alone() -> Iterator[Path]:
    """The list of what was made, for one process at a time."""
    cache().mkdir(parents=True, exist_ok=True)
    lock = os.open(cache() / "places.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield cache() / "places"
    finally:
        os.close(lock)
