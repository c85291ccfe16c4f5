# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: the agent's image, built once, and the figures that they print at the end."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest
from e2e.image.runtime import Runtime, slim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIGURES = pytest.StashKey[list[tuple[str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("e2e", "end-to-end tests of falco-py")
    group.addoption("--agent-image", metavar="FILE", help="the agent's image as `make image ARCHIVE=FILE` writes it, "
                    "for the tests on Kubernetes: it is not built then")  # fmt: skip
    group.addoption("--cluster-at", metavar="DIR", help="a cluster that runs (`python -m e2e.cluster --scratch DIR "
                    "up`), which is not stopped then")  # fmt: skip


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """With the image built, by `scripts/image.sh` as `make image` does it."""
    assert os.geteuid() == 0, "the tests of the image need root"
    made = Runtime(tmp_path_factory.mktemp("image"))
    try:
        made.build(slim())
        yield made
    finally:
        made.close()


@pytest.fixture
def mark() -> str:
    """A word that no other process of the machine says."""
    return f"fpy{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def figure(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Notes what was measured, for the end of the run: what, and how much with its unit."""

    def note(what: str, how_much: str) -> None:
        request.config.stash.setdefault(_FIGURES, []).append((what, how_much))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash.get(_FIGURES, [])
    if figures:
        terminalreporter.section("measured")
        width = max(len(what) for what, _ in figures)
        for what, how_much in figures:
            terminalreporter.line(f"{what:{width}}  {how_much}")
