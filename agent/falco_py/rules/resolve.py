# SPDX-License-Identifier: Apache-2.0
"""A syntax tree becomes a typed tree: macros opened, fields looked up, values read in the field's type.

Invariant: every mistake of a condition is found, each at its own place; a macro is resolved once and its mistakes
are told to every rule that uses it (the collection of problems keeps one of each).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from . import grammar, syntax
from .literals import TEXTS, LiteralError, allowed_operators, to_value
from .places import Text
from .problems import Finding, nearest
from .syntax import Call, Check, FieldExpr, ListExpr, Literal, MacroRef, Node, Operand
from .typed import AllOf, Always, AnyOf, CallValue, Catalogue, ConstValue, FieldValue, Negation, Test, TupleValue
from .typed import Typed as TypedNode
from .typed import Value

MAX_TESTS = 100_000  # in one rule, all macros opened
MAX_DEPTH = 2000
EVENT_TYPE_FIELDS = frozenset(("evt.type", "syscall.type"))
UNSAFE_NA_PREFIXES = ("ka.", "jevt.")


@dataclass(frozen=True, slots=True)
class Macro:
    """`position` and `visible_from` as in `collector.MacroDef`."""

    name: str
    text: Text
    tree: Node | None
    position: int
    visible_from: int


@dataclass(frozen=True, slots=True)
class Located:
    """A finding and the text it is in; `warning` is a LOAD_ code when it is no error."""

    text: Text
    finding: Finding
    warning: str = ""


@dataclass(slots=True)
class Resolved:
    """`node` is None when there are errors. `size`: tests, macros opened."""

    node: TypedNode | None
    found: list[Located] = field(default_factory=list)
    macros: frozenset[str] = frozenset()
    size: int = 0
    depth: int = 0

    @property
    def errors(self) -> list[Located]:
        return [f for f in self.found if not f.warning]


class _Wrong(Exception):
    def __init__(self, at: int, message: str, hint: str = "", unknown: bool = False) -> None:
        super().__init__(message)
        self.finding = Finding(at, message, hint, unknown)


class ValueResolver:
    """Fields and transformers; shared by conditions and output formats."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._looked_up: dict[str, FieldValue | str] = {}

    def field(self, expr: FieldExpr) -> FieldValue:
        key = expr.name if expr.arg is None else f"{expr.name}[{expr.arg}]"
        known = self._looked_up.get(key)
        if known is None:
            known = self._looked_up[key] = self._look_up(expr.name, expr.arg)
        if isinstance(known, FieldValue):
            return known
        hint = ""
        if known.startswith("filter_check called"):
            hint = nearest(expr.name, self.catalogue.fields)
        raise _Wrong(expr.at, known, hint, unknown=True)

    def _look_up(self, name: str, arg: str | None) -> FieldValue | str:
        """The field, or what is wrong with it."""
        refused = self.catalogue.refused(name)
        if refused:
            return f"field '{name}' cannot be computed: {refused}"
        found = self.catalogue.lookup(name)
        shown = name if arg is None else f"{name}[{arg}]"
        nonexistent = f"filter_check called with nonexistent field {shown}"
        if found is None:
            return nonexistent
        row, dotted = found
        if dotted is not None:
            if arg is not None:
                return nonexistent
            arg = dotted
        if arg is None:
            if row.arg == "required":
                return f"filter syntax error: {name}: the field needs an argument"
        else:
            if row.arg == "none":
                return nonexistent + ": the field takes no argument"
            problem = row.check_arg(arg) if row.check_arg is not None else None
            if problem:
                return problem
            if row.arg_kind == "index" and not (arg.isascii() and arg.isdigit()):
                return nonexistent + ": the argument must be a number"
        kind = row.type_of(arg) if getattr(row, "type_of", None) is not None else row.type  # type: ignore[misc]
        return FieldValue(row, arg, str(kind), row.is_list)

    def value(self, operand: Operand, right: bool = False) -> Value:
        """Raises `_Wrong`. `right`: on the right-hand side, where `val()` may stand."""
        if isinstance(operand, FieldExpr):
            return self.field(operand)
        if isinstance(operand, Literal):
            return ConstValue(operand.text)
        if isinstance(operand, ListExpr):
            return TupleValue(tuple(self.value(item) for item in operand.items))
        if operand.name == "val":
            if not right:
                raise _Wrong(operand.at, "'val' can only be used on the right-hand side of a comparison")
            if len(operand.args) != 1 or not isinstance(operand.args[0], FieldExpr):
                raise _Wrong(operand.at, "val() takes exactly one field", "as in 'proc.name = val(proc.pname)'")
            return self.field(operand.args[0])
        return self._call(operand)

    def _call(self, call: Call) -> CallValue:
        args = tuple(self.value(arg) for arg in call.args)
        for operand, value in zip(call.args, args, strict=True):
            if isinstance(value, FieldValue) and value.field.no_transformer:
                raise _Wrong(operand.at, f"field '{value.field.name}' does not support transformers")
        name = call.name
        if call.index is not None and name != "getopt":
            raise _Wrong(call.at, f"transformer '{name}' takes no argument in brackets")
        if name in ("join", "concat", "getopt"):
            return self._many(call, args)
        if len(args) != 1 or isinstance(args[0], (ConstValue, TupleValue)):
            raise _Wrong(call.at, f"transformer '{name}' takes exactly one field")
        arg = args[0]
        kind = arg.type
        if name == "len":
            fits = arg.is_list or kind in TEXTS or kind == "BYTEBUF"
        elif name == "b64":
            fits = kind in TEXTS or kind == "BYTEBUF"
        else:
            fits = kind in TEXTS
        if not fits:
            raise _Wrong(call.at, f"can't add field transformer: type '{kind}' is not supported by '{name}' transformer "
                         f"applied on field '{arg}'")  # fmt: skip
        if name == "len":
            return CallValue(name, args, "UINT64", False)
        return CallValue(name, args, "CHARBUF" if name == "basename" else kind, arg.is_list)

    def _many(self, call: Call, args: tuple[Value, ...]) -> CallValue:
        name = call.name
        if name == "concat":
            if len(args) < 2:
                raise _Wrong(call.at, "transformer 'concat' takes at least two arguments")
            for operand, arg in zip(call.args, args, strict=True):
                if arg.is_list or arg.type not in TEXTS:
                    raise _Wrong(operand.at, f"can't add field transformer: type '{arg.type}' is not supported by "
                                 f"'concat' transformer applied on field '{arg}'")  # fmt: skip
            return CallValue(name, args, "CHARBUF", False)
        if len(args) != 2:
            raise _Wrong(call.at, f"transformer '{name}' takes exactly two arguments")
        if name == "join":
            if args[0].is_list or not args[1].is_list:
                raise _Wrong(call.at, "transformer 'join' takes a separator and a list", 'as in join(",", (a, proc.name))')
            return CallValue(name, args, "CHARBUF", False)
        if not isinstance(args[1], ConstValue):
            raise _Wrong(call.args[1].at, "the second argument of 'getopt' is the text of the options", 'as in "ab:c"')
        if not args[0].is_list:
            raise _Wrong(call.args[0].at, "the first argument of 'getopt' is a list of arguments")
        return CallValue(name, args, "CHARBUF", True, call.index)


