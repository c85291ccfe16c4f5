# SPDX-License-Identifier: Apache-2.0
"""The command line: Falco's options become one call of `app.run`, or a listing.

Exit codes: 0 fine, 1 the input is wrong, 2 the machine cannot do it. Invariant: whatever the user did wrong is told on
one screen with what to do, never as a traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from . import __version__
from .prepared import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .config import Config
    from .config.model import AppendOutput, Selection
    from .prepared import Input
    from .rules.describe import Descriptions

OK: Final = 0
INPUT_WRONG: Final = 1
MACHINE_CANNOT: Final = 2
INTERRUPTED: Final = 130

COMMANDS: Final = {
    "explain": "what a rule asks, and why it fires on an event or does not",
    "test": "run tests of rules: written events and the alerts that they must give",
    "record": "write events of this machine down, for explain and test",
    "doctor": "what works here, what does not, and what to do about it",
}
_FORMATS: Final = ("text", "markdown", "json")

_ABOUT: Final = "Runtime security for Linux: tests Falco rules on what the kernel sees and prints alerts."

# Falco's options that this build does not have, and what to do instead.
_LATER: Final = {
    "-A": "every call that a rule names is watched already",
    "-g": "captures cannot be replayed yet",
}
_SOURCE: Final = "syscall"  # the only one that events come from


class UsageError(Exception):
    """The command line cannot be understood; the text says why and what to do."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        option, separator, reason = message.removeprefix("argument ").partition(": ")
        if not separator:
            raise UsageError(message)
        if reason == "expected one argument":
            reason = "needs a value"
        elif reason.startswith("ignored explicit argument"):
            reason = "takes no value"
        raise UsageError(f"Option '{option}' {reason}")


def seconds(text: str) -> float | None:
    """As in Falco, 0 means without end."""
    try:
        value = float(text)
        if not 0 <= value < 1e10:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes a number of seconds, not '{text}'") from None
    return value or None


def count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text)):
        raise argparse.ArgumentTypeError(f"takes a number from 1, not '{text}'")
    return int(text)


