# SPDX-License-Identifier: Apache-2.0
"""Agents in containers of the image. Invariant: the host of the tests is left as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.image.runtime import Agent, Runtime


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