def find_value(resolver: ValueResolver, operand: Operand) -> Value | Finding:
    """The value of an operand of an output format, or what is wrong with it."""
    try:
        return resolver.value(operand)
    except _Wrong as wrong:
        return wrong.finding


class Resolver:
    """Resolves conditions against one set of macros."""

    def __init__(self, catalogue: Catalogue, macros: Mapping[str, Macro], broken: frozenset[str] = frozenset()) -> None:
        self.catalogue = catalogue
        self.values = ValueResolver(catalogue)
        self._macros = macros
        self._broken = broken
        self._done: dict[str, Resolved] = {}
        self._open: list[str] = []

    def resolve(self, text: Text, tree: Node, visible_from: int | None = None) -> Resolved:
        """`visible_from`: macros that were first defined before it may be used; None for all of them."""
        result = Resolved(None)
        node = self._node(tree, text, visible_from, result, 0)
        result.node = None if result.errors else node
        return result

    def _macro(self, ref: MacroRef, text: Text, visible_from: int | None, result: Resolved) -> TypedNode:
        name = ref.name
        macro = self._macros.get(name)
        if macro is None or (visible_from is not None and macro.position >= visible_from):
            if name in self._broken:
                result.found.append(Located(text, Finding(ref.at, f"Macro '{name}' has errors of its own")))
                return Always(False)
            hint = nearest(name, self._macros) if macro is None else "it is defined further down: move it up"
            result.found.append(Located(text, Finding(ref.at, f"Undefined macro '{name}' used in filter.", hint)))
            return Always(False)
        if name in self._open:
            result.found.append(Located(text, Finding(ref.at, f"reference loop in macro '{name}'")))
            return Always(False)
        done = self._done.get(name)
        if done is None:
            done = Resolved(None)
            if macro.tree is not None:
                self._open.append(name)
                node = self._node(macro.tree, macro.text, macro.visible_from, done, 0)
                self._open.pop()
                done.node = None if done.errors else node
            else:
                done.found.append(Located(text, Finding(ref.at, f"Macro '{name}' has errors of its own")))
            done.macros |= {name}
            if not self._open or not done.errors:
                self._done[name] = done
        result.found.extend(done.found)
        result.macros |= done.macros
        result.size += done.size
        result.depth = max(result.depth, done.depth)
        return done.node or Always(False)

    def _node(self, node: Node, text: Text, visible_from: int | None, result: Resolved, depth: int) -> TypedNode:
        if isinstance(node, Check):
            result.size += 1
            if result.size == MAX_TESTS + 1:
                result.found.append(Located(text, Finding(node.at, f"more than {MAX_TESTS} comparisons in one condition")))
            if result.size > MAX_TESTS:
                return Always(False)
            try:
                return self._check(node, text, result)
            except _Wrong as wrong:
                result.found.append(Located(text, wrong.finding))
                return Always(False)
        if isinstance(node, MacroRef):
            resolved = self._macro(node, text, visible_from, result)
            result.depth = max(result.depth + 1, depth)
            if result.size > MAX_TESTS or result.depth > MAX_DEPTH:
                result.found.append(Located(text, Finding(node.at, "the condition is too large with its macros opened")))
                return Always(False)
            return resolved
        result.depth = max(result.depth, depth)
        if isinstance(node, syntax.Not):
            return Negation(self._node(node.term, text, visible_from, result, depth + 1))
        terms = [self._node(term, text, visible_from, result, depth + 1) for term in node.terms]
        kind = AllOf if isinstance(node, syntax.And) else AnyOf
        flat: list[TypedNode] = []
        for term in terms:
            if isinstance(term, kind):
                flat.extend(term.terms)
            else:
                flat.append(term)
        return kind(tuple(flat))

    # Comparisons

    def _check(self, check: Check, text: Text, result: Resolved) -> TypedNode:
        left = self.values.value(check.left)
        self._warn(check, left, text, result)
        op = check.op
        allowed, word = allowed_operators(left.type, left.is_list)
        if op not in allowed:
            of = f"not supported {word} filters" if word == "list" else f"not supported for {word} filters"
            raise _Wrong(check.at, f"filter error: '{op}' operator {of}",
                         "supported: " + " ".join(sorted(allowed)))  # fmt: skip
        if check.right is None:
            return Test(left, op, None)
        if isinstance(check.right, tuple):
            return self._literals(check, left, check.right)
        return self._fields(check, left, check.right)

    def _literals(self, check: Check, left: Value, literals: Sequence[Literal]) -> TypedNode:
        is_event_type = isinstance(left, FieldValue) and left.field.name in EVENT_TYPE_FIELDS
        values = []
        for literal in literals:
            if is_event_type and literal.text not in self.catalogue.known:
                raise _Wrong(literal.at, f"unknown event type {literal.text}",
                             nearest(literal.text, self.catalogue.known), unknown=True)  # fmt: skip
            try:
                values.append(to_value(literal.text, left.type, check.op))
            except LiteralError as error:
                raise _Wrong(literal.at, error.message, error.hint) from None
        return Test(left, check.op, tuple(values), check.modifier)

    def _fields(self, check: Check, left: Value, operand: Operand) -> TypedNode:
        right = self.values.value(operand, right=True)
        name = left.field.name if isinstance(left, FieldValue) else ""
        if name in EVENT_TYPE_FIELDS:
            raise _Wrong(operand.at, f"field '{name}' doesn't support right-hand side fields")
        if check.op in ("pmatch", "regex"):
            raise _Wrong(operand.at, f"operator '{check.op.upper()}' doesn't support right-hand side fields")
        if isinstance(left, FieldValue) and left.field.no_rhs:
            raise _Wrong(check.at, f"field '{name}' doesn't support right-hand side fields")
        if isinstance(right, FieldValue) and right.field.no_rhs:
            raise _Wrong(operand.at, f"field '{right.field.name}' can't be used as a right-hand side field")
        if left.type != right.type or left.is_list != right.is_list:
            raise _Wrong(operand.at, f"field '{left}' has type '{_kind(left)}' while the right-hand side field '{right}' "
                         f"has incompatible type '{_kind(right)}'")  # fmt: skip
        return Test(left, check.op, right, check.modifier)

    def _warn(self, check: Check, left: Value, text: Text, result: Resolved) -> None:
        if isinstance(left, FieldValue):
            if left.field.deprecated:
                result.found.append(Located(text, Finding(check.at, f"field '{left.field.name}' is deprecated"),
                                            "LOAD_DEPRECATED_ITEM"))  # fmt: skip
            unsafe = left.field.name.startswith(UNSAFE_NA_PREFIXES) and check.op in ("=", "!=", "in", "intersects", "pmatch")
            if unsafe and isinstance(check.right, tuple) and any(literal.text == "<NA>" for literal in check.right):
                result.found.append(Located(text, Finding(check.at, f"comparing '{left.field.name}' with <NA> is unsafe",
                                                          "use 'exists'"), "LOAD_UNSAFE_NA_CHECK"))  # fmt: skip
        if check.op == "regex" and isinstance(check.right, tuple):
            for literal in check.right:
                if _is_plain(literal.text):
                    result.found.append(Located(
                        text,
                        Finding(literal.at, f"regex check with '{literal.text}' may be optimized with simpler operators "
                                "such as =, startswith, endswith, contains"),
                        "LOAD_COMPILE_CONDITION",
                    ))  # fmt: skip


def _kind(value: Value) -> str:
    return f"LIST({value.type})" if value.is_list else value.type


def _is_plain(pattern: str) -> bool:
    """Whether a regular expression is a plain text, anchors and `.*` at its ends aside."""
    core = pattern.removeprefix("^").removesuffix("$").removeprefix(".*").removesuffix(".*")
    return not any(c in core for c in "\\.[]{}()*+?|^$")


def parse_text(text: Text) -> Node | Located:
    """The syntax tree of a condition, or what is wrong with it."""
    try:
        return grammar.parse(text.value)
    except grammar.ConditionError as error:
        return Located(text, Finding(error.at, error.message, error.hint))
