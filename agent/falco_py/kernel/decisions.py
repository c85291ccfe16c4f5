# SPDX-License-Identifier: Apache-2.0
"""A comparison and what the kernel knows of one fact become true, false or unknown (None).

What is known is a class of values: a result, open flags, a name, a kind of fd, the value of an argument. Invariant: the
answer holds for every value of the class, and is that of the compiled rule.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from ..events.descriptor import DIRECTORY, IPV4, IPV6, NETLINK, PIPE, UNIX, Kind
from ..events.flags import TABLES, names, translate
from ..events.model import Kernel, Op
from ..events.symbols import signal_name
from ..events.syscalls import ROWS
from ..events.text import res_text
from ..fields import catalogue
from ..fields.model import Field, fixed
from ..rules.expressions import Writer
from ..rules.literals import to_value
from ..rules.syntax import Check, FieldExpr, Literal
from .formulas import OPEN_FIELDS, AllOf, AnyOf, Leaf, parameter_of
from .tables import bits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .formulas import Formula

Truth = bool | None
_EQUALITY = frozenset(("=", "==", "in", "intersects"))


class _Values:
    """The catalogue of the agent, where every field reads as the value `e` itself."""

    CATALOGUE = catalogue.CATALOGUE
    ENV = catalogue.ENV
    refused = staticmethod(catalogue.refused)

    @staticmethod
    def lookup(name: str) -> tuple[Field, str | None] | None:
        found = catalogue.lookup(name)
        return None if found is None else (_reads_itself(found[0]), found[1])


@lru_cache(maxsize=1024)
def _reads_itself(row: Field) -> Field:
    from dataclasses import replace

    return replace(row, code=fixed("e"))


_writer = Writer(_Values())


_MAX_TESTS = 16384
_tests: dict[int, tuple[Check, Callable[[Any], Any]]] = {}  # by identity: comparisons are long to hash


def _test(check: Check) -> Callable[[Any], Any]:
    found = _tests.get(id(check))
    if found is None or found[0] is not check:
        if len(_tests) >= _MAX_TESTS:
            _tests.clear()
        found = _tests[id(check)] = check, eval(f"lambda e: {_writer.check(check)}", _writer.names)
    return found[1]


def holds(check: Check, value: Any) -> bool:
    """Does a comparison of one field hold for this value of the field? None is a missing value."""
    return bool(_test(check)(value))


def field_name(check: Check) -> str:
    assert isinstance(check.left, FieldExpr)
    return check.left.name


def texts_of(check: Check) -> list[str]:
    return [one.text for one in check.right if isinstance(one, Literal)] if isinstance(check.right, tuple) else []


def checks_of(formulas: Iterable[Formula]) -> Iterator[Check]:
    for formula in formulas:
        if isinstance(formula, Leaf):
            yield formula.check
        else:
            assert isinstance(formula, AllOf | AnyOf)
            yield from checks_of(formula.terms)


# The result

EXACT_RESULTS = 3  # 0, 1 and 2 by themselves, then all that are greater
ERRNOS = 133  # by themselves; EHWPOISON is the last of include/uapi/asm-generic/errno.h
RESULT_CLASSES = EXACT_RESULTS + 1 + ERRNOS + 1  # the last: any other negative number
_LARGE = 1 << 40


def result_class(ret: int) -> int:
    """The class of a return value, as the kernel program has it."""
    if ret >= 0:
        return min(ret, EXACT_RESULTS)
    return EXACT_RESULTS - ret if -ret <= ERRNOS else RESULT_CLASSES - 1


def results_of(number: int, constants: Iterable[int]) -> list[int]:
    """Return values of a class that stand for all of them, where comparisons are with these constants; none when the
    class holds values of which nothing is known."""
    if number < EXACT_RESULTS:
        return [number]
    if number == EXACT_RESULTS:
        near = {c + d for c in constants for d in (-1, 0, 1)}
        return sorted({EXACT_RESULTS, _LARGE, *(value for value in near if value >= EXACT_RESULTS)})
    return [] if number == RESULT_CLASSES - 1 else [EXACT_RESULTS - number]


def numbers_in(formulas: Iterable[Formula]) -> frozenset[int]:
    found = set()
    for check in checks_of(formulas):
        for text in texts_of(check):
            try:
                found.add(int(text))
            except ValueError:
                continue
    return frozenset(found)


def of_result(check: Check, ret: int) -> Truth:
    name = field_name(check)
    if name == "evt.rawres":
        return holds(check, ret)
    if name == "evt.failed":
        return holds(check, ret < 0)
    if name == "evt.res":
        return holds(check, res_text(ret))
    assert name == "fd.num"
    return holds(check, ret if ret >= 0 else -1)


# How a file is opened


class Opened(NamedTuple):
    """`access`: O_ACCMODE of the flags.

    `call` is "" for a call with flags, "creat" or, with flags that only user memory holds, "unknown".
    """

    access: int = 0
    create: bool = False
    truncate: bool = False
    tmpfile: bool = False
    call: str = ""


def _open_classes() -> tuple[Opened, ...]:
    classes = [Opened(n & 3, bool(n & 4), bool(n & 8), bool(n & 16)) for n in range(32)]
    return (*classes, Opened(call="unknown"), Opened(1, create=True, truncate=True, call="creat"))


OPEN_CLASSES = _open_classes()
_ODD_ACCESS = 3
_READS, _WRITES = (0, 2), (1, 2)


def of_open(check: Check, opened: Opened) -> Truth:
    name = field_name(check)
    if opened.call == "unknown":
        return None
    made = opened.create or opened.tmpfile
    if opened.call == "creat":  # it has no flags, and counts as neither reading nor writing
        if name == "evt.is_open_exec":
            return None
        return holds(check, False if name in OPEN_FIELDS else None)
    if name in ("evt.is_open_read", "evt.is_open_write"):
        if opened.access == _ODD_ACCESS:
            return None
        return holds(check, opened.access in (_READS if name == "evt.is_open_read" else _WRITES))
    if name in ("evt.is_open_exec", "evt.is_open_create"):
        return None if made else holds(check, False)
    return _flag_text(check, opened)


def _flag_text(check: Check, opened: Opened) -> Truth:
    """`evt.arg.flags contains O_TRUNC`: which names hold the text, and are they there?"""
    wanted = texts_of(check)
    if check.op != "contains" or check.modifier is not None or len(wanted) != 1 or "|" in wanted[0]:
        return None
    there = {"O_CREAT": opened.create, "O_TRUNC": opened.truncate}
    answers = {there.get(name) for name, _ in TABLES["file_flags"] if wanted[0] in name}
    if True in answers:
        return True
    return False if answers <= {False} else None


# The name of the thread

COMM_BYTES = 16


def names_in(formulas: Iterable[Formula]) -> frozenset[bytes]:
    """The names that comparisons are with, as the kernel holds them."""
    found = {text.encode("utf-8", "surrogateescape") for check in checks_of(formulas) for text in texts_of(check)}
    return frozenset(name for name in found if len(name) < COMM_BYTES and b"\0" not in name)


def of_name(check: Check, name: bytes | None) -> Truth:
    """`name` is None for one that no comparison is with."""
    if name is not None:
        return holds(check, name.decode("utf-8", "surrogateescape"))
    return _of_other(check)


# Kinds of fds

_NO_PROTOCOL = ("<NA>",)  # as fd.l4proto has it for anything but inet sockets


class Kinds(NamedTuple):
    """What an fd can be, and its protocol, as far as struct inode and struct sock tell; () when they do not."""

    kinds: tuple[Kind, ...] = ()
    protocols: tuple[str, ...] = ()


KINDS = (
    Kinds((DIRECTORY,), _NO_PROTOCOL),
    Kinds((PIPE,), _NO_PROTOCOL),
    Kinds((IPV4,), ("tcp",)),
    Kinds((IPV4,), ("udp",)),
    Kinds((IPV4,)),
    Kinds((IPV4, IPV6), ("tcp",)),
    Kinds((IPV4, IPV6), ("udp",)),
    Kinds((IPV4, IPV6)),
    Kinds((UNIX,), _NO_PROTOCOL),
    Kinds((NETLINK,), _NO_PROTOCOL),
    Kinds(),
)
OTHER_KIND = len(KINDS) - 1


def of_kind(check: Check, number: int) -> Truth:
    name = field_name(check)
    found = KINDS[number]
    if name == "fd.l4proto":
        values: Iterable[str | None] = found.protocols
    else:
        values = [kind.word if name == "fd.type" else kind.char for kind in found.kinds]
    answers = {holds(check, value) for value in values}
    return answers.pop() if len(answers) == 1 else None


# Numbers of fds that are arguments

FD_NUMBERS = 4  # 0, 1 and 2 by themselves, then all others


def number_class(fd: int) -> int:
    return fd if 0 <= fd < FD_NUMBERS - 1 else FD_NUMBERS - 1


def numbers_of(number: int, constants: Iterable[int]) -> list[int | None]:
    """Values of fd.num of a class that stand for all of them, where comparisons are with these constants."""
    if number < FD_NUMBERS - 1:
        return [number]
    return [None, -1, *results_of(EXACT_RESULTS, constants)]


# The server's end of a connection

Network = IPv6Network
_MAPPED = 96  # bits before an IPv4 address in ::ffff:0:0/96


def ports_in(formulas: Iterable[Formula]) -> frozenset[int]:
    """The ports that comparisons are with."""
    found = set()
    for check in checks_of(formulas):
        for text in texts_of(check):
            value = to_value(text, "PORT", check.op)
            assert isinstance(value, int)
            found.add(value)
    return frozenset(found)


def of_port(check: Check, port: int | None) -> Truth:
    """`port` is None for one that no comparison is with."""
    return holds(check, port) if port is not None else _of_other(check)


def _of_other(check: Check) -> Truth:
    """A value that is there, and none of those compared with."""
    if check.op == "exists":
        return True
    if check.op in _EQUALITY and check.modifier in (None, "anyof"):
        return False
    return True if check.op == "!=" and check.modifier is None else None


def network_of(text: str) -> Network:
    """An address or a network, IPv4 as IPv6 has it (::ffff:0:0/96)."""
    found = to_value(text, "IPNET" if "/" in text else "IPADDR", "=")
    net = ip_network(str(found))
    if isinstance(net, IPv4Network):
        mapped = IPv6Address(b"\0" * 10 + b"\xff\xff" + net.network_address.packed)
        return IPv6Network((int(mapped), _MAPPED + net.prefixlen))
    return net


def networks_in(formulas: Iterable[Formula]) -> frozenset[Network]:
    return frozenset(network_of(text) for check in checks_of(formulas) for text in texts_of(check))


def of_address(check: Check, network: Network | None) -> Truth:
    """Of the addresses of a network that are in no smaller one that a comparison is with; None: of no network."""
    if check.op == "exists":
        return True
    within = network is not None and any(network.subnet_of(network_of(text)) for text in texts_of(check))
    if check.op in _EQUALITY:
        return within
    return not within if check.op == "!=" and check.modifier is None else None


# Arguments whose values or bits have names

VALUES = 256


def of_value(check: Check, event: str, value: int) -> Truth:
    """`value`: by what the kernel looks the argument up (tables.value_class), below VALUES."""
    assert isinstance(check.left, FieldExpr)
    row = ROWS[event]
    param = next(one for one in row.params if one.name == parameter_of(check.left))
    assert isinstance(param.source, Kernel)
    assert param.source.op == Op.VALUE
    if bits_of(param):
        return _of_flags(check, param.table or "", bits_of(param), value)
    if param.type == "SIGTYPE":
        return holds(check, signal_name(value) or str(value))
    shown = translate(param.table, value) if param.table is not None else value
    return holds(check, names(param.table or "", shown, True) or str(shown))


def _of_flags(check: Check, table: str, bits: tuple[int, ...], known: int) -> Truth:
    """`evt.arg.flags contains CLONE_NEWUSER`; `known`: of the bits in order, whether they are set."""
    wanted = texts_of(check)
    if check.op != "contains" or check.modifier is not None or len(wanted) != 1:
        return None
    text = wanted[0]
    if "|" in text or not text.isidentifier():  # a number is shown where no bit has a name
        return None
    there = {name_of_bit(table, bit): bool(known >> place & 1) for place, bit in enumerate(bits)}
    answers = {there.get(name) for name, _ in TABLES[table] if text in name}
    if True in answers:
        return True
    return False if answers <= {False} else None


@lru_cache(maxsize=256)
def name_of_bit(table: str, bit: int) -> str:
    """The name that flags show when this bit of the kernel's is set, and only then."""
    return names(table, translate(table, 1 << bit), False)
