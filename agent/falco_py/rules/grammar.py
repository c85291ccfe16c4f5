# SPDX-License-Identifier: Apache-2.0
"""The text of a condition becomes a syntax tree.

Macros stay references and lists were written out before. Invariant: a text either gives a tree or one `ConditionError`
that points at the first character that cannot be understood.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import Any

import pyparsing as pp

from .operators import MODIFIERS, TRANSFORMERS, WORD_OPERATORS
from .syntax import And, Call, Check, FieldExpr, ListExpr, Literal, MacroRef, Node, Not, Or

MAX_DEPTH = 1000  # of parentheses, Falco's bound
_FRAMES_PER_LEVEL = 48  # of Python, for one level of parentheses

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "\\": "\\", "/": "/", " ": "\\"}


class ConditionError(Exception):
    """`at` is the offset in the text."""

    def __init__(self, at: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.at, self.message, self.hint = at, message, hint


def unquoted(text: str, at: int) -> str:
    """The value of a quoted string. Raises ConditionError for an escape that Falco does not know."""
    quote, inner = text[0], text[1:-1]
    if "\\" not in inner:
        return inner
    out, i = [], 0
    while i < len(inner):
        c = inner[i]
        if c != "\\":
            out.append(c)
            i += 1
            continue
        nxt = inner[i + 1 : i + 2]
        if nxt == quote:
            out.append(quote)
        elif nxt == "x" and re.fullmatch("[0-9a-fA-F]{2}", inner[i + 2 : i + 4]):
            value = chr(int(inner[i + 2 : i + 4], 16))
            if value == "\0":
                raise ConditionError(at + 1 + i, "a string cannot hold a NUL character")
            out.append(value)
            i += 2
        elif nxt in _ESCAPES:
            out.append(_ESCAPES[nxt])
        else:
            raise ConditionError(
                at + 1 + i,
                f"unsupported string escape sequence: \\{nxt}",
                "write a backslash as \\\\; a dot in a regular expression as [.]",
            )
        i += 2
    return "".join(out)


_QUOTED = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
_FIELD = r"[a-zA-Z_][a-zA-Z0-9_]*(?:\.[a-zA-Z0-9_]+)+"
_FIELD_WITH_ARG = re.compile(rf"(?P<name>{_FIELD})(?:\[(?P<arg>{_QUOTED}|[^\]\[\"'\s]+)\])?", re.DOTALL)
_BARE = r"""[^()"'=,\s]+"""
_NUMBER = r"0[xX][0-9a-fA-F]+|[+-]?\d+(?:\.\d*)?(?:[eE][+-]\d+)?"


def _argument(raw: str | None, at: int) -> str | None:
    return unquoted(raw, at) if raw and raw[0] in "\"'" else raw


def _field(text: str, at: int, tokens: Any) -> FieldExpr:
    found = _FIELD_WITH_ARG.fullmatch(tokens[0])
    assert found is not None
    return FieldExpr(found["name"], _argument(found["arg"], at + max(found.start("arg"), 0)), at)


def _string(text: str, at: int, tokens: Any) -> Literal:
    raw = tokens[0]
    if raw[0] in "\"'":
        return Literal(unquoted(raw, at), at, quoted=True)
    return Literal(raw, at)


def _call(text: str, at: int, tokens: Any) -> Call:
    name, *args = tokens
    index = None
    if args and isinstance(args[-1], str):
        index = _argument(args.pop()[1:-1], at)
    return Call(name[:-1].strip(), tuple(args), at, index)


def _check(text: str, at: int, tokens: Any) -> Check:
    left, op, *right = tokens
    modifier = None
    if right and isinstance(right[0], str) and right[0] in MODIFIERS:
        modifier, *right = right
    if op == "exists":
        return Check(left, op, None, at)
    if len(right) == 1 and isinstance(right[0], ListExpr):
        return Check(left, op, tuple(right[0].items), at, modifier)  # type: ignore[arg-type]
    if len(right) == 1 and isinstance(right[0], Literal):
        return Check(left, op, (right[0],), at, modifier)
    return Check(left, op, right[0], at, modifier)


def _negated(text: str, at: int, tokens: Any) -> Node:
    term: Node = tokens[-1]
    return Not(term) if (len(tokens) - 1) % 2 else term


def _joined(kind: type[And] | type[Or]) -> Any:
    def action(text: str, at: int, tokens: Any) -> Node:
        if len(tokens) == 1:
            return tokens[0]  # type: ignore[no-any-return]
        terms: list[Node] = []
        for one in tokens:
            terms.extend(one.terms if isinstance(one, kind) else (one,))
        return kind(tuple(terms))

    return action


def _grammar() -> pp.ParserElement:
    left, right = pp.Suppress("("), pp.Suppress(")").set_name("a ')'")
    comma = pp.Suppress(",")
    field = pp.Regex(_FIELD_WITH_ARG).set_name("a field").set_parse_action(_field)
    string = pp.Regex(f"{_QUOTED}|{_BARE}", re.DOTALL).set_name("a value").set_parse_action(_string)
    number = pp.Regex(f"(?:{_NUMBER})(?=[\\s)]|$)").set_name("a number").set_parse_action(_string)
    identifier = pp.Regex(r"[a-zA-Z][a-zA-Z0-9_]*(?![a-zA-Z0-9_.\[])").set_name("the name of a macro")

    operand = pp.Forward()
    argument_list = pp.Forward()
    transformer = pp.Regex("(?:" + "|".join(TRANSFORMERS) + r")\(")
    index = pp.Regex(rf"\[(?:{_QUOTED}|[^\]\[\"'\s]+)\]", re.DOTALL).leave_whitespace()
    call = (transformer + pp.Optional(operand + pp.ZeroOrMore(comma - operand)) - right + pp.Optional(index)).set_parse_action(
        _call
    )
    argument_list <<= (left + pp.Optional(operand + pp.ZeroOrMore(comma - operand)) - right).set_parse_action(
        lambda text, at, tokens: ListExpr(tuple(tokens), at)
    )
    operand <<= call | field | argument_list | string
    right_field = (pp.Regex(r"val\(") + field - right).set_parse_action(_call) | call

    values = (left + pp.Optional(string + pp.ZeroOrMore(comma - string)) - right).set_parse_action(
        lambda text, at, tokens: ListExpr(tuple(tokens), at)
    )
    modifier = pp.Regex(r"(?<=\s)(?:" + "|".join(MODIFIERS) + r")(?=\s+[(])")
    check = (
        pp.Literal("exists")
        | pp.Regex("<=|>=|<|>") - (right_field | number).set_name("a number")
        | (
            pp.Regex(r"==|=|!=|(?:" + "|".join(WORD_OPERATORS) + r")(?=\s)")
            - ((modifier - values) | right_field | string).set_name("a value")
        )
        | pp.Regex("intersects|in|pmatch") - (values | right_field).set_name("a list such as (a, b)")
    ).set_name("an operator: = != < <= > >= in intersects pmatch exists contains startswith endswith glob regex ...")

    or_expr = pp.Forward()
    comparison = ((call | field) - check).set_parse_action(_check)
    macro = identifier.copy().set_parse_action(lambda text, at, tokens: MacroRef(tokens[0], at))
    group = left - or_expr - right
    term = (group | comparison | macro).set_name("a '(', a comparison of a field, or the name of a macro")
    negation = pp.Regex(r"not(?=[\s(])")
    not_expr = (pp.ZeroOrMore(negation) + term).set_parse_action(_negated)
    and_expr = (not_expr + pp.ZeroOrMore(pp.Suppress(pp.Regex(r"and(?=[\s(])")) - not_expr)).set_parse_action(
        _joined(And)
    )
    or_expr <<= (and_expr + pp.ZeroOrMore(pp.Suppress(pp.Regex(r"or(?=[\s(])")) - and_expr)).set_parse_action(
        _joined(Or)
    )
    return or_expr + pp.StringEnd().set_name("'and', 'or' or the end")


_GRAMMAR = _grammar()


def _depth(text: str) -> int:
    depth = deepest = 0
    for c in text:
        if c == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif c == ")":
            depth -= 1
    return deepest


@lru_cache(maxsize=8192)
def parse(text: str) -> Node:
    """Raises ConditionError."""
    if not text.strip():
        raise ConditionError(0, "filter input string is empty", "a condition is needed")
    depth = _depth(text)
    if depth > MAX_DEPTH:
        raise ConditionError(0, f"the condition has more than {MAX_DEPTH} levels of parentheses")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 1000 + depth * _FRAMES_PER_LEVEL))
    try:
        tree: Node = _GRAMMAR.parse_string(text)[0]
    except pp.ParseBaseException as error:
        raise _told(text, error) from None
    except RecursionError:
        raise ConditionError(0, "the condition is nested too deeply") from None
    finally:
        sys.setrecursionlimit(limit)
    return tree


def _told(text: str, error: pp.ParseBaseException) -> ConditionError:
    at = error.loc
    while at < len(text) and text[at].isspace():
        at += 1
    word = re.match(r"\S{1,40}", text[at:])
    found = f"'{word[0]}'" if word else "the end of the condition"
    expected = str(error.msg).removeprefix("Expected ").replace("end of text", "'and', 'or' or the end")
    before = text[:at].split()
    after = f" after '{before[-1][-40:]}'" if before else ""
    hint = ""
    if text[at : at + 1] in "\"'" and text[at : at + 1]:
        hint = "is the closing quote missing?"
    elif text.count("(") != text.count(")"):
        hint = f"there are {text.count('(')} opening and {text.count(')')} closing parentheses"
    return ConditionError(at, f"unexpected {found}{after}, expecting {expected}", hint)
