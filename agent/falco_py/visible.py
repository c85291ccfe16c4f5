# SPDX-License-Identifier: Apache-2.0
"""Any text becomes one line that is safe to print.

Names, arguments and paths come from the processes that are watched. Printed as they are, they could forge a
second alert (newline), drive the reader's terminal (escape sequences, C1 controls) or show their text in another
order (bidirectional overrides). Invariant: what `visible` and `json_line` return has none of those characters,
and holds no lone surrogate, so it can always be encoded as UTF-8.
"""

from __future__ import annotations

import json
import re
from typing import Final

# C0, DEL, C1; line and paragraph separators; what changes the direction or hides: Unicode's bidirectional
# controls (UAX 9), the zero-width marks, tags, and lone surrogates (undecodable bytes read with surrogateescape).
_HIDDEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_REPLACEMENT: Final = "\ufffd"


def _spelled(match: re.Match[str]) -> str:
    char = match.group()
    short = _SHORT.get(char)
    if short is not None:
        return short
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape's form of an undecodable byte
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def visible(text: str) -> str:
    """`text` as one line: control characters spelled as `\\n`, `\\x1b`, `\\u202e`."""
    if text.isprintable():  # the common case: isprintable() is false for every character of _HIDDEN
        return text
    return _HIDDEN.sub(_spelled, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xD800 <= code <= 0xDFFF:
        return _REPLACEMENT
    if code > 0xFFFF:
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"


def json_line(value: object) -> str:
    """`value` as JSON on one line, keys in alphabetical order; the same text once decoded, bad bytes replaced.

    Raises ValueError or TypeError for what JSON cannot hold; the caller passes plain types.
    """
    # Outside its strings JSON has none of these characters, so they can be escaped in the finished text.
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text if text.isprintable() else _HIDDEN.sub(_escaped, text)
