# SPDX-License-Identifier: Apache-2.0
"""The keys that rule items have become a JSON schema of rules files.

Invariant: the schema names the keys that the reader of items knows, no more and no fewer.
"""

from __future__ import annotations

from typing import Any

from .items import KEYS, OVERRIDABLE
from .priority import Priority

_TEXT: dict[str, Any] = {"type": "string"}
_FLAG: dict[str, Any] = {"type": "boolean"}
_WORD: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_VERSIONED: dict[str, Any] = {"name": _TEXT, "version": _TEXT}


def _object(keys: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": keys, **more}
    return {**made, "required": list(required)} if required else made


def _array(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


_VALUES: dict[str, dict[str, Any]] = {
    "required_engine_version": {"type": ["string", "integer"]},
    "required_plugin_versions": _array(
        _object({**_VERSIONED, "alternatives": _array(_object(_VERSIONED, "name", "version"))}, "name", "version")
    ),
    "list": _TEXT,
    "macro": _TEXT,
    "rule": _TEXT,
    "items": _array(_WORD),
    "condition": _TEXT,
    "output": _TEXT,
    "desc": _TEXT,
    "source": _TEXT,
    "priority": {"type": "string", "enum": [*(one.name for one in Priority), "INFO"]},
    "enabled": _FLAG,
    "tags": _array(_TEXT),
    "exceptions": _array(_object({"name": _TEXT, "fields": {}, "comps": {}, "values": {}}, "name")),
    "warn_evttypes": _FLAG,
    "skip-if-unknown-filter": _FLAG,
    "capture": _FLAG,
    "capture_duration": {"type": "integer", "minimum": 0},
    "append": _FLAG,
}  # fmt: skip


def _override(kind: str) -> dict[str, Any]:
    keys: dict[str, list[str]] = {}
    for operation, names in OVERRIDABLE[kind].items():
        for name in names:
            keys.setdefault(name, []).append(operation)
    return _object({name: {"enum": operations} for name, operations in keys.items()}, minProperties=1)


def rules_schema() -> dict[str, Any]:
    items = [
        _object({key: _override(kind) if key == "override" else _VALUES[key] for key in keys}, kind)
        for kind, keys in KEYS.items()
    ]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Rules file",
        "type": "array",
        "items": {"anyOf": items},
    }
