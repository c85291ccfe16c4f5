# SPDX-License-Identifier: Apache-2.0
"""What the live tests share: one agent with the default rules, one container, a scratch directory for each test.

Every test below this directory is marked `live`. Invariant: nothing that a fixture made outlives it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.harness import DEFAULT_RULES, Agent, marker
from tests.live.runc_container import Container

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent with the default rules."""
    running = Agent([DEFAULT_RULES], tmp_path_factory.mktemp("agent"))
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The attack program, linked statically."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    assert compiler is not None, "the live tests need a C compiler"
    program = tmp_path_factory.mktemp("probe") / "probe"
    command = [compiler, "-O1", "-Wall", "-static", "-o", str(program), str(HERE / "probe.c")]
    subprocess.run(command, check=True, timeout=120)
    return program


@pytest.fixture(scope="session")
def container(tmp_path_factory: pytest.TempPathFactory, probe: Path) -> Iterator[Container]:
    """A running container with a writable layer over its image; the attack program is a part of the image."""
    programs = {"bin/probe": probe, "bin/ssh": probe, "bin/ncat": probe}
    made = Container(tmp_path_factory.mktemp("container"), programs)
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def mark() -> str:
    """Goes into a command line, a path or a name, and picks this test's alerts out of all others."""
    return marker()
