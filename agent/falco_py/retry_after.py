# SPDX-License-Identifier: Apache-2.0
"""The header Retry-After becomes seconds to wait (RFC 9110, 10.2.3)."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_S: Final = 300.0  # that whoever answers is heeded


def seconds(header: str) -> float:
    """Of a number of seconds, or a date; 0 for neither."""
    header = header.strip()
    if header.isascii() and header.isdigit():
        return min(LONGEST_S, float(header[:9]))
    try:
        return min(LONGEST_S, max(0.0, parsedate_to_datetime(header).timestamp() - time.time()))
    except (ValueError, OverflowError):
        return 0.0
