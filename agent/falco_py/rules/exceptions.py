# SPDX-License-Identifier: Apache-2.0
"""Exception items become condition text: `(COND) and not (E1) and not (E2)`.

Invariant: a `RuleException` is complete (operators are filled in, rows have the length of the fields), so writing
it out cannot fail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .grammar import ConditionError, parse
from .operators import LIST_OPERATORS, MODIFIERS, OPERATORS, TEXT_OPERATORS
from .places import Scalar, Text
from .problems import Finding, Problems, nearest
from .syntax import Check

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .items import ExceptionItem, ExceptionValue

_SINGLE = ("in", "pmatch", "intersects")


@dataclass(frozen=True, slots=True)
class RuleException:
    """`fields` and `comps` have the same length; `single` when the fields were one string, not a sequence."""

    name: Scalar
    fields: tuple[Scalar, ...]
    comps: tuple[str, ...]
    single: bool
    values: tuple[Scalar | tuple[ExceptionValue, ...], ...]


def is_list_comp(comp: str) -> bool:
    return comp in LIST_OPERATORS or " " in comp


def _comp(text: str) -> str | None:
    """The operator in its plain spelling (`startswith oneof`), None when there is no such operator."""
    words = text.split()
    if len(words) == 1 and words[0] in OPERATORS:
        return words[0]
    if len(words) == 2 and words[0] in TEXT_OPERATORS and words[1] in MODIFIERS:
        return " ".join(words)
    return None


class _ExceptionError(Exception):
    def __init__(self, scalar: Scalar, message: str, hint: str = "", code: str = "LOAD_ERR_VALIDATE") -> None:
        self.scalar, self.message, self.hint, self.code = scalar, message, hint, code


def _is_field(text: str) -> bool:
    """Is it written as a field, or as a transformer of one?"""
    try:
        node = parse(f"{text} exists")
    except ConditionError:
        return False
    return isinstance(node, Check) and node.op == "exists"


def _known(scalar: Scalar) -> str:
    """Raises _ExceptionError."""
    comp = _comp(scalar.value)
    if comp is None:
        message = f"'{scalar.value}' is not a supported comparison operator"
        raise _ExceptionError(scalar, message, nearest(scalar.value, OPERATORS))
    return comp


def _complete(item: ExceptionItem) -> RuleException:
    if item.fields is None:
        raise _ExceptionError(
            item.name,
            "Item has no mapping for key 'fields'",
            "name the fields that the values are for",
            "LOAD_ERR_YAML_VALIDATE",
        )
    fields: tuple[Scalar, ...]
    comps: tuple[str, ...]
    if isinstance(item.fields, Scalar):
        if isinstance(item.comps, tuple):
            raise _ExceptionError(item.name, "Fields and comps must both be strings", "write one comp, not a list")
        comp = _known(item.comps) if item.comps else "in"
        if not is_list_comp(comp):
            raise _ExceptionError(
                item.comps or item.name,
                "When fields is a single value, comps must be one of "
                "(in, pmatch, intersects) or a modifier operator (e.g. startswith oneof)",
            )
        fields, comps, single = (item.fields,), (comp,), True
    else:
        fields, single = item.fields, False
        if not fields:
            raise _ExceptionError(item.name, "Rule exception item must have fields property with a list of fields")
        if isinstance(item.comps, Scalar):
            raise _ExceptionError(item.comps, "Fields and comps lists must have equal length", "write a list of comps")
        comps = tuple(map(_known, item.comps)) if item.comps is not None else ("=",) * len(fields)
        if len(comps) != len(fields):
            raise _ExceptionError(
                item.name,
                "Fields and comps lists must have equal length",
                f"{len(fields)} fields but {len(comps)} comps",
            )
    for field in fields:
        if not _is_field(field.value):
            raise _ExceptionError(field, f"'{field.value}' is not a supported filter field")
    result = RuleException(item.name, fields, comps, single, ())
    return replace(result, values=_rows(result, item))


def _rows(exception: RuleException, item: ExceptionItem) -> tuple[Scalar | tuple[ExceptionValue, ...], ...]:
    for row in item.values:
        if exception.single:
            if isinstance(row, tuple):
                raise _ExceptionError(
                    item.name,
                    "Expected values array to contain a list of strings",
                    "with a single field the values are a flat list",
                )
        elif not isinstance(row, tuple) or len(row) != len(exception.fields):
            raise _ExceptionError(
                row if isinstance(row, Scalar) else item.name,
                "Fields and values lists must have equal length",
                f"each row of values needs {len(exception.fields)} elements, as there are fields",
            )
    return item.values


def _report(problems: Problems, wrong: _ExceptionError, item: ExceptionItem, here: tuple[str, str]) -> None:
    problems.add(
        "error", wrong.code, wrong.scalar.where, wrong.message, wrong.hint or f"in exception '{item.name.value}'", here
    )


def define_exceptions(
    items: Sequence[ExceptionItem], problems: Problems, here: tuple[str, str]
) -> tuple[RuleException, ...] | None:
    """The exceptions of a rule definition; None when one of them is wrong."""
    result: list[RuleException] = []
    names: set[str] = set()
    failed = False
    for item in items:
        if item.name.value in names:
            problems.add(
                "warning",
                "LOAD_EXCEPTION_NAME_NOT_UNIQUE",
                item.name.where,
                f"Multiple definitions of exception '{item.name.value}' in the same rule",
                "",
                here,
            )
        names.add(item.name.value)
        try:
            result.append(_complete(item))
        except _ExceptionError as wrong:
            _report(problems, wrong, item, here)
            failed = True
    return None if failed else tuple(result)


def append_exceptions(
    old: Sequence[RuleException], items: Sequence[ExceptionItem], problems: Problems, here: tuple[str, str]
) -> tuple[RuleException, ...] | None:
    """`old` with more values for the names it has, and with new exceptions; None when something is wrong."""
    result = list(old)
    failed = False
    for item in items:
        at = next((i for i, e in enumerate(result) if e.name.value == item.name.value), None)
        try:
            if at is None:
                if item.fields is not None and not item.values:
                    raise _ExceptionError(item.name, "Rule exception new item must have fields and values properties")
                result.append(_complete(item))
                continue
            for given, word in ((item.fields, "fields"), (item.comps, "comps")):
                if given is not None:
                    raise _ExceptionError(
                        item.name, f"Can not append exception {word} to existing exception, only values"
                    )
            if not item.values:
                problems.add(
                    "warning",
                    "LOAD_APPEND_NO_VALUES",
                    item.name.where,
                    f"Overriding/appending exception '{item.name.value}' with no values",
                    "",
                    here,
                )
            result[at] = replace(result[at], values=result[at].values + _rows(result[at], item))
        except _ExceptionError as wrong:
            _report(problems, wrong, item, here)
            failed = True
    return None if failed else tuple(result)


def field_findings(found: Iterable[Finding], text: Text, exceptions: Sequence[RuleException]) -> list[Finding]:
    """`found` in `text`, in Falco's words where it is about the field of an exception."""
    fields = {id(scalar) for exception in exceptions for scalar in exception.fields}
    made = []
    for one in found:
        scalar = text.origin(min(one.at, max(0, len(text.value) - 1)))[0]
        if one.unknown and id(scalar) in fields:
            hint = one.hint if one.message.endswith("no such field") else one.message
            message = f"'{scalar.value}' is not a supported filter field"
            one = replace(one, message=message, hint=hint, code="LOAD_ERR_VALIDATE")
        made.append(one)
    return made


