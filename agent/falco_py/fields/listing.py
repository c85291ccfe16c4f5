# SPDX-License-Identifier: Apache-2.0
"""The catalogue becomes the text of `--list`: plain, names only, Markdown or JSON."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from .catalogue import CATALOGUE, static_fields

if TYPE_CHECKING:
    from .model import Field

SOURCES = ("syscall", "k8s_audit")
_WIDTH = 120
_NAME_WIDTH = 30


class Class(NamedTuple):
    name: str
    short: str
    about: str


Group = tuple[Class, "list[Field]"]
_CLASSES: tuple[Class, ...] = (
    Class("gen_event", "All events", "Number, time, source and host of an event."),
    Class("evt", "System calls", "The call, its parameters and its result."),
    Class("process", "Processes", "The process of the event, its parents, session and executable."),
    Class("thread", "Threads", "The thread of the event: capabilities and cgroups."),
    Class("user", "Users", "The user of the event."),
    Class("group", "Groups", "The group of the event."),
    Class("fd", "File descriptors", "The file or socket that the event is about, as the kernel saw it."),
    Class("fspath", "Paths", "The paths that a successful call acted on."),
    Class("container", "Containers", "The container of the process."),
    Class("k8s", "Kubernetes", "The pod of the process."),
    Class("k8smeta", "Kubernetes objects", "The pod of the process, under the names of the k8smeta plugin."),
    Class("utils", "Tools", "Helpers for tests and outputs."),
    Class("k8s_audit", "Kubernetes audit log", "Requests to the Kubernetes API, as its audit log has them."),
    Class("json", "JSON", "Any part of an event that is JSON."),
    Class("static", "Constants", "Constants of the configuration."),
)


def list_text(source: str | None = None, names_only: bool = False) -> str:
    """The fields of `source` (all for None or ""), or their names one a line, with a newline at the end.

    Raises ValueError for a source that there is not; so do the other two.
    """
    found = groups(source)
    if names_only:
        return "".join(name + "\n" for name in _names(found))
    return "\n".join(_text(*group) for group in found)


def list_markdown(source: str | None = None, names_only: bool = False) -> str:
    found = groups(source)
    if names_only:
        return "".join(f"- `{name}`\n" for name in _names(found))
    return "\n".join(_markdown(*group) for group in found)


def list_json(source: str | None = None, names_only: bool = False) -> str:
    found = groups(source)
    content = _names(found) if names_only else {"fieldclasses": [_class_json(*group) for group in found]}
    return json.dumps(content, indent=2) + "\n"


def _names(found: list[Group]) -> list[str]:
    return [field.name for _, members in found for field in members]


def groups(source: str | None = None) -> list[Group]:
    """The classes of `source` (of all for None or "") in order, each with its fields. Raises ValueError."""
    if source and source not in SOURCES:
        raise ValueError(f"unknown event source {source!r}; there are: {', '.join(SOURCES)}")
    fields = [f for f in (*CATALOGUE.values(), *static_fields()) if not source or f.source in (source, "any")]
    found = [(klass, [field for field in fields if field.klass == klass.name]) for klass in _CLASSES]
    return [(klass, members) for klass, members in found if members]


def sources_of(members: list[Field]) -> list[str]:
    """No source named means every source."""
    named = {field.source for field in members}
    return [source for source in SOURCES if source in named]


def _tags(field: Field) -> list[str]:
    """What a reader must know to use the field."""
    tags = []
    if field.type == "BOOL" or field.is_list:
        tags.append("LIST" if field.is_list else "BOOL")
    if field.filter_only:
        tags.append("FILTER ONLY")
    if field.deprecated:
        tags.append("DEPRECATED")
    if field.arg == "required":
        tags.append("ARG REQUIRED")
    elif field.arg == "optional":
        tags.append("ARG ALLOWED")
    return tags


def described(field: Field) -> str:
    tags = _tags(field)
    return f"({', '.join(tags)}) {field.doc}" if tags else field.doc


def _text(klass: Class, members: list[Field]) -> str:
    lines = [
        "-" * _NAME_WIDTH,
        f"{'Field Class:':<{_NAME_WIDTH}}{klass.name} ({klass.short})",
        f"{'Description:':<{_NAME_WIDTH}}{klass.about}",
        f"{'Event Sources:':<{_NAME_WIDTH}}{', '.join(sources_of(members)) or 'all'}",
        "",
    ]
    for field in members:
        wrapped = textwrap.wrap(described(field), _WIDTH - _NAME_WIDTH)
        if len(field.name) >= _NAME_WIDTH:
            lines.append(field.name)
            first = ""
        else:
            first = field.name
        lines.append(f"{first:<{_NAME_WIDTH}}{wrapped[0]}")
        lines += [" " * _NAME_WIDTH + line for line in wrapped[1:]]
    return "\n".join(lines) + "\n"


def _markdown(klass: Class, members: list[Field]) -> str:
    lines = [
        f"## Field Class: {klass.name}",
        "",
        klass.about,
        "",
        f"Event Sources: {', '.join(sources_of(members)) or 'all'}",
        "",
        "Name | Type | Description",
        ":----|:-----|:-----------",
    ]
    lines += [f"`{field.name}` | {field.type} | {escaped(described(field))}" for field in members]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


def _class_json(klass: Class, members: list[Field]) -> dict[str, Any]:
    return {
        "name": klass.name,
        "shortdesc": klass.short,
        "desc": klass.about,
        "event_sources": sources_of(members),
        "fields": [
            {
                "name": field.name,
                "type": str(field.type),
                "desc": field.doc,
                "details": {
                    "is_list": field.is_list,
                    "is_deprecated": field.deprecated,
                    "is_filter_only": field.filter_only,
                    "arg": field.arg,
                },
            }
            for field in members
        ],
    }
