# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: what each option prints, and how each mistake ends."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from falco_py import __version__, cli, options
from falco_py.kernel import host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from falco_py.config import Config

AGENT = Path(__file__).parents[1]
DEFAULT_RULES = AGENT.parent / "rules" / "falco_rules.yaml"
COMMAND = (sys.executable, "-m", "falco_py")
WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
RULE = """\
- rule: cat runs
  desc: A rule for tests.
  condition: evt.type = execve and proc.name = cat
  output: cat ran (%proc.cmdline)
  priority: NOTICE
"""
BROKEN = RULE.replace("proc.name", "proc.nam").replace("%proc.cmdline", "%proc.cmdlin")


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FALCO_")}
    return {**kept, "PYTHONPATH": str(AGENT)}


def falco_py(
    *words: str | Path, before: Sequence[str] = (), cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [*before, *COMMAND, *map(str, words)]
    made = {**environment(), **(env or {})}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=cwd, env=made, stdin=subprocess.DEVNULL, check=False
    )
    if "FALCO_PY_DEBUG" not in made:
        assert "Traceback" not in result.stderr
    return result


def refused(*words: str | Path) -> str:
    """What a refused command line says on stderr."""
    result = falco_py(*words)
    assert (result.returncode, result.stdout) == (1, "")
    return result.stderr


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULE)
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.yaml"
    path.write_text(BROKEN)
    return path


# Showing


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_option_and_the_exit_codes(option: str) -> None:
    result = falco_py(option)
    assert (result.returncode, result.stderr) == (0, "")
    for word in ("-c FILE", "-r PATH", "-o KEY=VALUE", "-M SECONDS", "-P FILE", "-U", "-v", "--dry-run", "-V PATH",
                 "-i", "--list-plugins", "--plugin-info NAME", "--support", "--page-size", "--enable-source SOURCE",
                 "--disable-source SOURCE", "doctor", "--list", "-N", "--list-events", "--format",
                 "--markdown", "--version", "Exit codes"):  # fmt: skip
        assert word in result.stdout


def test_help_does_not_wait_for_the_agents_modules() -> None:
    code = "import sys; from falco_py import cli; cli.main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment(), check=True
    )
    assert "falco_py.cli" in result.stderr
    for module in (
        "yaml", "pyparsing", "pylibbpf", "falco_py.app", "falco_py.rules", "falco_py.fields", "falco_py.support",
        "falco_py.commands",
    ):  # fmt: skip
        assert f"'{module}'" not in result.stderr


def test_version() -> None:
    result = falco_py("--version")
    assert result.returncode == 0
    assert result.stdout.startswith(f"Falco-py version: {__version__} ({platform.machine()})\n")


def test_version_as_json() -> None:
    made = json.loads(falco_py("--version", "-o", "json_output=true").stdout)
    assert made["falco_version"] == __version__
    assert made["engine_version_semver"].split(".")[1] == made["engine_version"]


def test_the_fields_are_listed_in_each_form() -> None:
    assert "proc.cmdline" in falco_py("--list").stdout
    assert "- `proc.cmdline`" in falco_py("--list", "-N", "--markdown").stdout.splitlines()
    assert "proc.cmdline" in falco_py("--list=syscall", "-N").stdout.splitlines()
    assert "proc.cmdline" in json.loads(falco_py("--list", "-N", "--format", "json").stdout)


def test_the_events_are_listed_in_each_form() -> None:
    lines = falco_py("--list-events").stdout.splitlines()
    (opened,) = [line for line in lines if line.startswith("openat(")]
    assert "FSRELPATH name" in opened
    assert f"- `{opened}`" in falco_py("--list-events", "--markdown").stdout.splitlines()
    made = json.loads(falco_py("--list-events", "--format=json").stdout)
    assert {"name": "name", "type": "FSRELPATH"} in next(e for e in made if e["name"] == "openat")["params"]


def test_a_format_that_is_unknown_is_refused() -> None:
    assert "Invalid format 'xml'. Valid values are: text, markdown, json" in refused("--list", "--format", "xml")
    assert "Invalid format 'xml'. Valid values are: text, markdown, json" in refused("--list-events", "--format", "xml")


