# SPDX-License-Identifier: Apache-2.0
"""Event sources: whose rules run, whose fields are known, and which fields a rule must not read.

Invariant: a rule reads only fields that the events of its own source have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .checks import checks, fields
from .problems import Finding
from .syntax import spelled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .syntax import Node

RUN = ("syscall",)
OTHER_EVENTS = frozenset(("asyncevent", "pluginevent"))  # the types of all events that are not of RUN
KNOWN = (*RUN, "k8s_audit")  # rules of these are checked, whether they run or not


def _foreign(field: Any, written: str, at: int, source: str, code: str) -> Finding | None:
    if field.source in (source, "any"):
        return None
    message = f"`{written}` is a field of source {field.source}, not of {source}"
    hint = f"a rule about such events says 'source: {field.source}'"
    return Finding(at, message, hint, unknown=True, code=code)


def foreign_fields(tree: Node, source: str, catalogue: Any) -> list[Finding]:
    """The fields of a condition, as written, that events of `source` do not have; unknown fields are left out."""
    found = []
    for expr in (expr for check in checks(tree) for expr in fields(check)):
        known = catalogue.lookup(spelled(expr))
        if known is not None:
            found.append(_foreign(known[0], spelled(expr), expr.at, source, "LOAD_ERR_COMPILE_CONDITION"))
    return [one for one in found if one is not None]


def foreign_reads(reads: Iterable[tuple[Any, int]], source: str) -> list[Finding]:
    """The same for the fields of an output and their places."""
    found = [_foreign(field, field.name, at, source, "LOAD_ERR_COMPILE_OUTPUT") for field, at in reads]
    return [one for one in found if one is not None]
