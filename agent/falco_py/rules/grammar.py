# SPDX-License-Identifier: Apache-2.0
"""Condition text becomes a syntax tree.

The common comparison is one regular expression, so that the grammar above it stays small and quick; what that
expression does not take (transformers, field on the right, mistakes) goes through finer pieces, which know what they
expected. Invariant: a text gives a tree or one `ConditionError` with an offset, never anything else.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyparsing as pp

from .operators import MODIFIERS, NUMBER_OPERATORS, OPERATORS, TRANSFORMERS, WORD_OPERATORS
from .syntax import And, Call, Check, FieldExpr, ListExpr, Literal, MacroRef, Node, Not, Operand, Or

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 1000  # nested parentheses
_FRAMES_A_LEVEL = 40
_CACHE_SIZE = 8192
_LONE_BYTE = 0xDC00  # a byte that is no text by itself stands behind this code, as in the texts of events

_BLANK = " \t\b\r\n"
_B = r"[ \t\b\r\n]"
# A group that may repeat is atomic, (?>(?:...)*), and not possessive, (?:...)*+: before Python 3.11.5 that one takes a
# part of what did not match (python/cpython#106052).
_IDENT = r"[a-zA-Z][a-zA-Z0-9_]*+"
_FIELD = rf"{_IDENT}(?>(?:\.{_IDENT})+)"
_QUOTED = r"""(?:"(?>(?:[^"\\]|\\.)*)"|'(?>(?:[^'\\]|\\.)*)')"""
_BARE = r"""[^()"'\s=,]++"""
_STRING = rf"(?:{_QUOTED}|{_BARE}(?!\())"
_LIST = rf"\({_B}*+(?:{_STRING}(?>(?:{_B}*+,{_B}*+{_STRING})*){_B}*+)?\)"
_ARG = rf"""\[(?P<arg>{_QUOTED}|[^\]\["'\s]++)\]"""
_NUMBER = r"(?:0[xX][0-9a-zA-Z]++|[+-]?[0-9]++\.?[0-9]*+(?:[eE][+-][0-9]++)?)"
_MODIFIER = rf"(?<={_B})(?:{'|'.join(MODIFIERS)})"
_NOT_A_NAME = r"(?!(?:and|or|not)(?![a-zA-Z0-9_]))"
_NUMBER_OP = "|".join(NUMBER_OPERATORS)
_WORD_OP = rf"(?:{'|'.join(WORD_OPERATORS)})(?={_B})"

_CHECK = rf"""
(?P<field>{_FIELD})(?:{_ARG})?{_B}*+
(?: (?P<exists>exists)
  | (?P<numop>{_NUMBER_OP}){_B}*+(?P<number>{_NUMBER})
  | (?P<strop>==|=|!=|{_WORD_OP}){_B}*+
    (?: (?P<modifier>{_MODIFIER}){_B}++(?:(?P<mlist>{_LIST})|(?P<mname>{_NOT_A_NAME}{_IDENT}(?![(.\[])))
      | (?P<string>{_STRING}))
  | (?P<listop>(?>intersects|in|pmatch)){_B}*+(?:(?P<list>{_LIST})|(?P<name>{_IDENT}(?![(.\[])))
)"""

_TOKEN = re.compile(rf"{_QUOTED}|{_BARE}|.", re.ASCII | re.DOTALL)
_LIST_BEGUN = re.compile(rf"\({_B}*+(?:{_STRING}(?>(?:{_B}*+,{_B}*+{_STRING})*))?{_B}*+", re.ASCII | re.DOTALL)
_STRING_RE = re.compile(_STRING, re.ASCII | re.DOTALL)
_ESCAPE_RE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "\\": "\\", "/": "/", " ": "\\"}