def test_a_source_that_is_unknown_is_refused() -> None:
    assert "unknown event source 'windows'; there are: syscall, k8s_audit" in refused("--list=windows")


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "wb") as gone:
        result = subprocess.run(
            [*COMMAND, "--list"], stdout=gone, stderr=subprocess.PIPE, text=True, timeout=60, env=environment(),
            check=False,
        )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")


def test_the_calls_that_falco_ignores_are_listed_with_what_is_done_here() -> None:
    head, *lines = falco_py("-i").stdout.splitlines()
    assert head == "Ignored syscall(s):"
    assert {"- read", "- writev", "- sendfile"} <= set(lines)
    assert lines[-1].startswith("falco-py tells these to rules that name them in evt.type")


def test_the_size_of_a_page_is_told() -> None:
    assert falco_py("--page-size").stdout == f"Your system page size is: {os.sysconf('SC_PAGE_SIZE')}\n"


def test_what_is_built_in_of_plugins_is_told() -> None:
    told = falco_py("--list-plugins").stdout
    assert told.startswith("0 Plugins Loaded\n")
    (container,) = [line for line in told.splitlines() if line.startswith("container: ")]
    assert "fields, as of version" in container
    (json_fields,) = [line for line in told.splitlines() if line.startswith("json: ")]
    assert json_fields.endswith("but this build has no source of such events")
    assert container in falco_py("--plugin-info", "container").stdout.splitlines()
    told = refused("--plugin-info", "cloudtrail")
    assert told.startswith("Error: can't find plugin and print its info: cloudtrail\n  What to do: plugins are not ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--enable-source", "k8s_audit"), "Attempted enabling an unknown event source: k8s_audit"),
        (("--disable-source=x",), "Attempted disabling an unknown event source: x"),
        (("--disable-source", "syscall"), "Must enable at least one event source"),
        (("--enable-source", "syscall", "--disable-source", "syscall"),
         "You can not mix --enable-source and --disable-source"),
    ],
)  # fmt: skip
def test_sources_that_cannot_be_chosen_are_told(rules: Path, words: tuple[str, ...], message: str) -> None:
    assert refused("-r", rules, "--dry-run", *words).startswith(f"Error: {message}\n")


def test_the_only_source_can_be_enabled(rules: Path) -> None:
    assert falco_py("-r", rules, "--dry-run", "--enable-source", "syscall").returncode == 0


# Options that cannot be understood


def test_an_unknown_option_names_the_nearest() -> None:
    assert refused("--dryrun") == (
        "Error: Option '--dryrun' does not exist; did you mean '--dry-run'?\nfalco-py --help shows the options\n"
    )


def test_an_unknown_option_that_is_like_none() -> None:
    assert refused("-x").startswith("Error: Option '-x' does not exist\n")


def test_an_option_is_not_guessed_from_its_beginning() -> None:
    assert "Option '--vers' does not exist; did you mean '--version'?" in refused("--vers")


@pytest.mark.parametrize("option", ["-c", "-r", "-o", "-M", "-P", "-V", "--format"])
def test_an_option_without_its_value_is_named(option: str) -> None:
    assert refused(option).startswith(f"Error: Option '{option}' needs a value\n")


def test_an_option_with_a_value_that_it_does_not_take_is_named() -> None:
    assert refused("--dry-run=yes").startswith("Error: Option '--dry-run' takes no value\n")


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", ""])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    assert refused("-M", text).startswith(f"Error: Option '-M' takes a number of seconds, not '{text}'\n")


@pytest.mark.parametrize(
    ("words", "option", "instead"),
    [
        (["-g"], "-g", "replayed"),
        (["-A"], "-A", "watched already"),
    ],
)
def test_what_falco_has_and_this_build_lacks_is_refused(words: list[str], option: str, instead: str) -> None:
    told = refused(*words)
    assert told.startswith(f"Error: Option '{option}' is not supported yet: ")
    assert instead in told


def test_a_value_that_looks_like_another_falco_option_is_a_value(rules: Path) -> None:
    assert falco_py("-r", rules, "-o", "rules_files[]=-T", "--dry-run").returncode == 0