def _parser() -> Parser:
    parser = Parser(
        prog="falco-py", description=_ABOUT, add_help=False, allow_abbrev=False,
        usage="falco-py [-c FILE] [-r RULES]... [-o KEY=VALUE]... [-M SECONDS]\n       "
        + "\n       ".join(f"falco-py {name} ...: {about}" for name, about in COMMANDS.items()),
        epilog="Exit codes: 0 fine, 1 the input is wrong, 2 the machine cannot do it.",
    )  # fmt: skip
    run = parser.add_argument_group("running")
    run.add_argument("-c", metavar="FILE", help="configuration (default: /etc/falco/falco.yaml when it is there)")
    run.add_argument("-r", metavar="PATH", action="append", default=[], help="rules file, or a directory of them; may "
                     "repeat; replaces rules_files of the configuration")  # fmt: skip
    run.add_argument("-o", metavar="KEY=VALUE", action="append", default=[], help="set a value of the configuration, "
                     "such as json_output=true; may repeat")  # fmt: skip
    run.add_argument("-M", metavar="SECONDS", type=seconds, help="stop after so many seconds (0: never)")
    run.add_argument("-P", metavar="FILE", help="write the process id to FILE while running")
    run.add_argument("-U", action="store_true", help="write each alert at once, whatever the configuration says")
    run.add_argument("-v", action="store_true", help="log more (level debug), and show where a defect happened")
    run.add_argument("-p", metavar="FORMAT", help="text to add to every output: c or container, k or kubernetes, or a "
                     "format such as 'pid=%%proc.pid'")  # fmt: skip
    run.add_argument("-D", metavar="TEXT", action="append", default=[], help="disable the rules whose names hold TEXT; "
                     "may repeat")  # fmt: skip
    run.add_argument("-T", metavar="TAG", action="append", default=[], help="disable the rules with TAG; may repeat")
    run.add_argument("-t", metavar="TAG", action="append", default=[], help="run only the rules with TAG; may repeat")
    run.add_argument("--enable-source", metavar="SOURCE", action="append", default=[], help="take events of this "
                     "source only; there is one: syscall")  # fmt: skip
    run.add_argument("--disable-source", metavar="SOURCE", action="append", default=[], help="take no events of this "
                     "source")  # fmt: skip
    run.add_argument("--dry-run", action="store_true", help="read configuration and rules, capture nothing")
    check = parser.add_argument_group("checking rules")
    check.add_argument("-V", metavar="PATH", action="append", default=[], help="check rules files and exit; may repeat")
    show = parser.add_argument_group("showing")
    show.add_argument("-L", action="store_true", help="describe all rules")
    show.add_argument("-l", metavar="RULE", help="describe the rule of this name")
    show.add_argument("--list", metavar="SOURCE", nargs="?", const="", help="fields that rules and outputs may use")
    show.add_argument("-N", action="store_true", help="with --list: names only")
    show.add_argument("--list-events", action="store_true", help="event types and their parameters")
    show.add_argument("--format", metavar="FORMAT", help="of the listings: text, markdown or json")
    show.add_argument("--markdown", action="store_true", help="the same as --format markdown")
    show.add_argument("--rule-schema", action="store_true", help="JSON schema of rules files")
    show.add_argument("--config-schema", action="store_true", help="JSON schema of the configuration")
    show.add_argument("-i", action="store_true", help="system calls that Falco ignores by default, and what is done "
                      "about them here")  # fmt: skip
    show.add_argument("--list-plugins", action="store_true", help="what Falco has from plugins and is built in here")
    show.add_argument("--plugin-info", metavar="NAME", help="what is built in of the plugin of this name")
    show.add_argument("--support", action="store_true", help="facts for a report of a defect, as JSON, with secrets "
                      "removed")  # fmt: skip
    show.add_argument("--page-size", action="store_true", help="size of a page of memory of this machine")
    show.add_argument("--version", action="store_true", help="version of this program")
    show.add_argument("-h", "--help", action="store_true", help="this text")
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options; `ignored` holds the words that belong to none. Raises UsageError."""
    parser = _parser()
    options, rest = parser.parse_known_args(list(argv))
    options.ignored = [word for word in rest if not word.startswith("-") or word in ("-", "--")]
    for word in rest:
        if word in options.ignored:
            continue
        option = word.split("=", 1)[0] if word.startswith("--") else word[:2]
        if option in _LATER:
            raise UsageError(f"Option '{option}' is not supported yet: {_LATER[option]}")
        from .config.problem import nearest

        known = [string for action in parser._actions for string in action.option_strings]
        near = nearest(word.split("=", 1)[0], known)
        raise UsageError(f"Option '{word}' does not exist" + (f"; did you mean '{near}'?" if near else ""))
    return options


def say(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def complain(text: str) -> None:
    from .log import Level, is_journal
    from .visible import visible

    head = f"<{int(Level.ERROR)}>" if is_journal(2) else ""
    sys.stderr.write("".join(f"{head}{visible(line)}\n" for line in text.split("\n")))


# Showing


def _version(options: argparse.Namespace) -> int:
    from .rules.collector import ENGINE_VERSION

    engine = ".".join(map(str, ENGINE_VERSION))
    if _config(options).json_output:
        made = {
            "engine_version": str(ENGINE_VERSION[1]),
            "engine_version_semver": engine,
            "falco_version": __version__,
            "machine": platform.machine(),
        }
        say(json.dumps(made))
    else:
        say(f"Falco-py version: {__version__} ({platform.machine()})\nEngine: {engine}")
    return OK


def _format(options: argparse.Namespace) -> str:
    form: str = "markdown" if options.markdown else options.format or "text"
    if form not in _FORMATS:
        raise UsageError(f"Invalid format '{form}'. Valid values are: {', '.join(_FORMATS)}")
    return form


def _list(options: argparse.Namespace) -> int:
    from .fields import listing

    makers = {"text": listing.list_text, "markdown": listing.list_markdown, "json": listing.list_json}
    try:
        say(makers[_format(options)](options.list or None, options.N))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return OK


def _list_events(options: argparse.Namespace) -> int:
    from .events.syscalls import ROWS

    form = _format(options)
    events = [
        (name, [(p.type, p.name) for p in row.params if not p.name.startswith("_")])
        for name, row in sorted(ROWS.items())
    ]
    if form == "json":
        made = [{"name": name, "params": [{"name": n, "type": t} for t, n in params]} for name, params in events]
        say(json.dumps(made, indent=2))
        return OK
    for name, params in events:
        call = f"{name}({', '.join(f'{t} {n}' for t, n in params)})"
        say(f"- `{call}`" if form == "markdown" else call)
    return OK


def _list_ignored() -> int:
    """-i: Falco's list, and the truth about it here."""
    from .prepared import IGNORED_IO

    say("Ignored syscall(s):\n" + "\n".join(f"- {name}" for name in sorted(IGNORED_IO)))
    say("\nfalco-py tells these to rules that name them in evt.type; only rules without an evt.type do not get them.")
    return OK


