# SPDX-License-Identifier: Apache-2.0
"""falco.yaml, included files, overrides and environment become one configuration, or a told problem."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py.config import AppendOutput, Config, ConfigError, load
from falco_py.config.keys import KEYS, SECTIONS
from falco_py.config.tree import Mapping, Scalar, Sequence, parse, steps
from falco_py.log import Level
from tests.config.reading import nested, problem

if TYPE_CHECKING:
    from pathlib import Path

    from tests.config.reading import Write


def test_no_file_gives_the_built_in_configuration() -> None:
    assert load(None) == Config()


def test_keys_that_have_an_effect_are_read(write: Write) -> None:
    config = load(
        write("""
rules_files: [/a.yaml, /b]
rule_matching: ALL
priority: Warning
json_output: yes
json_include_output_property: false
json_include_message_property: on
json_include_output_fields_property: n
json_include_tags_property: False
time_format_iso_8601: TRUE
buffered_outputs: true
stdout_output: {enabled: true}
log_stderr: false
log_level: debug
""")
    )
    assert config.rules_files == ("/a.yaml", "/b")
    assert config.rule_matching == "all"
    assert config.priority == 4
    assert config.json_output
    assert not config.json_include_output_property
    assert config.json_include_message_property
    assert not config.json_include_output_fields_property
    assert not config.json_include_tags_property
    assert config.time_format_iso_8601
    assert config.outputs.buffered
    assert not config.log_stderr
    assert config.log_level is Level.DEBUG
    assert config.warnings == ()
    assert config.notices == ()


def test_an_empty_file_gives_the_defaults(write: Write) -> None:
    path = write("# nothing\n")
    assert load(path) == Config(files=(path,))


def test_a_key_without_a_value_is_as_if_absent(write: Write) -> None:
    config = load(write("priority:\njson_output: ~\nengine:\n"))
    assert (config.priority, config.json_output) == (7, False)


@pytest.mark.parametrize(("text", "severity"), [("info", 6), ("INFORMATIONAL", 6), ("emergency", 0), ("Debug", 7)])
def test_priorities_are_known_in_any_case(write: Write, text: str, severity: int) -> None:
    assert load(write(f"priority: {text}")).priority == severity


def test_a_bad_priority_is_told_in_falcos_words_with_the_nearest_one(write: Write) -> None:
    path = write("json_output: true\npriority: warn\n")
    told = problem(path)
    assert told.startswith(
        f'{path}:2:11: Unknown priority "warn"--must be one of emergency, alert, critical, error, warning, notice, '
        "informational, debug\n"
    )
    assert "  priority: warn\n            ^\n" in told
    assert "Did you mean warning?" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("json_output: maybe", '1:14: json_output: expected true or false, found "maybe"'),
        ("json_output: tRUE", '1:14: json_output: expected true or false, found "tRUE"'),
        ("json_output: [true]", "1:14: json_output: expected true or false, found a list"),
        ("log_format: xml", '1:13: log_format: expected one of text, json, found "xml"'),
        ("rules_files: {a: b}", "1:14: rules_files: expected a list of texts, found keys with values"),
        ("engine: kmod", '1:9: engine: expected keys with values, found "kmod"'),
        ("output_timeout: -1", '1:17: output_timeout: expected a whole number from 0 up, found "-1"'),
        ("output_timeout: 1e3", '1:17: output_timeout: expected a whole number from 0 up, found "1e3"'),
        ("webserver: {listen_port: 70000}", "expected a whole number from 0 to 65535"),
        ("syscall_event_drops: {threshold: 2}", "expected a number from 0 to 1"),
        ("syscall_event_drops: {threshold: nan}", "expected a number from 0 to 1"),
        ("output_timeout: 1_000", '1:17: output_timeout: expected a whole number from 0 up, found "1_000"'),
        ("fold_repeats: {interval_s: inf}", "expected a number from 0 to 86400"),
        ("file_output: true", '1:14: file_output: expected keys with values, found "true"'),
        ("priority: [debug]", "1:11: priority: expected text, found a list"),
        ("rules_files: [[/a]]", "1:14: rules_files: expected a list of texts, found a list"),
        ("- a", "the file must hold keys with values, not a list"),
        ("a", 'the file must hold keys with values, not "a"'),
    ],
)
def test_a_wrong_type_names_place_and_expectation(write: Write, text: str, told: str) -> None:
    path = write(text)
    assert problem(path).startswith(path + ":1:")
    assert told in problem(path)


@pytest.mark.parametrize("word", ["yes", "Yes", "YES", "on", "y", "Y", "True", "TRUE", "true", "'true'"])
def test_true_has_the_spellings_of_yaml(write: Write, word: str) -> None:
    assert load(write(f"json_output: {word}")).json_output


@pytest.mark.parametrize("word", ["no", "No", "OFF", "n", "N", "False", "'off'"])
def test_and_so_has_false(write: Write, word: str) -> None:
    assert not load(write(f"watch_config_files: {word}")).watch_config_files


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_a_section_without_a_value_is_as_if_absent(write: Write, section: str) -> None:
    path = write(nested(section, "~"))
    assert load(path) == Config(files=(path,))


def test_all_problems_are_told_at_once(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write("json_output: 1x\npriority: no such\nbuffered_outputs: 7\n"))
    assert [p.place.line for p in caught.value.problems] == [1, 2, 3]


def test_bad_yaml_names_the_place_and_shows_it(write: Write) -> None:
    path = write("json_output: true\nrules_files: [a, b\npriority: debug\n")
    told = problem(path)
    assert told.startswith(f"{path}:3:")
    assert "not valid YAML" in told
    assert "priority: debug\n" in told
    assert "^" in told


def test_a_tab_as_indent_is_told(write: Write) -> None:
    assert "A tab cannot indent YAML" in problem(write("engine:\n\tkind: kmod\n"))


def test_a_missing_file_is_told_with_the_systems_reason(tmp_path: Path) -> None:
    path = str(tmp_path / "none.yaml")
    assert problem(path).startswith(f"{path}: cannot read the configuration file: No such file or directory")


def test_bytes_that_are_not_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "falco.yaml"
    path.write_bytes(b"a: \xff")
    assert problem(str(path)) == f"{path}: not UTF-8 text: byte 3 cannot be read"


def test_of_a_key_given_twice_the_first_counts(write: Write) -> None:
    assert load(write("json_output: true\njson_output: false")).json_output


class TestEnvironment:
    def test_variables_are_filled_in_before_typing(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LEVEL", "error")
        monkeypatch.setenv("DIR", "/x")
        config = load(write("priority: ${LEVEL}\nrules_files: ['${DIR}/a.yaml', '$${DIR}/b', '-${NONE_SUCH}-']"))
        assert config.priority == 3
        assert config.rules_files == ("/x/a.yaml", "${DIR}/b", "--")

    def test_an_unset_variable_alone_is_as_if_the_key_were_absent(self, write: Write) -> None:
        assert load(write("json_output: ${NONE_SUCH}")) == load(write(""))

    def test_a_doubled_dollar_within_a_text_gives_the_word_itself(
        self, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DIR", "/x")
        read = load(write("static_fields: {a: 'in ${DIR} not $${DIR} ${DIR}', b: '$${DIR}', c: '$DIR ${ DIR }'}"))
        assert read.static_fields == (("a", "in /x not ${DIR} /x"), ("b", "${DIR}"), ("c", "$DIR /x"))

    def test_keys_have_no_variables(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEY", "json_output")
        path = write("${KEY}: true")
        assert load(path).warnings == (f'{path}:1:1: unknown key "${{KEY}}", ignored',)

    def test_overrides_have_variables_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LEVEL", "alert")
        assert load(None, ["priority=${LEVEL}"]).priority == 1


class TestOverrides:
    def test_the_last_one_wins(self, write: Write) -> None:
        config = load(write("json_output: false"), ["json_output=true", "priority=error", "priority=notice"])
        assert (config.json_output, config.priority) == (True, 5)

    def test_lists_are_set_and_appended_to(self) -> None:
        assert load(None, ["rules_files[]=/a", "rules_files[]=/b", "rules_files[0]=/c"]).rules_files == ("/c", "/b")

    def test_a_value_is_yaml(self) -> None:
        config = load(None, ['append_output[]={"extra_output": "X=%proc.name"}'])
        assert config.append_output == (AppendOutput(extra_output="X=%proc.name"),)

    @pytest.mark.parametrize(
        ("override", "told"),
        [
            ("foo", 'Error parsing config option "foo". Must be of the form key=val or key.subkey=val\n  For example'),
            ("=x", "-o =x: a key is empty"),
            ("a..b=x", "a key is empty"),
            ("[0]=x", "a key must stand"),
            ("rules_files[=x", "] is missing"),
            ("rules_files[x]=y", '"x" is not an index'),
            ("rules_files[3]=y", "the list has 0 entries, so there is no [3]"),
            ("json_output=maybe", 'json_output: expected true or false, found "maybe"'),
            ("json_output={}", "json_output: expected true or false, found keys with values"),
            ("json_output=[", "not valid YAML"),
        ],
    )
    def test_a_bad_override_is_told(self, override: str, told: str) -> None:
        assert problem(None, override).startswith(f"-o {override}:")
        assert ":1:" not in problem(None, override)
        assert told in problem(None, override)

    def test_an_escaped_character_belongs_to_the_key(self) -> None:
        assert load(None, [r"http_output.headers.X\.Y=z", "http_output.enabled=true", "http_output.url=http://a"]
                    ).outputs.http.headers == (("X.Y", "z"),)  # fmt: skip

    def test_no_text_is_no_value(self) -> None:
        assert load(None, ["priority="]).priority == 7

    def test_an_unknown_key_is_a_warning(self) -> None:
        (warning,) = load(None, ["jason_output=true"]).warnings
        assert 'did you mean "json_output"?' in warning

    @pytest.mark.parametrize(
        ("path", "found"),
        [
            ("a.b.c", ["a", "b", "c"]),
            ("a[1]", ["a", 1]),
            ("a[]", ["a", None]),
            ("a[0].b[2][3]", ["a", 0, "b", 2, 3]),
            (r"a\.b.c", ["a.b", "c"]),
            (r"a\[0\].c", ["a[0]", "c"]),
            (r"a\\b", ["a\\b"]),
        ],
    )
    def test_paths_are_taken_apart(self, path: str, found: list[str | int | None]) -> None:
        assert steps(path) == found


class TestIncludedFiles:
    def test_a_directory_is_read_in_order_of_names(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        later = write("priority: error", "d/b.yml")
        earlier = write("priority: alert\njson_output: true", "d/a.yaml")
        write("priority: no such priority", "d/c.txt")
        main = write(f"config_files: [{tmp_path}/d, {tmp_path}/missing]\npriority: debug")
        config = load(main)
        assert config.files == (main, earlier, later)
        assert (config.priority, config.json_output) == (3, True)

    @pytest.mark.parametrize(
        ("strategy", "found"), [("append", ("/a", "/b")), ("override", ("/b",)), ("add-only", ("/a",))]
    )
    def test_strategies_act_on_top_level_keys(self, write: Write, strategy: str, found: tuple[str, ...]) -> None:
        more = write("rules_files: [/b]", "more.yaml")
        main = write(f"config_files: [{{path: {more}, strategy: {strategy}}}]\nrules_files: [/a]")
        assert load(main).rules_files == found

    def test_all_that_is_no_list_is_replaced_by_append(self, write: Write) -> None:
        more = write("http_output: {url: http://b}\nrules_files: [/b]\npriority: error", "more.yaml")
        main = write(f"config_files: [{more}]\nhttp_output: {{enabled: true, url: http://a}}\nrules_files: /a")
        read = load(main)
        assert (read.outputs.http, read.rules_files, read.priority) == (None, ("/b",), 3)

    def test_add_only_leaves_a_key_without_a_value_alone(self, write: Write) -> None:
        more = write("priority: error\njson_output: true", "more.yaml")
        read = load(write(f"config_files: [{{path: {more}, strategy: add-only}}]\npriority:"))
        assert (read.priority, read.json_output) == (7, True)

    def test_later_files_see_what_earlier_ones_added(self, write: Write) -> None:
        one, two = write("rules_files: [/1]", "1.yaml"), write("rules_files: [/2]", "2.yaml")
        main = write(f"config_files: [{one}, {{path: {two}, strategy: append}}]\nrules_files: [/0]")
        assert load(main).rules_files == ("/0", "/1", "/2")

    def test_the_paths_are_kept_as_written(self, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """For whoever watches them: also those that do not exist yet."""
        monkeypatch.setenv("HERE", str(tmp_path))
        (tmp_path / "d").mkdir()
        more = write("", "d/a.yaml")
        main = write("config_files: ['${HERE}/d', {path: '${HERE}/none'}, '${NONE_SUCH}', ~]")
        read = load(main)
        assert read.included == (f"{tmp_path}/d", f"{tmp_path}/none")
        assert read.files == (main, more)

    def test_an_override_of_config_files_replaces_or_adds(self, write: Write) -> None:
        one, two = write("priority: error", "1.yaml"), write("json_output: true", "2.yaml")
        main = write(f"config_files: [{one}]")
        assert load(main, [f"config_files={two}"]).included == (two,)
        assert load(main, [f"config_files[]={{path: {two}, strategy: override}}"]).included == (one, two)
        assert load(main, ["config_files=[]"]).included == ()

    def test_a_problem_names_the_included_file(self, write: Write) -> None:
        more = write("\njson_output: maybe", "more.yaml")
        assert problem(write(f"config_files: [{more}]")).startswith(f"{more}:2:14: json_output:")

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("config_files: [[/a]]", ":1:16: config_files takes paths, or entries with path and strategy"),
            ("config_files: [{strategy: append}]", ":1:16: config_files takes paths, or entries with path and"),
            ("config_files: [{path: [a]}]", ":1:16: config_files takes paths"),
            ("config_files: [{path: x, strategy: [append]}]", ":1:36: strategy must be one of append, override, add-"),
        ],
    )
    def test_what_is_no_entry_is_refused(self, write: Write, text: str, told: str) -> None:
        path = write(text)
        assert problem(path).startswith(path + told)

    def test_an_override_of_config_files_counts_before_including(self, write: Write) -> None:
        more = write("priority: error", "more.yaml")
        assert load(write("priority: debug"), [f"config_files[]={more}"]).priority == 3

    def test_an_override_wins_over_an_included_file(self, write: Write) -> None:
        more = write("priority: error", "more.yaml")
        assert load(write(f"config_files: [{more}]"), ["priority=alert"]).priority == 1

    def test_including_from_an_included_file_is_refused(self, write: Write) -> None:
        more = write("config_files: [x]", "more.yaml")
        assert "an included file cannot include others" in problem(write(f"config_files: [{more}]"))

    def test_a_file_that_includes_itself_is_refused(self, write: Write, tmp_path: Path) -> None:
        assert "the file includes itself" in problem(write(f"config_files: [{tmp_path}/falco.yaml]"))

    def test_an_unknown_strategy_is_refused(self, write: Write) -> None:
        told = problem(write("config_files: [{path: x, strategy: overide}]"))
        assert 'strategy must be one of append, override, add-only, found "overide"' in told
        assert "Did you mean override?" in told


def test_aliases_within_aliases_cost_nothing() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]
    assert isinstance(parse("\n".join(lines), "f"), Mapping)


@pytest.mark.parametrize(
    "text", ["[" * 5000, "a: &a [*a]", "{" * 300 + "}" * 300, "a: " * 100, "? [a]\n: b", "\x00", "*a"]
)
def test_hostile_yaml_is_told(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text, "f")


_WORDS = st.sampled_from(
    [*KEYS, *SECTIONS, *"-:[]{}&*!|>%@`\"'#\n\t ,?~", "  ", "${", "$${X}", "true", "7", "\n  ", ": ", "- "]
)


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(_WORDS).map("".join)))
def test_any_text_is_a_configuration_or_a_told_problem(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(ConfigError):
        load(str(path))


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(_WORDS).map("".join)), st.one_of(st.text(), st.sampled_from(sorted(KEYS))))
def test_any_override_is_a_configuration_or_a_told_problem(value: str, key: str) -> None:
    with suppress(ConfigError):
        load(None, [f"{key}={value}", value])


_PIECES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(
        ["/a", "127.0.0.1", "1h", "http://a", "append", "enable", "x" * 300]
    )),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(
        ["name", "path", "strategy", "enable", "disable", "rule", "tag", "tags", "match", "extra_output",
         "extra_fields", "suggested_output", "library_path", "enabled", "odd"]
    ), inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(KEYS))
@settings(max_examples=15, deadline=None)
@given(value=_PIECES)
def test_any_value_of_any_key_is_a_configuration_or_a_told_problem(name: str, value: object) -> None:
    enabled = f"{name.partition('.')[0]}.enabled"
    on = [f"{enabled}=true"] if enabled in KEYS else []
    with suppress(ConfigError):
        read = load(None, [*on, f"{name}={json.dumps(value)}"])
        assert all(isinstance(line, str) and line for line in (*read.warnings, *read.notices))


def test_scalars_keep_their_text() -> None:
    node = parse("a: 010\nb: '~'\nc: [no, 1.50]", "f", environment={})
    assert isinstance(node, Mapping)
    a, b, c = node.entries.values()
    assert isinstance(a, Scalar)
    assert a.text == "010"
    assert isinstance(b, Scalar)
    assert not b.is_null
    assert isinstance(c, Sequence)
    assert [item.text for item in c.items if isinstance(item, Scalar)] == ["no", "1.50"]