def test_a_word_that_belongs_to_no_option_is_told(rules: Path) -> None:
    result = falco_py("-r", rules, "--dry-run", "more.yaml")
    assert result.returncode == 0
    assert "'more.yaml' belongs to no option and is ignored; rules files are given with -r" in result.stderr


# Configuration


def test_a_missing_configuration_is_told(tmp_path: Path) -> None:
    told = refused("-c", tmp_path / "none.yaml")
    assert told.startswith(f"Error: {tmp_path}/none.yaml: cannot read the configuration file: No such file or dir")


def test_a_wrong_value_in_the_configuration_is_told_with_its_place(tmp_path: Path, rules: Path) -> None:
    config = tmp_path / "falco.yaml"
    config.write_text("json_output: maybe\n")
    told = refused("-c", config, "-r", rules, "--dry-run")
    assert told.startswith(f'Error: {config}:1:14: json_output: expected true or false, found "maybe"\n')


def test_an_override_without_a_value_is_told(rules: Path) -> None:
    told = refused("-r", rules, "-o", "json_output")
    assert 'Error parsing config option "json_output". Must be of the form key=val or key.subkey=val\n' in told


def test_the_files_read_and_what_is_said_of_them_are_logged(tmp_path: Path, rules: Path) -> None:
    config = tmp_path / "falco.yaml"
    config.write_text(
        f"rules_files: [{rules}, {tmp_path}/none.yaml]\njsn_output: true\nlibs_logger: {{severity: debug}}\n"
    )
    result = falco_py("-c", config, "--dry-run")
    assert (result.returncode, result.stdout) == (0, "")
    said = [line.split(": ", 1)[1] for line in result.stderr.splitlines()]
    assert said[0].startswith("Falco-py version: ")
    assert said[1:3] == ["Falco-py initialized with configuration files:", f"   {config}"]
    assert f'{config}:2:1: unknown key "jsn_output", ignored; did you mean "json_output"?' in said
    assert f"{config}:3:15: libs_logger.severity: has no effect; the log has one level, log_level" in said
    assert said.index("Loading rules from:") + 1 == said.index(f"   {rules}")
    assert not any("none.yaml" in line for line in said)


def test_verbose_tells_the_rules_files_that_were_skipped(tmp_path: Path, rules: Path) -> None:
    config = tmp_path / "falco.yaml"
    config.write_text(f"rules_files: [{rules}, {tmp_path}/none.yaml]\n")
    assert f"{tmp_path}/none.yaml: skipped: No such file or directory" in falco_py("-vc", config, "--dry-run").stderr


def test_a_log_that_is_off_stays_silent(rules: Path) -> None:
    assert falco_py("-r", rules, "-o", "log_stderr=false", "--dry-run").stderr == ""


def test_extra_outputs_are_compiled_with_the_rules(rules: Path) -> None:
    def tried(text: str) -> str:
        return falco_py("-r", rules, "-o", f'append_output[]={{"extra_output": "{text}"}}', "--dry-run").stderr

    assert "1 rules loaded" in tried("X=%proc.name")
    assert "did you mean 'proc.name'" in tried("X=%proc.nam")


def test_selections_are_logged_and_count(rules: Path) -> None:
    result = falco_py("-r", rules, "-o", "rules[]={disable: {rule: cat*}}", "--dry-run")
    assert "Disabling rules with name: cat*" in result.stderr
    assert "0 rules loaded" in result.stderr


def chosen(*words: str) -> Config:
    return options.config_of(options.parse(["-c", os.devnull, *words]))