def _list_plugins() -> int:
    from .rules.collector import BUILT_IN_PLUGINS

    say("0 Plugins Loaded\n\nShared objects are not loaded. Built in, under the same field names:\n")
    for name in sorted(BUILT_IN_PLUGINS):
        say(_built_in(name))
    return OK


def _built_in(name: str) -> str:
    """A line about what is built in of a plugin of Falco's."""
    from .fields.catalogue import CATALOGUE
    from .rules.collector import BUILT_IN_PLUGINS
    from .rules.describe import PLUGINS

    fields = [field for field in CATALOGUE.values() if PLUGINS.get(field.klass) == name]
    version = ".".join(map(str, BUILT_IN_PLUGINS[name]))
    silent = all(field.source not in (_SOURCE, "any") for field in fields)
    return (
        f"{name}: {len(fields)} fields, as of version {version}"
        + ("; rules that use them load, but this build has no source of such events" if silent else "")
    )  # fmt: skip


def _plugin_info(name: str) -> int:
    """Raises InputError."""
    from .rules.collector import BUILT_IN_PLUGINS

    if name not in BUILT_IN_PLUGINS:
        raise InputError(
            f"can't find plugin and print its info: {name}\n"
            f"  What to do: plugins are not loaded; built in are {', '.join(sorted(BUILT_IN_PLUGINS))}."
        )
    say(_built_in(name))
    say("It is a part of the agent: nothing is loaded, and init_config and open_params are not read.")
    return OK


def _support(options: argparse.Namespace) -> int:
    from .commands import question
    from .support.bundle import bundle, text

    say(text(bundle(question(options), sys.argv)))
    return OK


def _schema(of_rules: bool) -> int:
    from .config.schema import config_schema
    from .rules.schema import rules_schema

    say(json.dumps(rules_schema() if of_rules else config_schema(), indent=2))
    return OK


# Rules


def rule_files(paths: Sequence[str], option: str | None, skipped: list[str] | None = None) -> list[str]:
    """Files, and the .yaml and .yml files of directories.

    `option` gave the paths, so what is missing is an error; None: the configuration, where it is skipped, and told in
    `skipped`.
    Raises InputError.
    """
    from .config.load import yaml_files

    files: list[str] = []
    for path in paths:
        try:
            os.stat(path)
        except OSError as error:
            if option is not None:
                raise InputError(
                    f"Could not open file {path} for reading: {error.strerror}\n"
                    f"  What to do: check the path given with {option}, or its permissions."
                ) from None
            if skipped is not None:
                skipped.append(f"{path}: skipped: {error.strerror}")
            continue
        found = yaml_files(path)
        if not found and option is not None:
            raise InputError(
                f"{path}: there is no .yaml or .yml file in this directory\n"
                f"  What to do: check the path given with {option}."
            )
        files += found
    return files


def _check_rules(options: argparse.Namespace) -> int:
    """-V: each file is loaded with those before it, and gets its own verdict on stdout."""
    from .prepared import read_rules, rules_options
    from .rules.results import check
    from .visible import json_line

    config = _config(options)
    files = read_rules(rule_files(options.V, "-V"))
    results = check(files, rules_options(config))
    invalid = [one for one in results if one.errors]
    if config.json_output:
        made: dict[str, Any] = {"falco_load_results": [one.json() for one in results]}
        if not invalid and (options.L or options.l is not None):
            made["falco_describe_results"] = _described(options, config, files).json(options.l)
        say(json_line(made))
    else:
        for one in results:
            say(one.text())
        if not invalid and (options.L or options.l is not None):
            say(_described(options, config, files).text(options.l))
    sys.stdout.flush()
    for one in invalid:
        complain(f"Error: {one.summary()}")
    return INPUT_WRONG if invalid else OK


