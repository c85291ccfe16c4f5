# SPDX-License-Identifier: Apache-2.0
"""append_output, rules, static_fields and plugins: what their entries may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from falco_py.config import AppendOutput, Match, load
from falco_py.config.model import Selection
from tests.config.reading import problem

if TYPE_CHECKING:
    from tests.config.reading import Write


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


def test_a_match_asks_for_all_it_names() -> None:
    match = Match(rule="r", tags=frozenset({"x"}))
    assert match.fits("r", "syscall", frozenset({"x", "y"}))
    assert not match.fits("r", "syscall", frozenset({"y"}))
    assert not match.fits("other", "syscall", frozenset({"x"}))
    assert Match().fits("any", "any", frozenset())


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


def test_entries_without_a_value_are_none(write: Write) -> None:
    config = load(write("append_output: [{match: ~, extra_output: ~, extra_fields: ~, suggested_output: ~}]\nrules:\n"))
    assert (config.append_output, config.rules) == ((AppendOutput(),), ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("append_output: [a]", '1:17: append_output: expected entries with keys, found "a"'),
        ("append_output: [{extra_output: [a]}]", "1:32: append_output: extra_output: expected text, found a list"),
        (
            "append_output: [{suggested_output: perhaps}]",
            "1:36: append_output: suggested_output: expected true or false",
        ),
        ("append_output: [{match: syscall}]", '1:25: append_output.match: expected rule, source or tags, found "sys'),
        ("append_output: [{match: {rule: {a: b}}}]", "1:32: append_output.match: rule: expected text, found keys with"),
        ("append_output: [{match: {source: [a]}}]", "1:34: append_output.match: source: expected text, found a list"),
        ("append_output: [{match: {tags: [[a]]}}]", "1:33: append_output.match.tags: expected a list of texts, found"),
        ("append_output: [{extra_fields: [[a]]}]", "1:33: append_output.extra_fields: expected the name of a field or"),
        ("append_output: [{extra_fields: [{a: [b]}]}]", "1:37: append_output.extra_fields: expected the name of a"),
        ("rules: [{disabled: {tag: x}}]", '1:9: rules: expected entries with enable or disable, found "disabled"'),
        ("rules: [x]", '1:9: rules: expected entries with enable or disable, found "x"'),
        ("rules: [{}]", "1:9: rules: expected entries with enable or disable, found keys with values"),
        ("rules: [{disable: x}]", "1:19: rules: disable: expected rule or tag with a text"),
        ("rules: [{disable: {tag: x, rule: y}}]", "1:19: rules: disable: expected rule or tag with a text"),
        ("rules: [{enable: {tags: x}}]", "1:18: rules: enable: expected rule or tag with a text"),
        ("rules: [{enable: {tag: [x]}}]", "1:18: rules: enable: expected rule or tag with a text"),
        ("static_fields: [a]", "1:16: static_fields: expected keys with values, found a list"),
        ("static_fields: {a b: c}", '1:22: static_fields: "a b" cannot be the name of a field'),
        ("static_fields: {a: [c]}", "1:20: static_fields.a: expected text, found a list"),
        ("plugins: [x]", '1:11: plugins: expected entries with name and library_path, found "x"'),
        ("plugins: [{library_path: a.so}]", "1:11: plugins: an entry has no name"),
        ("plugins: [{name: ~, library_path: a.so}]", "1:11: plugins: an entry has no name"),
        ("plugins: [{name: [a]}]", "1:18: plugins: name: expected text, found a list"),
        (
            "plugins: [{name: a, library_path: {}}]",
            "1:35: plugins: library_path: expected text, found keys with values",
        ),
        ("plugins: [{name: a, open_params: []}]", "1:34: plugins: open_params: expected text, found a list"),
        ("load_plugins: [{name: json}]", "1:15: load_plugins: expected a list of texts, found a list"),
    ],
)
def test_what_an_entry_cannot_hold_is_told_with_its_place(write: Write, text: str, told: str) -> None:
    path = write(text)
    assert problem(path).startswith(f"{path}:{told}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "append_output:\n- extra_outpt: x",
            ':2:3: unknown key "extra_outpt" in append_output, ignored; did you mean "extra_output"?',
        ),
        (
            "append_output:\n- match: {rul: x}",
            ':2:11: unknown key "rul" in append_output.match, ignored; did you mean "rule"?',
        ),
        ("append_output:\n- {xyz: 1}", ':2:4: unknown key "xyz" in append_output, ignored'),
        (
            "load_plugins: []\nplugins:\n- {name: a, library: b}",
            ':3:13: unknown key "library" in plugins, ignored; did you mean "library_path"?',
        ),
        (
            "config_files:\n- {path: /none, stategy: append}",
            ':2:17: unknown key "stategy" in config_files, ignored; did you mean "strategy"?',
        ),
        (
            "append_output:\n- {extra_output: a, extra_output: b}",
            ':2:21: "append_output: extra_output" is given twice; the first one counts',
        ),
        ("rules:\n- enable: {tag: a, tag: b}", ':2:20: "rules: enable.tag" is given twice; the first one counts'),
        ("static_fields:\n  a: 1\n  a: 2", ':3:3: "static_fields.a" is given twice; the first one counts'),
    ],
)
def test_an_unknown_key_in_an_entry_is_a_warning_with_the_nearest_one(write: Write, text: str, told: str) -> None:
    path = write(text)
    assert load(path).warnings == (path + told,)


class TestPlugins:
    """Nothing is loaded; what would be in Falco is told, with what stands in for it."""

    THREE = """
