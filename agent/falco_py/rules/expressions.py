# SPDX-License-Identifier: Apache-2.0
"""One comparison becomes a `Test`: the values that it reads, and Python that is true when they satisfy it.

A missing value is None, and every comparison with it is False, `!=` included. Invariant: a test raises nothing for any
value of the field's type; everything wrong with field, operator or value is a `Finding` at load.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from zlib import crc32

from . import transformers
from .costs import body_ns, likely
from .literals import LiteralError, allowed_operators, to_value
from .patterns import ENV as PATTERN_ENV
from .patterns import PathSet, glob_matcher, lower, one_of, regex_matcher
from .problems import Finding, nearest
from .syntax import Call, Check, FieldExpr, ListExpr
from .syntax import Literal as Word
from .values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

ORDER = frozenset(("<", "<=", ">", ">="))
A, B = "\x01", "\x02"  # where the values stand in the body of a test; no literal holds them as they are
# Comparisons of two values that are there, by operator.
_PAIRS = {
    "=": f"{A} == {B}",
    "!=": f"{A} != {B}",
    "<": f"{A} < {B}",
    "<=": f"{A} <= {B}",
    ">": f"{A} > {B}",
    ">=": f"{A} >= {B}",
    "in": f"{A} == {B}",
    "intersects": f"{A} == {B}",
    "contains": f"{B} in {A}",
    "icontains": f"_lower({B}) in _lower({A})",
    "startswith": f"{A}.startswith({B})",
    "endswith": f"{A}.endswith({B})",
    "glob": f"_glob_match({A}, {B})",
    "iglob": f"_iglob_match({A}, {B})",
}
_LIST_PAIRS = {"in": f"set({A}).issubset({B})", "intersects": f"not set({A}).isdisjoint({B})"}
_INLINE = 6  # sets up to this size stand in the source, larger ones get a name
_CALL_NS = 100
_MAX_CALLS = 20  # transformers inside each other


def _in_nets(address: Any, nets: tuple[Any, ...]) -> bool:
    return any(address in net for net in nets)


@dataclass(frozen=True, slots=True)
class Test:
    """`body` is true when the values satisfy the comparison; they stand in it as the marks A and B.

    `needs` says when it may be evaluated: always, when the values are `there` (not None), or `filled` (not empty
    either). Otherwise the comparison is false. `names`, `read_ns`: spelling and cost of the values. `body_ns`: cost of
    the body, `likely`: how often it is true (see costs). `pinned`: as in `Value`.
    """

    values: tuple[str, ...]
    body: str
    needs: Literal["", "there", "filled"] = ""
    names: tuple[str, ...] = field(default=(), compare=False)
    read_ns: tuple[int, ...] = field(default=(), compare=False)
    body_ns: int = field(default=0, compare=False)
    likely: float = field(default=0.5, compare=False)
    pinned: bool = field(default=False, compare=False)

    def expression(self, names: tuple[str, ...] = ("v", "w")) -> str:
        """As one expression; `names` are locals of its own that it may set."""
        if not self.needs:
            return self.body.replace(A, self.values[0]) if self.values else self.body
        there = "({} := {}) is not None" if self.needs == "there" else "({} := {})"
        guards = [there.format(name, value) for name, value in zip(names, self.values, strict=False)]
        return f"({' and '.join([*guards, self.filled(names)])})"

    def filled(self, operands: tuple[str, ...]) -> str:
        """The body over these operands."""
        body = self.body.replace(A, operands[0])
        return body.replace(B, operands[1]) if len(self.values) > 1 else body


class CheckError(Exception):
    def __init__(self, at: int, message: str, hint: str = "", unknown: bool = False) -> None:
        super().__init__(message)
        self.finding = Finding(at, message, hint, unknown)


class Writer:
    """Writes expressions; constants that are no plain literals go to `names` under a name of their own."""

    def __init__(self, catalogue: Any) -> None:
        self.catalogue = catalogue
        self.names: dict[str, Any] = {**catalogue.ENV, **PATTERN_ENV, "in_nets": _in_nets}
        self._constants: dict[tuple[str, Any], str] = {}
        self._calls = 0
        self.getters: dict[str, Callable[[Any], Any]] = {}  # of outputs, by the expression that they evaluate
        self._tests: dict[Check, Test] = {}
        self._fields: dict[tuple[str, str | None, bool], Value] = {}

    def __len__(self) -> int:
        return len(self._tests) + len(self.names) + len(self.getters)

    # Names

    def constant(self, kind: str, key: Any, make: Callable[[], Any]) -> str:
        """The name of a constant. It tells the content, so that the same rules have the same source in every load."""
        found = self._constants.get((kind, key))
        if found is None:
            size = len(key) if isinstance(key, tuple | frozenset) else ""
            text = repr(sorted(map(repr, key)) if isinstance(key, frozenset) else key).encode("utf-8", "surrogatepass")
            found = f"{kind}{size}_{crc32(text):08x}"
            while found in self.names:
                found += "_"
            self._constants[kind, key] = found
            self.names[found] = make()
        return found

    # Left sides

    def field(self, expr: FieldExpr, *, transformed: bool = False) -> Value:
        key = expr.name, expr.arg, transformed
        found = self._fields.get(key)
        if found is None:
            found = self._fields[key] = self._field(expr, transformed)
        return found

    def _field(self, expr: FieldExpr, transformed: bool) -> Value:
        written = expr.name if expr.arg is None else f"{expr.name}[{expr.arg}]"
        found = self.catalogue.lookup(written)
        if found is None:
            raise self.unknown(expr, written)
        field, arg = found
        error = None
        if arg is not None and field.check_arg is not None:
            error = field.check_arg(arg)
        if arg is None and field.arg == "required":
            error = f"{field.name} needs an argument, such as {field.name}[...]"
        if error is not None:
            raise CheckError(expr.at, error, unknown=True)
        if transformed and (field.no_transformer or field.multi):
            raise CheckError(expr.at, f"field '{field.name}' does not support transformers")
        kind = field.type_of(arg) if field.type_of is not None else field.type
        multi = field.multi if arg is None else ""
        return Value(
            field.code(arg), str(kind), field.is_list, multi, field.no_rhs, written, field.cost_ns, field.pinned
        )

    def unknown(self, expr: FieldExpr, written: str) -> CheckError:
        reason = self.catalogue.refused(written) or self.catalogue.refused(expr.name)
        if reason is not None:
            return CheckError(expr.at, f"`{written}` cannot be used: {reason}", unknown=True)
        known = self.catalogue.lookup(expr.name)
        if known is not None and expr.arg is None:
            return CheckError(expr.at, f"{expr.name} needs an argument, such as {expr.name}[...]", unknown=True)
        if known is not None:
            return CheckError(expr.at, f"`{written}`: the field `{expr.name}` takes no such argument", unknown=True)
        return CheckError(
            expr.at,
            f"`{written}`: no such field",
            nearest(expr.name, self.catalogue.CATALOGUE) or "falco-py --list shows the fields",
            unknown=True,
        )

    def left(self, expr: FieldExpr | Call) -> Value:
        return self.field(expr) if isinstance(expr, FieldExpr) else self._call(expr)

    def _call(self, call: Call) -> Value:
        self._calls += 1
        try:
            if self._calls > _MAX_CALLS:
                raise CheckError(call.at, f"more than {_MAX_CALLS} transformers inside each other")
            read: list[Value] = []
            made = transformers.write(call, lambda operand: self._argument(operand, read))
            cost = _CALL_NS + sum(one.cost_ns for one in read)
            name = "_".join((call.name, *(one.name for one in read if one.name)))
            return replace(made, name=name, cost_ns=cost, pinned=any(one.pinned for one in read))
        except transformers.CallError as bad:
            raise CheckError(call.at, bad.message, bad.hint) from None
        finally:
            self._calls -= 1

    def _argument(self, operand: Any, read: list[Value]) -> Value:
        """`read` gets the values that the argument is made of."""
        if isinstance(operand, FieldExpr | Call):
            value = self.field(operand, transformed=True) if isinstance(operand, FieldExpr) else self._call(operand)
            read.append(value)
            return value
        if isinstance(operand, ListExpr):
            items = [self._argument(item, read) for item in operand.items]
            return Value("(" + "".join(f"{item.code}, " for item in items) + ")", "CHARBUF", is_list=True)
        assert isinstance(operand, Word)
        return Value(repr(operand.text), "CHARBUF")

    # Comparisons

    def check(self, check: Check) -> str:
        """The expression of a comparison by itself. Raises CheckError."""
        return self.test(check).expression()

    def test(self, check: Check) -> Test:
        """Raises CheckError."""
        found = self._tests.get(check)
        if found is None:
            found = self._tests[check] = self._test(check)
        return found

    def _test(self, check: Check) -> Test:
        op = "=" if check.op == "==" else check.op
        value = self.left(check.left)
        self._allowed(check, op, value)
        made, constants = self._written(check, op, value)
        right = [value]
        if isinstance(check.right, Call):
            right.append(self._right(check.right)[0])
        return replace(
            made,
            names=tuple(one.name for one in right),
            read_ns=tuple(one.cost_ns for one in right),
            body_ns=body_ns(op, value.type, len(constants)),
            likely=likely(op, value.name, constants),
            pinned=any(one.pinned for one in right),
        )

    def _written(self, check: Check, op: str, value: Value) -> tuple[Test, list[Any]]:
        """The test without its costs, and the constants that it compares with."""
        if op == "exists":
            return Test((value.code,), f"bool({A})" if value.is_list or value.multi else f"{A} is not None"), []
        if not isinstance(check.right, tuple):
            return self._to_field(check, op, value), []
        constants = [self._typed(one, op, value) for one in check.right]
        if not constants:
            return Test((), "False"), []
        if value.is_list:
            return self._list(op, value, constants), constants
        if value.multi:
            return self._multi(op, check.modifier, value, constants), constants
        return self._scalar(op, check.modifier, value, constants), constants

    def _allowed(self, check: Check, op: str, value: Value) -> None:
        at = check.left.at
        allowed, what = allowed_operators(value.type, value.is_list)
        if op in allowed:
            return
        words = "operator not supported list filters" if value.is_list else f"operator not supported for {what} filters"
        raise CheckError(at, f"filter error: '{check.op}' {words}", "it takes " + " ".join(sorted(allowed)))

    def _typed(self, literal: Word, op: str, value: Value) -> Any:
        try:
            return to_value(literal.text, value.type, op)
        except LiteralError as bad:
            raise CheckError(literal.at, bad.message, bad.hint) from None

    def _to_field(self, check: Check, op: str, value: Value) -> Test:
        call = check.right
        assert isinstance(call, Call)
        right, name = self._right(call)
        pairs = _LIST_PAIRS if value.is_list else _PAIRS
        if op not in pairs:
            raise CheckError(call.at, f"operator '{check.op.upper()}' doesn't support right-hand side fields")
        if value.no_rhs or value.multi:
            raise CheckError(check.at, "the field on the left doesn't support right-hand side fields")
        if right.no_rhs or right.multi:
            raise CheckError(call.at, f"field '{name}' can't be used as a right-hand side field")
        if right.type != value.type or right.is_list != value.is_list:
            raise CheckError(
                call.at, f"field on the left has type '{value.type}' while the right-hand side field '{name}' has "
                f"incompatible type '{right.type}'")  # fmt: skip
        return Test((value.code, right.code), pairs[op], "filled" if value.is_list else "there")

    def _right(self, call: Call) -> tuple[Value, str]:
        """(value, name for messages) of a right side that is no text."""
        if call.name != "val":
            return self._call(call), call.name
        if len(call.args) != 1 or not isinstance(call.args[0], FieldExpr):
            raise CheckError(call.at, "val() takes exactly one field", "write it as val(proc.name)")
        return self.field(call.args[0]), call.args[0].name

    def _list(self, op: str, value: Value, constants: list[Any]) -> Test:
        wanted = self._set(constants)
        body = f"{wanted}.issuperset({A})" if op == "in" else f"not {wanted}.isdisjoint({A})"
        return Test((value.code,), body, "filled")

    def _set(self, constants: list[Any]) -> str:
        return self.constant("SET", frozenset(constants), lambda: frozenset(constants))

    def _among(self, constants: list[Any]) -> str:
        """What stands behind `in`."""
        few = dict.fromkeys(constants)
        if len(few) <= _INLINE and all(isinstance(one, str | int | bytes) for one in few):
            return "{" + ", ".join(map(repr, few)) + "}"
        return self._set(constants)

    def _multi(self, op: str, modifier: str | None, value: Value, constants: list[Any]) -> Test:
        """Any of the values; of two ends, `!=` asks both to differ."""
        if not modifier and value.type not in ("IPNET", "DOMAIN") and op in ("=", "in", "intersects"):
            if len(set(constants)) == 1:
                return Test((value.code,), f"{self._plain(constants[0])} in {A}", "filled")
            return Test((value.code,), f"not {self._set(constants)}.isdisjoint({A})", "filled")
        one = self._satisfied(op, modifier, value.type, "x", constants)
        every = value.multi == "endpoints" and op == "!="
        return Test((value.code,), f"{'all' if every else 'any'}({one} for x in {A})", "filled")

    def _scalar(self, op: str, modifier: str | None, value: Value, constants: list[Any]) -> Test:
        if op == "icontains":  # lowered once for all that ask
            value, op = replace(value, code=f"_lower({value.code})"), "contains"
            constants = [lower(constant) for constant in constants]
        if value.type not in ("IPNET", "DOMAIN"):
            among = op in ("in", "intersects") or (op == "=" and modifier == "anyof")
            if (op == "=" and not modifier) or (among and len(set(constants)) == 1):
                if isinstance(constants[0], bool):
                    return Test((value.code,), f"{A} is {constants[0]}")
                return Test((value.code,), f"{A} == {self._plain(constants[0])}")
            if among:
                return Test((value.code,), f"{A} in {self._among(constants)}")
        return Test((value.code,), self._satisfied(op, modifier, value.type, A, constants), "there")

    def _plain(self, constant: Any) -> str:
        if isinstance(constant, str | int | bytes):
            return repr(constant)
        return self.constant("CONST", constant, lambda: constant)

    def _satisfied(self, op: str, modifier: str | None, kind: str, x: str, constants: list[Any]) -> str:
        """The test of a value that is not None, held by `x`."""
        if modifier is not None:
            return self._modified(op, modifier, kind, x, constants)
        if op in ("in", "intersects"):
            return self._member(kind, x, constants)
        if op == "=":
            return self._member(kind, x, constants[:1])
        if op == "!=":
            constant = constants[0]
            if kind in ("IPNET", "DOMAIN"):
                return f"not {self._member(kind, x, [constant])}"
            return f"{x} is {not constant}" if isinstance(constant, bool) else f"{x} != {self._plain(constant)}"
        return self._one(op, x, constants[0], constants)

    def _member(self, kind: str, x: str, constants: list[Any]) -> str:
        if kind == "IPNET":
            nets = self.constant("NETS", tuple(constants), lambda: tuple(constants))
            return f"in_nets({x}, {nets})"
        if kind == "DOMAIN":
            return f"domain_match({x}, {tuple(constants)!r})"
        if len(constants) == 1:
            return f"({x} == {self._plain(constants[0])})"
        return f"({x} in {self._among(constants)})"

    def _one(self, op: str, x: str, constant: Any, constants: list[Any]) -> str:
        c = self._plain(constant)
        if op in ORDER:
            return f"{x} {op} {c}"
        if op in ("contains", "bcontains"):
            return f"{c} in {x}"
        if op == "icontains":
            return f"{lower(constant)!r} in _lower({x})"
        if op in ("startswith", "bstartswith"):
            return f"{x}.startswith({c})"
        if op == "endswith":
            return f"{x}.endswith({c})"
        if op == "regex":
            return f"{self.constant('REGEX', constant, lambda: regex_matcher(constant))}({x})"
        if op in ("glob", "iglob"):
            fold = op == "iglob"
            return f"{self.constant(op.upper(), constant, lambda: glob_matcher(constant, fold))}({x})"
        assert op == "pmatch"
        return f"{self.constant('PATHS', tuple(constants), lambda: PathSet(constants).match)}({x})"

    def _modified(self, op: str, modifier: str, kind: str, x: str, constants: list[Any]) -> str:
        if modifier == "anyof" and op == "=":
            return self._member(kind, x, constants)
        if modifier == "anyof" and op in ("startswith", "endswith"):
            return f"{x}.{op}({tuple(constants)!r})"
        if modifier == "anyof" and op in ("regex", "glob", "iglob"):
            name = self.constant(f"{op.upper()}S", tuple(constants), lambda: one_of(op, constants))
            return f"{name}({x})"
        tests = [self._satisfied(op, None, kind, x, [constant]) for constant in constants]
        if modifier == "oneof":
            return "(" + " + ".join(f"bool({test})" for test in tests) + ") == 1"
        return "(" + (" or " if modifier == "anyof" else " and ").join(tests) + ")"
