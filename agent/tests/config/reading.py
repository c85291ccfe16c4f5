# SPDX-License-Identifier: Apache-2.0
"""What a configuration comes to: its problems, or the value of one key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeAlias

import pytest

from falco_py.config import ConfigError, load
from falco_py.config.keys import Key, Kind

Write: TypeAlias = Callable[..., str]


def problem(path: str | None, *overrides: str) -> str:
    """What is told of a configuration that cannot be used."""
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    return str(caught.value)


def nested(name: str, value: str) -> str:
    """`a.b` and `1` as `{a: {b: 1}}`."""
    for part in reversed(name.split(".")):
        value = f"{{{part}: {value}}}"
    return value


def default_text(key: Key) -> str:
    """The default as YAML."""
    if key.default is None:
        return "[]" if key.name != "static_fields" else "{}"
    if key.kind is Kind.MAP:
        return "{}"
    return json.dumps(key.default)
