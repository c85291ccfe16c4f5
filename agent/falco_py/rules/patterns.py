# SPDX-License-Identifier: Apache-2.0
"""Text patterns become matchers: RE2 expressions, shell globs, path prefixes; and the functions that rules call.

Invariant: no matcher raises or takes more than linear time, whatever text a hostile process put into a value.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import re2

_OPTIONS = re2.Options()
_OPTIONS.longest_match = True
_OPTIONS.log_errors = False
_UPPER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}
_LOWER = {c: c - 32 for c in range(ord("a"), ord("z") + 1)}
_DYNAMIC_PATTERNS = 1024

Matcher = Callable[[str], bool]


def _clean(value: str) -> str:
    """Bytes that were no UTF-8 are replaced, as RE2 wants."""
    if value.isascii():
        return value
    return _bytes(value).decode("utf-8", "replace")


def _bytes(value: str) -> bytes:
    """The bytes that a text was read from."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def _compiled(pattern: str) -> Any:
    return re2.compile(_clean(pattern), options=_OPTIONS)


def _escaped(text: str) -> str:
    escaped: str = re2.escape(_clean(text))
    return escaped


def check_regex(pattern: str) -> str | None:
    """What is wrong with an RE2 pattern, None when it is right."""
    try:
        _compiled(pattern)
    except (re2.error, ValueError, UnicodeError) as error:
        detail = error.args[0] if error.args else error
        return detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
    return None


def regex_matcher(pattern: str) -> Matcher:
    """Matches the whole value."""
    fullmatch = _compiled(pattern).fullmatch
    return lambda value: fullmatch(_clean(value)) is not None


def _glob_to_regex(pattern: str) -> str:
    out: list[str] = []
    i = 0
    while i < len(pattern):
        char = pattern[i]
        i += 1
        if char == "*":
            if out[-1:] != [".*"]:
                out.append(".*")
        elif char == "?":
            out.append(".")
        elif char == "\\" and i < len(pattern):
            out.append(_escaped(pattern[i]))
            i += 1
        elif char == "[":
            end = _bracket_end(pattern, i)
            if end < 0:
                out.append(r"\[")
            else:
                out.append(_bracket(pattern[i:end]))
                i = end + 1
        else:
            out.append(_escaped(char))
    return "".join(out)


def _bracket_end(pattern: str, start: int) -> int:
    i = start
    if pattern[i : i + 1] in ("!", "^"):
        i += 1
    if pattern[i : i + 1] == "]":
        i += 1
    while i < len(pattern) and pattern[i] != "]":
        if pattern.startswith("[:", i) and ":]" in pattern[i + 2 :]:
            i = pattern.index(":]", i + 2) + 2
        else:
            i += 2 if pattern[i] == "\\" else 1
    return i if i < len(pattern) else -1


def _bracket(body: str) -> str:
    negated = body[:1] in ("!", "^")
    inner = body[1:] if negated else body
    parts = re.split(r"(\[:\w+:\])", inner)
    text = "".join(p if n % 2 else re.sub(r"([\[\]^])", r"\\\1", p) for n, p in enumerate(parts))
    expression = f"[{'^' if negated else ''}{text}]"
    return expression if check_regex(expression) is None else _escaped(f"[{body}]")


def _stars_matcher(pattern: str) -> Matcher:
    """A glob of plain text and `*`, which is most of them: found from left to right, many times as fast as RE2."""
    if "*" not in pattern:
        return lambda value: value == pattern
    first, *middle, last = pattern.split("*")
    inner = tuple(part for part in middle if part)
    if not first and not last and len(inner) == 1:
        word = inner[0]
        return lambda value: word in value
    least = len(first) + len(last)

    def matches(value: str) -> bool:
        if len(value) < least or not value.startswith(first) or not value.endswith(last):
            return False
        at, end = len(first), len(value) - len(last)
        for part in inner:
            found = value.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    return matches


def glob_matcher(pattern: str, fold: bool = False) -> Matcher:
    """fnmatch(3) without flags: `*` and `?` match a slash too. `fold`: letter case does not count."""
    if not fold and pattern.isascii() and not any(c in pattern for c in "?[\\"):
        return _stars_matcher(pattern)
    fullmatch = _compiled(f"(?{'i' if fold else ''}s){_glob_to_regex(pattern)}").fullmatch
    return lambda value: fullmatch(_clean(value)) is not None


def one_of(op: str, patterns: Sequence[str]) -> Matcher:
    """Is one of several `regex`, `glob` or `iglob` patterns satisfied? One expression tests them together."""
    if op == "regex":
        parts = [_clean(pattern) for pattern in patterns]
    else:
        parts = [f"(?{'i' if op == 'iglob' else ''}s:{_glob_to_regex(pattern)})" for pattern in patterns]
    try:
        fullmatch = _compiled("|".join(f"(?:{part})" for part in parts)).fullmatch
    except (re2.error, ValueError):  # too large together, or two groups of one name
        alone = [regex_matcher(p) if op == "regex" else glob_matcher(p, op == "iglob") for p in patterns]
        return lambda value: any(matches(value) for matches in alone)
    return lambda value: fullmatch(_clean(value)) is not None


@lru_cache(_DYNAMIC_PATTERNS)
def _glob_of(pattern: str, fold: bool) -> Matcher:
    return glob_matcher(pattern, fold)


