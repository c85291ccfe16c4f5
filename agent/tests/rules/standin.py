# SPDX-License-Identifier: Apache-2.0
"""A small field catalogue and events of plain values, so that rules are tested without the agent's own fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, ClassVar

from falco_py.fields.model import Field, FieldType, index_error
from falco_py.rules.bundle import Bundle, load
from falco_py.rules.problems import Problem, RulesError

T = FieldType


@dataclass
class Event:
    """`values` by field as it is spelled, argument included; what is not there is missing."""

    name: str = "open"
    values: dict[str, Any] = field(default_factory=dict)
    ts: int = 0


def _field(name: str, kind: FieldType, **more: Any) -> Field:
    def code(arg: str | None) -> str:
        return f"e.values.get({name if arg is None else f'{name}[{arg}]'!r})"

    return Field(name=name, klass=name.partition(".")[0], type=kind, doc=f"The {name}.", code=code, **more)


_FIELDS = (
    Field(name="evt.type", klass="evt", type=T.CHARBUF, doc="", code=lambda _: "e.name"),
    Field(name="syscall.type", klass="syscall", type=T.CHARBUF, doc="", code=lambda _: "e.name"),
    _field("evt.num", T.UINT64),
    _field("evt.dir", T.CHARBUF, deprecated=True),
    _field("evt.latency", T.RELTIME, deprecated=True),
    _field("evt.arg", T.CHARBUF, arg="required", dotted_arg=True),
    _field("evt.raw", T.BYTEBUF),
    _field("proc.name", T.CHARBUF),
    _field("proc.pname", T.CHARBUF),
    _field("proc.exepath", T.CHARBUF),
    _field("proc.pid", T.INT64),
    _field("proc.ppid", T.INT64),
    _field("proc.tty", T.UINT32, print_format="HEX"),
    _field("proc.is_exe_writable", T.BOOL),
    _field("proc.aname", T.CHARBUF, arg="optional", multi="any", check_arg=index_error("proc.aname")),
    _field("proc.args", T.CHARBUF, is_list=True),
    _field("proc.env", T.CHARBUF, arg="optional", no_transformer=True),
    _field("container.id", T.CHARBUF),
    _field("fd.name", T.CHARBUF),
    _field("fd.name_changed", T.BOOL, pinned=True),
    _field("fd.ip", T.IPADDR, multi="endpoints", filter_only=True),
    _field("fd.port", T.PORT, multi="endpoints", filter_only=True),
    _field("fd.net", T.IPNET, multi="endpoints", filter_only=True),
    _field("fd.rip", T.IPADDR),
    _field("fd.rport", T.PORT),
    _field("fd.rnet", T.IPNET),
    _field("thread.caps", T.CHARBUF, no_rhs=True),
    _field("group.gids", T.UINT32, is_list=True),
)


class Catalogue:
    """What `load` asks of a catalogue."""

    CATALOGUE: ClassVar[dict[str, Field]] = {one.name: one for one in _FIELDS}
    ENV: ClassVar[dict[str, object]] = {}
    universe = frozenset(("open", "openat", "execve", "close", "connect")) | {f"call{n}" for n in range(120)}
    known_events = universe | {"switch"}

    @classmethod
    def lookup(cls, name: str) -> tuple[Field, str | None] | None:
        base, bracket, rest = name.partition("[")
        found = cls.CATALOGUE.get(base)
        if bracket:
            return (found, rest[:-1]) if found and found.arg != "none" and rest.endswith("]") else None
        if found is not None:
            return found, None
        if name.startswith("evt.arg."):
            return cls.CATALOGUE["evt.arg"], name.removeprefix("evt.arg.")
        return None

    @staticmethod
    def refused(name: str) -> str | None:
        return "it cannot be known" if name == "evt.cpu" else None


def loaded(text: str, **more: Any) -> Bundle:
    return load([("rules.yaml", text)], catalogue=Catalogue(), **more)


def rule(condition: str, output: str = "out", name: str = "r", **more: str) -> str:
    """The text of a rule item; the condition stands in line 3 from column 14."""
    lines = [f"- rule: {name}", "  desc: d", f"  condition: {condition}", f"  output: {output}"]
    lines += [f"  {key}: {value}" for key, value in {"priority": "INFO", **more}.items()]
    return "\n".join(lines) + "\n"


def failure(text: str) -> tuple[Problem, ...]:
    """The problems of rules that cannot be loaded; the warnings are left out."""
    try:
        loaded(text)
    except RulesError as error:
        return tuple(p for p in error.problems if p.severity == "error")
    raise AssertionError("these rules load")


def only_failure(text: str) -> Problem:
    found = failure(text)
    assert len(found) == 1, [str(p) for p in found]
    return found[0]


def holds(condition: str, event: str = "open", **values: Any) -> bool:
    """Does a condition hold? Keys are fields with `__` for the dot."""
    text = rule("|\n    " + condition.replace("\n", "\n    "), warn_evttypes="false")
    bundle = loaded(text)
    matcher = bundle.matchers.get(event)
    found = Event(event, {key.replace("__", "."): value for key, value in values.items()})
    return matcher is not None and matcher(found) is not None


def codes(bundle: Bundle) -> list[str]:
    return [problem.code for problem in bundle.warnings]


address, network = ip_address, ip_network
