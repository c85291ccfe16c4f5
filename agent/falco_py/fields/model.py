# SPDX-License-Identifier: Apache-2.0
"""What a field row is.

A row is the single source for what a rule may write, the Python that reads the value, and the listings.
Invariant: `code(arg)` is an expression over the local `e` (the event) and the names of `catalogue.ENV`; it raises
nothing and gives None for a missing value (Falco's NULL).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

PrintFormat = Literal["NA", "DEC", "HEX", "ID", "DIR", "10_PADDED_DEC"]


class FieldType(StrEnum):
    """Value types, in Falco's words. `DOMAIN` is ours: an address that is compared with host names."""

    CHARBUF = "CHARBUF"
    FSPATH = "FSPATH"
    INT64 = "INT64"
    INT32 = "INT32"
    INT16 = "INT16"
    UINT64 = "UINT64"
    UINT32 = "UINT32"
    BOOL = "BOOL"
    DOUBLE = "DOUBLE"
    PORT = "PORT"
    IPADDR = "IPADDR"
    IPNET = "IPNET"
    RELTIME = "RELTIME"
    ABSTIME = "ABSTIME"
    BYTEBUF = "BYTEBUF"
    DYN = "DYN"
    DOMAIN = "DOMAIN"

    @property
    def is_integer(self) -> bool:
        return self in _INTEGERS


_INTEGERS = frozenset(
    {
        FieldType.INT64,
        FieldType.INT32,
        FieldType.INT16,
        FieldType.UINT64,
        FieldType.UINT32,
        FieldType.PORT,
        FieldType.RELTIME,
        FieldType.ABSTIME,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field.

    `arg` says whether `[arg]` (or, with `dotted_arg`, `.arg`) may or must follow; `check_arg` gives the error text
    for a bad one. `multi`: "any" is true in a filter when any value of the tuple satisfies the operator; "endpoints"
    likewise, except that `!=` asks all to differ. `print_code` and `json_code` read the value for output text and for
    JSON when it is not the one that filters compare. `type_of` gives the type when it depends on the argument.
    `process_fixed`: constant between one exec and the next of a process. `source`: the events that have the field.
    `cost_ns`: roughly what reading the value takes; cheap values are asked for first. `pinned`: whether and when the
    value is read makes a difference, so conditions that use it are tested exactly as they are written.
    `words`: every text that the field can give besides numbers; empty when there is no end of them. `flag_names`: the
    names that a text joined with `|` may hold, likewise. `longest_bytes`: of its texts, 0 for any. Comparisons with
    anything else are warned about.
    """

    name: str
    klass: str
    type: FieldType
    doc: str
    code: Callable[[str | None], str]
    arg: Literal["none", "optional", "required"] = "none"
    arg_kind: Literal["index", "key", "any"] = "any"
    is_list: bool = False
    filter_only: bool = False
    no_rhs: bool = False
    no_transformer: bool = False
    deprecated: bool = False
    dotted_arg: bool = False
    print_format: PrintFormat = "NA"
    multi: Literal["", "any", "endpoints"] = ""
    check_arg: Callable[[str], str | None] | None = None
    process_fixed: bool = False
    cost_ns: int = 200
    pinned: bool = False
    words: frozenset[str] = frozenset()
    flag_names: Callable[[str | None], frozenset[str]] | None = None
    longest_bytes: int = 0
    print_code: Callable[[str | None], str] | None = None
    json_code: Callable[[str | None], str] | None = None
    type_of: Callable[[str | None], FieldType] | None = None
    suggested: bool = False
    source: Literal["syscall", "k8s_audit", "any"] = "syscall"


def fixed(expression: str) -> Callable[[str | None], str]:
    """Code that does not depend on the argument."""
    return lambda _arg: expression


def row(
    klass: str, name: str, kind: FieldType, doc: str, expression: str, print_format: PrintFormat = "NA", **more: Any
) -> Field:
    """A row whose code does not depend on an argument; `more` are further attributes of `Field`."""
    return Field(name=name, klass=klass, type=kind, doc=doc, code=fixed(expression), print_format=print_format, **more)


def index_error(name: str) -> Callable[[str], str | None]:
    """Check of an argument that must be a number from 0."""

    def check(arg: str) -> str | None:
        if arg.isascii() and arg.isdigit() and len(arg) <= 9:
            return None
        return f"{name}[{arg}]: the argument must be a number from 0"

    return check
