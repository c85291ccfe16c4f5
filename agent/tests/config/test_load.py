# SPDX-License-Identifier: Apache-2.0
"""falco.yaml, included files, overrides and environment become one configuration, or a told problem."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.config import AppendOutput, Config, ConfigError, Drops, Match, load
from falco_py.config.keys import KEYS, SECTIONS
from falco_py.config.model import Selection
from falco_py.config.tree import Mapping, Scalar, Sequence, parse, steps
from falco_py.log import Level

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "falco.yaml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def problem(path: str | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    return str(caught.value)


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
    assert config.buffered_outputs
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
        ("rule_matching: some", '1:16: rule_matching: expected one of first, all, found "some"'),
        ("rules_files: {a: b}", "1:14: rules_files: expected a list of texts, found keys with values"),
        ("engine: kmod", '1:9: engine: expected keys with values, found "kmod"'),
        ("log_level: loud", "1:12: log_level: expected one of emergency, alert,"),
        ("output_timeout: -1", '1:17: output_timeout: expected a whole number from 0 up, found "-1"'),
        ("output_timeout: 1e3", '1:17: output_timeout: expected a whole number from 0 up, found "1e3"'),
        ("webserver: {listen_port: 70000}", "expected a whole number from 0 to 65535"),
        ("syscall_event_drops: {threshold: 2}", "expected a number from 0 to 1"),
        ("syscall_event_drops: {threshold: nan}", "expected a number from 0 to 1"),
        ("syscall_event_drops: {actions: [shout]}", "expected some of ignore, log, alert, exit"),
        ("append_output: [{extra_output: [a]}]", "append_output: extra_output: expected text, found a list"),
        ("rules: [{disabled: {tag: x}}]", "1:9: rules: expected entries with enable or disable, found keys with"),
        ("rules: [{disable: x}]", "1:19: rules: disable: expected rule or tag with a text"),
        ("rules: [{disable: {tag: x, rule: y}}]", "rules: disable: expected rule or tag with a text"),
        ("rules: [{enable: {tags: x}}]", "rules: enable: expected rule or tag with a text"),
        ("static_fields: [a]", "1:16: static_fields: expected keys with values, found a list"),
        ("static_fields: {a b: c}", '1:22: static_fields: "a b" cannot be the name of a field'),
        ("static_fields: {a: [c]}", "1:20: static_fields.a: expected text, found a list"),
        ("append_output: [a]", '1:17: append_output: expected entries with keys, found "a"'),
        ("append_output: [{suggested_output: perhaps}]", "suggested_output: expected true or false"),
        ("- a", "the file must hold keys with values, not a list"),
        ("a", 'the file must hold keys with values, not "a"'),
    ],
)
def test_a_wrong_type_names_place_and_expectation(write: Write, text: str, told: str) -> None:
    path = write(text)
    assert problem(path).startswith(path + ":1:")
    assert told in problem(path)


def test_all_problems_are_told_at_once(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write("json_output: 1x\npriority: no such\nbuffered_outputs: 7\n"))
    assert [p.place.line for p in caught.value.problems] == [1, 3, 2]


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


@pytest.mark.parametrize("output", ["file_output", "program_output", "http_output"])
def test_an_enabled_output_that_does_not_exist_yet_is_refused(write: Write, output: str) -> None:
    path = write(f"{output}:\n  enabled: true\n")
    told = problem(path)
    assert told.startswith(f"{path}:2:12: {output}.enabled: true is not supported yet by this build\n")
    assert f"Set {output}.enabled to false" in told


def test_an_output_that_an_override_disables_is_not_refused(write: Write) -> None:
    load(write("file_output:\n  enabled: true\n"), ["file_output.enabled=false"])


@pytest.mark.parametrize("kind", ["replay", "nodriver"])
def test_an_engine_that_cannot_be_honoured_is_refused(write: Write, kind: str) -> None:
    assert f"engine.kind: {kind} is not supported yet" in problem(write(f"engine: {{kind: {kind}}}"))


def test_no_output_at_all_is_refused(write: Write) -> None:
    told = problem(write("stdout_output:\n  enabled: false\n"))
    assert "No output configured, please make sure at least one output is configured and enabled." in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "webserver:\n  enabled: true",
            "2:3: webserver.enabled: not supported yet by this build; there is no web server",
        ),
        (
            "syslog_output: {enabled: true}",
            "1:17: syslog_output.enabled: not supported yet by this build; alerts go to",
        ),
        ("log_syslog: true", "1:1: log_syslog: not supported yet by this build; nothing is sent to syslog"),
        ("watch_config_files: false", ""),
        ("watch_config_files: true", ""),
        ("metrics: {enabled: true}", "1:11: metrics.enabled: not supported yet"),
        ("load_plugins: [json]", "1:1: load_plugins: not supported yet"),
        ("load_plugins: []", ""),
        ("engine: {kind: kmod}", "1:10: engine.kind: not supported yet by this build; events come from CO-RE eBPF"),
        ("syscall_event_drops: {actions: [exit], rate: 1, simulate_drops: true}", ""),
        ("base_syscalls: {all: true}", "base_syscalls.all: not supported yet"),
    ],
)
def test_a_key_without_effect_gives_one_notice(write: Write, text: str, told: str) -> None:
    path = write(text)
    notices = load(path).notices
    if told:
        (notice,) = notices
        assert told in notice
        assert notice.startswith(path + ":")
    else:
        assert notices == ()


def test_every_key_is_accepted_with_falcos_default_without_a_warning(write: Write) -> None:
    def text(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple):
            return "[" + ", ".join(value) + "]"
        return "[]" if value is None else f"'{value}'"

    for key in KEYS.values():
        line = text(key.default)
        for name in reversed(key.name.split(".")):
            line = f"{{{name}: {line}}}"
        assert load(write(line)).warnings == (), key.name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("jsn_output: true", ':1:1: unknown key "jsn_output", ignored; did you mean "json_output"?'),
        ("engine: {kindd: kmod}", ':1:10: unknown key "engine.kindd", ignored; did you mean "engine.kind"?'),
        ("listen_port: 1", ':1:1: unknown key "listen_port", ignored; did you mean "webserver.listen_port"?'),
        ("zzzzzzzz: 1", ':1:1: unknown key "zzzzzzzz", ignored'),
        ("json_output: true\njson_output: false", ':2:1: "json_output" is given twice; the first one counts'),
        ("append_output: [{extra: x}]", ':1:18: unknown key "extra" in append_output, ignored'),
    ],
)
def test_an_unknown_key_is_a_warning_with_the_nearest_one(write: Write, text: str, told: str) -> None:
    path = write(text)
    assert load(path).warnings == (path + told,)


def test_of_a_key_given_twice_the_first_counts(write: Write) -> None:
    assert load(write("json_output: true\njson_output: false")).json_output


def test_rules_file_is_the_old_name(write: Write) -> None:
    assert load(write("rules_file: /a.yaml")).rules_files == ("/a.yaml",)
    assert "cannot both be given" in problem(write("rules_file: /a.yaml\nrules_files: [/b.yaml]"))


def test_append_output_is_read(write: Write) -> None:
    config = load(
        write("""