class ConditionError(Exception):
    """The text is not a condition; `at` is the offset of what was not expected."""

    def __init__(self, at: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.at, self.message, self.hint = at, message, hint


def _unquote(text: str, at: int) -> str:
    """The value of a quoted string."""
    quote = text[0]
    body = text[1:-1]
    if "\\" not in body:
        return body

    def value(match: re.Match[str]) -> str:
        escape = match[1]
        if escape == quote:
            return quote
        if escape[0] == "x" and len(escape) == 3:
            if escape == "x00":
                raise ConditionError(at + 1 + match.start(), "a string may not hold a NUL character")
            byte = int(escape[1:], 16)
            return chr(byte if byte < 0x80 else _LONE_BYTE + byte)
        if escape not in _ESCAPES:
            raise ConditionError(
                at + 1 + match.start(),
                f"unsupported string escape sequence: \\{escape}",
                f"write \\\\{escape} for a backslash and '{escape}'",
            )
        return _ESCAPES[escape]

    made = _ESCAPE_RE.sub(value, body)
    if "\\x" not in body:
        return made
    return made.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _literal(text: str, at: int) -> Literal:
    if text[0] in "\"'":
        return Literal(_unquote(text, at), at, True)
    return Literal(text, at)


def _literals(text: str, at: int) -> tuple[Literal, ...]:
    return tuple(_literal(m[0], at + m.start()) for m in _STRING_RE.finditer(text, 1, len(text) - 1))


def _arg(text: str | None, at: int) -> str | None:
    if text is None:
        return None
    return _unquote(text, at) if text[0] in "\"'" else text


def _check(match: re.Match[str]) -> Check:
    at = match.start()
    left = FieldExpr(match["field"], _arg(match["arg"], match.start("arg")), at)
    kind = match.lastgroup
    if kind == "exists":
        return Check(left, "exists", None, at)
    if kind == "string":
        op = "=" if match["strop"] == "==" else match["strop"]
        return Check(left, op, (_literal(match["string"], match.start("string")),), at)
    if kind == "list":
        return Check(left, match["listop"], _literals(match["list"], match.start("list")), at)
    if kind == "number":
        return Check(left, match["numop"], (Literal(match["number"], match.start("number")),), at)
    if kind == "name":
        return Check(left, match["listop"], (Literal(match["name"], match.start("name")),), at)
    op = "=" if match["strop"] == "==" else match["strop"]
    if kind == "mlist":
        return Check(left, op, _literals(match["mlist"], match.start("mlist")), at, match["modifier"])
    return Check(left, op, (Literal(match["mname"], match.start("mname")),), at, match["modifier"])


def _joined(kind: type[And] | type[Or], terms: list[Node]) -> Node:
    if len(terms) == 1:
        return terms[0]
    flat: list[Node] = []
    for term in terms:
        if isinstance(term, kind):
            flat.extend(term.terms)
        else:
            flat.append(term)
    return kind(tuple(flat))


def _negated(tokens: pp.ParseResults) -> Node:
    nots, term = tokens
    node: Node = term
    if nots.count("not") % 2:
        node = node.term if isinstance(node, Not) else Not(node)
    return node


def _regex(pattern: str, name: str = "") -> pp.ParserElement:
    element = pp.Regex(re.compile(pattern, re.ASCII | re.DOTALL | re.VERBOSE))
    return element.set_name(name) if name else element


def _matched(pattern: str, name: str = "") -> pp.ParserElement:
    """As `_regex`, the token is the match object."""
    element = pp.Regex(re.compile(pattern, re.ASCII | re.DOTALL | re.VERBOSE), as_match=True)
    return element.set_name(name) if name else element


def _operands() -> tuple[pp.ParserElement, pp.ParserElement]:
    """(field, transformer): the sides of a comparison that are no plain text; `val` counts as a transformer."""
    field = _matched(rf"(?P<field>{_FIELD})(?:{_ARG})?(?!\[)", "a field")
    field.add_parse_action(lambda t: FieldExpr(t[0]["field"], _arg(t[0]["arg"], t[0].start("arg")), t[0].start()))
    bad_arg = _regex(rf"{_FIELD}\[").add_parse_action(_fail("expected a field argument such as [0] or [name] and ']'"))
    string = _matched(_STRING, "a value").add_parse_action(lambda t: _literal(t[0][0], t[0].start()))
    call = pp.Forward()
    element = call | field | bad_arg | string
    comma = pp.Suppress(",")
    close = pp.Suppress(")").set_name("a ')' token")
    items = _matched(r"\(").add_parse_action(lambda t: t[0].start()) + pp.Optional(pp.DelimitedList(element)) + close
    items.add_parse_action(lambda t: ListExpr(tuple(t[1:]), t[0]))
    argument = (items | element).set_name("a field or value as argument of the transformer")
    index = _matched(_ARG).leave_whitespace()  # a bracket further on is text of an output
    index.add_parse_action(lambda t: [("index", _arg(t[0]["arg"], t[0].start("arg")))])
    names = "|".join((*TRANSFORMERS, "val"))
    start = _matched(rf"(?P<name>{names})\(").add_parse_action(lambda t: [(t[0]["name"], t[0].start())])
    call <<= start - argument - pp.ZeroOrMore(comma - argument) - close + pp.Optional(index).leave_whitespace()
    call.add_parse_action(_call)
    return field | bad_arg, call


def _call(tokens: pp.ParseResults) -> Call:
    (name, at), *args = tokens.as_list()
    index = None
    if args and isinstance(args[-1], tuple):
        index = args.pop()[1]
    operands: list[Operand] = args
    return Call(name, tuple(operands), at, index)


def _fail(message: str) -> Any:
    def action(_text: str, at: int, _tokens: pp.ParseResults) -> None:
        raise ConditionError(at, message)

    return action


def _build() -> pp.ParserElement:
    check = _matched(_CHECK)
    check.add_parse_action(lambda t: _check(t[0]))

    field, right = _operands()
    string = _matched(_STRING, "a value").add_parse_action(lambda t: [(_literal(t[0][0], t[0].start()),)])
    number = _matched(_NUMBER).add_parse_action(lambda t: [(Literal(t[0][0], t[0].start()),)])
    values = _matched(_LIST).add_parse_action(lambda t: [_literals(t[0][0], t[0].start())])
    name = _matched(rf"{_NOT_A_NAME}{_IDENT}(?![(.\[])").add_parse_action(lambda t: [(Literal(t[0][0], t[0].start()),)])
    modifier = _regex(rf"{_MODIFIER}(?={_B}++(?:\(|{_NOT_A_NAME}{_IDENT}))")
    list_value = (values | right | name).set_name("a list of values such as (a, b): separate values with commas")
    exists = pp.Literal("exists").add_parse_action(lambda: [("exists", None, None)])
    by_number = _regex(_NUMBER_OP) - (number | right).set_name("a number")
    by_number.add_parse_action(lambda t: [(t[0], None, t[1])])
    many = modifier - list_value
    many.add_parse_action(lambda t: [(t[0], t[1])])
    one = right | string
    one.add_parse_action(lambda t: [(None, t[0])])
    by_text = _regex(rf"==|=|!=|{_WORD_OP}") - (many | one).set_name("a value (quote it when it holds blanks or ()=,)")
    by_text.add_parse_action(lambda t: [("=" if t[0] == "==" else t[0], *t[1])])
    by_list = _regex("intersects|in|pmatch") - list_value
    by_list.add_parse_action(lambda t: [(t[0], None, t[1])])
    operator = (exists | by_number | by_text | by_list).set_name(
        "a valid check operator: one of " + ", ".join(f"'{op}'" for op in OPERATORS)
    )
    careful = (right | field) - operator
    careful.add_parse_action(lambda t: Check(t[0], t[1][0], t[1][2], t[0].at, t[1][1]))

    macro = _matched(rf"{_IDENT}(?![.(])").add_parse_action(lambda t: MacroRef(t[0][0], t[0].start()))
    condition = pp.Forward()
    inner = pp.Suppress("(") - condition - pp.Suppress(pp.Literal(")").set_name("a ')' token"))
    term = (check | inner | careful | macro).set_name("a '(' token, a field check, or an identifier")
    nots = _regex(rf"(?>(?:not(?:{_B}++|(?=\()))*)")
    negation = nots + term
    negation.add_parse_action(_negated)
    separator = rf"(?={_B}|\()"
    conjunction = negation + pp.ZeroOrMore(pp.Suppress(_regex(rf"and{separator}")) - negation)
    conjunction.add_parse_action(lambda t: _joined(And, t.as_list()))
    disjunction = conjunction + pp.ZeroOrMore(pp.Suppress(_regex(rf"or{separator}")) - conjunction)
    disjunction.add_parse_action(lambda t: _joined(Or, t.as_list()))
    condition <<= disjunction
    return (condition - pp.StringEnd()).parse_with_tabs()


pp.ParserElement.set_default_whitespace_chars(_BLANK)
_GRAMMAR = _build()
_OPERAND = _operands()[1].parse_with_tabs()
pp.ParserElement.set_default_whitespace_chars(" \n\t\r")


@contextmanager
def deep_recursion(levels: int) -> Iterator[None]:
    """Lets the parser and the walks over trees go as deep as `levels` of nesting need."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 2000 + levels * _FRAMES_A_LEVEL))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _depth(text: str) -> tuple[int, int]:
    """(deepest nesting of parentheses, offset where it is reached), those in strings counted too."""
    depth = deepest = at = 0
    for match in re.finditer(r"[()]", text):
        depth += 1 if match[0] == "(" else -1
        if depth > deepest:
            deepest, at = depth, match.start()
    return deepest, at


def _explain(text: str, error: pp.ParseBaseException) -> ConditionError:
    at = error.loc
    while at < len(text) and text[at] in _BLANK:
        at += 1
    if text.startswith("(", at) and "list of values" in str(error.msg):
        begun = _LIST_BEGUN.match(text, at)
        at = begun.end() if begun else at
    found = _TOKEN.match(text, at)
    what = f"found '{found[0][:40]}'" if found else "the condition ends here"
    expected = str(error.msg).removeprefix("Expected ").removeprefix(", found end of text")
    if isinstance(error.parser_element, pp.StringEnd) or "end of text" in expected:
        before = text[:at].split()
        if found and found[0] in ("and", "or"):
            return ConditionError(at, f"expected blank or '(' after '{found[0]}'")
        if found and found[0] == ")":
            return ConditionError(at, "unexpected ')' token", "there is no '(' for it")
        after = f" after '{before[-1][-30:]}'" if before else ""
        return ConditionError(at, f"unexpected token{after}, expecting 'or', 'and'", _remedy(text, at, what))
    return ConditionError(at, f"expected {expected}", _remedy(text, at, what))


def _remedy(text: str, at: int, what: str) -> str:
    if text[at : at + 1] == "#":
        return f"{what}: there are no comments inside a condition"
    if text[at : at + 1] in ("'", '"') and text[at - 1 : at] in _BLANK and text[:at].rstrip(_BLANK)[-1:] in ("'", '"'):
        return f"{what}: a comma is missing before it"
    if text[at : at + 1] in ("'", '"') and text[at:]:
        return f"{what}: a quote begins here; quote the whole value, and close it with the same quote"
    word = re.compile(r"[A-Za-z!]+|&&|\|\|").match(text, at)
    if word and word[0] in ("AND", "OR", "NOT", "And", "Or", "Not"):
        return f"{what}: keywords are lower case, write '{word[0].lower()}'"
    if word and word[0] in ("&&", "||"):
        return f"{what}: write 'and' or 'or'"
    if word and word[0] == "not" and re.match(r"not\s+(?:in|contains|startswith|endswith|pmatch)\b", text[at:]):
        return f"{what}: put 'not' before the field, as in 'not proc.name in (a, b)'"
    return what


def parse(text: str) -> Node:
    """The tree of a condition. Raises ConditionError."""
    result = _parse(text)
    if isinstance(result, ConditionError):
        raise result.with_traceback(None)
    return result


@lru_cache(_CACHE_SIZE)
def _parse(text: str) -> Node | ConditionError:
    if not text.strip():
        return ConditionError(0, "filter input string is empty", "write a condition such as evt.type = execve")
    levels, at = _depth(text)
    if levels > MAX_DEPTH:
        return ConditionError(at, f"nested more than {MAX_DEPTH} parentheses deep")
    try:
        with deep_recursion(levels):
            node: Node = _GRAMMAR.parse_string(text)[0]
            return node
    except pp.ParseBaseException as error:
        return _explain(text, error)
    except ConditionError as error:
        return ConditionError(error.at, error.message, error.hint)
    except RecursionError:
        return ConditionError(at, "nested too deeply")


def parse_transformer(text: str, start: int) -> tuple[Call, int] | None:
    """The transformer that begins at `start` of an output format, and the offset behind it; None when it is none."""
    try:
        with deep_recursion(min(_depth(text)[0], MAX_DEPTH)):
            for tokens, first, end in _OPERAND.scan_string(text[start:], max_matches=1):
                return (tokens[0], start + end) if first == 0 else None
    except (pp.ParseBaseException, ConditionError, RecursionError):
        pass
    return None
