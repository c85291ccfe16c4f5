# SPDX-License-Identifier: Apache-2.0
"""The text of an output becomes functions that give the message and its fields.

`%field`, `%field[arg]`, `%transformer(field)` and `%<N>field` are replaced; a missing value prints as `<NA>`. Bytes
print with a dot for what is not printable, or as base64 when that is asked for; the values for JSON stay bytes then or
are base64 as well.
Invariant: a compiled format never raises and never suppresses an alert.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .expressions import CheckError, Writer
from .grammar import parse_transformer
from .operators import TRANSFORMERS
from .syntax import FieldExpr, operand_fields, spelled

if TYPE_CHECKING:
    from ..events.event import Event
    from ..fields.model import Field

_WIDTH = re.compile(r"\d+")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(?:\.[a-zA-Z0-9_]+)+")
_TRANSFORMER = re.compile(r"(?:" + "|".join(TRANSFORMERS) + r")\(")
_TIMES = ("evt.time", "evt.datetime")
_MAX_DIGITS = 4  # of the width of a token

Getter = Callable[["Event"], Any]


class Token:
    """One token: how it is read as text and as a value for JSON."""

    __slots__ = ("key", "read", "show", "width")

    def __init__(self, key: str, width: int | None, read: Getter, show: Callable[[Any], str]) -> None:
        self.key, self.width, self.read, self.show = key, width, read, show


class OutputFormat:
    """`format(event)` gives the message, `fields(event)` the values of its tokens by name.

    `reads`: the fields of the text, with their places in it.
    """

    __slots__ = ("_parts", "_values", "reads", "text")

    def __init__(
        self,
        text: str,
        parts: Sequence[str | Token],
        values: Sequence[tuple[str, Getter]],
        reads: Sequence[tuple[Field, int]],
    ) -> None:
        self.text = text
        self.reads = tuple(reads)
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

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of what `fields` gives."""
        return tuple(key for key, _ in self._values)

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


def _base64(value: Any) -> Any:
    """`value` with its bytes as base64."""
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    return tuple(map(_base64, value)) if isinstance(value, tuple) else value


def _show_base64(value: Any) -> str:
    return show(_base64(value))


_SHOWN = {"HEX": _show_hex, "10_PADDED_DEC": _show_padded}
_MAYBE_BYTES = ("BYTEBUF", "DYN")  # types of fields whose values may be bytes


class Formats:
    """Compiles output texts; `writer` holds the names that the expressions use. `base64`: how bytes are given."""

    def __init__(self, writer: Writer, *, base64: bool = False) -> None:
        self.writer = writer
        self.base64 = base64

    def compile(self, text: str, extra_fields: Sequence[tuple[str, str | None]] = ()) -> OutputFormat:
        """`extra_fields`: (key, format) of values beside those of the text; no format: the field `key`, typed.

        Raises expressions.CheckError with the offset in the text or format that is wrong.
        """
        if not text:
            raise CheckError(0, "empty formatting token", "an output needs some text")
        made = _Compilation(self.writer, text, self.base64).run()
        if not extra_fields:
            return made
        values, reads = dict(made._values), list(made.reads)
        for key, form in extra_fields:
            extra = self._extra(key, form)
            values[key] = extra.format if form is not None else extra._values[0][1]
            reads += extra.reads
        return OutputFormat(text, made._parts, list(values.items()), reads)

    def _extra(self, key: str, form: str | None) -> OutputFormat:
        try:
            extra = self.compile(f"%{key}" if form is None else form)
        except CheckError as wrong:
            found = wrong.finding
            raise CheckError(found.at, f"extra field '{key}': {found.message}", found.hint, found.unknown) from None
        if form is None and [key] != [name for name, _ in extra._values]:
            raise CheckError(0, f"extra field '{key}': this is not the name of a field", "for a text write key: format")
        return extra