def test_older_options_select_rules_after_the_configuration() -> None:
    made = chosen("-o", "rules=[{enable: {tag: x}}]", "-D", "etc", "-T", "y").rules
    assert [str(one) for one in made] == [
        "Enabling rules with tag: x",
        "Disabling rules with name: *etc*",
        "Disabling rules with tag: y",
    ]
    only = chosen("-t", "x", "-ty").rules
    assert [str(one) for one in only] == [
        "Disabling rules with name: *",
        "Enabling rules with tag: x",
        "Enabling rules with tag: y",
    ]
    assert "You can not specify both disabled (-T) and enabled (-t) rules" in refused("-t", "x", "-T", "y")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-pc"], "%container.name"),
        (["-pcontainer"], "%container.name"),
        (["-p", "k"], "%container.name k8s_ns=%k8s.ns.name k8s_pod_name=%k8s.pod.name"),
        (["-pkubernetes"], "%k8s.pod.name"),
        (["-p", "pid=%proc.pid"], "pid=%proc.pid"),
    ],
)
def test_p_adds_to_every_output(words: list[str], text: str) -> None:
    (entry,) = chosen(*words).append_output
    assert entry.extra_output.endswith(text)
    assert chosen().append_output == ()


def test_static_fields_are_known_to_the_rules(rules: Path) -> None:
    rules.write_text(RULE.replace("%proc.cmdline", "%static.site"))
    assert falco_py("-r", rules, "--dry-run").returncode == 1
    assert falco_py("-r", rules, "--dry-run", "-o", "static_fields.site=here").returncode == 0


# Rules files


def test_no_rules_file_at_all_is_told(tmp_path: Path) -> None:
    config = tmp_path / "falco.yaml"
    config.write_text(f"rules_files: [{tmp_path}/none.yaml]\n")
    told = refused("-c", config)
    assert "You must specify at least one rules file/directory via -r or a rules_file entry in falco.yaml\n" in told
    assert "What to do:" in told


@pytest.mark.parametrize("option", ["-r", "-V"])
def test_a_missing_rules_file_is_told_with_the_reason(tmp_path: Path, option: str) -> None:
    assert refused(option, tmp_path / "none.yaml") == (
        f"Error: Could not open file {tmp_path}/none.yaml for reading: No such file or directory\n"
        f"  What to do: check the path given with {option}, or its permissions.\n"
    )


def test_a_directory_gives_its_yaml_files_in_order(tmp_path: Path) -> None:
    for index, name in enumerate(("b.yaml", "a.yml", "c.txt")):
        (tmp_path / name).write_text(RULE.replace("cat runs", f"rule {index}").replace("= cat", f"= cat{index}"))
    (tmp_path / "d.yaml").mkdir()
    lines = falco_py("-r", tmp_path, "--dry-run").stderr.splitlines()
    assert [line.split()[-1] for line in lines if "    " in line] == [f"{tmp_path}/a.yml", f"{tmp_path}/b.yaml"]
    assert "2 rules loaded; dry run, nothing is captured" in lines[-1]


def test_who_asks_for_recordings_is_told_that_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(RULE + "  capture: true\n" + RULE.replace("cat", "dog"))
    assert "captures" not in falco_py("-r", path, "--dry-run").stderr
    told = falco_py("-r", path, "--dry-run", "-o", "capture.enabled=true").stderr
    assert "this build writes no captures: alerts of these come without them: cat runs\n" in told
    told = falco_py("-r", path, "--dry-run", "-o", "capture.enabled=true", "-o", "capture.mode=all_rules").stderr
    assert "capture.mode is all_rules, but this build writes no captures" in told


def test_a_directory_without_rules_is_told(tmp_path: Path) -> None:
    assert f"{tmp_path}: there is no .yaml or .yml file in this directory" in refused("-r", tmp_path)


def test_broken_rules_start_nothing_and_tell_every_problem(broken: Path) -> None:
    told = refused("-r", broken)
    assert f"{broken}:3:" in told
    assert "did you mean 'proc.name'?" in told
    assert "did you mean 'proc.cmdline'?" in told
    assert told.endswith("Error: 2 errors in the rules; nothing was started\n")


def test_what_a_rules_file_holds_cannot_drive_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(RULE.replace("proc.name", "proc.\x7f\u202ename"))
    result = falco_py("-V", path)
    assert result.returncode == 1
    assert not set("\x1b\x7f\u202e") & set(result.stdout + result.stderr)


# -V


def test_good_rules_are_ok(rules: Path) -> None:
    result = falco_py("-V", rules)
    assert (result.returncode, result.stdout) == (0, f"{rules}: Ok\n")


