# SPDX-License-Identifier: Apache-2.0
"""The field catalogue becomes docs/fields.md: every field by class, and those that are refused with their reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from falco_py.fields.catalogue import REFUSED
from falco_py.fields.listing import escaped, groups, sources_of

if TYPE_CHECKING:
    from falco_py.fields.listing import Class
    from falco_py.fields.model import Field

_TEMPLATE = """\
# Fields

Made by `make docs`. What a condition or an output may read; `falco-py --list` shows the same on a terminal, and
`falco-py --list=k8s_audit` only what events of that source have. [rules.md](rules.md) tells how fields are compared.

| type | values | compared with |
| --- | --- | --- |
| CHARBUF, FSPATH | text; FSPATH is a path | text, patterns, paths |
| INT16 to INT64, UINT32, UINT64 | whole numbers | decimal numbers |
| RELTIME, ABSTIME | nanoseconds: a duration, or since 1970 | decimal numbers |
| DOUBLE | a number with a fraction | whole decimal numbers |
| BOOL | true or false | `true`, `false` |
| PORT | a port | a number, or a name of `/etc/services` |
| IPADDR, IPNET | an address | an address; a network such as `10.0.0.0/8` |
| DOMAIN | an address | names of hosts |
| BYTEBUF | bytes | text; hexadecimal digits with `bcontains` and `bstartswith` |
| DYN | the type of the parameter that is named | as that type |

`[...]` behind a type: the field is a list. The column *argument* tells what may follow in brackets, as in
`proc.aname[2]`; in parentheses when it may be left out. `static.NAME` is a constant that `static_fields` of
`falco.yaml` makes.
"""
_ARGUMENTS = {"index": "number", "key": "name", "any": "number or name"}


def page() -> str:
    parts = [_TEMPLATE]
    parts += [_group(*group) for group in groups() if group[0].name != "static"]
    parts.append(_refused())
    return "\n".join(parts)


def _group(klass: Class, members: list[Field]) -> str:
    sources = ", ".join(sources_of(members)) or "all"
    lines = [
        f"## {klass.short}: `{klass.name}`",
        "",
        f"{klass.about} Sources of events: {sources}.",
        "",
        "| field | type | argument | description |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{field.name}` | {field.type}{' [...]' * field.is_list} | {_argument(field)} | {_about(field)} |"
        for field in members
    ]
    return "\n".join(lines) + "\n"


def _argument(field: Field) -> str:
    if field.arg == "none":
        return ""
    word = _ARGUMENTS[field.arg_kind]
    return word if field.arg == "required" else f"({word})"


def _about(field: Field) -> str:
    notes = []
    if field.deprecated:
        notes.append("Deprecated.")
    if field.filter_only:
        notes.append("In conditions only.")
    if field.no_transformer or field.multi:
        notes.append("Takes no transformer.")
    if field.no_rhs or field.multi:
        notes.append("Not compared with another field.")
    if field.suggested:
        notes.append("Suggested for outputs.")
    return " ".join((escaped(field.doc), *notes))


def _refused() -> str:
    lines = [
        "## Fields of Falco that are refused",
        "",
        "A rule that reads one of them does not load, and the message gives the reason. With `skip-if-unknown-filter`",
        "it is left out instead.",
        "",
        "| field | reason |",
        "| --- | --- |",
    ]
    lines += [f"| `{name}` | {reason} |" for name, reason in REFUSED.items()]
    return "\n".join(lines) + "\n"
