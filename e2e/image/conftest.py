# SPDX-License-Identifier: Apache-2.0
"""The sources become the image, once for all tests. Invariant: the host of the tests is left as it was."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest
from e2e.image.runtime import Runtime, slim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.image.runtime import Agent


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
def start(runtime: Runtime) -> Iterator[Callable[..., Agent]]:
    """Starts agents, which are gone after the test."""
    started: list[Agent] = []

    def one(*arguments: str, **options: object) -> Agent:
        started.append(runtime.start(*arguments, **options))  # type: ignore[arg-type]
        return started[-1]

    yield one
    for agent in started:
        agent.remove()


@pytest.fixture
def mark() -> str:
    """A word that no other process of the machine says."""
    return f"fpy{secrets.token_hex(6)}"