append_output:
  - suggested_output: true
  - match: {rule: a rule, source: syscall, tags: [x, y]}
    extra_output: "on %evt.hostname"
    extra_fields: [proc.name, {who: "%user.name"}]
""")
    )
    assert config.append_output == (
        AppendOutput(suggested_output=True),
        AppendOutput(
            Match("a rule", "syscall", frozenset({"x", "y"})),
            "on %evt.hostname",
            (("proc.name", None), ("who", "%user.name")),
        ),
    )


def test_selections_are_read_in_order(write: Write) -> None:
    config = load(write("rules: [{disable: {rule: '*'}}, {enable: {tag: x}}, {disable: {tag: y}}]"))
    assert config.rules == (Selection(False, rule="*"), Selection(True, tag="x"), Selection(False, tag="y"))
    assert [str(one) for one in config.rules] == [
        "Disabling rules with name: *",
        "Enabling rules with tag: x",
        "Disabling rules with tag: y",
    ]


def test_static_fields_are_texts(write: Write) -> None:
    assert load(write("static_fields: {site: here, n: 5}")).static_fields == (("site", "here"), ("n", "5"))


def test_a_match_asks_for_all_it_names() -> None:
    match = Match(rule="r", tags=frozenset({"x"}))
    assert match.fits("r", "syscall", frozenset({"x", "y"}))
    assert not match.fits("r", "syscall", frozenset({"y"}))
    assert not match.fits("other", "syscall", frozenset({"x"}))
    assert Match().fits("any", "any", frozenset())


class TestEnvironment:
    def test_variables_are_filled_in_before_typing(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LEVEL", "error")
        monkeypatch.setenv("DIR", "/x")
        config = load(write("priority: ${LEVEL}\nrules_files: ['${DIR}/a.yaml', '$${DIR}/b', '-${NONE_SUCH}-']"))
        assert config.priority == 3
        assert config.rules_files == ("/x/a.yaml", "${DIR}/b", "--")

    def test_an_unset_variable_alone_is_as_if_the_key_were_absent(self, write: Write) -> None:
        assert load(write("json_output: ${NONE_SUCH}")) == load(write(""))

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
            ("foo", "-o foo: the form must be key=value or key.subkey=value"),
            ("=x", "-o =x: a key is empty"),
            ("a..b=x", "a key is empty"),
            ("[0]=x", "a key must stand"),
            ("rules_files[=x", "] is missing"),
            ("rules_files[x]=y", '"x" is not an index'),
            ("rules_files[3]=y", "the list has 0 entries, so there is no [3]"),
            ("json_output=maybe", 'json_output: expected true or false, found "maybe"'),
            ("json_output=[", "not valid YAML"),
        ],
    )
    def test_a_bad_override_is_told(self, override: str, told: str) -> None:
        assert problem(None, override).startswith(f"-o {override}:")
        assert ":1:" not in problem(None, override)
        assert told in problem(None, override)

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
        told = problem(write("config_files: [{path: x, strategy: merge}]"))
        assert "strategy must be one of append, override, add-only" in told


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


@given(st.one_of(st.text(), st.lists(_WORDS).map("".join)))
def test_any_text_is_a_configuration_or_a_told_problem(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(ConfigError):
        load(str(path))


@given(st.one_of(st.text(), st.lists(_WORDS).map("".join)), st.one_of(st.text(), st.sampled_from(sorted(KEYS))))
def test_any_override_is_a_configuration_or_a_told_problem(value: str, key: str) -> None:
    with suppress(ConfigError):
        load(None, [f"{key}={value}", value])


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


def test_what_is_done_about_drops_is_read(write: Write) -> None:
    keys = "threshold: .3, actions: [alert, exit], rate: 2, max_burst: 5, simulate_drops: yes"
    read = load(write(f"syscall_event_drops: {{{keys}}}"))
    assert read.drops == Drops(0.3, ("alert", "exit"), 2.0, 5.0, simulate=True)
    assert load(write("{}")).drops == Drops() == Config().drops


def test_to_ignore_drops_excludes_what_comes_after(write: Write) -> None:
    with pytest.raises(ConfigError, match='action "log" does not make sense with the "ignore" action'):
        load(write("syscall_event_drops: {actions: [ignore, log]}"))
    assert load(write("syscall_event_drops: {actions: [alert, ignore]}")).drops.actions == ("alert", "ignore")


def test_the_share_of_cpu_is_read(write: Write) -> None:
    assert load(write("engine: {falco_py: {cpu_limit_percent: 12.5}}")).cpu_limit_percent == 12.5
    assert Config().cpu_limit_percent == 0
    with pytest.raises(ConfigError, match="expected a number from 0 up"):
        load(write("engine: {falco_py: {cpu_limit_percent: -1}}"))
