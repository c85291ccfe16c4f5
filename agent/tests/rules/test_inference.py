# SPDX-License-Identifier: Apache-2.0
"""The event types that a condition can hold for."""

from __future__ import annotations

import pytest

from falco_py.rules.grammar import parse
from falco_py.rules.inference import event_types

ALL = frozenset(("open", "openat", "close", "execve"))
OPENS = frozenset(("open", "openat"))


@pytest.mark.parametrize(
    ("condition", "types"),
    [
        ("evt.type = open", {"open"}),
        ("syscall.type = open", {"open"}),
        ("evt.type == open", {"open"}),
        ("evt.type != open", ALL - {"open"}),
        ("evt.type in (open, openat)", OPENS),
        ("evt.type in ()", set()),
        ("evt.type exists", ALL),
        ("evt.type startswith open", ALL),
        ("evt.type contains open", ALL),
        ("evt.type = anyof (open)", ALL),
        ("evt.type = switch", set()),
        ("proc.name = a", ALL),
        ("not proc.name = a", ALL),
        ("evt.type = open and proc.name = a", {"open"}),
        ("evt.type = open or proc.name = a", ALL),
        ("evt.type = open or evt.type = close", {"open", "close"}),
        ("evt.type in (open, openat) and evt.type != open", {"openat"}),
        ("not evt.type = open", ALL - {"open"}),
        ("not evt.type != open", {"open"}),
        ("not (evt.type = open and proc.name = a)", ALL),
        ("not (evt.type = open or evt.type = close)", ALL - {"open", "close"}),
        ("not (evt.type != open or proc.name = a)", {"open"}),
        ("not (evt.type = open or not (evt.type = close or evt.type = execve))", {"close", "execve"}),
        ("evt.num = 0", set()),
        ("evt.num < 1", set()),
        ("evt.num <= 0", set()),
        ("evt.num in (0)", set()),
        ("not evt.num = 0", ALL),
        ("evt.num > 0", ALL),
        ("evt.num = 0 and evt.type = open", set()),
        ("tolower(evt.type) = open", ALL),
    ],
)
def test_event_types(condition: str, types: frozenset[str]) -> None:
    assert event_types(parse(condition), ALL) == types
