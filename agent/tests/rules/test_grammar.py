# SPDX-License-Identifier: Apache-2.0
"""Condition text becomes a tree, or one error that says where and what to write instead."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py.rules.grammar import MAX_DEPTH, ConditionError, parse, parse_transformer
from falco_py.rules.syntax import And, Call, Check, FieldExpr, ListExpr, Literal, MacroRef, Node, Not, Operand, Or


def text(node: Node) -> str:
    """A tree as text with all its parentheses."""
    if isinstance(node, And | Or):
        return "(" + (" & " if isinstance(node, And) else " | ").join(text(term) for term in node.terms) + ")"
    if isinstance(node, Not):
        return "!" + text(node.term)
    if isinstance(node, MacroRef):
        return node.name
    left = operand(node.left)
    if node.right is None:
        return f"{left} {node.op}"
    op = node.op if node.modifier is None else f"{node.op} {node.modifier}"
    if not isinstance(node.right, tuple):
        return f"{left} {op} {operand(node.right)}"
    return f"{left} {op} {[one.text for one in node.right]}"


def operand(one: Operand) -> str:
    if isinstance(one, FieldExpr):
        return one.name if one.arg is None else f"{one.name}[{one.arg}]"
    if isinstance(one, Literal):
        return repr(one.text)
    if isinstance(one, ListExpr):
        return "{" + ",".join(map(operand, one.items)) + "}"
    return f"{one.name}({','.join(map(operand, one.args))})" + ("" if one.index is None else f"[{one.index}]")


@pytest.mark.parametrize(
    ("condition", "tree"),
    [
        # and, or, not
        ("a or b and not c", "(a | (b & !c))"),
        ("(a or b) and c", "((a | b) & c)"),
        ("a and b and (c and d)", "(a & b & c & d)"),
        ("a and(b)or(c)", "((a & b) | c)"),
        ("not not a", "a"),
        ("not(a)", "!a"),
        ("not (not a)", "a"),
        ("not a and b", "(!a & b)"),
        ("  ( a )\r\n\t", "a"),
        ("notb and orb or AND", "((notb & orb) | AND)"),
        ("not", "not"),
        ("Not", "Not"),
        # comparisons
        ("f.g exists", "f.g exists"),
        ("f.g existsand x.y exists", "(f.g exists & x.y exists)"),
        ("f.g = a", "f.g = ['a']"),
        ("f.g==a", "f.g = ['a']"),
        ("f.g!=a", "f.g != ['a']"),
        ("f.g.h_1 = a", "f.g.h_1 = ['a']"),
        ("f.g[0] = a", "f.g[0] = ['a']"),
        ("f.g[a/b.c:d] = a", "f.g[a/b.c:d] = ['a']"),
        ("f.g['a b]'] = a", "f.g[a b]] = ['a']"),
        ("f.g = a.b", "f.g = ['a.b']"),
        ("f.g = /a/b*c[1]{2}", "f.g = ['/a/b*c[1]{2}']"),
        ("f.g = a\\b", "f.g = ['a\\\\b']"),
        ("f.g contains a", "f.g contains ['a']"),
        ("f.g icontains a", "f.g icontains ['a']"),
        ("f.g bcontains 00ff", "f.g bcontains ['00ff']"),
        ("f.g startswith 'a b'", "f.g startswith ['a b']"),
        ("f.g bstartswith 00", "f.g bstartswith ['00']"),
        ("f.g endswith =", None),
        ("f.g glob 'a*'", "f.g glob ['a*']"),
        ("f.g iglob a*", "f.g iglob ['a*']"),
        ("f.g regex '[a-z]+'", "f.g regex ['[a-z]+']"),
        ("f.g < 1", "f.g < ['1']"),
        ("f.g<=-1", "f.g <= ['-1']"),
        ("f.g > 0x1F", "f.g > ['0x1F']"),
        ("f.g >= 1.5e+3", "f.g >= ['1.5e+3']"),
        ("f.g >= 1.", "f.g >= ['1.']"),
        ("f.g < a", None),
        ("f.g < '1'", None),
        # lists
        ("f.g in (a, 'b c' ,d)", "f.g in ['a', 'b c', 'd']"),
        ("f.g in(a,b)", "f.g in ['a', 'b']"),
        ("f.g in ()", "f.g in []"),
        ("f.g in ( )", "f.g in []"),
        ("f.g in mylist", "f.g in ['mylist']"),
        ("f.g inmylist", "f.g in ['mylist']"),
        ("f.g intersects (a)", "f.g intersects ['a']"),
        ("f.g intersects val(h.i)", "f.g intersects val(h.i)"),
        ("f.g pmatch (/a, /b)", "f.g pmatch ['/a', '/b']"),
        ("f.g in (a b)", None),
        ("f.g in (a,)", None),
        ("f.g in (a,,b)", None),
        ("f.g in (a", None),
        ("f.g = (a)", None),
        # modifiers
        ("f.g = anyof (a, b)", "f.g = anyof ['a', 'b']"),
        ("f.g contains oneof (a)", "f.g contains oneof ['a']"),
        ("f.g != allof ()", "f.g != allof []"),
        ("f.g = anyof mylist", "f.g = anyof ['mylist']"),
        ("f.g = oneof", "f.g = ['oneof']"),
        ("f.g = oneof and a", "(f.g = ['oneof'] & a)"),
        ("f.g = oneof or a", "(f.g = ['oneof'] | a)"),
        ("f.g =anyof (a)", None),
        ("f.g contains allof(a)", None),
        # the right side
        ("f.g = val(h.i)", "f.g = val(h.i)"),
        ("f.g = val( h.i[1] )", "f.g = val(h.i[1])"),
        ("f.g < val(h.i)", "f.g < val(h.i)"),
        ("f.g = tolower(h.i)", "f.g = tolower(h.i)"),
        ("f.g in (val(h.i))", None),
        # transformers
        ("tolower(f.g) = a", "tolower(f.g) = ['a']"),
        ("tolower( toupper(f.g) ) exists", "tolower(toupper(f.g)) exists"),
        ("tolower (f.g) = a", None),
        ("join(',', f.g) = a", "join(',',f.g) = ['a']"),
        ("join(',', (a, f.g, 'c d')) = a", "join(',',{'a',f.g,'c d'}) = ['a']"),
        ("concat(f.g, '/', h.i) = a", "concat(f.g,'/',h.i) = ['a']"),
        ("getopt(f.g, 'ab:')[b] in (x)", "getopt(f.g,'ab:')[b] in ['x']"),
        ("tolower(f.g = a", None),
        # strings
        (r'f.g = "a\"b"', "f.g = ['a\"b']"),
        (r"f.g = 'a\'b'", 'f.g = ["a\'b"]'),
        (r"f.g = 'a\\.b'", r"f.g = ['a\\.b']"),
        (r"f.g = '\b\f\n\r\t\/'", r"f.g = ['\x08\x0c\n\r\t/']"),
        (r"f.g = '\x41\xc3\xa9'", "f.g = ['Aé']"),
        (r"f.g = 'a\ b'", r"f.g = ['a\\b']"),
        ("f.g = ''", "f.g = ['']"),
        ("f.g = 'a\nb'", r"f.g = ['a\nb']"),
        (r"f.g = 'a\.b'", None),
        (r"f.g = 'a\x00'", None),
        (r'''f.g = "a\'b"''', None),
        (r'f.g = "..\\"', r"f.g = ['..\\']"),
        # what is no condition
        ("", None),
        (" \n", None),
        ("()", None),
        ("f.g not in (a)", None),
        ("f.g !in (a)", None),
        ("not f.g", None),
        ("a b", None),
        ("a and", None),
        ("and a", None),
        ("a andb", None),
        ("a && b", None),
        ("f.g [0] = a", None),
        ("f.g[] = a", None),
        ("f.g[a b] = a", None),
        ("f. = a", None),
        ("f.g", None),
        ("1a", None),
        ("a)", None),
        ("(a", None),
        ("a\x00", None),
        ("é", None),
    ],
)
def test_the_grammar(condition: str, tree: str | None) -> None:
    if tree is None:
        with pytest.raises(ConditionError):
            parse(condition)
    else:
        assert text(parse(condition)) == tree


@pytest.mark.parametrize(
    ("condition", "at", "message", "hint"),
    [
        ("", 0, "filter input string is empty", "write a condition"),
        ("f.g = a f.h = b", 8, "unexpected token after 'a', expecting 'or', 'and'", "found 'f.h'"),
        ("f.g = a AND f.h = b", 8, "unexpected token after 'a', expecting 'or', 'and'", "write 'and'"),
        ("f.g = a && f.h = b", 8, "unexpected token after 'a', expecting 'or', 'and'", "write 'and' or 'or'"),
        ("f.g = a andf.h = b", 8, "unexpected token after 'a', expecting 'or', 'and'", "found 'andf.h'"),
        ("(f.g = a", 8, "expected a ')' token", "the condition ends here"),
        ("f.g = a)", 7, "unexpected ')' token", "there is no '(' for it"),
        ("f.g is a", 4, "expected a valid check operator: one of 'exists', ", "found 'is'"),
        ("f.g not in (a)", 4, "expected a valid check operator: one of ", "put 'not' before the field"),
        ("a and", 2, "expected blank or '(' after 'and'", ""),
        ("f.g in (a b)", 10, "expected a list of values such as (a, b)", "found 'b'"),
        ("f.g in ('a' 'b')", 12, "expected a list of values such as (a, b)", "a comma is missing before it"),
        ("f.g = a # why\nand b", 8, "unexpected token after 'a', expecting 'or', 'and'", "no comments inside"),
        ("f.g = ", 6, "expected a value", "the condition ends here"),
        ("f.g = 'abc", 6, "expected a value", "a quote begins here"),
        ("f.g < abc", 6, "expected a number", "found 'abc'"),
        (r"f.g = 'ab\.c'", 9, r"unsupported string escape sequence: \.", r"write \\."),
        ("f.g[a b] = c", 0, "expected a field argument", ""),
        ("f.g = a\n\tand\n\tf.h ist b", 18, "expected a valid check operator", "found 'ist'"),
    ],
)
def test_an_error_says_where_and_what(condition: str, at: int, message: str, hint: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse(condition)
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint
    assert caught.value.at == at


def test_offsets_are_those_of_the_text_behind_tabs_too() -> None:
    node = parse("\tf.g = a\tand\tf.h in (b,\tc)")
    assert isinstance(node, And)
    first, second = node.terms
    assert isinstance(first, Check)
    assert isinstance(second, Check)
    assert isinstance(second.right, tuple)
    assert (first.at, second.at, [one.at for one in second.right]) == (1, 13, [21, 24])


@pytest.mark.parametrize("levels", [200, MAX_DEPTH])
def test_deep_nesting_is_parsed(levels: int) -> None:
    assert text(parse("(" * levels + "a" + ")" * levels)) == "a"
    assert parse("not (b and " * levels + "a" + ")" * levels)


def test_deeper_nesting_is_an_error() -> None:
    with pytest.raises(ConditionError, match="nested more than 1000 parentheses deep"):
        parse("(" * 1001 + "a" + ")" * 1001)


def test_a_transformer_in_an_output_is_read_up_to_its_end() -> None:
    found = parse_transformer("x %tolower(proc.name)s (y)", 3)
    assert found is not None
    assert isinstance(found[0], Call)
    assert found[1] == 21
    assert parse_transformer("x %tolower(proc.name", 3) is None
    assert parse_transformer("x tolower(proc.name)", 0) is None


_PIECES = (
    "a", "f.g", "f.g[1]", "=", "!=", "in", "not", "and", "or", "(", ")", ",", "'x'", '"', "'", "\\", " ", " ", "\t",
    "exists", "<", "1", "tolower(", "val(", "anyof", "regex", "\x00", "é",
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(_PIECES), max_size=15).map("".join)))
def test_any_text_is_a_tree_or_a_condition_error(condition: str) -> None:
    try:
        parse(condition)
    except ConditionError as error:
        found = error
    else:
        return
    assert 0 <= found.at <= len(condition)
    assert found.message