def test_the_projects_own_rules_are_ok() -> None:
    result = falco_py("-V", DEFAULT_RULES)
    assert (result.returncode, result.stdout) == (0, f"{DEFAULT_RULES}: Ok\n")


def test_rules_with_a_warning_are_ok_and_tell_it(rules: Path) -> None:
    rules.write_text(RULE + "- macro: unused\n  condition: proc.name = x\n")
    result = falco_py("-V", rules)
    assert result.returncode == 0
    assert result.stdout.startswith(f"{rules}: Ok, with warnings\n1 Warning:\nIn rules content: ({rules}:1:1)\n")
    assert f"\n    macro 'unused': ({rules}:6:3)\n------\n- macro: unused\n" in result.stdout
    assert "LOAD_UNUSED_MACRO (Unused macro)" in result.stdout


def test_each_file_gets_its_own_verdict(rules: Path, broken: Path) -> None:
    result = falco_py("-V", broken, "-V", rules)
    assert result.returncode == 1
    assert result.stdout.startswith(f"{broken}: Invalid\n2 Errors:\nIn rules content: ({broken}:1:1)\n")
    assert result.stdout.endswith(f"\n{rules}: Ok\n")
    codes = "LOAD_ERR_COMPILE_CONDITION, LOAD_ERR_COMPILE_OUTPUT"
    assert result.stderr == f"Error: {broken}: Invalid, 2 errors: {codes}\n"


def test_the_check_as_json(rules: Path, broken: Path) -> None:
    result = falco_py("-V", broken, "-V", rules, "-o", "json_output=true")
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: {broken}: Invalid, 2 errors: ")
    first, second = json.loads(result.stdout)["falco_load_results"]
    assert (first["name"], first["successful"], len(first["errors"])) == (str(broken), False, 2)
    assert (second["name"], second["successful"], second["errors"]) == (str(rules), True, [])


def test_rules_are_described(rules: Path) -> None:
    assert "cat runs   " in falco_py("-L", "-r", rules).stdout
    made = json.loads(falco_py("-l", "cat runs", "-r", rules, "-o", "json_output=true").stdout)
    assert made["rules"][0]["details"]["output_fields"] == ["proc.cmdline"]
    told = refused("-l", "cat run", "-r", rules)
    assert told == "Error: Rule \"cat run\" is not loaded; did you mean 'cat runs'?\n"


def test_a_check_describes_rules_that_load(rules: Path, broken: Path) -> None:
    assert "cat runs   " in falco_py("-V", rules, "-L").stdout
    made = json.loads(falco_py("-V", rules, "-L", "-o", "json_output=true").stdout)
    assert made["falco_describe_results"]["rules"][0]["info"]["name"] == "cat runs"
    assert "falco_describe_results" not in falco_py("-V", broken, "-L", "-o", "json_output=true").stdout


@pytest.mark.parametrize(("option", "title"), [("--rule-schema", "Rules file"), ("--config-schema", "falco.yaml")])
def test_schemas_are_json(option: str, title: str) -> None:
    assert json.loads(falco_py(option).stdout)["title"] == title


def test_an_item_that_a_later_file_uses_is_of_use(tmp_path: Path, rules: Path) -> None:
    rules.write_text(RULE + "- macro: used_later\n  condition: proc.name = x\n")
    later = tmp_path / "later.yaml"
    later.write_text(RULE.replace("cat runs", "x runs").replace("proc.name = cat", "used_later"))
    assert falco_py("-V", rules, "-V", later).stdout == f"{rules}: Ok\n{later}: Ok\n"


def test_files_are_checked_together(tmp_path: Path, rules: Path) -> None:
    macros = tmp_path / "macros.yaml"
    macros.write_text("- macro: is_cat\n  condition: proc.name = cat\n")
    rules.write_text(RULE.replace("proc.name = cat", "is_cat"))
    assert falco_py("-V", macros, "-V", rules).stdout == f"{macros}: Ok\n{rules}: Ok\n"
    assert falco_py("-V", rules).returncode == 1


# The machine


