# SPDX-License-Identifier: Apache-2.0
"""Compiled conditions say what a plain interpreter says, for any condition and any values, missing ones too."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from falco_py.rules.checks import checks
from falco_py.rules.compiler import Compiler, is_type_check
from falco_py.rules.expressions import Writer
from falco_py.rules.grammar import parse
from falco_py.rules.inference import event_types
from tests.rules.oracle import evaluate
from tests.rules.standin import Catalogue, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from falco_py.rules.syntax import Node

WORDS = ("a", "b", "A", "ab", "bin/sh", "/etc", "/etc/passwd", "/etcx", "//etc//a/", "é", "É.B", "a*", "?b", "", "/")
PATTERNS = ("a", "*", "/*c*s*", "**b*", "*a*A*", "a*b", "/etc*", "a*", "?", "*/etc*", "[ab]*", "[!a]", "A?", "")
REGEXES = ("a.*", "(a|ab)", "[A-Z]+", ".*etc.*", "a?b?", "é")
PORTS = ("0", "1", "2", "65535", "65537")
NUMBERS = ("0", "1", "2", "+2", "-1", "65535", "65537")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "192.168.0.1", "::1", "fe80::1")
NETWORKS = ("10.0.0.0/8", "10.0.0.1/32", "0.0.0.0/0", "192.168.0.0/255.255.0.0", "::/0", "fe80::/16")
EVENTS = ("open", "openat", "execve", "close")

TEXT_FIELDS = ("proc.name", "proc.pname", "fd.name", "proc.aname", "proc.aname[1]", "proc.env[x]", "evt.arg.flags",
               "tolower(proc.name)", "basename(fd.name)", "concat(proc.name, '/', proc.pname)")  # fmt: skip
NUMBER_FIELDS = ("proc.pid", "proc.ppid", "proc.tty", "len(proc.name)", "len(proc.args)")
PORT_FIELDS = ("fd.port", "fd.rport")
WORD_OPS = ("contains", "icontains", "startswith", "endswith")


def quoted(word: str) -> str:
    return f'"{word}"'


def listed(words: list[str]) -> str:
    return f"({', '.join(map(quoted, words))})"


def spaced(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(" ".join)


def values(pool: tuple[str, ...]) -> st.SearchStrategy[str]:
    """The right side of a list operator."""
    return st.lists(st.sampled_from(pool), max_size=3).map(listed)


def scalar(fields: tuple[str, ...], ops: tuple[str, ...], pool: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Comparisons of a value with one text, or with several through a modifier."""
    one = st.sampled_from(pool).map(quoted)
    many = spaced(st.sampled_from(("oneof", "anyof", "allof")), values(pool))
    return spaced(st.sampled_from(fields), st.sampled_from(ops), one | many)


def member(fields: tuple[str, ...], pool: tuple[str, ...], *more: str) -> st.SearchStrategy[str]:
    ops = ("in", "intersects", *more)
    return spaced(st.sampled_from(fields), st.sampled_from(ops), values(pool))


def order(fields: tuple[str, ...], pool: tuple[str, ...] = NUMBERS) -> st.SearchStrategy[str]:
    ops = ("<", "<=", ">", ">=")
    return spaced(st.sampled_from(fields), st.sampled_from(ops), st.sampled_from(pool))


ADDRESS_FIELDS, NETWORK_FIELDS = ("fd.ip", "fd.rip"), ("fd.net", "fd.rnet")
ALL_FIELDS = (
    *TEXT_FIELDS, *NUMBER_FIELDS, *PORT_FIELDS, *ADDRESS_FIELDS, *NETWORK_FIELDS, "proc.args", "group.gids", "evt.raw",
    "proc.is_exe_writable",
)  # fmt: skip
TO_FIELD = (
    *(f"proc.name {op} val(fd.name)" for op in ("=", "!=", "<", ">=", *WORD_OPS, "glob", "in")),
    "proc.name = tolower(proc.pname)", "tolower(proc.name) = toupper(proc.pname)", "proc.pid != val(proc.ppid)",
    "proc.pid <= val(proc.ppid)", "proc.args in val(proc.args)", "proc.args intersects val(proc.args)",
)  # fmt: skip

