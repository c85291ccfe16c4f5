# SPDX-License-Identifier: Apache-2.0
"""The table of keys: each is read, or told of when it has no effect, and known to the schema; it has all of Falco's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from falco_py.config import Config, load
from falco_py.config.keys import KEYS, SECTIONS, Key, Kind
from falco_py.config.load import STRATEGIES
from falco_py.config.schema import config_schema
from tests.config.reading import default_text, nested, problem
from tests.rules.test_schemas import fits

if TYPE_CHECKING:
    from tests.config.reading import Write

COMPAT = Path(__file__).parents[4] / "shared" / "compat"
STOCK = COMPAT / "falco.yaml"
SCHEMA = COMPAT / "config_schema.json"
needs_falcos_files = pytest.mark.skipif(not COMPAT.is_dir(), reason="Falco's own files are not here")
WORKING = [key for key in KEYS.values() if not key.instead]
IDLE = [key for key in KEYS.values() if key.instead]


_OTHERS = {
    "priority": "error", "webserver.listen_address": "127.0.0.1", "webserver.bearer_token": "t",
    "syscall_event_drops.threshold": "0.5", "metrics.interval": "30m",
    "kubernetes.node_name": "node-2",
}  # fmt: skip


def other(key: Key) -> str:
    """A value that is not the default."""
    if key.name in _OTHERS:
        return _OTHERS[key.name]
    if key.example:
        return key.example
    if key.kind is Kind.BOOL:
        return str(not key.default).lower()
    if key.choices:
        return f"[{key.choices[0]}]" if key.kind is Kind.TEXTS else next(c for c in key.choices if c != key.default)
    if key.kind in (Kind.INT, Kind.NUMBER):
        assert isinstance(key.default, int | float)
        return str(key.default + 1)
    return "[/x]" if key.kind is Kind.TEXTS else "/x"


@pytest.mark.parametrize("key", [key for key in KEYS.values() if key.name != "rules_file"], ids=lambda key: key.name)
def test_the_default_of_a_key_changes_nothing(write: Write, key: Key) -> None:
    path = write(nested(key.name, default_text(key)))
    assert load(path) == Config(files=(path,))


_NEEDED = {
    "stdout_output.": ["syslog_output.enabled=true"],
    "file_output.": ["file_output.enabled=true"],
    "program_output.": ["program_output.enabled=true", "program_output.program=cat"],
    "http_output.": ["http_output.enabled=true", "http_output.url=http://127.0.0.1"],
    "webserver.": ["webserver.enabled=true"],
    "metrics.": ["metrics.enabled=true"],
    "metrics.output_rule": ["metrics.output_file=/x"],
    "kubernetes.": ["kubernetes.enabled=true", "kubernetes.node_name=node-1"],
}
"""What must be set for a key to count."""


_SWITCHES = ("webserver.enabled", "metrics.enabled", "kubernetes.enabled")


@pytest.mark.parametrize("key", WORKING, ids=lambda key: key.name)
def test_a_key_that_works_reaches_the_configuration(tmp_path: Path, key: Key) -> None:
    value = other(key)
    if key.name == "config_files":
        value = f"[{tmp_path}]"
    needed = [text for name, texts in _NEEDED.items() if key.name.startswith(name) for text in texts]
    if key.name.endswith("_output.enabled") or key.name in _SWITCHES:
        needed = [text for text in needed if text.partition("=")[0] != key.name]
    before, after = load(None, needed), load(None, [*needed, f"{key.name}={value}"])
    assert after != before
    assert after.notices == ()


@pytest.mark.parametrize(
    "key", [key for key in IDLE if not key.told_by and not key.refuse], ids=lambda key: key.name
)  # fmt: skip
def test_a_key_without_effect_is_told_with_what_is_done_instead(write: Write, key: Key) -> None:
    path = write(nested(key.name, other(key)))
    read = load(path)
    if key.quiet:
        assert read.notices == ()
        return
    (notice,) = read.notices
    assert re.fullmatch(rf"{re.escape(path)}:1:\d+: {re.escape(key.name)}: has no effect; .+", notice)
    assert notice.endswith(key.instead)
    assert read == Config(files=(path,), notices=read.notices, capture_enabled=key.name == "capture.enabled")


def test_a_switch_speaks_for_what_belongs_to_it(write: Write) -> None:
    text = "{enabled: true, path_prefix: /x, mode: all_rules, default_duration: 1, max_file_size_mb: 1}"
    (notice,) = load(write(f"capture: {text}")).notices
    assert "capture.enabled: has no effect" in notice
    assert load(write("engine: {kind: modern_ebpf, kmod: {buf_size_preset: 9}}")).notices == ()


def test_the_kernel_module_is_not_needed(write: Write) -> None:
    (notice,) = load(write("engine:\n  kind: kmod\n  kmod: {buf_size_preset: 9}")).notices
    assert ":2:3: engine.kind: has no effect; events come from CO-RE eBPF in any case; no kernel module" in notice


@pytest.mark.parametrize("kind", ["replay", "nodriver"])
def test_an_engine_that_cannot_be_honoured_is_refused(write: Write, kind: str) -> None:
    told = problem(write(f"engine: {{kind: {kind}}}"))
    assert f"engine.kind: {kind} is not supported by this build" in told
    assert "Set engine.kind to modern_ebpf" in told


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("engine: {kind: ebpf}", "engine.kind 'ebpf' is not a valid kind.", "Did you mean modern_ebpf?"),
        ("engine: {kind: x}", "engine.kind 'x' is not a valid kind.", "one of kmod, modern_ebpf, replay, nodriver."),
        ("capture: {mode: rule}", "capture.mode 'rule' is not a valid mode.", "Did you mean rules?"),
        ("log_level: informational", "Unknown log level informational", "It must be one of emergency, alert, critical"),
        ("log_level: warn", "Unknown log level warn", "Did you mean warning?"),
        ("rule_matching: frist", 'Unknown rule matching strategy "frist"--must be one of first, all', "mean first?"),
        ("libs_logger: {severity: inf}", "Unknown sinsp log severity inf", "Did you mean info?"),
        (
            "syscall_event_drops: {actions: [log, alrt]}",
            'available actions for syscall event drops are "ignore", "log", "alert", and "exit"',
            "Did you mean alert?",
        ),
        ("http_output: {format: slak}", 'http_output.format: expected one of falco, slack, alertmanager, found "slak"',
         "Did you mean slack?"),
    ],
)  # fmt: skip
def test_a_word_that_is_no_choice_is_told_with_the_nearest_one(
    write: Write, text: str, message: str, hint: str
) -> None:
    path = write(text)
    first, *rest = problem(path).split("\n")
    assert re.fullmatch(rf"{re.escape(path)}:1:\d+: {re.escape(message)}", first)
    assert hint in rest[-1]
    assert rest[0].strip() == text  # the line is shown


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("jsn_output: true", ':1:1: unknown key "jsn_output", ignored; did you mean "json_output"?'),
        ("engine: {kindd: kmod}", ':1:10: unknown key "engine.kindd", ignored; did you mean "engine.kind"?'),
        ("listen_port: 1", ':1:1: unknown key "listen_port", ignored; did you mean "webserver.listen_port"?'),
        ("zzzzzzzz: 1", ':1:1: unknown key "zzzzzzzz", ignored'),
        ("json_output: true\njson_output: false", ':2:1: "json_output" is given twice; the first one counts'),
        ("engine: {}\nengine: {kind: x}", ':2:1: "engine" is given twice; the first one counts'),
    ],
)
def test_an_unknown_key_is_a_warning_with_the_nearest_one(write: Write, text: str, told: str) -> None:
    path = write(text)
    assert load(path).warnings == (path + told,)


def test_a_line_with_a_secret_is_not_shown(write: Write) -> None:
    text = "http_output:\n  enabled: true\n  url: ftp://me:hunter2@host\n  headers:\n    Authorization: [hunter2]\n"
    told = problem(write(text))
    assert ":3:8: http_output.url: expected http:// or https:// and a host" in told
    assert ":5:20: http_output.headers: expected keys with texts" in told
    assert "hunter2" not in told


# Compared with Falco's own


def leaves(schema: dict[str, Any], node: dict[str, Any], prefix: str = "") -> set[str]:
    """Dotted names of the keys of a JSON schema; entries of lists are not looked into."""
    if "$ref" in node:
        node = schema["definitions"][node["$ref"].rpartition("/")[2]]
    if "properties" not in node:
        return {prefix}
    return {
        leaf
        for name, one in node["properties"].items()
        for leaf in leaves(schema, one, f"{prefix}.{name}" if prefix else name)
    }


@needs_falcos_files
def test_every_key_of_falcos_schema_is_in_the_table() -> None:
    schema = json.loads(SCHEMA.read_text())
    assert leaves(schema, schema) - KEYS.keys() == set()


@needs_falcos_files
def test_a_key_that_falco_does_not_have_is_marked_as_ours() -> None:
    schema = json.loads(SCHEMA.read_text())
    not_in_schema = {"rules_file"}  # older than the schema
    unknown = KEYS.keys() - leaves(schema, schema) - not_in_schema
    assert {name for name, key in KEYS.items() if key.ours} == unknown


@needs_falcos_files
def test_the_stock_file_is_accepted_in_silence() -> None:
    read = load(str(STOCK), ["config_files=[]"])
    assert (read.warnings, read.notices) == ((), ())
    assert read.outputs.stdout
    assert read.outputs.syslog
    assert read.webserver is not None
    assert read.metrics is None


@needs_falcos_files
def test_the_stock_file_fits_the_schema() -> None:
    assert fits(yaml.safe_load(STOCK.read_text()), config_schema())


@needs_falcos_files
def test_what_stands_in_the_stock_file_is_the_default_but_for_a_few() -> None:
    def values(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in node.items():
            full = prefix + name
            found |= values(value, full + ".") if full in SECTIONS else {full: value}
        return found

    stock = values(yaml.safe_load(STOCK.read_text()))
    different = {
        name for name, value in stock.items()
        if KEYS[name].default != (tuple(value) if isinstance(value, list) else value)
    }  # fmt: skip
    assert different == {
        "append_output", "config_files", "plugins", "program_output.program", "syslog_output.enabled",
        "webserver.enabled",
    }  # fmt: skip


# The schema of our own


def in_schema(name: str, value: Any) -> bool:
    for part in reversed(name.split(".")):
        value = {part: value}
    return fits(value, config_schema())


@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.name)
def test_the_schema_takes_the_default_and_the_example_of_a_key(key: Key) -> None:
    for text in (default_text(key), key.example, key.shipped, other(key)):
        if text:
            assert in_schema(key.name, yaml.safe_load(text)), text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webserver.listen_port", 65536), ("webserver.listen_port", "80"), ("http_output.headers", ["a"]),
        ("http_output.headers", {"a": 1}), ("http_output.format", "xml"), ("plugins", [{"library_path": "a"}]),
        ("plugins", [{"name": "a", "path": "b"}]), ("config_files", [{"strategy": "append"}]),
        ("config_files", [{"path": "a", "strategy": "merge"}]), ("fold_repeats.by", "proc.name"),
        ("rules", [{"disable": {}}]), ("log_format", "xml"),
    ],
)  # fmt: skip
def test_the_schema_refuses(name: str, value: Any) -> None:
    assert not in_schema(name, value)


def test_the_schema_tells_what_a_key_does() -> None:
    properties = config_schema()["properties"]
    assert properties["watch_config_files"]["description"] == KEYS["watch_config_files"].about
    assert "No effect: " in properties["plugins_hostinfo"]["description"]
    assert properties["config_files"]["items"]["anyOf"][1]["properties"]["strategy"]["enum"] == list(STRATEGIES)
