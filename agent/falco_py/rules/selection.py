# SPDX-License-Identifier: Apache-2.0
"""Selections of the configuration or the command line switch rules on and off, in order: the last that fits counts.

Invariant: a rule that no selection fits stays as its file says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..config.model import Selection
    from .bundle import Rule


def select(rules: Iterable[Rule], selections: Iterable[Selection]) -> None:
    """Sets `enabled` of the rules."""
    steps = [(one, _pattern(one.rule) if one.rule is not None else None) for one in selections]
    for rule in rules:
        for step, pattern in steps:
            if step.tag in rule.tags if pattern is None else pattern.fullmatch(rule.name):
                rule.enabled = step.enable


def _pattern(text: str) -> re.Pattern[str]:
    """A name in which `*` stands for any text."""
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)
