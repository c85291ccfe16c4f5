# SPDX-License-Identifier: Apache-2.0
"""The schemas fit what the readers take, and refuse what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from falco_py.config.keys import KEYS
from falco_py.config.schema import config_schema
from falco_py.rules.items import KEYS as ITEM_KEYS
from falco_py.rules.schema import rules_schema

RULES = Path(__file__).parents[3] / "rules" / "falco_rules.yaml"
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,),
    "number": (int, float),
}  # fmt: skip


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """The words of JSON schema that the two schemas use."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(
        isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds
    ):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "anyOf" in schema and not any(fits(value, one) for one in schema["anyOf"]):
        return False
    if isinstance(value, list):
        return all(fits(one, schema.get("items", {})) for one in value)
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        if not all(name in value for name in schema.get("required", [])) or len(value) < schema.get("minProperties", 0):
            return False
        return all(
            fits(one, properties[key])
            if key in properties
            else (isinstance(more, dict) and fits(one, more)) or more is True
            for key, one in value.items()
        )
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value)) if "minimum" in schema else True


def test_the_projects_rules_fit() -> None:
    assert fits(yaml.safe_load(RULES.read_text()), rules_schema())


def test_the_rules_schema_has_the_keys_of_every_item() -> None:
    items = rules_schema()["items"]["anyOf"]
    assert [(one["required"], tuple(one["properties"])) for one in items] == [
        ([kind], keys) for kind, keys in ITEM_KEYS.items()
    ]


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("- rule: r\n  tags: [a]\n  override: {tags: append}", True),
        ("- rule: r\n  enabled: true\n  override: {enabled: append}", False),
        ("- rule: r\n  override: {}", False),
        ("- rule: r\n  colour: red", False),
        ("- rule: r\n  priority: info", False),
        ("- rule: r\n  priority: INFO", True),
        ("- rule: r\n  exceptions: [{fields: [a]}]", False),
        ("- list: l\n  items: [a, 1, true]", True),
        ("- list: l\n  items: [[a]]", False),
        ("- required_engine_version: 26", True),
        ("- required_plugin_versions: [{name: a, version: 1.0.0, alternatives: [{name: b}]}]", False),
        ("- items: [a]", False),
    ],
)
def test_rules(text: str, good: bool) -> None:
    assert fits(yaml.safe_load(text), rules_schema()) is good


def test_every_key_is_in_the_config_schema() -> None:
    def names(schema: dict[str, Any], prefix: str) -> set[str]:
        found = set()
        for name, one in schema["properties"].items():
            full = prefix + name
            found |= {full} if full in KEYS else names(one, full + ".")
        return found

    assert names(config_schema(), "") == KEYS.keys()


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("json_output: true", True),
        ("json_output: maybe", False),
        ("jsn_output: true", False),
        ("engine: {kind: modern_ebpf, modern_ebpf: {buf_size_preset: 10}}", True),
        ("engine: {modern_ebpf: {buf_size_preset: 11}}", False),
        ("engine: {kind: ebpf}", False),
        ("rules: [{disable: {rule: '*'}}, {enable: {tag: a}}]", True),
        ("rules: [{disable: {name: '*'}}]", False),
        ("append_output: [{match: {tags: [a]}, extra_fields: [proc.name, {a: '%proc.name'}]}]", True),
        ("append_output: [{extra: a}]", False),
        ("static_fields: {a: b, n: 5}", True),
        ("config_files: [/a.d, {path: /b, strategy: override}]", True),
        ("syscall_event_drops: {actions: [log, panic]}", False),
    ],
)
def test_configuration(text: str, good: bool) -> None:
    assert fits(yaml.safe_load(text), config_schema()) is good
