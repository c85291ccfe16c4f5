# SPDX-License-Identifier: Apache-2.0
"""The left or right side of a comparison as Python: an expression over the event `e`, its type and shape.

Invariant: the expression gives None for a missing value and raises nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Value:
    """`multi` and `pinned` are those of the field (fields.model.Field); `name` is how a rule spells the value.

    `cost_ns`: roughly what reading it takes.
    """

    code: str
    type: str
    is_list: bool = False
    multi: str = ""
    no_rhs: bool = False
    name: str = ""
    cost_ns: int = 0
    pinned: bool = False
