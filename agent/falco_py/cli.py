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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from . import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .config import Config

OK: Final = 0
INPUT_WRONG: Final = 1
MACHINE_CANNOT: Final = 2

_ABOUT: Final = "Runtime security for Linux: tests Falco rules on what the kernel sees and prints alerts."

# Falco's options that this build does not have, and what to do instead.
_LATER: Final = {
    "-L": "describing rules is not there yet; the rules file itself is the reference",
    "-l": "describing a rule is not there yet; the rules file itself is the reference",
    "-A": "every call that a rule names is watched already",
    "-i": "every call that a rule names is watched",
    "-p": "write the fields into the rules' output instead",
    "-T": "set `enabled: false` for the rules",
    "-t": "set `enabled: false` for the others",
    "-D": "set `enabled: false` for the rule",
    "-g": "captures cannot be replayed yet",
    "--support": "give version, kernel and the log by hand",
    "--config-schema": "there is no schema yet",
    "--rule-schema": "there is no schema yet",
    "--list-plugins": "there are no plugins: their fields are built in",
    "--plugin-info": "there are no plugins: their fields are built in",
    "--enable-source": "the only source is syscall",
    "--disable-source": "the only source is syscall",
    "--page-size": "use `getconf PAGESIZE`",
}


class UsageError(Exception):
    """The command line cannot be understood; the text says why and what to do."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parser() -> _Parser:
    parser = _Parser(
        prog="falco-py", description=_ABOUT, add_help=False, allow_abbrev=False,
        usage="falco-py [-c FILE] [-r RULES]... [-o KEY=VALUE]... [-M SECONDS]",
        epilog="Exit codes: 0 fine, 1 the input is wrong, 2 the machine cannot do it.",
    )  # fmt: skip
    run = parser.add_argument_group("running")
    run.add_argument("-c", metavar="FILE", help="configuration (default: /etc/falco/falco.yaml when it is there)")
    run.add_argument("-r", metavar="PATH", action="append", default=[], help="rules file, or a directory of them; may "
                     "repeat; replaces rules_files of the configuration")  # fmt: skip
    run.add_argument("-o", metavar="KEY=VALUE", action="append", default=[], help="set a value of the configuration, "
                     "such as json_output=true; may repeat")  # fmt: skip
    run.add_argument("-M", metavar="SECONDS", type=float, help="stop after so many seconds")
    run.add_argument("-P", metavar="FILE", help="write the process id to FILE while running")
    run.add_argument("-U", action="store_true", help="write each alert at once, whatever the configuration says")
    run.add_argument("-v", action="store_true", help="log more")
    run.add_argument("--dry-run", action="store_true", help="read configuration and rules, capture nothing")
    check = parser.add_argument_group("checking rules")
    check.add_argument("-V", metavar="PATH", action="append", default=[], help="check rules files and exit; may repeat")
    show = parser.add_argument_group("showing")
    show.add_argument("--list", metavar="SOURCE", nargs="?", const="", help="fields that rules and outputs may use")
    show.add_argument("-N", action="store_true", help="with --list: names only")
    show.add_argument("--list-events", action="store_true", help="event types and their parameters")
    show.add_argument("--format", metavar="FORMAT", help="of --list: text, markdown or json")
    show.add_argument("--markdown", action="store_true", help="the same as --format markdown")
    show.add_argument("--version", action="store_true", help="version of this program")
    show.add_argument("-h", "--help", action="store_true", help="this text")
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError."""
    for word in argv:
        option = word.split("=", 1)[0] if word.startswith("--") else word[:2]
        if option in _LATER:
            raise UsageError(f"{option} is not supported yet: {_LATER[option]}")
    parser = _parser()
    options, rest = parser.parse_known_args(list(argv))
    unknown = [word for word in rest if word.startswith("-") and word != "-"]
    if unknown:
        known = [string for action in parser._actions for string in action.option_strings]
        from .config.problem import nearest

        near = nearest(unknown[0].split("=", 1)[0], known)
        raise UsageError(f"Option '{unknown[0]}' does not exist" + (f"; did you mean '{near}'?" if near else ""))
    return options


