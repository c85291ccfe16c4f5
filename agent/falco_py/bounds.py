# SPDX-License-Identifier: Apache-2.0
"""JSON from outside, of any shape and size, becomes short and encodable values.

Invariant: nothing here raises, and what comes out is bounded; what has the wrong type is unknown: "", None or empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TEXT_MAX: Final = 4096
ITEMS_MAX: Final = 256  # of a list
ALL_MAX: Final = 32768  # characters of all labels, and of all mounts
LABEL_MAX: Final = 100  # Falco's label_max_len: labels with longer values are left out


def text_of(value: object) -> str:
    """The text, "" for anything else; too long a one is cut, halves of characters are replaced."""
    if not isinstance(value, str):
        return ""
    if len(value) > TEXT_MAX:
        value = value[:TEXT_MAX]
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def dict_of(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def items_of(value: object) -> Iterator[Mapping[str, Any]]:
    """The objects in a list, as many as are looked at."""
    if isinstance(value, list):
        for item in value[:ITEMS_MAX]:
            if isinstance(item, dict):
                yield item


def texts_of(value: object) -> list[str]:
    return [text_of(item) for item in value[:ITEMS_MAX]] if isinstance(value, list) else []


def bool_of(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def labels_of(value: object) -> dict[str, str]:
    kept: dict[str, str] = {}
    left = ALL_MAX
    for key, label in dict_of(value).items():
        if isinstance(label, str) and len(label) <= LABEL_MAX and len(key) <= TEXT_MAX:
            left -= len(key) + len(label)
            if left < 0 or len(kept) >= ITEMS_MAX:
                break
            kept[text_of(key)] = text_of(label)
    return kept
