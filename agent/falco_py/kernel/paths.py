# SPDX-License-Identifier: Apache-2.0
"""A comparison of a path becomes the patterns that the kernel can look up: whole paths, beginnings, last components.

Invariant: every path that satisfies the comparison fits a pattern; others may fit, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..rules.syntax import Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..rules.syntax import Check

TRIE_KEY_BYTES = 256  # bpf/lib/types.h, the slot's byte apart
NAME_KEY_BYTES = 64
SUFFIX_BYTES = 8
PATH_FIELDS = frozenset(("fd.name", "fd.nameraw", "fd.directory", "fd.filename"))
_SUBSTRING_OPERATORS = ("contains", "glob", "startswith", "endswith")


class Pattern(NamedTuple):
    """`exact`: the whole path; `prefix`: how it starts; `name`: its last component; `suffix`: how that ends.

    `cut`: more was asked.
    """

    kind: str
    text: str
    cut: bool = False


Patterns = frozenset[Pattern] | None  # None: any path
_LOOSE = {"exact": 1.0, "name": 5.0, "suffix": 50.0}


def looseness(patterns: frozenset[Pattern]) -> float:
    """How much of all paths a set is likely to let through; a guess that decides nothing but speed."""
    return sum(_LOOSE.get(p.kind, 4096.0 / (1 + len(p.text)) ** 2) for p in patterns)


def more_telling(sets: Iterable[Patterns]) -> Patterns:
    """Of sets that must all be met, the one that lets the least through."""
    known = [one for one in sets if one is not None]
    return min(known, key=looseness) if known else None


def patterns_of(check: Check) -> Patterns:
    """The patterns of a comparison that holds; None when the kernel cannot tell."""
    if not isinstance(check.right, tuple) or check.modifier not in (None, "anyof", "oneof"):
        return None
    values = [literal.text for literal in check.right if isinstance(literal, Literal)]
    if len(values) != len(check.right) or not values or any("\0" in value or not value for value in values):
        return None
    return _patterns(getattr(check.left, "name", ""), check.op, values)


def _patterns(name: str, op: str, values: Sequence[str]) -> Patterns:
    if name == "fd.name":
        if op in ("=", "==", "in", "intersects"):
            return frozenset(_exact(value) for value in values)
        if op == "startswith":
            return frozenset(_prefix(value) for value in values)
        if op == "endswith":
            return _ends(values)
        if op in ("glob", "pmatch"):
            return _with_wildcards(op, values)
    if name == "fd.nameraw" and op in _SUBSTRING_OPERATORS and all("../" in value for value in values):
        return frozenset()  # only a passed path that holds "../" can satisfy this, and the kernel keeps all of those
    if name == "fd.directory":
        if op in ("=", "==", "in", "intersects") and "/" not in values:
            whole = {_exact(value) for value in values}
            return frozenset(whole | {_prefix(value + "/") for value in values})
        if op == "startswith":
            return frozenset(_prefix(value) for value in values)
    if name == "fd.filename" and op == "endswith" and not any("/" in value for value in values):
        return _ends(values)
    if (
        name == "fd.filename"
        and op in ("=", "==", "in", "intersects")
        and not any("/" in value or len(raw(value)) >= NAME_KEY_BYTES for value in values)
    ):
        return frozenset(Pattern("name", value) for value in values)
    return None


def _with_wildcards(op: str, values: Sequence[str]) -> Patterns:
    patterns = set()
    for value in values:
        text = "/" + value.strip("/") if op == "pmatch" else value
        if op == "pmatch":
            if "//" in text:
                return None
            if text != "/" and not any(c in text for c in "*?[\\"):
                patterns |= {_exact(text), _prefix(text + "/")}
                continue
        end = _end(text.rpartition("*")[2]) if op == "glob" and not any(c in text for c in "?[\\") else None
        fixed = text
        for i, c in enumerate(text):
            if c in "*?[\\":
                fixed = text[:i]
                break
        begins = None if fixed in ("", "/") else _exact(fixed) if fixed == text and op == "glob" else _prefix(fixed)
        found = more_telling(None if one is None else frozenset((one,)) for one in (begins, end))
        if found is None:
            return None
        patterns |= found
    return frozenset(patterns)


def _ends(values: Sequence[str]) -> Patterns:
    found = {_end(value) for value in values}
    return None if None in found else frozenset(one for one in found if one is not None)


def _end(text: str) -> Pattern | None:
    """Of paths that end in `text`: their last component as far as that says it; None when it says nothing."""
    _, slash, name = text.rpartition("/")
    whole = raw(name)
    if not name:
        return None
    if slash and len(whole) < NAME_KEY_BYTES:
        return Pattern("name", name, len(text) > len(name) + 1)
    cut = whole[-SUFFIX_BYTES:]
    return Pattern("suffix", cut.decode("utf-8", "surrogateescape"), bool(slash) or len(cut) < len(whole))


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _exact(text: str) -> Pattern:
    return Pattern("exact", text) if len(raw(text)) < TRIE_KEY_BYTES else _prefix(text)


def _prefix(text: str) -> Pattern:
    """A prefix longer than the key is cut, which only widens."""
    whole = raw(text)
    cut = whole[: TRIE_KEY_BYTES - 1]
    return Pattern("prefix", cut.decode("utf-8", "surrogateescape"), len(cut) < len(whole))
