# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_STEP_S: Final = 0.05


def until(look: Callable[[], T | None], deadline_s: float, otherwise: Callable[[], str]) -> T:
    """What `look` gives as soon as it gives something true. Raises AssertionError."""
    ends = time.monotonic() + deadline_s
    while not (found := look()):
        if time.monotonic() > ends:
            raise AssertionError(otherwise())
        time.sleep(_STEP_S)
    return found
