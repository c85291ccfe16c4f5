# SPDX-License-Identifier: Apache-2.0
"""The words of the condition language. Invariant: each word is written down here once."""

from __future__ import annotations

NUMBER_OPERATORS = ("<=", "<", ">=", ">")
WORD_OPERATORS = (
    "glob", "iglob", "contains", "icontains", "bcontains", "startswith", "bstartswith", "endswith", "regex",
)  # fmt: skip
TEXT_OPERATORS = ("==", "=", "!=", *WORD_OPERATORS)
LIST_OPERATORS = ("intersects", "in", "pmatch")
OPERATORS = ("exists", *NUMBER_OPERATORS, *TEXT_OPERATORS, *LIST_OPERATORS)
MODIFIERS = ("oneof", "anyof", "allof")
TRANSFORMERS = ("tolower", "toupper", "basename", "b64", "len", "join", "concat", "getopt")
