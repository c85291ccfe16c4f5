# SPDX-License-Identifier: Apache-2.0
"""The table of keys becomes a JSON schema of falco.yaml.

Invariant: every key of the table is in the schema, and nothing else but what lies below a key that takes anything.
"""

from __future__ import annotations

from typing import Any, Final

from .keys import KEYS, Key, Kind

_TYPES: Final = {Kind.BOOL: "boolean", Kind.INT: "integer", Kind.NUMBER: "number", Kind.TEXT: "string"}
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_SELECTION: Final = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {"rule": {"type": "string"}, "tag": {"type": "string"}},
}


def _object(keys: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": keys}


# The keys that take more than a value or a list of texts.
_SHAPES: Final[dict[str, dict[str, Any]]] = {
    "config_files": {
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "string"},
                {
                    **_object({"path": {"type": "string"}, "strategy": {"enum": ["append", "override", "add-only"]}}),
                    "required": ["path"],
                },
            ]
        },
    },
    "rules": {"type": "array", "items": _object({"enable": _SELECTION, "disable": _SELECTION})},
    "append_output": {
        "type": "array",
        "items": _object(
            {
                "match": _object({"rule": {"type": "string"}, "source": {"type": "string"}, "tags": _TEXTS}),
                "extra_output": {"type": "string"},
                "extra_fields": {"type": "array", "items": {"type": ["string", "object"]}},
                "suggested_output": {"type": "boolean"},
            }
        ),
    },
    "static_fields": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
    "plugins": {
        "type": "array",
        "items": {
            **_object(
                {
                    "name": {"type": "string"},
                    "library_path": {"type": "string"},
                    "init_config": {},
                    "open_params": {"type": "string"},
                }
            ),
            "required": ["name"],
        },
    },
}


def _value(key: Key) -> dict[str, Any]:
    """What a key takes, and what it does."""
    about = f"{key.about}. No effect: {key.instead}" if key.instead else key.about
    return {"description": about, **_shape(key)}


def _shape(key: Key) -> dict[str, Any]:
    if key.kind is Kind.ANY:
        return _SHAPES[key.name]
    if key.kind is Kind.MAP:
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if key.kind is Kind.TEXTS:
        made: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
        if key.choices:
            made["items"] = {"enum": list(key.choices)}
    else:
        made = {"type": _TYPES[key.kind]}
        if key.choices:
            made["enum"] = list(key.choices)
        if key.at_least is not None:
            made["minimum"] = key.at_least
        if key.at_most is not None:
            made["maximum"] = key.at_most
    default = key.default
    return {**made, "default": list(default) if isinstance(default, tuple) else default}


def config_schema() -> dict[str, Any]:
    root = _object({})
    for key in KEYS.values():
        *sections, last = key.name.split(".")
        level = root
        for name in sections:
            level = level["properties"].setdefault(name, _object({}))
        level["properties"][last] = _value(key)
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "falco.yaml", **root}