# Writing

_QUOTES = ("'", '"')


def _value(scalar: Scalar) -> Text:
    text = scalar.value
    if re.search(r"\s", text) and not text.startswith(_QUOTES):
        quote = "'" if '"' in text else '"'
        return _wrapped(quote, Text.of(scalar), quote)
    if not text:
        return Text.made('""', scalar)
    return Text.of(scalar)


def _wrapped(before: str, inner: Text, after: str) -> Text:
    return Text.join((Text.made(before, inner.scalar), inner, Text.made(after, inner.scalar)))


def _comma(values: Sequence[Text]) -> Text:
    parts: list[Text] = []
    for value in values:
        if parts:
            parts.append(Text.made(", ", value.scalar))
        parts.append(value)
    return Text.join(parts)


def _right(comp: str, value: ExceptionValue, field: Scalar) -> Text:
    if isinstance(value, tuple):
        return _wrapped("(", _comma([_value(v) for v in value]), ")") if value else Text.made("()", field)
    if not is_list_comp(comp):
        return _value(value)
    if value.value.startswith("("):
        return Text.of(value)
    # Commas separate values here, as in a list that is written out.
    return _wrapped("(", Text.of(value) if "," in value.value else _value(value), ")")


def _written(exception: RuleException) -> Text:
    if exception.single:
        field, comp = exception.fields[0], exception.comps[0]
        flat = [v for v in exception.values if isinstance(v, Scalar)]
        values = _wrapped("(", _comma([_value(v) for v in flat]), ")")
        return Text.join(
            (Text.made("(", field), Text.of(field), Text.made(f" {comp} ", field), values, Text.made(")", field))
        )
    parts: list[Text] = []
    for row in exception.values:
        if not isinstance(row, tuple):
            continue
        parts.append(Text.made(" or (" if parts else "((", exception.name))
        for index, (field, comp, value) in enumerate(zip(exception.fields, exception.comps, row, strict=True)):
            parts.append(Text.made(" and " if index else "", field))
            parts += [Text.of(field), Text.made(f" {comp} ", field), _right(comp, value, field)]
        parts.append(Text.made(")", exception.name))
    parts.append(Text.made(")", exception.name))
    return Text.join(parts)


def with_exceptions(condition: Text, exceptions: Sequence[RuleException]) -> Text:
    """The condition with its exceptions written behind it."""
    if not exceptions:
        return condition
    parts = [Text.made("(", condition.scalar), condition, Text.made(")", condition.scalar)]
    for exception in exceptions:
        if exception.values:
            parts += [Text.made(" and not ", exception.name), _written(exception)]
    return Text.join(parts)
