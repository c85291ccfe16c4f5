# SPDX-License-Identifier: Apache-2.0
"""Text fixtures become cases: rules or a condition, and what is to come of it.

A file holds cases; each begins with `## name`. The lines up to the first that begins with `=> ` are the input: rules
when it begins with `- ` (or `@@ FILE`, which begins a further file), an output when it begins with `output: `, else a
condition. Places of a condition or an output count from its own first character.

    => ok                        loads without a warning
    => error LINE:COLUMN CODE: message    (all errors must be listed, and so must warnings)
    => tree [RULE] text          the condition with macros and lists written out
    => types a, b | none | all | all but a, b
    => true VALUES  => false VALUES       VALUES: field=value ..., event=NAME; lists as (a,b)
    => prints text => VALUES
    => rules a, b                rules that run, in order
    => is RULE.ATTRIBUTE text
    => differs subject           the row of docs/differences.md that says why Falco does otherwise

Invariant: the fields are the agent's own by name, type and argument, but read from VALUES.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from falco_py.events.syscalls import NEVER, ROWS
from falco_py.fields import catalogue as agent
from falco_py.fields.model import Field, FieldType, fixed
from falco_py.rules.syntax import And, Call, Check, FieldExpr, ListExpr, Literal, Node, Not, Or, spelled

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).parent / "fixtures"
HEAD = "- rule: r\n  desc: d\n  priority: INFO\n  warn_evttypes: false\n"
CONDITION_LINES, OUTPUT_LINES, INDENT = 6, 6, 4


@dataclass
class Case:
    file: str
    name: str
    line: int
    text: list[str] = field(default_factory=list)
    expected: list[tuple[str, str]] = field(default_factory=list)

    @property
    def kind(self) -> str:
        first = self.text[0]
        return "rules" if first.startswith(("- ", "@@ ", "#", "---", "%", "!")) else (
            "output" if first.startswith("output: ") else "condition"
        )  # fmt: skip

    def files(self) -> list[tuple[str, str]]:
        body = "\n".join(self.text)
        if self.kind == "condition":
            return [("f", f"{HEAD}  output: o\n  condition: |2-\n    " + body.replace("\n", "\n    ") + "\n")]
        if self.kind == "output":
            body = body.removeprefix("output: ")
            return [("f", f"{HEAD}  condition: evt.type = open\n  output: |2-\n    {body}\n")]
        if not self.text[0].startswith("@@ "):
            return [("f", body + "\n")]
        found: list[tuple[str, str]] = []
        for line in self.text:
            if line.startswith("@@ "):
                found.append((line[3:], ""))
            else:
                found[-1] = found[-1][0], found[-1][1] + line + "\n"
        return found

    def place(self, line: int, column: int) -> str:
        if self.kind == "rules" or line <= CONDITION_LINES:
            return f"{line}:{column}"
        return f"{line - CONDITION_LINES}:{column - INDENT}"

    def wanted(self, *kinds: str) -> list[str]:
        return [text for kind, text in self.expected if kind in kinds]


def cases() -> Iterator[Case]:
    for path in sorted(FIXTURES.glob("*.txt")):
        case: Case | None = None
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.startswith("## "):
                if case is not None:
                    yield _closed(case)
                case = Case(path.stem, line[3:], number)
            elif case is None:
                assert not line or line.startswith("# "), f"{path.name}:{number}: not in a case"
            elif line.startswith("=> "):
                kind, _, text = line[3:].partition(" ")
                case.expected.append((kind, text))
            elif not case.expected:
                case.text.append(line)
            else:
                assert not line, f"{path.name}:{number}: input after what is expected"
        assert case is not None, f"{path.name} holds no case"
        yield _closed(case)


def _closed(case: Case) -> Case:
    assert case.text, f"{case.file}:{case.line}: no input"
    assert case.expected, f"{case.file}:{case.line}: nothing is expected"
    return case


@dataclass
class Event:
    name: str = "open"
    values: dict[str, Any] = field(default_factory=dict)
    ts: int = 0


class Catalogue:
    """The agent's fields, each read from `e.values` under its spelling."""

    def __init__(self) -> None:
        self.CATALOGUE = {name: _plain(one) for name, one in agent.CATALOGUE.items()}
        self.ENV = agent.ENV
        self.refused = agent.refused
        self.universe = frozenset(ROWS)
        self.known_events = self.universe | frozenset(NEVER)

    def lookup(self, name: str) -> tuple[Field, str | None] | None:
        found = agent.lookup(name)
        return None if found is None else (self.CATALOGUE[found[0].name], found[1])


def _plain(one: Field) -> Field:
    if one.name in ("evt.type", "syscall.type"):
        return replace(one, code=fixed("e.name"), print_code=None, json_code=None)

    def code(arg: str | None) -> str:
        return f"e.values.get({one.name if arg is None else f'{one.name}[{arg}]'!r})"

    return replace(one, code=code, print_code=None, json_code=None)


def event(values: str) -> Event:
    made = Event()
    for word in shlex.split(values):
        name, _, value = word.partition("=")
        if name == "event":
            made.name = value
            continue
        found = agent.lookup(name)
        assert found is not None, f"no field {name}"
        one, arg = found
        key = one.name if arg is None else f"{one.name}[{arg}]"
        many = one.is_list or (one.multi and arg is None)
        parts = [part for part in value.strip("()").split(",") if part] if many else [value]
        kind = one.type_of(arg) if one.type_of else one.type
        typed = tuple(_typed(kind, part) for part in parts)
        made.values[key] = typed if many else typed[0]
    return made


def _typed(kind: FieldType, text: str) -> Any:
    if kind.is_integer:
        return int(text)
    if kind is FieldType.BOOL:
        return text == "true"
    if kind in (FieldType.IPADDR, FieldType.IPNET):
        return ip_address(text)
    if kind is FieldType.DOUBLE:
        return float(text)
    return text.encode() if kind is FieldType.BYTEBUF else text


def tree_text(node: Node) -> str:
    if isinstance(node, Not):
        return f"not {tree_text(node.term)}"
    if isinstance(node, And | Or):
        return "(" + (" and " if isinstance(node, And) else " or ").join(map(tree_text, node.terms)) + ")"
    if isinstance(node, Check):
        return _check_text(node)
    return node.name


def _check_text(check: Check) -> str:
    left = f"{_operand(check.left)} {check.op}"
    if check.right is None:
        return left
    if not isinstance(check.right, tuple):
        return f"{left} {_operand(check.right)}"
    values = ", ".join(map(_operand, check.right))
    if check.modifier:
        return f"{left} {check.modifier} ({values})"
    return f"{left} ({values})" if check.op in ("in", "intersects", "pmatch") else f"{left} {values}"


def _operand(one: Any) -> str:
    if isinstance(one, FieldExpr):
        return spelled(one)
    if isinstance(one, Literal):
        return one.text if one.text and not set(one.text) & set(" \t\r\n\b\f()'\"=,\\") else repr(one.text)
    if isinstance(one, ListExpr):
        return "(" + ", ".join(map(_operand, one.items)) + ")"
    assert isinstance(one, Call)
    return f"{one.name}({', '.join(map(_operand, one.args))})" + (f"[{one.index}]" if one.index is not None else "")
