# SPDX-License-Identifier: Apache-2.0
"""The values of one comparison become what is odd about them: it can never hold, always holds, or compares another
number than the one written.

Only what is certain from the field's row is told, so what is silent may still be odd. Invariant: a comparison with
several values is told of only when none of them can do anything; nothing here raises on a comparison that compiles.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..events.syscalls import UNREAD
from .literals import INTEGERS, TEXTS
from .problems import nearest
from .syntax import FieldExpr, Literal, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .syntax import Check

_SIGNED_BITS = {"INT64": 64, "INT32": 32, "INT16": 16, "INT8": 8}
_UNSIGNED_BITS = {"UINT64": 64, "UINT32": 32, "UINT16": 16, "UINT8": 8, "RELTIME": 64, "ABSTIME": 64, "PORT": 16}
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_FLAG_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BARE_NAME = re.compile(r"[A-Za-z0-9_.+-]+", re.ASCII)
_STARS = re.compile(r"\*+")
# Of texts that can be given, which does a comparison with `wanted` take?
_TAKES: dict[str, Callable[[str, str], bool]] = {
    "=": lambda given, wanted: given == wanted,
    "startswith": lambda given, wanted: given.startswith(wanted),
    "endswith": lambda given, wanted: given.endswith(wanted),
    "contains": lambda given, wanted: wanted in given,
    "icontains": lambda given, wanted: wanted.lower() in given.lower(),
}
_EQUALITIES = frozenset(("=", "==", "in", "intersects"))
_EXECUTABLES = frozenset(("proc.exepath", "proc.pexepath", "proc.aexepath"))

_SPECIAL = _EXECUTABLES | {"proc.cwd", "fd.filename"}


class Oddity(NamedTuple):
    at: int
    message: str
    hint: str = ""


def oddities(check: Check, field: Any, arg: str | None) -> Iterator[Oddity]:
    """What is odd about comparing `field` with the values written; transformers and other fields are let alone."""
    if not isinstance(check.left, FieldExpr) or not isinstance(check.right, tuple) or field.pinned:
        return
    name, values = spelled(check.left), check.right
    kind = str(field.type_of(arg) if field.type_of is not None else field.type)
    if kind in INTEGERS or kind == "PORT":
        for literal in values:
            yield from _of_number(check, literal, kind, name)
        return
    if kind not in TEXTS or not values:
        return
    if check.modifier is None and len(values) == 1 and _takes_any(check.op, values[0].text):
        yield Oddity(values[0].at, f"{name} {check.op} {_quoted(values[0].text)} holds for every value",
                     f"to ask whether there is a value write '{name} exists'")  # fmt: skip
        return
    yield from _of_texts(check, field, arg, name)


def missing_parameter(field: Any, arg: str | None, at: int) -> Iterator[Oddity]:
    """For a parameter that only events have which are never made here."""
    if field.name in ("evt.arg", "evt.rawarg") and arg in UNREAD:
        yield Oddity(at, f"no event that is made here has the parameter {arg}: it is always missing")


def empty_set(check: Check) -> Oddity:
    """For a comparison with `()`, when that is what the author wrote."""
    return Oddity(check.at, "a comparison with an empty list is never true", "write the values between ( and )")


def _of_number(check: Check, literal: Literal, kind: str, name: str) -> Iterator[Oddity]:
    if not _NUMBER.fullmatch(literal.text):
        return  # the name of a service
    value = int(literal.text)
    if kind in _UNSIGNED_BITS:
        low, high = 0, (1 << _UNSIGNED_BITS[kind]) - 1
    else:
        half = 1 << (_SIGNED_BITS[kind] - 1)
        low, high = -half, half - 1
    if not low <= value <= high:
        cut = (value - low) % (high - low + 1) + low
        yield Oddity(literal.at, f"{literal.text} is out of the range of {name} and is compared as {cut}",
                     f"write a number from {low} to {high}")  # fmt: skip
    elif low == 0 and value == 0 and check.op in ("<", ">="):
        told = "never true" if check.op == "<" else f"true whenever there is a {name}"
        yield Oddity(literal.at, f"{name} has no negative values: this is {told}",
                     "" if check.op == "<" else f"to ask whether there is a value write '{name} exists'")  # fmt: skip


def _takes_any(op: str, text: str) -> bool:
    if op in ("glob", "iglob"):
        return bool(_STARS.fullmatch(text))
    return not text and op in _TAKES and op != "="


def _of_texts(check: Check, field: Any, arg: str | None, name: str) -> Iterator[Oddity]:
    if not (field.longest_bytes or field.words or field.flag_names or field.name in _SPECIAL):
        return
    op = "=" if check.op in _EQUALITIES or check.op == "!=" else check.op
    if op not in _TAKES or (check.op == "!=" and check.modifier is not None):
        return
    reasons = [_impossible(field, arg, name, op, literal.text) for literal in check.right or ()]  # type: ignore[union-attr]
    dead = any(reasons) if check.modifier == "allof" else all(reasons)
    if not dead:
        return
    index = next(index for index, reason in enumerate(reasons) if reason)
    literal = check.right[index]  # type: ignore[index]
    assert isinstance(literal, Literal)
    reason = reasons[index]
    assert reason is not None
    what = "always true" if check.op == "!=" else "never true"
    yield Oddity(literal.at, f"this is {what}: {reason[0]}", reason[1])


def _impossible(field: Any, arg: str | None, name: str, op: str, text: str) -> tuple[str, str] | None:
    """Why no text of the field is taken by `op` with `text`, and what to write; None when one may be."""
    if field.longest_bytes and len(text.encode("utf-8", "surrogateescape")) > field.longest_bytes:
        return _too_long(field, name, op, text)
    if field.words and text not in field.words and not _NUMBER.fullmatch(text) and not _is_taken(op, text, field.words):
        return f"{name} is never {_quoted(text)}", _choice(text, field.words)
    if field.flag_names is not None and text:
        return _no_flag(field.flag_names(arg), name, op, text)
    if field.name == "proc.cwd" and op in ("=", "endswith") and text and not text.endswith("/"):
        return "proc.cwd ends in a slash", f"write {text}/"
    if field.name == "fd.filename" and "/" in text and text != "/":
        return "fd.filename is the name without its directory", "compare fd.name, or fd.directory"
    if field.name in _EXECUTABLES and op == "=" and _BARE_NAME.fullmatch(text):
        return f"{name} is a whole path", f"compare the name of the process, or write '{name} endswith /{text}'"
    return None


def _is_taken(op: str, text: str, words: frozenset[str]) -> bool:
    return op != "=" and any(_TAKES[op](word, text) for word in words)


def _too_long(field: Any, name: str, op: str, text: str) -> tuple[str, str]:
    longest = field.longest_bytes
    why = f"{name} has at most {longest} bytes and {_quoted(text)} has {len(text.encode('utf-8', 'surrogateescape'))}"
    if field.name == "container.id":
        return why, "compare container.full_id, or write the first 12 characters"
    if op != "=":
        return why, "write a shorter part of the name"
    cut = text.encode("utf-8", "surrogateescape")[:longest].decode("utf-8", "ignore")
    return why, f"write {_quoted(cut)}, as the kernel cuts names, or compare the path of the executable"


def _no_flag(names: frozenset[str], name: str, op: str, text: str) -> tuple[str, str] | None:
    fits = _TAKES["=" if op == "=" else "icontains" if op == "icontains" else "contains"]
    for piece in text.split("|") if names else ():
        if _FLAG_NAME.fullmatch(piece) and not any(fits(known, piece) for known in names):
            return f"no event has a flag {_quoted(piece)} in {name}", nearest(piece, names)
    return None


def _choice(text: str, words: frozenset[str]) -> str:
    near = nearest(text, words)
    if near or len(words) > 24:
        return near
    return "it is one of: " + ", ".join(sorted(words)) if len(words) > 1 else f"it is always {min(words)}"


def _quoted(text: str) -> str:
    return f"'{text}'"