def glob_match(value: str, pattern: str) -> bool:
    """For patterns that come from a field."""
    return len(pattern) < 4096 and _glob_of(pattern, False)(value)


def iglob_match(value: str, pattern: str) -> bool:
    return len(pattern) < 4096 and _glob_of(pattern, True)(value)


class _PathNode:
    __slots__ = ("children", "end", "globs")

    def __init__(self) -> None:
        self.children: dict[str, _PathNode] = {}
        self.globs: list[tuple[str, Matcher, _PathNode]] = []
        self.end = False


class PathSet:
    """`pmatch`: is a path one of these paths, or below one? Slashes at the ends and repeated ones do not count."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._root = _PathNode()
        plain: list[str] | None = []  # as they look in a value without repeated slashes; None when there are patterns
        for path in paths:
            node = self._root
            parts = [part for part in path.split("/") if part]
            for part in parts:
                node = self._child(node, part)
            node.end = True
            if any(c in path for c in "*?["):
                plain = None
            elif plain is not None:
                plain.append("/" + "/".join(parts))
        self._exact = None if plain is None else frozenset(plain)
        self._below = () if plain is None else tuple(path.rstrip("/") + "/" for path in plain)

    @staticmethod
    def _child(node: _PathNode, part: str) -> _PathNode:
        if not any(c in part for c in "*?["):
            return node.children.setdefault(part, _PathNode())
        for text, _, child in node.globs:
            if text == part:
                return child
        child = _PathNode()
        node.globs.append((part, glob_matcher(part), child))
        return child

    def match(self, path: str) -> bool:
        if self._exact is not None and path[:1] == "/" and "//" not in path:
            return path in self._exact or path.startswith(self._below)
        nodes = [self._root]
        if self._root.end:
            return True
        for part in path.split("/"):
            if not part:
                continue
            following = []
            for node in nodes:
                child = node.children.get(part)
                if child is not None:
                    following.append(child)
                following.extend(glob_child for _, matches, glob_child in node.globs if matches(part))
            if not following:
                return False
            if any(node.end for node in following):
                return True
            nodes = list(dict.fromkeys(following))
        return False


# Transformers. A missing value stays missing.


def lower(value: Any) -> Any:
    if isinstance(value, str):
        return value.lower() if value.isascii() else value.translate(_UPPER)
    return None if value is None else tuple(lower(v) for v in value)


def upper(value: Any) -> Any:
    if isinstance(value, str):
        return value.upper() if value.isascii() else value.translate(_LOWER)
    return None if value is None else tuple(upper(v) for v in value)


def basename(value: Any) -> Any:
    if isinstance(value, str):
        return value[value.rfind("/") + 1 :]
    return None if value is None else tuple(basename(v) for v in value)


def from_base64(value: Any) -> Any:
    """Decoded, None when it is no base64."""
    if value is None:
        return None
    if isinstance(value, tuple):
        decoded = tuple(from_base64(v) for v in value)
        return None if None in decoded else decoded
    try:
        raw = base64.b64decode(value if isinstance(value, bytes) else value.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if isinstance(value, bytes) else raw.decode("utf-8", "surrogateescape")


def length(value: Any) -> int | None:
    """Elements of a list, else bytes."""
    if value is None:
        return None
    if isinstance(value, str):
        return len(value) if value.isascii() else len(_bytes(value))
    return len(value)


def _texts(values: Iterable[Any]) -> list[str] | None:
    found: list[str] = []
    for value in values:
        if value is None:
            return None
        found.append(value if isinstance(value, str) else str(value))
    return found


def join(separator: Any, values: Any) -> str | None:
    texts = None if values is None else _texts(values)
    return None if texts is None or separator is None else separator.join(texts)


def concat(*values: Any) -> str | None:
    texts = _texts(values)
    return None if texts is None else "".join(texts)


def get_options(args: Sequence[str] | None, spec: str, option: str | None = None) -> tuple[str, ...] | None:
    """getopt(3) over `args`: the letters found, or with `option` the values given for that letter."""
    if args is None:
        return None
    takes = {c: spec[i + 1 : i + 2] == ":" for i, c in enumerate(spec) if c != ":"}
    found: list[tuple[str, str]] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if len(word) < 2 or word[0] != "-" or word[1] == "-":
            continue
        for i, letter in enumerate(word[1:], 1):
            if takes.get(letter):
                value = word[i + 1 :] or (rest.pop(0) if rest else "")
                found.append((letter, value))
                break
            if letter in takes:
                found.append((letter, ""))
    if option is None:
        return tuple(letter for letter, _ in found) or None
    return tuple(value for letter, value in found if letter == option) or None


# What generated code may call, by the name it uses there.
ENV: dict[str, object] = {
    "_lower": lower,
    "_upper": upper,
    "_basename": basename,
    "_from_base64": from_base64,
    "_length": length,
    "_join": join,
    "_concat": concat,
    "_get_options": get_options,
    "_glob_match": glob_match,
    "_iglob_match": iglob_match,
}
TRANSFORMER_CODE = {
    "tolower": "_lower",
    "toupper": "_upper",
    "basename": "_basename",
    "b64": "_from_base64",
    "len": "_length",
    "join": "_join",
    "concat": "_concat",
    "getopt": "_get_options",
}
