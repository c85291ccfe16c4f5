# SPDX-License-Identifier: Apache-2.0
"""Every field that Falco knows is either readable here, with Falco's type, or refused with a reason."""

from __future__ import annotations

import ast
import csv
from pathlib import Path
from typing import Any

import pytest

from falco_py.events.syscalls import ROWS
from falco_py.fields.catalogue import CATALOGUE, ENV, REFUSED, FieldType, lookup, refused, set_static
from tests.fields import made

TABLE = [
    row
    for row in csv.DictReader(
        (Path(__file__).parent / "field_table.tsv").open(), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    if "<" not in row["name"]
]
USABLE = [row for row in TABLE if "table_only" not in row["flags"]]
_SAMPLE_ARGS: dict[str, tuple[str, ...]] = {
    "evt.arg": ("flags", "0", "99"),
    "evt.rawarg": ("flags", "name"),
    "evt.type.is": ("open",),
    "evt.around": ("1700000000000000000",),
    "evt.abspath": ("src", "dst"),
    "proc.aenv": ("1", "HOME"),
    "proc.env": ("HOME",),
    "container.mount": ("0", "/proc*"),
    "container.mount.source": ("3", "/etc"),
}


def _codes(name: str) -> list[str]:
    field = CATALOGUE[name]
    args: list[str | None] = [] if field.arg == "required" else [None]
    if field.arg != "none":
        args += _SAMPLE_ARGS.get(name, ("0", "2") if field.arg_kind != "key" else ("key",))
    forms = [form for form in (field.code, field.print_code, field.json_code) if form is not None]
    return [form(arg) for form in forms for arg in args]


@pytest.mark.parametrize("row", USABLE, ids=lambda row: row["name"])
def test_field_is_known_or_refused_with_a_reason(row: dict[str, str]) -> None:
    known, reason = row["name"] in CATALOGUE, refused(row["name"])
    assert known != bool(reason)


@pytest.mark.parametrize("row", [row for row in USABLE if row["name"] in CATALOGUE], ids=lambda row: row["name"])
def test_field_has_the_type_and_properties_of_falco(row: dict[str, str]) -> None:
    field = CATALOGUE[row["name"]]
    wanted = {"STRING": "CHARBUF"}.get(row["type"], row["type"])
    if field.type is FieldType.DOMAIN:
        assert wanted == "CHARBUF"
    else:
        assert str(field.type) == wanted
    flags = row["flags"].split(",")
    assert field.filter_only == ("filter_only" in flags)
    assert field.deprecated == ("deprecated" in flags)
    assert field.is_list == ("list" in flags or "is_list" in flags)
    assert (field.arg == "required") == ("arg_required" in flags and row["name"] != "evt.abspath")
    if "arg_allowed" in flags:
        assert field.arg == "optional"
    if row["name"] != "evt.type":
        assert field.no_rhs == ("no_rhs" in flags)
        assert field.no_transformer == ("no_transformer" in flags)
    if row["print_format"] in ("HEX", "10_PADDED_DEC"):
        assert field.print_format == row["print_format"]


def test_little_is_known_that_falco_does_not_know() -> None:
    ours = {"container.missing", "k8smeta.owner.kind", "k8smeta.owner.name", "k8smeta.owner.uid"}
    assert set(CATALOGUE) - {row["name"] for row in TABLE} == ours


@pytest.mark.parametrize("row", [row for row in TABLE if "table_only" in row["flags"]], ids=lambda row: row["name"])
def test_table_only_field_is_refused(row: dict[str, str]) -> None:
    assert refused(row["name"])
    assert lookup(row["name"]) is None


def test_no_field_is_both_known_and_refused() -> None:
    assert not set(CATALOGUE) & set(REFUSED)


@pytest.mark.parametrize("name", CATALOGUE)
def test_code_uses_only_the_event_and_the_environment(name: str) -> None:
    for code in _codes(name):
        names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
        assert names <= {"e", "len"} | set(ENV), code


@pytest.mark.parametrize("name", CATALOGUE)
def test_code_may_stand_beside_an_operator_without_brackets(name: str) -> None:
    for code in _codes(name):
        tree = ast.parse(f"{code} == 1 or x", mode="eval").body
        assert isinstance(tree, ast.BoolOp)
        compare = tree.values[0]
        assert isinstance(compare, ast.Compare)
        assert ast.unparse(compare.left) == ast.unparse(ast.parse(code, mode="eval")), code


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One event of each type with an empty record, of a process of which nothing is known."""
    processes = made.table(tmp_path_factory.mktemp("root"))
    values: dict[str, Any] = {"vpid": 0, "vtid": 0, "ppid": 0, "pstart": 0, "start": 0, "comm": b""}
    return {name: made.event(name, on=processes, **values) for name in ROWS}


@pytest.mark.parametrize("name", CATALOGUE)
def test_code_raises_nothing_when_everything_is_missing(name: str, bare: dict[str, Any]) -> None:
    for code in _codes(name):
        read = made.compiled(code)
        for event in bare.values():
            read(event)


def test_a_call_without_parameters_names_itself(bare: dict[str, Any]) -> None:
    read = made.compiled(CATALOGUE["evt.arg"].code("ID"))
    assert (read(bare["reboot"]), read(bare["open"])) == ("reboot", None)


def test_lookup_takes_arguments_in_brackets_and_after_dots() -> None:
    def found(written: str) -> tuple[str, str | None] | None:
        result = lookup(written)
        return None if result is None else (result[0].name, result[1])

    assert found("proc.name") == ("proc.name", None)
    assert found("proc.aname[2]") == ("proc.aname", "2")
    assert found("proc.env['HOME']") == ("proc.env", "HOME")
    assert found("evt.arg.flags") == ("evt.arg", "flags")
    assert found("evt.arg[flags]") == ("evt.arg", "flags")
    assert found("evt.type.is.openat2") == ("evt.type.is", "openat2")
    assert found("thread.cgroup.memory") == ("thread.cgroup", "memory")
    assert found("container.mount.source[/etc]") == ("container.mount.source", "/etc")
    assert found("fd.sip.name") == ("fd.sip.name", None)


@pytest.mark.parametrize(
    "written", ["proc.nam", "proc", "", "proc.name[1]", "proc.name.x", "proc.aname[]", "proc.aname[2", "nope.nope.nope"]
)
def test_lookup_gives_nothing_for_what_is_no_field(written: str) -> None:
    assert lookup(written) is None


@pytest.mark.parametrize(
    ("written", "good"),
    [
        ("evt.arg.flags", True), ("evt.arg.nope", False), ("evt.arg[0]", True), ("evt.rawarg.res", True),
        ("evt.type.is.nope", False), ("proc.aname[x]", False), ("proc.args[-1]", False), ("fd.types[0]", True),
        ("evt.abspath.src", True), ("evt.abspath.from", False),
    ],
)  # fmt: skip
def test_bad_arguments_are_told_at_load(written: str, good: bool) -> None:
    result = lookup(written)
    assert result is not None
    field, arg = result
    assert arg is not None
    assert field.check_arg is not None
    assert (field.check_arg(arg) is None) == good


def test_raw_parameters_have_the_type_of_the_event_table() -> None:
    field = CATALOGUE["evt.rawarg"]
    assert field.type_of is not None
    assert field.type_of("flags") is FieldType.UINT64
    assert field.type_of("name") is FieldType.CHARBUF
    assert field.type_of("res") is FieldType.INT64
    assert field.type_of("data") is FieldType.BYTEBUF
    assert field.type_of("sig") is field.type_of("key") is FieldType.INT64  # numbers in most events, not in all


def test_static_fields_of_the_configuration_are_constants() -> None:
    set_static({"env": "it's prod"})
    try:
        assert made.value("static.env", None) == "it's prod"
        assert lookup("static.other") is None
    finally:
        set_static({})
    assert lookup("static.env") is None


def test_field_that_cannot_be_read_says_why() -> None:
    assert "switch" in (refused("thread.totexectime") or "")
    assert refused("proc.name") is None
    assert refused("proc.nam") is None
