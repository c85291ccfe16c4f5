# SPDX-License-Identifier: Apache-2.0
"""A tree becomes a simplified one: constants folded away, comparisons of one value merged, equal parts made one.

Invariant: a term holds for the same events as the tree that it was made of, and terms that say the same are the same
object. Terms that read a value whose reading is not repeatable (`Field.pinned`) are left as they were written.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from .syntax import And, Call, Check, FieldExpr, ListExpr, Node, Not, Operand, Or
from .syntax import Literal as Word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .expressions import Test, Writer
    from .values import Value

Kind = Literal["check", "not", "and", "or"]
_ONE_OF = frozenset(("startswith", "endswith", "contains", "icontains", "bcontains", "bstartswith"))
_PATTERNS = frozenset(("glob", "iglob", "regex", "pmatch"))


class Term:
    """A node of a simplified tree. `size`: comparisons in it, each as often as it stands there; `height`: levels."""

    __slots__ = ("check", "height", "kind", "pinned", "size", "terms", "test", "value")

    def __init__(self, kind: Kind, terms: tuple[Term, ...], pinned: bool) -> None:
        self.kind = kind
        self.terms = terms
        self.pinned = pinned
        self.size: int = sum(term.size for term in terms) or 1
        self.height: int = 1 + max((term.height for term in terms), default=0)
        self.check: Check | None = None
        self.value: Value | None = None
        self.test: Test | None = None


Folded = Term | bool


def bare(operand: Operand) -> Operand:
    """A side of a comparison without the places that it was written at."""
    if isinstance(operand, FieldExpr):
        return FieldExpr(operand.name, operand.arg, 0)
    if isinstance(operand, Word):
        return Word(operand.text, 0)
    if isinstance(operand, ListExpr):
        return ListExpr(tuple(map(bare, operand.items)), 0)
    return Call(operand.name, tuple(map(bare, operand.args)), 0, operand.index)


def _usual(check: Check, value: Value) -> Check:
    """The one way to write a comparison that may be written in several."""
    op, modifier, right = check.op, check.modifier, check.right
    if not isinstance(right, tuple) or modifier in ("oneof", "allof") or op == "!=":
        return check
    right = tuple(sorted(set(right), key=lambda word: word.text))
    if op in ("=", "in", "intersects") and not value.is_list:
        return replace(check, op="=" if len(right) == 1 else "in", right=right, modifier=None)
    return replace(check, right=right, modifier="anyof" if modifier and len(right) > 1 else None)


class Terms:
    """Makes terms of trees whose comparisons `writer` takes; equal ones are made once."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._checks: dict[Check, Folded] = {}
        self._bare: dict[Check, Folded] = {}
        self._nots: dict[Term, Term] = {}
        self._joined: dict[tuple[Kind, tuple[Term, ...]], Folded] = {}

    def __len__(self) -> int:
        return len(self._checks) + len(self._bare) + len(self._nots) + len(self._joined)

    def of(self, node: Node, decided: Callable[[Check], bool | None]) -> Folded:
        """`decided`: what is known of a comparison beforehand."""
        if isinstance(node, Not):
            return self.negation(self.of(node.term, decided))
        if isinstance(node, And | Or):
            made = [self.of(one, decided) for one in node.terms]
            return self.both(made) if isinstance(node, And) else self.either(made)
        assert isinstance(node, Check)
        known = decided(node)
        return self.comparison(node) if known is None else known

    # Comparisons

    def comparison(self, check: Check) -> Folded:
        found = self._checks.get(check)
        if found is None:
            left = bare(check.left)
            assert isinstance(left, FieldExpr | Call)
            right = check.right
            if isinstance(right, tuple):
                right = tuple(Word(one.text, 0) for one in right)
            elif right is not None:
                right = bare(right)
            op = "=" if check.op == "==" else check.op
            found = self._checks[check] = self._interned(Check(left, op, right, 0, check.modifier))
        return found

    def _interned(self, check: Check) -> Folded:
        value = self.writer.left(check.left)
        check = _usual(check, value)
        found = self._bare.get(check)
        if found is None:
            test = self.writer.test(check)
            if not test.values:
                found = test.body == "True"
            else:
                found = Term("check", (), test.pinned)
                found.check, found.test, found.value = check, test, value
            self._bare[check] = found
        return found

    # Joins

    def negation(self, term: Folded) -> Folded:
        if isinstance(term, bool):
            return not term
        if term.kind == "not":
            return term.terms[0]
        found = self._nots.get(term)
        if found is None:
            found = self._nots[term] = Term("not", (term,), term.pinned)
        return found

    def both(self, terms: Sequence[Folded]) -> Folded:
        return self._join("and", terms)

    def either(self, terms: Sequence[Folded]) -> Folded:
        return self._join("or", terms)

    def _join(self, kind: Kind, terms: Iterable[Folded]) -> Folded:
        deciding = kind == "or"
        flat: dict[Term, None] = {}
        for term in terms:
            if isinstance(term, bool):
                if term is deciding:
                    return deciding
            elif term.kind == kind:
                flat.update(dict.fromkeys(term.terms))
            else:
                flat[term] = None
        key = kind, tuple(flat)
        found = self._joined.get(key)
        if found is None:
            found = self._joined[key] = self._reduced(kind, list(flat))
        return found

    def _reduced(self, kind: Kind, terms: list[Term]) -> Folded:
        if any(term.pinned for term in terms):
            return self._made(kind, terms)
        fewer = self._absorbed(kind, terms)
        present = set(fewer)
        if any(term.kind == "not" and term.terms[0] in present for term in fewer):
            return kind == "or"  # a part and its opposite
        fewer = self._merged(fewer, _any_of) if kind == "or" else self._merged_nots(fewer)
        # What is left may be reduced again, and is the same whatever was made before it.
        return self._made(kind, terms) if fewer == terms else self._join(kind, fewer)

    def _made(self, kind: Kind, terms: Sequence[Term]) -> Folded:
        if not terms:
            return kind == "and"
        if len(terms) == 1:
            return terms[0]
        made = Term(kind, tuple(terms), any(term.pinned for term in terms))
        return self._joined.setdefault((kind, made.terms), made)

    @staticmethod
    def _absorbed(kind: Kind, terms: list[Term]) -> list[Term]:
        """`a and (a or b)` is `a`, and the same with the words exchanged."""
        other = "or" if kind == "and" else "and"
        present = set(terms)
        return [term for term in terms if term.kind != other or present.isdisjoint(term.terms)]

    def _merged(self, terms: Iterable[Term], family: Callable[[Term], str]) -> list[Term]:
        """Comparisons of the same value with texts of which any may fit become one."""
        groups: dict[tuple[str, str, str], list[Term]] = {}
        out: list[Term | tuple[str, str, str]] = []
        for term in terms:
            joins = family(term) if term.kind == "check" else ""
            if not joins or term.value is None:
                out.append(term)
                continue
            key = term.value.code, term.value.type, joins
            if key not in groups:
                groups[key] = []
                out.append(key)
            groups[key].append(term)
        return [one if isinstance(one, Term) else self._union(groups[one], one[2]) for one in out]

    def _merged_nots(self, terms: list[Term]) -> list[Term]:
        """Of an `and`: opposites of comparisons, `not (a in ...) and not (a in ...)`."""
        opposites = {term: term.terms[0] for term in terms if term.kind == "not" and term.terms[0].kind == "check"}
        merged = self._merged(opposites.values(), _none_of)
        kept = set(merged)
        out = [term for term in terms if term not in opposites or opposites[term] in kept]
        for one in merged:
            opposite = self.negation(one)
            assert isinstance(opposite, Term)
            if opposite not in out:
                out.append(opposite)
        return out

    def _union(self, group: list[Term], op: str) -> Term:
        if len(group) == 1:
            return group[0]
        first = group[0].check
        assert first is not None
        rights = (term.check.right for term in group if term.check is not None)
        right = tuple(word for words in rights if isinstance(words, tuple) for word in words)
        whole = op in ("in", "intersects", "pmatch")
        made = self._interned(replace(first, op=op, right=right, modifier=None if whole else "anyof"))
        assert isinstance(made, Term)
        return made


def _any_of(term: Term) -> str:
    """The operator under which a comparison joins others with `or`; "" when it stays alone."""
    check, value = term.check, term.value
    if check is None or value is None or term.pinned or not isinstance(check.right, tuple):
        return ""
    op = check.op
    if value.is_list:
        return op if op == "intersects" else ""
    if check.modifier not in (None, "anyof"):
        return ""
    if op in ("=", "in", "intersects"):
        return "in"
    return op if op in _ONE_OF or op in _PATTERNS else ""


def _none_of(term: Term) -> str:
    """The same for opposites joined with `and`; dear ones stay as they are, so that other rules share them."""
    op = _any_of(term)
    return "" if op in _PATTERNS else op
