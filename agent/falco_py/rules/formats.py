# SPDX-License-Identifier: Apache-2.0
"""The text of an output becomes functions that give the message and its fields.

`%field`, `%field[arg]`, `%transformer(field)` and `%<N>field` are replaced; a missing value prints as `<NA>`.
Invariant: a compiled format never raises and never suppresses an alert.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .expressions import CheckError, Writer
from .grammar import parse_transformer
from .operators import TRANSFORMERS
from .syntax import Call, FieldExpr

if TYPE_CHECKING:
    from ..events.event import Event

_WIDTH = re.compile(r"\d+")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(?:\.[a-zA-Z0-9_]+)+")
_TRANSFORMER = re.compile(r"(?:" + "|".join(TRANSFORMERS) + r")\(")
_TIMES = ("evt.time", "evt.datetime")

Getter = Callable[["Event"], Any]


class Token:
    """One token: how it is read as text and as a value for JSON."""

    __slots__ = ("key", "read", "show", "width")

    def __init__(self, key: str, width: int | None, read: Getter, show: Callable[[Any], str]) -> None:
        self.key, self.width, self.read, self.show = key, width, read, show


class OutputFormat:
    """`format(event)` gives the message, `fields(event)` the values of its tokens by name."""

    __slots__ = ("_parts", "_values", "text", "uses")

    def __init__(self, text: str, parts: Sequence[str | Token], values: Sequence[tuple[str, Getter]],
                 uses: frozenset[str]) -> None:  # fmt: skip
        self.text = text
        self.uses = uses
        self._parts = tuple(parts)
        self._values = tuple(values)

    def format(self, event: Event) -> str:
        out = []
        for part in self._parts:
            if isinstance(part, str):
                out.append(part)
                continue
            shown = part.show(part.read(event))
            if part.width is not None:
                shown = shown[: part.width].ljust(part.width)
            out.append(shown)
        return "".join(out)

    def fields(self, event: Event) -> dict[str, Any]:
        return {key: read(event) for key, read in self._values}


def show(value: Any) -> str:
    """A value as Falco prints it."""
    if value is None:
        return "<NA>"
    if isinstance(value, str):
        return value
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "(" + ",".join(show(one) for one in value) + ")"
    if isinstance(value, bytes):
        return "".join(chr(c) if 32 <= c < 127 else "." for c in value)
    return str(value)


def _show_hex(value: Any) -> str:
    return format(value, "X") if isinstance(value, int) else show(value)


def _show_padded(value: Any) -> str:
    return f"{value:09d}" if isinstance(value, int) else show(value)


_SHOWN = {"HEX": _show_hex, "10_PADDED_DEC": _show_padded}


class Formats:
    """Compiles output texts; `writer` holds the names that the expressions use."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def compile(self, text: str) -> OutputFormat:
        """Raises expressions.CheckError with the offset in `text`."""
        if not text:
            raise CheckError(0, "empty formatting token", "an output needs some text")
        parts: list[str | Token] = []
        values: dict[str, Getter] = {}
        before = set(self.writer.fields)
        self.writer.fields.clear()
        at = 0
        try:
            while at < len(text):
                percent = text.find("%", at)
                if percent < 0:
                    parts.append(text[at:])
                    break
                start = percent
                if start > at:
                    lead = text[at:start]
                    parts.append(lead)
                at = self._token(text, start, parts, values)
            uses = frozenset(self.writer.fields)
        finally:
            self.writer.fields |= before
        return OutputFormat(text, parts, list(values.items()), uses)

    def _token(self, text: str, percent: int, parts: list[str | Token], values: dict[str, Getter]) -> int:
        at = percent + 1
        if at >= len(text):
            raise CheckError(percent, "invalid formatting syntax: formatting cannot end with a %")
        width = _WIDTH.match(text, at)
        if width:
            at = width.end()
        call = _TRANSFORMER.match(text, at)
        if call:
            return self._call(text, percent, at, width, parts, values)
        name = _NAME.match(text, at)
        if name is None:
            raise CheckError(percent, "unknown filter: unexpected token after '%'", "write a field, such as %proc.name",
                        unknown=True)  # fmt: skip
        expr, end = self._longest(text, name)
        if expr is None:
            raise self.writer._unknown(FieldExpr(name[0], None, percent), name[0])
        field, arg = self.writer.catalogue.lookup(expr.name if expr.arg is None else f"{expr.name}[{expr.arg}]")
        self.writer.fields.add(field.name)
        code = (field.print_code or field.code)(arg)
        json_code = (field.json_code or field.code)(arg)
        shown = _SHOWN.get(field.print_format, show)
        key = text[percent + 1 + (len(width[0]) if width else 0) : end]
        parts.append(Token(key, int(width[0]) if width else None, self._getter(code), shown))
        if field.name.startswith(_TIMES):
            values[key] = lambda e: e.ts
        elif field.print_format == "HEX":
            read = self._getter(json_code)
            values[key] = lambda e: None if read(e) is None else _show_hex(read(e))
        else:
            values[key] = self._getter(json_code)
        return end

    def _longest(self, text: str, name: re.Match[str]) -> tuple[FieldExpr | None, int]:
        """The longest field that the text begins with, its argument in brackets included."""
        lookup = self.writer.catalogue.lookup
        word = name[0]
        for length in range(len(word), 2, -1):
            found = lookup(word[:length])
            end = name.start() + length
            if text[end : end + 1] == "[" and length == len(word):
                close = text.find("]", end)
                with_arg = lookup(text[name.start() : close + 1]) if close > 0 else None
                if with_arg is not None and with_arg[0].arg != "none":
                    arg = text[end + 1 : close]
                    error = with_arg[0].check_arg(arg) if with_arg[0].check_arg else None
                    if error:
                        raise CheckError(name.start(), error, unknown=True)
                    return FieldExpr(word, arg, name.start()), close + 1
            if found is not None and not (found[0].arg == "required" and found[1] is None):
                return FieldExpr(word[:length], None, name.start()), end
        return None, 0

    def _call(self, text: str, percent: int, at: int, width: re.Match[str] | None, parts: list[str | Token],
              values: dict[str, Getter]) -> int:  # fmt: skip
        parsed = parse_transformer(text, at)
        if parsed is None:
            raise CheckError(
                percent, "unknown filter: not a transformer", "write it as %tolower(proc.name)", unknown=True
            )
        inner: Any
        inner, end = parsed
        written = text[at:end]
        value = self.writer.left(inner)
        parts.append(Token(written, int(width[0]) if width else None, self._getter(value.code), show))
        while isinstance(inner, Call) and inner.args:
            inner = inner.args[0]
        if isinstance(inner, FieldExpr):
            key = inner.name if inner.arg is None else f"{inner.name}[{inner.arg}]"
            values[key] = self._getter(self.writer.field(inner).code)
        return end

    def _getter(self, code: str) -> Getter:
        made: Getter = eval(f"lambda e: {code}", self.writer.names)
        return made
