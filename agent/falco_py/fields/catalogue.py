# SPDX-License-Identifier: Apache-2.0
"""All field rows become one catalogue with a lookup by what a rule writes.

Invariant: a name is either in `CATALOGUE` or `refused` with a reason, never both; every name that a row's code uses
besides `e` is in `ENV`.
"""

from __future__ import annotations

from inspect import isfunction
from typing import TYPE_CHECKING

from . import audit, container, dns, evt, fd, fspath, gen, json, k8s, openfds, proc, thread, user
from .model import Field, FieldType, fixed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

__all__ = ["CATALOGUE", "ENV", "REFUSED", "Field", "FieldType", "lookup", "refused", "set_static"]

_CLASSES: tuple[ModuleType, ...] = (gen, evt, fspath, proc, thread, user, fd, container, k8s, audit, json)
_HELPERS: tuple[ModuleType, ...] = (*_CLASSES, openfds)


def _catalogue() -> dict[str, Field]:
    rows: dict[str, Field] = {}
    for module in _CLASSES:
        for row in module.ROWS:
            if row.name in rows:
                raise ValueError(f"field {row.name} has two rows")
            rows[row.name] = row
    return rows


def _env() -> dict[str, object]:
    """The public functions of the class modules."""
    env: dict[str, object] = {
        "HOSTNAME": gen.HOSTNAME,
        "NOT_SYSCALLS": evt.NOT_SYSCALLS,
        "domain_match": dns.domain_match,
        "domain_text": dns.domain_text,
    }
    for module in _HELPERS:
        for name, value in vars(module).items():
            if isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                if name in env:
                    raise ValueError(f"two functions named {name}")
                env[name] = value
    return env


CATALOGUE: dict[str, Field] = _catalogue()
ENV: dict[str, object] = _env()

_NO_SWITCH = "needs the scheduler's switch events, which are not captured"
_NO_SETS = "the fd sets of poll and ppoll are not captured"
_TABLE_ONLY = "not a field for rules or outputs, only for tables of capture viewers"
REFUSED: dict[str, str] = {
    "thread.exectime": _NO_SWITCH,
    "thread.totexectime": _NO_SWITCH,
    "thread.cpu": "needs periodic process samples, which are not taken",
    "thread.cpu.user": "needs periodic process samples, which are not taken",
    "thread.cpu.system": "needs periodic process samples, which are not taken",
    **dict.fromkeys((f"fdlist.{part}" for part in ("nums", "names", "cips", "sips", "cports", "sports")), _NO_SETS),
    **dict.fromkeys(
        (
            "evt.latency.quantized",
            "evt.count.procinfo",
            "evt.count.threadinfo",
            *(
                f"evt.buflen.{part}"
                for part in ("in", "out", "file", "file.in", "file.out", "net", "net.in", "net.out")
            ),
            *(f"evt.infra.docker.{part}" for part in ("name", "container.id", "container.name", "container.image")),
            "thread.nametid",
            "thread.vmsize.b",
            "thread.vmrss.b",
        ),
        _TABLE_ONLY,
    ),
}

_static: dict[str, Field] = {}


def set_static(values: Mapping[str, str]) -> None:
    """Make the fields `static.NAME` of the configuration's `static_fields`."""
    _static.clear()
    for name, value in values.items():
        _static[f"static.{name}"] = Field(
            name=f"static.{name}",
            klass="static",
            source="any",
            type=FieldType.CHARBUF,
            doc="A constant of the configuration.",
            code=fixed(repr(str(value))),
            suggested=True,
        )


def static_fields() -> tuple[Field, ...]:
    return tuple(_static.values())


def lookup(name: str) -> tuple[Field, str | None] | None:
    """The row and the argument of a field as a rule writes it: `proc.aname[2]`, `evt.arg.flags`, `proc.name`.

    None for an unknown field or an argument where there may be none. Whether a required argument is there, and
    whether it is a good one, is the caller's to check (`Field.arg`, `Field.check_arg`).
    """
    base, bracket, rest = name.partition("[")
    if bracket:
        found = CATALOGUE.get(base)
        if found is None or found.arg == "none" or not rest.endswith("]"):
            return None
        arg = rest[:-1]
        if len(arg) >= 2 and arg[0] == arg[-1] and arg[0] in "'\"":
            arg = arg[1:-1]
        return (found, arg) if arg else None
    found = CATALOGUE.get(name) or _static.get(name)
    if found is not None:
        return found, None
    parts = name.split(".")
    for cut in range(len(parts) - 1, 1, -1):
        found = CATALOGUE.get(".".join(parts[:cut]))
        if found is not None:
            arg = ".".join(parts[cut:])
            return (found, arg) if found.dotted_arg and arg else None
    return None


def refused(name: str) -> str | None:
    """Why a field that Falco knows cannot be used here; None for any other name."""
    return REFUSED.get(name.partition("[")[0])
