# SPDX-License-Identifier: Apache-2.0
"""An opened tree becomes its `!=` comparisons with fields that are often missing: false then, where most authors mean
true.

Only a `!=` that stands alone is told of: where the condition also asks for the pod, the container, the fd or the value
itself, or is about events that always have it, nothing is. Invariant: nothing below a `not` or an `or` is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..events.syscalls import ROWS
from .syntax import And, Check, FieldExpr, spelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .syntax import Node

_KEYED = ("container.label", "k8s.pod.label", "k8s.ns.label", "proc.env", "proc.aenv")
_IN_CONTAINERS = ("container.image", "container.privileged", "container.mount", "container.ip", "container.host_")
_OF_SOCKETS = frozenset(("IPADDR", "IPNET", "PORT", "DOMAIN"))  # other events are seldom meant with these
_WITH_FD = frozenset(name for name, row in ROWS.items() if row.fd is not None or "creates_fd" in row.flags)
_NEAR_ANCESTOR = 1  # nearly every process has a parent


class Absence(NamedTuple):
    check: Check
    message: str
    hint: str


def absences(tree: Node, catalogue: Any, event_types: frozenset[str]) -> Iterator[Absence]:
    """`event_types`: those that the condition is about."""
    terms = list(_required(tree))
    asked = {spelled(one.left) for one in terms if one.op != "!=" and isinstance(one.left, FieldExpr)}
    in_container = any(name.startswith(("container.", "k8s.", "k8smeta.")) for name in asked) or any(
        map(_leaves_the_host, terms)
    )
    for check in terms:
        if check.op != "!=" or check.modifier is not None or not isinstance(check.left, FieldExpr):
            continue
        name = spelled(check.left)
        known = catalogue.lookup(name)
        if known is None or name in asked or not isinstance(check.right, tuple):
            continue
        found = _missing(known[0].name, known[1], in_container)
        if (
            not found
            and known[0].klass == "fd"
            and known[0].type not in _OF_SOCKETS
            and not any(one.startswith("fd.") for one in asked)
        ):
            found = _without_fd(event_types)
        if found:
            yield Absence(
                check,
                f"this is false for {found}, which has no {name}",
                f"to include that write 'not {name} = ...'; to leave it out on purpose add '{name} exists'",
            )


def _required(node: Node) -> Iterator[Check]:
    """The comparisons that must all hold."""
    rest = [node]
    while rest:
        one = rest.pop()
        if isinstance(one, Check):
            yield one
        elif isinstance(one, And):
            rest.extend(reversed(one.terms))


def _leaves_the_host(check: Check) -> bool:
    """`container.id != host` and the like."""
    if check.op != "!=" or not isinstance(check.left, FieldExpr) or not isinstance(check.right, tuple):
        return False
    return check.left.name.startswith("container.") and any(value.text == "host" for value in check.right)


def _missing(name: str, arg: str | None, in_container: bool) -> str:
    """What has no such value; nothing when that is rare."""
    if name in _KEYED and arg is not None and not arg.isdigit():
        what = "pod" if name.startswith("k8s.") else "container" if name.startswith("container.") else "process"
        return f"a {what} without it"
    if name.startswith(_IN_CONTAINERS) and not in_container:
        return "a process of the host"
    if name.startswith(("k8s.", "k8smeta.")) and not in_container:
        return "a process outside pods"
    if arg is not None and arg.isdigit() and name in ("proc.aname", "proc.aexe", "proc.aexepath", "proc.acmdline"):
        return "a process with fewer ancestors" if int(arg) > _NEAR_ANCESTOR else ""
    return ""


def _without_fd(event_types: frozenset[str]) -> str:
    lacking = sorted(event_types - _WITH_FD)
    if not lacking:
        return ""
    example = "execve" if "execve" in lacking else lacking[0]
    return f"an event such as {example}" if len(lacking) < len(event_types) else "such an event"