CHECKS = st.one_of(
    scalar(TEXT_FIELDS, ("=", "==", "!=", *WORD_OPS), WORDS),
    scalar(TEXT_FIELDS, ("glob", "iglob"), PATTERNS),
    scalar(TEXT_FIELDS, ("regex",), REGEXES),
    member(TEXT_FIELDS, WORDS, "pmatch"),
    order(TEXT_FIELDS),
    scalar(NUMBER_FIELDS, ("=", "!="), NUMBERS),
    member(NUMBER_FIELDS, NUMBERS),
    order(NUMBER_FIELDS),
    scalar(PORT_FIELDS, ("=", "!="), PORTS),
    member(PORT_FIELDS, PORTS),
    order(PORT_FIELDS, PORTS),
    scalar(ADDRESS_FIELDS, ("=", "!="), ADDRESSES),
    member(ADDRESS_FIELDS, ADDRESSES),
    scalar(NETWORK_FIELDS, ("=", "!="), NETWORKS),
    member(NETWORK_FIELDS, NETWORKS),
    scalar(("proc.is_exe_writable",), ("=", "!="), ("true", "false")),
    member(("proc.is_exe_writable",), ("true", "false")),
    scalar(("evt.raw",), ("=", "!=", "contains", "startswith", "endswith"), ("a", "b", "", "é")),
    scalar(("evt.raw",), ("bcontains", "bstartswith"), ("61", "6162", "", "ff")),
    member(("proc.args", "tolower(proc.args)"), WORDS),
    member(("group.gids",), NUMBERS),
    st.sampled_from(ALL_FIELDS).map(lambda name: f"{name} exists"),
    st.sampled_from(TO_FIELD),
    scalar(("evt.type", "syscall.type"), ("=", "!=", "startswith", "contains", "regex"), EVENTS),
    member(("evt.type",), EVENTS, "pmatch"),
)
CONDITIONS = st.recursive(
    CHECKS,
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, st.sampled_from(("and", "or")), inner).map(lambda t: f"({t[0]}) {t[1]} {t[2]}"),
        st.tuples(inner, inner, inner).map(lambda t: f"{t[0]} and not {t[1]} or {t[2]}"),
    ),
    max_leaves=6,
)

A_VALUE: dict[str, Callable[[Random], Any]] = {
    "proc.name": lambda r: r.choice(WORDS),
    "proc.pname": lambda r: r.choice(WORDS),
    "fd.name": lambda r: r.choice(WORDS),
    "proc.aname": lambda r: _several(r, WORDS),
    "proc.aname[1]": lambda r: r.choice(WORDS),
    "proc.env[x]": lambda r: r.choice(WORDS),
    "evt.arg[flags]": lambda r: r.choice(WORDS),
    "proc.pid": lambda r: r.randint(-2, 2),
    "proc.ppid": lambda r: r.randint(-2, 2),
    "proc.tty": lambda r: r.randint(0, 3),
    "fd.port": lambda r: (r.randint(0, 2), r.choice((1, 2, 65535))),
    "fd.rport": lambda r: r.choice((0, 1, 2, 65535)),
    "fd.ip": lambda r: (ip_address(r.choice(ADDRESSES)), ip_address(r.choice(ADDRESSES))),
    "fd.rip": lambda r: ip_address(r.choice(ADDRESSES)),
    "fd.net": lambda r: (ip_address(r.choice(ADDRESSES)), ip_address(r.choice(ADDRESSES))),
    "fd.rnet": lambda r: ip_address(r.choice(ADDRESSES)),
    "proc.is_exe_writable": lambda r: r.random() < 0.5,
    "proc.args": lambda r: _several(r, WORDS),
    "group.gids": lambda r: tuple(r.randint(0, 2) for _ in range(r.randint(0, 3))),
    "evt.raw": lambda r: r.choice((b"", b"a", b"ab", b"\xff", "é".encode())),
}
MISSING = 0.2  # part of the values that an event does not have


def _several(random: Random, pool: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(random.choice(pool) for _ in range(random.randint(0, 3)))


def some_events(seed: int, count: int) -> Iterator[Event]:
    random = Random(seed)
    for _ in range(count):
        values = {name: make(random) for name, make in A_VALUE.items() if random.random() >= MISSING}
        yield Event(random.choice(EVENTS), values)


def compiled(nodes: list[Node], every: bool) -> Callable[[Event], Any]:
    """The conditions as the matchers of the event types test them; gives the places of those that hold."""
    catalogue = Catalogue()
    compiler = Compiler(Writer(catalogue))
    rules: list[Any] = [
        SimpleNamespace(
            index=index, name=f"r{index}", place="f:1", tree=node,
            type_checks=tuple(check for check in checks(node) if is_type_check(check)),
        )
        for index, node in enumerate(nodes)
    ]  # fmt: skip
    matchers = {name: compiler.matcher(name, rules, every) for name in EVENTS}

    def says(event: Event) -> list[int]:
        made = matchers[event.name]
        found = None if made is None else made[1](event)
        found = () if found is None else found if isinstance(found, tuple) else (found,)
        return [rule.index for rule in found]

    return says


CONDITION_AND_SEED = given(CONDITIONS, st.integers(0, 1 << 32))
QUICK = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(QUICK, max_examples=1000)
@given(st.lists(CONDITIONS, min_size=1, max_size=5), st.integers(0, 1 << 32))
def test_compiled_conditions_say_what_the_interpreter_says(texts: list[str], seed: int) -> None:
    nodes = [parse(text) for text in texts]
    first, every = compiled(nodes, every=False), compiled(nodes, every=True)
    for event in some_events(seed, 20):
        wanted = [index for index, node in enumerate(nodes) if evaluate(node, event)]
        assert every(event) == wanted, event
        assert first(event) == wanted[:1], event


@settings(QUICK, max_examples=200)
@CONDITION_AND_SEED
def test_a_condition_never_holds_for_an_event_type_outside_the_inferred_set(text: str, seed: int) -> None:
    node = parse(text)
    types = event_types(node, Catalogue.universe)
    for event in some_events(seed, 12):
        assert event.name in types or not evaluate(node, event)
