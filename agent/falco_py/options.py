# SPDX-License-Identifier: Apache-2.0
"""Words of the command line become options, and options a configuration and rules files.

Exit codes: 0 fine, 1 the input is wrong, 2 the machine cannot do it. Invariant: what is wrong is raised as UsageError
or prepared.InputError, whose texts say what to do.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from .prepared import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .config import Config
    from .config.model import AppendOutput, Selection
    from .prepared import Input

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
FORMATS: Final = ("text", "markdown", "json")

_ABOUT: Final = "Runtime security for Linux: tests Falco rules on what the kernel sees and prints alerts."

# Falco's options that this build does not have, and what to do instead.
_LATER: Final = {
    "-A": "every call that a rule names is watched already",
    "-g": "captures cannot be replayed yet",
}
SOURCE: Final = "syscall"  # the only one that events come from


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


def falco_parser() -> Parser:
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
    parser = falco_parser()
    options, rest = parser.parse_known_args(list(argv))
    options.ignored = [word for word in rest if not word.startswith("-") or word in ("-", "--")]
    for word in rest:
        if word in options.ignored:
            continue
        option = word.split("=", 1)[0] if word.startswith("--") else word[:2]
        if option in _LATER:
            raise UsageError(f"Option '{option}' is not supported yet: {_LATER[option]}")
        raise UsageError(f"Option '{word}' does not exist" + nearest_option(parser, word))
    return options


def nearest_option(parser: Parser, word: str) -> str:
    """A question about the option that is most like `word`; empty when none is."""
    from .config.problem import nearest

    known = [string for action in parser._actions for string in action.option_strings]
    near = nearest(word.split("=", 1)[0], known)
    return f"; did you mean '{near}'?" if near else ""


def say(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def complain(text: str) -> None:
    from .log import Level, is_journal
    from .visible import visible

    head = f"<{int(Level.ERROR)}>" if is_journal(2) else ""
    sys.stderr.write("".join(f"{head}{visible(line)}\n" for line in text.split("\n")))


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


def check_sources(options: argparse.Namespace) -> None:
    """--enable-source and --disable-source. Raises InputError with Falco's words."""
    wanted, unwanted = options.enable_source, options.disable_source
    if wanted and unwanted:
        raise InputError("You can not mix --enable-source and --disable-source")
    for word, names in (("enabling", wanted), ("disabling", unwanted)):
        for name in names:
            if name != SOURCE:
                raise InputError(f"Attempted {word} an unknown event source: {name}\n"
                                 f"  What to do: the only source of this build is {SOURCE}.")  # fmt: skip
    if unwanted:
        raise InputError("Must enable at least one event source")


def default_config() -> str | None:
    from .config import DEFAULT_FILE

    return DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None


def config_of(options: argparse.Namespace) -> Config:
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


def input_of(options: argparse.Namespace) -> Input:
    """What is to run; read again at a reload. Raises ConfigError and InputError."""
    from .config import DEFAULT_FILE
    from .prepared import Input

    config = config_of(options)
    main = options.c if options.c is not None else DEFAULT_FILE
    paths = tuple(options.r or config.rules_files)
    skipped: list[str] = []
    files = rules_of(options, config, skipped)
    return Input(config, files, (main, *config.included, *paths), tuple(skipped), paths)