@pytest.mark.skipif(os.geteuid() != 0, reason="capabilities are given up, so they must be there at first")
def test_missing_capabilities_end_with_the_remedy(rules: Path) -> None:
    result = falco_py("-r", rules, before=WITHOUT_CAPABILITIES)
    assert (result.returncode, result.stdout) == (2, "")
    assert (
        "Error: falco-py may not load eBPF programs: it runs as root, but without the capabilities.\n" in result.stderr
    )
    assert result.stderr.endswith("CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.\n")


def test_a_user_who_is_not_root_is_told_to_use_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "effective_capabilities", lambda: 0)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(host.HostError, match="it runs as not root") as caught:
        host.check()
    assert "What to do: run it as root (sudo)" in str(caught.value)


def test_a_kernel_without_btf_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host, "effective_capabilities", lambda: -1)
    monkeypatch.setattr(host, "kernel_version", lambda: host.FLOOR)
    with pytest.raises(host.HostError) as caught:
        host.check(btf=tmp_path / "vmlinux")
    assert f"{tmp_path}/vmlinux is missing or not readable." in str(caught.value)
    assert "CONFIG_DEBUG_INFO_BTF=y" in str(caught.value)


def test_an_older_kernel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "effective_capabilities", lambda: -1)
    monkeypatch.setattr(host, "kernel_version", lambda: (5, 4))
    with pytest.raises(host.HostError, match=r"falco-py needs Linux 5\.8 or newer"):
        host.check()


# Ends


def test_an_interrupt_at_the_start_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rules: Path
) -> None:
    def interrupted(*_args: object, **_options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("falco_py.app.run", interrupted)
    assert cli.main(["-r", str(rules)]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("verbose", [False, True])
def test_a_defect_is_one_message_and_a_traceback_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rules: Path, verbose: bool
) -> None:
    def defective(*_args: object, **_options: object) -> int:
        raise ZeroDivisionError("a \x1b defect")

    monkeypatch.setattr("falco_py.app.run", defective)
    monkeypatch.delenv("FALCO_PY_DEBUG", raising=False)
    assert cli.main(["-r", str(rules), *["-v"] * verbose]) == 1
    told = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: a \\x1b defect\n" in told
    assert ("Traceback" in told) == verbose


def test_a_dry_run_writes_no_pid_file(tmp_path: Path, rules: Path) -> None:
    pid_file = tmp_path / "none" / "falco.pid"
    assert falco_py("-r", rules, "-P", pid_file, "--dry-run").returncode == 0


def test_a_pid_file_that_cannot_be_written_is_told(tmp_path: Path, rules: Path) -> None:
    result = falco_py("-r", rules, "-P", tmp_path / "none" / "falco.pid")
    assert (result.returncode, result.stdout) == (1, "")
    assert "none/falco.pid: the pid file cannot be written: No such file or directory\n  What to do:" in result.stderr


def test_standard_files_that_are_closed_do_not_matter(rules: Path) -> None:
    for closed in ("0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"):
        script = f'"$@" {closed}'
        command = ["sh", "-c", script, "sh", *COMMAND, "-r", str(rules), "--dry-run"]
        assert subprocess.run(command, timeout=60, env=environment(), capture_output=True, check=False).returncode == 0


@pytest.mark.live
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_order(tmp_path: Path, rules: Path, number: signal.Signals) -> None:
    pid_file = tmp_path / "falco.pid"
    command = [*COMMAND, "-r", str(rules), "-P", str(pid_file)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as agent:
        assert agent.stderr is not None
        deadline = time.monotonic() + 60
        for line in agent.stderr:
            if "Capture started" in line or time.monotonic() > deadline:
                break
        assert pid_file.read_text() == f"{agent.pid}\n"
        agent.send_signal(number)
        out, told = agent.communicate(timeout=60)
    assert agent.returncode == 0
    assert out.endswith("Triggered rules by rule name:\n") or "   cat runs: " in out
    assert "Events detected: " in out
    assert "Traceback" not in told
    assert not pid_file.exists()


@pytest.mark.live
def test_a_run_ends_after_the_seconds_asked_for(rules: Path) -> None:
    result = falco_py("-r", rules, "-M", "0.5")
    assert result.returncode == 0
    assert "Events detected: " in result.stdout
    assert "Syscall event drop monitoring:" in result.stderr
