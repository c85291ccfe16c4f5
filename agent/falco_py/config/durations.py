# SPDX-License-Identifier: Apache-2.0
"""A duration as Prometheus writes it (`1h30m`, `500ms`) becomes milliseconds.

The units are y, w, d, h, m, s and ms, in this order, each at most once
(Prometheus: configuration, `<duration>`). A year has 365 days.
"""

from __future__ import annotations

import re
from typing import Final

_SECOND: Final = 1000
_UNITS: Final = {
    "y": 365 * 86400 * _SECOND,
    "w": 7 * 86400 * _SECOND,
    "d": 86400 * _SECOND,
    "h": 3600 * _SECOND,
    "m": 60 * _SECOND,
    "s": _SECOND,
    "ms": 1,
}
_DURATION: Final = re.compile("".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in _UNITS))


def milliseconds(text: str) -> int | None:
    """None when `text` is no such duration."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        return None
    return sum(int(count) * unit for count, unit in zip(found.groups(), _UNITS.values(), strict=True) if count)