plugins:
  - {name: container, library_path: libcontainer.so, init_config: {label_max_len: 100, with_size: false}}
  - {name: k8saudit, library_path: libk8saudit.so, init_config: "", open_params: "http://:9765/k8s-audit"}
  - {name: cloudtrail, library_path: libcloudtrail.so}
"""

    def test_what_is_set_up_but_not_loaded_is_not_spoken_of(self, write: Write) -> None:
        for none in ("load_plugins: []", "load_plugins:"):
            config = load(write(none + self.THREE))
            assert (config.warnings, config.notices) == ((), ())

    @pytest.mark.parametrize(
        ("name", "instead"),
        [
            ("container", "the fields container.* and k8s.* are built in"),
            ("k8smeta", "the fields k8smeta.* are built in"),
            ("k8saudit", "the fields ka.* are built in and rules of source k8s_audit are checked, but this build "),
            ("json", "the fields json.* and jevt.* are built in"),
        ],
    )  # fmt: skip
    def test_what_is_built_in_is_named(self, write: Write, name: str, instead: str) -> None:
        path = write(f"load_plugins: [{name}]")
        config = load(path)
        (notice,) = config.notices
        assert notice.startswith(f"{path}:1:16: plugin {name} is not loaded; {instead}")
        assert config.warnings == ()

    def test_what_has_nothing_in_its_place_is_a_warning(self, write: Write) -> None:
        path = write("load_plugins: [cloudtrail]" + self.THREE)
        (warning,) = load(path).warnings
        assert warning.startswith(f"{path}:1:16: plugin cloudtrail is not loaded: this agent loads no plugins")

    def test_a_plugin_that_is_not_set_up_is_refused_in_falcos_words(self, write: Write) -> None:
        path = write("load_plugins: [contaner]" + self.THREE)
        told = problem(path)
        assert told.startswith(f"{path}:1:16: Cannot load plugin 'contaner': plugin config not found for given name\n")
        assert told.endswith("Did you mean container?")
        assert problem(write("load_plugins: [xyz]")).endswith("Take it out of load_plugins.")

    def test_without_load_plugins_all_that_are_set_up_would_be_loaded(self, write: Write) -> None:
        config = load(write(self.THREE))
        assert [line.partition(": ")[2].split()[1] for line in config.notices] == ["container", "k8saudit"]
        assert len(config.warnings) == 1