def _described(options: argparse.Namespace, config: Config, files: Sequence[tuple[str, str]]) -> Descriptions:
    """Raises RulesError, and InputError when there is no rule of the name that was asked for."""
    from .config.problem import nearest
    from .prepared import rules_options
    from .rules.describe import Descriptions

    made = Descriptions(files, **rules_options(config))
    if options.l is not None and options.l not in made.rules:
        near = nearest(options.l, made.rules)
        raise InputError(f'Rule "{options.l}" is not loaded' + (f"; did you mean '{near}'?" if near else ""))
    return made


def _describe(options: argparse.Namespace) -> int:
    """-L and -l."""
    from .prepared import read_rules
    from .visible import json_line

    config = _config(options)
    made = _described(options, config, read_rules(rules_of(options, config)))
    say(json_line(made.json(options.l)) if config.json_output else made.text(options.l))
    return OK


def _errors(problems: Iterable[Any]) -> str:
    count = sum(problem.severity == "error" for problem in problems)
    return f"{count} error{'s' * (count != 1)}"


# Running

_CONTAINER: Final = (
    "container_id=%container.id container_image=%container.image.repository "
    "container_image_tag=%container.image.tag container_name=%container.name"
)
_KUBERNETES: Final = f"{_CONTAINER} k8s_ns=%k8s.ns.name k8s_pod_name=%k8s.pod.name"
_PRINTED: Final = {"c": _CONTAINER, "container": _CONTAINER, "k": _KUBERNETES, "kubernetes": _KUBERNETES}


def _printed(options: argparse.Namespace) -> tuple[AppendOutput, ...]:
    """-p: comes before append_output, so that suggested fields are not printed twice."""
    from .config.model import AppendOutput

    return (AppendOutput(extra_output=_PRINTED.get(options.p, options.p)),) if options.p else ()


def _selected(options: argparse.Namespace) -> tuple[Selection, ...]:
    """-D, -T and -t, which count after the selections of the configuration. Raises UsageError."""
    from .config.model import Selection

    if options.t and options.T:
        raise UsageError("You can not specify both disabled (-T) and enabled (-t) rules")
    only = [Selection(False, rule="*")] if options.t else []
    return (
        *(Selection(False, rule=f"*{text}*") for text in options.D),
        *(Selection(False, tag=tag) for tag in options.T),
        *only,
        *(Selection(True, tag=tag) for tag in options.t),
    )


def _check_sources(options: argparse.Namespace) -> None:
    """--enable-source and --disable-source. Raises InputError with Falco's words."""
    wanted, unwanted = options.enable_source, options.disable_source
    if wanted and unwanted:
        raise InputError("You can not mix --enable-source and --disable-source")
    for word, names in (("enabling", wanted), ("disabling", unwanted)):
        for name in names:
            if name != _SOURCE:
                raise InputError(f"Attempted {word} an unknown event source: {name}\n"
                                 f"  What to do: the only source of this build is {_SOURCE}.")  # fmt: skip
    if unwanted:
        raise InputError("Must enable at least one event source")


def default_config() -> str | None:
    from .config import DEFAULT_FILE

    return DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None


def _config(options: argparse.Namespace) -> Config:
    """Raises ConfigError."""
    from dataclasses import replace

    from .config import load
    from .log import Level

    config = load(options.c if options.c is not None else default_config(), options.o)
    if options.U:
        config = replace(config, outputs=replace(config.outputs, buffered=False))
    if options.v:
        config = replace(config, log_level=Level.DEBUG)
    return replace(config, append_output=_printed(options) + config.append_output,
                   rules=config.rules + _selected(options))  # fmt: skip


def rules_of(options: argparse.Namespace, config: Config, skipped: list[str] | None = None) -> list[str]:
    """The rules files to load; `skipped`: see `rule_files`. Raises InputError."""
    files = rule_files(options.r, "-r") if options.r else rule_files(config.rules_files, None, skipped)
    if not files:
        raise InputError(
            "You must specify at least one rules file/directory via -r or a rules_file entry in falco.yaml\n"
            "  What to do: for example, falco-py -r rules/falco_rules.yaml"
        )
    return files


