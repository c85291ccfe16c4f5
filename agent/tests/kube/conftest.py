# SPDX-License-Identifier: Apache-2.0
"""A small API server, the loop that asks it, and what the log says of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from falco_py.background import Background
from falco_py.log import Log, log
from tests.kube.api import Api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    yield made
    made.close()


@pytest.fixture
def background() -> Iterator[Background]:
    made = Background()
    yield made
    made.close()


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    monkeypatch.setattr(log, "fd", fd)
    monkeypatch.setattr(log, "enabled", True)
    yield path.read_text
    os.close(fd)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged."""
    found: list[str] = []
    monkeypatch.setattr(Log, "write", lambda self, level, text: found.append(f"{level.name.lower()}: {text}"))
    return found
