# SPDX-License-Identifier: Apache-2.0
"""`falco-py --support`: valid JSON whatever there is, with all that a report needs and no secret."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py import __version__
from falco_py.support import bundle as bundles
from falco_py.support import receivers
from falco_py.support import settings as checks_of_settings
from falco_py.support.bundle import bundle, text
from falco_py.support.finding import REMOVED, Question
from tests.support.findings import RULE, falco_py

QUICK = (*checks_of_settings.CHECKS, *receivers.CHECKS)


def made(config: Path, *overrides: str, rules: Path | None = None) -> dict[str, object]:
    question = Question(str(config), overrides, (str(rules),) if rules else ())
    words = ["falco-py", "--support", "-c", str(config), *(word for one in overrides for word in ("-o", one))]
    return json.loads(text(bundle(question, words, QUICK)))  # type: ignore[no-any-return]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULE)
    return path


def test_a_report_holds_what_is_needed(tmp_path: Path, rules: Path) -> None:
    config = tmp_path / "falco.yaml"
    config.write_text(f"rules_files: [{rules}]\nwebserver: {{bearer_token: s3cr3t-s3cr3t}}\n")
    done = falco_py("--support", "-c", config, "-o", "json_output=true", env={"SOME_NAME": "some-value"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    found = json.loads(done.stdout)
    assert found["version"] == __version__
    assert found["cmdline"].endswith(f"--support -c {config} -o json_output=true")
    assert found["system_info"]["release"] == os.uname().release
    assert {"cpus", "memory", "cgroups", "os_release", "container", "kubernetes"} <= set(found["system_info"])
    assert found["python"]["libraries"]["PyYAML"] == yaml.__version__
    assert "SOME_NAME" in found["environment"]
    (file,) = found["config"]["files"]
    assert file["sha256"] == hashlib.sha256(config.read_bytes()).hexdigest()
    assert file["text"] == f"rules_files: [{rules}]\nwebserver: {{bearer_token: {REMOVED}}}\n"
    assert found["config"]["merged"]["webserver"] == {"bearer_token": REMOVED}
    assert found["config"]["merged"]["json_output"] == "true"
    assert found["rules"]["files"] == [
        {"name": str(rules), "size": len(RULE), "sha256": hashlib.sha256(RULE.encode()).hexdigest(), "text": RULE}
    ]
    assert {one["check"] for one in found["doctor"]["checks"]} >= {"kernel", "rules", "configuration"}
    assert "reason" in found["agent"] or "status" in found["agent"]
    for secret in ("some-value", "s3cr3t"):
        assert secret not in done.stdout


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a: [", b"", b"\x00" * 100, b"a: \xed\xa0\x80", b"- a\n- b\n"])
def test_it_is_valid_json_whatever_files_hold(tmp_path: Path, data: bytes) -> None:
    config, rules = tmp_path / "falco.yaml", tmp_path / "r.yaml"
    config.write_bytes(data)
    rules.write_bytes(data)
    found = made(config, rules=rules)
    for part in ("config", "rules"):
        (file,) = found[part]["files"]  # type: ignore[index]
        assert (file["text"] is None) == ("left_out" in file)
        assert file["size"] == len(data)


def test_names_that_are_no_text_are_valid_json(tmp_path: Path) -> None:
    config = tmp_path / os.fsdecode(b"falco\xff.yaml")
    config.write_text("json_output: true\n")
    made = text(bundle(Question(str(config)), ["falco-py", str(config)], QUICK))
    assert made.isascii()
    assert "falco\ufffd.yaml" in json.dumps(json.loads(made), ensure_ascii=False).encode().decode()


def test_a_secret_that_is_too_short_to_look_for_is_cut_where_it_stands(tmp_path: Path, rules: Path) -> None:
    config = tmp_path / "falco.yaml"
    config.write_text("webserver: {bearer_token: abc}\nx: 'a password=b'\n")
    found = made(config, "http_output.headers.X=def", rules=rules)["config"]
    assert found["merged"] == {  # type: ignore[index]
        "webserver": {"bearer_token": REMOVED}, "x": REMOVED, "http_output": {"headers": {"X": REMOVED}},
    }  # fmt: skip


def test_a_broken_file_is_left_out_and_the_others_are_there(tmp_path: Path, rules: Path) -> None:
    config, more, broken = tmp_path / "falco.yaml", tmp_path / "more.yaml", tmp_path / "broken.yaml"
    config.write_text(f"config_files: [{more}, {broken}]\nrules_files: [{rules}]\n")
    more.write_text("webserver: {bearer_token: s3cr3t-s3cr3t}\n")
    broken.write_text("webserver: {bearer_token: other-s3cr3t\n")
    found = made(config)
    texts = [file["text"] for file in found["config"]["files"]]  # type: ignore[index]
    assert texts == [config.read_text(), f"webserver: {{bearer_token: {REMOVED}}}\n", None]
    assert "s3cr3t" not in json.dumps(found)


def test_what_is_no_regular_file_is_left_out_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.yaml")
    assert (
        bundles._file(str(tmp_path / "r.yaml"), bundles.Secrets(), of_rules=True)["left_out"] == "it is no regular file"
    )
    (tmp_path / "large.yaml").write_bytes(b"#" * (4 << 20) + b"#")
    assert (
        bundles._file(str(tmp_path / "large.yaml"), bundles.Secrets(), of_rules=True)["left_out"] == "larger than 4 MiB"
    )


def test_variables_of_the_environment_are_named_and_not_filled_in(
    tmp_path: Path, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPPORT_TEST", "warning-value")
    config = tmp_path / "falco.yaml"
    config.write_text(
        f"rules_files: [{rules}]\npriority: ${{SUPPORT_TEST}}\nfile_output: {{filename: '${{SUPPORT_TEST}}'}}\n"
    )
    found = made(config)
    assert found["config"]["merged"]["priority"] == "${SUPPORT_TEST}"  # type: ignore[index]
    assert "warning-value" not in json.dumps(found)


# No secret, wherever it stands

WORD = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=_.-", min_size=8, max_size=80)
SECRET = st.one_of(WORD, st.lists(WORD, min_size=2, max_size=3).map(" ".join)).map(lambda word: f"q{word}Z")
KEYS = st.sampled_from(
    ["http_output.url", "http_output.headers.Authorization", "http_output.headers", "program_output.program",
     "webserver.bearer_token", "plugins.init_config", "static_fields.api_key", "some.password", "x.secretKey"]
)  # fmt: skip
STYLES = ("plain", "quoted", "single", "literal", "folded", "flow", "anchor", "multiline", "list", "variable", "part",
          "mistyped", "duplicate", "comment", "broken")  # fmt: skip


def document(key: str, secret: str, style: str) -> str:
    """A configuration that holds a secret at a dotted key."""
    *sections, last = key.split(".")
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(sections)]
    indent = "  " * len(sections)
    quoted = json.dumps(secret)
    first, rest = secret[: len(secret) // 2], secret[len(secret) // 2 :]
    values = {
        "plain": secret,
        "quoted": quoted,
        "single": f"'{secret}'",
        "literal": f"|\n{indent}  {secret}\n{indent}  and more",
        "folded": f">-\n{indent}  {secret}\n{indent}  and more",
        "flow": f"{{a: {quoted}, b: [{quoted}]}}",
        "anchor": "*held",
        "multiline": f'"{first}\\\n{indent}  {rest}"',
        "list": f"\n{indent}  - {quoted}\n{indent}  - x",
        "variable": "${SUPPORT_SECRET}",
        "part": "https://user:${SUPPORT_SECRET}@127.0.0.1:1/${SUPPORT_SECRET}",
        "mistyped": f"[[{quoted}]]",
        "duplicate": f"x\n{indent}{last}: {quoted}",
        "comment": f"x\n# {last}: {secret}\n{indent}# token={secret}",
        "broken": f"[{quoted}",
    }
    head = f"held: &held {quoted}\n" if style == "anchor" else ""
    return head + "\n".join([*lines, f"{indent}{last}: {values[style]}"]) + "\njson_output: true\n"


def nothing_shown(found: dict[str, object], secret: str, style: str) -> None:
    told = json.dumps(found, ensure_ascii=False)
    halves = [secret[: len(secret) // 2], secret[len(secret) // 2 :]] if style == "multiline" else []
    for part in (secret, *[half for half in halves if len(half) >= 10]):
        assert part not in told


@settings(max_examples=150, deadline=None)
@given(key=KEYS, secret=SECRET, style=st.sampled_from(STYLES), where=st.sampled_from(["main", "included", "option"]))
def test_no_secret_is_shown(key: str, secret: str, style: str, where: str) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPPORT_SECRET", secret)
        directory = Path(name)
        rules, config, more = directory / "rules.yaml", directory / "falco.yaml", directory / "more.yaml"
        rules.write_text(RULE)
        head = f"rules_files: [{rules}]\nhttp_output: {{enabled: true}}\n"
        overrides: tuple[str, ...] = ()
        if where == "main":
            config.write_text(f"rules_files: [{rules}]\n" + document(key, secret, style))
        elif where == "included":
            config.write_text(f"{head}config_files: [{more}]\n")
            more.write_text(document(key, secret, style))
        else:
            config.write_text(head)
            value = {"quoted": json.dumps(secret), "flow": f"{{a: {secret}}}", "variable": "${SUPPORT_SECRET}",
                     "part": "https://user:${SUPPORT_SECRET}@127.0.0.1:1/"}.get(style, secret)  # fmt: skip
            overrides = (f"{key}={value}",)
        nothing_shown(made(config, *overrides), secret, style)


@settings(max_examples=30, deadline=None)
@given(key=KEYS, secret=SECRET)
def test_a_known_secret_is_shown_nowhere_else_either(key: str, secret: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        rules, config = Path(name) / "rules.yaml", Path(name) / "falco.yaml"
        rules.write_text(f"# was {secret}\n" + RULE.replace("A rule for tests.", f"'Sends {secret}'"))
        config.write_text(document(key, secret, "quoted") + f"log_level: {json.dumps(secret)}\n")
        nothing_shown(made(config, rules=rules), secret, "quoted")