def _say(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def _complain(text: str) -> None:
    from .visible import visible

    sys.stderr.write("Error: " + "\n".join(visible(line) for line in text.split("\n")) + "\n")


# Showing


def _version(options: argparse.Namespace) -> int:
    if _config(options).json_output:
        _say(json.dumps({"falco_version": __version__, "engine_version": "63", "engine_version_semver": "0.63.0",
                         "machine": platform.machine()}))  # fmt: skip
    else:
        _say(f"Falco-py version: {__version__}\nFalco engine:     0.63.0\nMachine:          {platform.machine()}")
    return OK


def _list(options: argparse.Namespace) -> int:
    from .fields import listing

    form = "markdown" if options.markdown else options.format or "text"
    makers = {"text": listing.list_text, "markdown": listing.list_markdown, "json": listing.list_json}
    if form not in makers:
        raise UsageError(f"Invalid format '{form}'. Valid values are: text, markdown, json")
    try:
        _say(makers[form](options.list or None, options.N))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return OK


def _list_events() -> int:
    from .events.syscalls import ROWS

    lines = []
    for name, row in sorted(ROWS.items()):
        params = ", ".join(f"{p.type} {p.name}" for p in row.params if not p.name.startswith("_"))
        lines.append(f"{name}({params})")
    _say("\n".join(lines))
    return OK


# Rules


def _rule_files(paths: Sequence[str], asked: bool) -> list[str]:
    """Files, and the .yaml and .yml files of directories. `asked`: what is missing is an error, else it is skipped.

    Raises UsageError.
    """
    files: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            try:
                names = sorted(os.listdir(path))
            except OSError as error:
                raise UsageError(f"{path}: cannot be listed: {error.strerror}") from None
            files += [os.path.join(path, name) for name in names if name.endswith((".yaml", ".yml"))]
        elif os.path.exists(path):
            files.append(path)
        elif asked:
            raise UsageError(f"Could not open file {path} for reading: it does not exist\n"
                             "  What to do: check the path given with -r")  # fmt: skip
    return files


def _check_rules(options: argparse.Namespace) -> int:
    """-V: each file is checked together with those before it."""
    from .app import read_rules
    from .rules.bundle import load
    from .rules.problems import RulesError

    paths = _rule_files(options.V, asked=True)
    files = read_rules(paths)
    bad = False
    for index, (name, _) in enumerate(files):
        try:
            problems = [p for p in load(files[: index + 1]).warnings if p.file == name]
            _say(f"{name}: Ok, with warnings" if problems else f"{name}: Ok")
        except RulesError as error:
            bad = True
            problems = list(error.problems)
            _say(f"{name}: Invalid")
        errors = [p for p in problems if p.severity == "error"]
        warnings = [p for p in problems if p.severity != "error"]
        for what, found in (("Errors", errors), ("Warnings", warnings)):
            if found:
                _say(f"{len(found)} {what}:")
                for problem in found:
                    _say(str(problem))
        if bad:
            break
    return INPUT_WRONG if bad else OK


# Running


def _config(options: argparse.Namespace) -> Config:
    """Raises ConfigError."""
    from dataclasses import replace

    from .config import DEFAULT_FILE, load
    from .log import Level, log

    path = options.c
    if path is None and os.path.exists(DEFAULT_FILE):
        path = DEFAULT_FILE
    config = load(path, options.o)
    if options.U:
        config = replace(config, buffered_outputs=False)
    level = Level.DEBUG if options.v else config.log_level
    log.configure(level=level, iso=config.time_format_iso_8601, enabled=config.log_stderr)
    return config


def _start(options: argparse.Namespace) -> int:
    from . import app
    from .log import log

    config = _config(options)
    if options.M is not None and not options.M >= 0:
        raise UsageError("-M takes a number of seconds that is not negative")
    files = _rule_files(options.r, asked=True) if options.r else _rule_files(config.rules_files, asked=False)
    if not files:
        raise UsageError(
            "You must specify at least one rules file/directory via -r or a rules_file entry in falco.yaml\n"
            "  What to do: falco-py -r rules/falco_rules.yaml"
        )
    if not config.stdout_output_enabled:
        raise UsageError("No output configured, please make sure at least one output is configured and enabled.\n"
                         "  What to do: set stdout_output.enabled to true")  # fmt: skip
    if config.files:
        log.info("Falco-py initialized with configuration files:")
        for name in config.files:
            log.info(f"   {name}")
    else:
        log.info("No configuration file: built-in defaults are used")
    for text in config.warnings:
        log.warning(text)
    for text in config.notices:
        log.notice(text)
    pid_file = Path(options.P) if options.P and not options.dry_run else None
    if pid_file is not None:
        _write_pid(pid_file)
    try:
        return app.run(config, files, stop_after_s=options.M, dry_run=options.dry_run)
    finally:
        if pid_file is not None:
            pid_file.unlink(missing_ok=True)


def _write_pid(path: Path) -> None:
    try:
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise UsageError(f"{path}: the pid file cannot be written: {error.strerror}") from None


def _dispatch(options: argparse.Namespace) -> int:
    if options.help:
        _say(_parser().format_help())
        return OK
    if options.version:
        return _version(options)
    if options.list is not None:
        return _list(options)
    if options.list_events:
        return _list_events()
    if options.V:
        return _check_rules(options)
    return _start(options)


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(parse(words))
    except UsageError as error:
        _complain(f"{error}\nfalco-py --help shows the options")
        return INPUT_WRONG
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OK
    except Exception as error:  # noqa: BLE001 - the last place where it can be told in plain words
        return _told(error, words)


def _told(error: Exception, words: Sequence[str]) -> int:
    """What went wrong, for the user. Types are looked up only when they can have been raised."""
    modules: Any = sys.modules
    config, app = modules.get("falco_py.config"), modules.get("falco_py.app")
    rules, host = modules.get("falco_py.rules.problems"), modules.get("falco_py.kernel.host")
    if rules is not None and isinstance(error, rules.RulesError):
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        errors = sum(problem.severity == "error" for problem in error.problems)
        _complain(f"{errors} error{'s' * (errors != 1)} in the rules; nothing was started")
        return INPUT_WRONG
    if (config is not None and isinstance(error, config.ConfigError)) or (
        app is not None and isinstance(error, app.RulesFileError)
    ):
        _complain(str(error))
        return INPUT_WRONG
    if host is not None and isinstance(error, host.HostError):
        _complain(str(error))
        return MACHINE_CANNOT
    if "-v" in words or os.environ.get("FALCO_PY_DEBUG"):
        import traceback

        traceback.print_exc()
    _complain(
        f"internal error: {type(error).__name__}: {error}\nThis is a defect of falco-py; -v shows where it happened"
    )
    return INPUT_WRONG


if __name__ == "__main__":
    sys.exit(main())
