# SPDX-License-Identifier: Apache-2.0
"""Fields of any event that is JSON: `json.*`, and `jevt.*` by their old name.

Invariant: as in `audit`, whose object they read.
"""

from __future__ import annotations

import json
from typing import Any

from .audit import SOURCE, json_text
from .model import Field, FieldType, fixed


def json_value(e: Any, pointer: str) -> str | None:
    """What a JSON pointer (RFC 6901) leads to; the first slash may be left out."""
    value = getattr(e, "audit", None)
    for step in pointer.removeprefix("/").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isascii() and key.isdecimal() and len(key) < 10 and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return json_text(value)


def json_object(e: Any) -> str | None:
    """The whole event on several lines."""
    audit = getattr(e, "audit", None)
    return None if audit is None else json.dumps(audit, indent=2, ensure_ascii=False)


def json_time(e: Any) -> str | None:
    return None if getattr(e, "audit", None) is None else str(e.ts)


def _rows(prefix: str) -> tuple[Field, ...]:
    def row(name: str, doc: str, **more: Any) -> Field:
        return Field(name=f"{prefix}.{name}", klass="json", source=SOURCE, type=FieldType.CHARBUF, doc=doc, **more)

    return (
        row("value", "What a JSON pointer such as [/user/username] leads to.", arg="required", arg_kind="key",
            code=lambda arg: f"json_value(e, {arg!r})"),
        row("obj", "The whole event, as JSON on several lines.", code=fixed("json_object(e)")),
        row("rawtime", "The time of the event in nanoseconds since 1970.", code=fixed("json_time(e)")),
    )  # fmt: skip


ROWS: tuple[Field, ...] = (*_rows("json"), *_rows("jevt"))