def _input(options: argparse.Namespace) -> Input:
    """What is to run; read again at a reload. Raises ConfigError and InputError."""
    from .config import DEFAULT_FILE
    from .prepared import Input

    config = _config(options)
    main = options.c if options.c is not None else DEFAULT_FILE
    watched = (main, *config.included, *(options.r or config.rules_files))
    skipped: list[str] = []
    return Input(config, rules_of(options, config, skipped), watched, tuple(skipped))


def _start(options: argparse.Namespace) -> int:
    from . import app

    remarks = [
        f"'{word}' belongs to no option and is ignored; rules files are given with -r" for word in options.ignored
    ]
    with _pid_file(None if options.dry_run else options.P):
        return app.run(lambda: _input(options), stop_after_s=options.M, dry_run=options.dry_run, remarks=remarks)


@contextmanager
def _pid_file(path: str | None) -> Iterator[None]:
    """Holds this process's id in `path` for as long as the agent runs. Raises InputError."""
    if path is None:
        yield
        return
    try:
        Path(path).write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise InputError(
            f"{path}: the pid file cannot be written: {error.strerror}\n"
            "  What to do: give -P a file in a directory that exists and may be written to."
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # somebody removed it, or its directory: it is gone, as it should be
            os.unlink(path)


def _dispatch(options: argparse.Namespace) -> int:
    if options.help:
        say(_parser().format_help())
        return OK
    if options.version:
        return _version(options)
    if options.list is not None:
        return _list(options)
    if options.list_events:
        return _list_events(options)
    if options.i:
        return _list_ignored()
    if options.list_plugins:
        return _list_plugins()
    if options.plugin_info is not None:
        return _plugin_info(options.plugin_info)
    if options.page_size:
        say(f"Your system page size is: {os.sysconf('SC_PAGE_SIZE')}")
        return OK
    if options.support:
        return _support(options)
    if options.rule_schema or options.config_schema:
        return _schema(options.rule_schema)
    if options.V:
        return _check_rules(options)
    if options.L or options.l is not None:
        return _describe(options)
    _check_sources(options)
    return _start(options)


def _command(words: Sequence[str]) -> int:
    from . import commands

    return commands.main(words)


def _hold_standard_files() -> None:
    """A standard file that the caller closed becomes /dev/null, so that no file opened later gets its number."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: fd
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    _hold_standard_files()
    try:
        code = _command(words) if words[:1] and words[0] in COMMANDS else _dispatch(parse(words))
        sys.stdout.flush()
        return code
    except UsageError as error:
        complain(f"Error: {error}\nfalco-py --help shows the options")
        return INPUT_WRONG
    except InputError as error:
        complain(f"Error: {error}")
        return INPUT_WRONG
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OK
    except Exception as error:  # noqa: BLE001 - the last place where it can be told in plain words
        return _told(error, verbose="-v" in words or bool(os.environ.get("FALCO_PY_DEBUG")))


def _told(error: Exception, *, verbose: bool) -> int:
    """What went wrong, for the user; returns the exit code. A type that was not imported cannot have been raised."""
    modules: Any = sys.modules
    config, settings = modules.get("falco_py.config"), modules.get("falco_py.config.problem")
    rules, host = modules.get("falco_py.rules.problems"), modules.get("falco_py.kernel.host")
    if rules is not None and isinstance(error, rules.RulesError):
        for problem in error.problems:
            complain(str(problem))
        complain(f"Error: {_errors(error.problems)} in the rules; nothing was started")
        return INPUT_WRONG
    if config is not None and isinstance(error, config.ConfigError):
        complain(f"Error: {error}")
        return INPUT_WRONG
    if settings is not None and isinstance(error, settings.SettingError):
        complain(f"Error: {error}")
        return INPUT_WRONG
    if host is not None and isinstance(error, host.HostError):
        complain(f"Error: {error}")
        return MACHINE_CANNOT
    if verbose:
        import traceback

        traceback.print_exception(error)
    complain(
        f"internal error: {type(error).__name__}: {error}\n  This is a defect of falco-py; -v shows where it happened."
    )
    return INPUT_WRONG