class _Compilation:
    def __init__(self, writer: Writer, text: str, base64: bool) -> None:
        self.writer = writer
        self.text = text
        self.base64 = base64
        self.show = _show_base64 if base64 else show
        self.parts: list[str | Token] = []
        self.values: dict[str, Getter] = {}
        self.reads: list[tuple[Field, int]] = []

    def run(self) -> OutputFormat:
        at = 0
        while at < len(self.text):
            percent = self.text.find("%", at)
            end = percent if percent >= 0 else len(self.text)
            if end > at:
                self.parts.append(self.text[at:end])
            at = self._token(percent) if percent >= 0 else end
        return OutputFormat(self.text, self.parts, list(self.values.items()), self.reads)

    def _token(self, percent: int) -> int:
        """Reads the token that begins at `percent`; gives the offset behind it."""
        at = percent + 1
        if at >= len(self.text):
            raise CheckError(percent, "invalid formatting syntax: formatting cannot end with a %")
        width = None
        digits = _WIDTH.match(self.text, at)
        if digits:
            at = digits.end()
            width = int(digits[0][:_MAX_DIGITS])
            if at == len(self.text) or len(digits[0]) > _MAX_DIGITS:
                raise CheckError(percent, f"unknown filter: no field of the width {digits[0][:20]}", unknown=True)
        return self._call(percent, at, width) if _TRANSFORMER.match(self.text, at) else self._field(percent, at, width)

    def _field(self, percent: int, at: int, width: int | None) -> int:
        word = _NAME.match(self.text, at)
        if word is None:
            raise CheckError(
                percent, "unknown filter: unexpected token after '%'", "write a field, such as %proc.name", unknown=True
            )
        found = self._longest(word, percent)
        if found is None:
            raise self.writer.unknown(FieldExpr(word[0], None, percent), word[0])
        field, arg, end = found
        self.reads.append((field, percent))
        read = self._getter((field.print_code or field.code)(arg))
        self.parts.append(Token(self.text[at:end], width, read, _SHOWN.get(field.print_format, self.show)))
        self.values[self.text[at:end]] = self._value(field, arg)
        return end

    def _value(self, field: Field, arg: str | None) -> Getter:
        """What JSON shows."""
        if field.name.startswith(_TIMES):
            return lambda e: e.ts
        read = self._getter((field.json_code or field.code)(arg))
        if self.base64 and field.type in _MAYBE_BYTES:
            return lambda e: _base64(read(e))
        if field.print_format != "HEX":
            return read
        return lambda e: None if (value := read(e)) is None else _show_hex(value)

    def _longest(self, word: re.Match[str], percent: int) -> tuple[Field, str | None, int] | None:
        """(field, argument, offset behind) of the longest field that the text begins with."""
        lookup = self.writer.catalogue.lookup
        text, start = self.text, word.start()
        close = text.find("]", word.end()) if text[word.end() : word.end() + 1] == "[" else -1
        with_arg: tuple[Field, str | None] | None = lookup(text[start : close + 1]) if close > 0 else None
        if with_arg is not None:
            field, arg = with_arg
            self._check_arg(field, arg, percent)
            return field, arg, close + 1
        for end in range(word.end(), start + 2, -1):
            found: tuple[Field, str | None] | None = lookup(text[start:end])
            if found is None:
                continue
            field, arg = found
            if field.arg != "required" or arg is not None:
                self._check_arg(field, arg, percent)
                return field, arg, end
        return None

    @staticmethod
    def _check_arg(field: Field, arg: str | None, at: int) -> None:
        error = field.check_arg(arg) if arg is not None and field.check_arg is not None else None
        if error is not None:
            raise CheckError(at, error, unknown=True)

    def _call(self, percent: int, at: int, width: int | None) -> int:
        parsed = parse_transformer(self.text, at)
        if parsed is None:
            raise CheckError(
                percent, "unknown filter: not a transformer", "write it as %tolower(proc.name)", unknown=True
            )
        call, end = parsed
        try:
            value = self.writer.left(call)
        except CheckError as wrong:
            found = wrong.finding
            raise CheckError(at + found.at, found.message, found.hint, found.unknown) from None
        self.parts.append(Token(self.text[at:end], width, self._getter(value.code), self.show))
        for expr in operand_fields(call):
            field, arg = self.writer.catalogue.lookup(spelled(expr))
            self.reads.append((field, at + expr.at))
            self.values[spelled(expr)] = self._value(field, arg)
        return end

    def _getter(self, code: str) -> Getter:
        made: Getter | None = self.writer.getters.get(code)
        if made is None:
            made = self.writer.getters[code] = eval(f"lambda e: {code}", self.writer.names)
        return made
