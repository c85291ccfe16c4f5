# SPDX-License-Identifier: Apache-2.0
"""Names that people chose become parts of keys and label names. Invariant: what comes out is never empty."""

from __future__ import annotations

import re
from typing import Final

_OTHERS: Final = re.compile(r"[^A-Za-z0-9]+")
_NOT_LABEL: Final = re.compile(r"[^A-Za-z0-9_]")


def key_part(name: str) -> str:
    """`Read sensitive file (untrusted)` becomes `Read_sensitive_file_untrusted`, `falco.yaml` becomes `falco_yaml`."""
    return _OTHERS.sub("_", name).strip("_") or "_"


def tag_label(tag: str) -> str:
    """The label of a tag: `tag_T1555`; of `a.b` it is `tag_a_b`, since labels hold no other characters."""
    return "tag_" + _NOT_LABEL.sub("_", tag)
