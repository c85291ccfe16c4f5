# SPDX-License-Identifier: Apache-2.0
"""The sub-commands: `falco-py explain`, `test`, `record` and `doctor`.

They take Falco's own options where those mean something (-c, -r, -o). Invariant: only `record` needs root and a kernel.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .options import (
    INPUT_WRONG,
    OK,
    Parser,
    UsageError,
    complain,
    count,
    default_config,
    nearest_option,
    rule_files,
    rules_of,
    say,
    seconds,
)
from .prepared import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from .config import Config
    from .rules.places import Where
    from .support.finding import Question
    from .trials.coverage import Coverage
    from .trials.events import Written
    from .trials.load import Trials
    from .trials.suite import Result, Suite


_STDIN: Final = "-"
_MAX_FILE_BYTES: Final = 64 << 20


def main(words: Sequence[str]) -> int:
    """`words` begin with the name of the sub-command. Raises as cli does."""
    name = words[0]
    made = parser(name)
    options = _parsed(made, words[1:])
    if options.help:
        say(made.format_help())
        return OK
    return {"explain": _explain, "test": _test, "record": _record, "doctor": _doctor}[name](options)


def parser(name: str) -> Parser:
    """What a sub-command understands."""
    made = {"explain": _explain_parser, "test": _test_parser, "record": _record_parser, "doctor": _doctor_parser}
    return made[name]()


def _parser(name: str, about: str, usage: str) -> Parser:
    parser = Parser(prog=f"falco-py {name}", description=about, add_help=False, allow_abbrev=False, usage=usage)
    parser.add_argument("-c", metavar="FILE", help="configuration (default: /etc/falco/falco.yaml when it is there)")
    parser.add_argument("-r", metavar="PATH", action="append", default=[], help="rules file, or a directory of them; "
                        "may repeat")  # fmt: skip
    parser.add_argument("-o", metavar="KEY=VALUE", action="append", default=[], help="set a value of the "
                        "configuration; json_output=true gives JSON")  # fmt: skip
    parser.add_argument("-h", "--help", action="store_true", help="this text")
    return parser


def _parsed(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError."""
    options, rest = parser.parse_known_args(list(words))
    for word in rest:
        near = nearest_option(parser, word)
        what = f"Option '{word}' does not exist" if word.startswith("-") else f"'{word}' is one word too many"
        raise UsageError(what + (near or f"; {parser.prog} --help shows the options"))
    return options


def _config(options: argparse.Namespace) -> Config:
    """Raises ConfigError."""
    from .config import load
    from .log import log

    config = load(options.c if options.c is not None else default_config(), options.o)
    log.configure(level=config.log_level, iso=config.time_format_iso_8601, enabled=config.log_stderr)
    return config


def _read(path: str) -> tuple[str, str]:
    """(name, text) of a file, or of standard input for `-`. Raises InputError."""
    try:
        if path == _STDIN:
            data = sys.stdin.buffer.read(_MAX_FILE_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}\n  What to do: check the path and its permissions."
                         ) from None  # fmt: skip
    if len(data) > _MAX_FILE_BYTES:
        raise InputError(f"{path}: the file is larger than {_MAX_FILE_BYTES >> 20} MiB")
    return ("<stdin>" if path == _STDIN else path), data.decode("utf-8", "surrogateescape")


# explain

_EXPLAIN: Final = (
    "Shows what a rule asks, which events it runs on, what of it the kernel filters and, given an event, what holds of "
    "each part of its condition and which part decided. With --cost: what the rules of a running agent cost."
)


def _explain_parser() -> Parser:
    from .web.status import DEFAULT_PATH

    parser = _parser("explain", _EXPLAIN, "falco-py explain RULE [--event FILE] [-r RULES]... [-o KEY=VALUE]...\n"
                     "       falco-py explain --cost [--socket PATH]")  # fmt: skip
    parser.add_argument("rule", metavar="RULE", nargs="?", help="name of the rule; an alert names its own")
    parser.add_argument("--event", metavar="FILE", help="an alert in JSON, recorded events (one a line), or fields and "
                        "their values in YAML; - reads standard input")  # fmt: skip
    parser.add_argument("--type", metavar="TYPE", help="evt.type of events that do not say it")
    parser.add_argument("--complete", action="store_true", help="what the event does not say is missing, not unknown")
    parser.add_argument("--python", action="store_true", help="show the Python that the rule, or without RULE all "
                        "enabled rules, became")  # fmt: skip
    parser.add_argument("--cost", action="store_true", help="rank the rules of a running agent by what they cost it")
    parser.add_argument("--socket", metavar="PATH", help=f"where --cost asks the agent (default: {DEFAULT_PATH})")
    return parser


def _explain(options: argparse.Namespace) -> int:
    from .prepared import read_rules, rules_options
    from .trials.explain import Explanation, python
    from .trials.load import Trials
    from .visible import json_line

    config = _config(options)
    if options.cost:
        return _cost(options, config)
    if options.socket is not None:
        raise UsageError("--socket says where --cost asks; give --cost, too")
    files = read_rules(rules_of(options, config))
    if options.python:
        rules_options(config)  # makes the fields of static_fields
        try:
            say(python(files, options.rule, config.rule_matching))
        except KeyError:
            _no_rule(options.rule, Trials(files).rules)
        return OK
    trials = Trials(files, **rules_options(config), complete=options.complete)
    written = _events(options, trials)
    by_rule: dict[str, list[Written]] = {}
    for one in written:  # without RULE each alert is explained by its own
        by_rule.setdefault(options.rule or one.rule, []).append(one)
    if options.rule is not None:
        by_rule.setdefault(options.rule, [])
    if not by_rule or "" in by_rule:
        raise UsageError("explain needs the name of a rule: falco-py explain 'RULE' -r RULES; -L lists the rules")
    made = []
    for name, mine in by_rule.items():
        if name not in trials.rules:
            _no_rule(name, trials.rules)
        events = [(one, one.given(assume=False, event_type=options.type)) for one in mine]
        made.append(Explanation(trials, name, events))
    if config.json_output:
        say("\n".join(json_line(one.json()) for one in made))
    else:
        say("\n\n".join(one.text() for one in made))
    return OK


def _cost(options: argparse.Namespace, config: Config) -> int:
    """Raises InputError and UsageError."""
    from .trials.ranking import ranking
    from .visible import json_line
    from .web.status import VARIABLE, StatusError, ask, socket_path

    if options.rule is not None or options.event is not None or options.python or options.type is not None:
        raise UsageError("--cost ranks the rules of a running agent; it goes with --socket and -o only")
    path = socket_path() if options.socket is None else options.socket
    try:
        told = ask(path)
        text = json_line(told) if config.json_output else ranking(told)
    except StatusError as problem:
        raise InputError(
            f"no agent answers on {path or 'a socket, because ' + VARIABLE + ' is empty'}: {problem}\n"
            "  What to do: start the agent (falco-py -r RULES, as root) and ask as the same user; if it listens "
            f"elsewhere ({VARIABLE}), give the path with --socket. When it cannot, its log says why."
        ) from None
    say(text)
    return OK


def _no_rule(name: str, rules: dict[str, Any]) -> None:
    """Raises InputError."""
    from .config.problem import nearest

    near = nearest(name, rules)
    raise InputError(f'there is no rule "{name}"' + (f"; did you mean '{near}'?" if near else "; -L lists the rules"))


def _events(options: argparse.Namespace, trials: Trials) -> list[Written]:
    """Raises InputError and UsageError."""
    from .trials.documents import FileError
    from .trials.events import chosen_type, read_events
    from .trials.given import GivenError

    if options.type is not None:
        try:
            chosen_type(options.type, trials.catalogue)
        except GivenError as wrong:
            raise UsageError(f"Option '--type': {wrong.message}{f'; {wrong.hint}' if wrong.hint else ''}") from None
    if options.event is None:
        if options.type is not None or options.complete:
            raise UsageError("--type and --complete say something about an event; give it with --event")
        return []
    try:
        return read_events(*_read(options.event), trials.catalogue)
    except FileError as problem:
        raise InputError(str(problem)) from None


# test

_TEST: Final = "Runs tests of rules: written events, and the alerts that they must give."


def _test_parser() -> Parser:
    parser = _parser("test", _TEST, "falco-py test FILE... [--coverage] [-r RULES]... [-o KEY=VALUE]...")
    parser.add_argument("files", metavar="FILE", nargs="*", help="YAML file of tests")
    parser.add_argument("--coverage", action="store_true", help="also tell which rules never fired, which comparisons "
                        "were never true, and which exceptions never applied")  # fmt: skip
    return parser


def _test(options: argparse.Namespace) -> int:
    from .visible import json_line

    if not options.files:
        raise UsageError("test needs a file of tests: falco-py test my_tests.yaml -r RULES")
    config = _config(options)
    results: list[Result] = []
    covers: list[Coverage] = []
    broken: list[str] = []
    for path in options.files:
        try:
            made, cover = _one_file(path, options, config)
        except InputError as error:
            broken.append(str(error))
            continue
        results += made
        covers.append(cover)
        if not config.json_output:
            for one in made:
                say(one.text())
    failed = sum(not one.passed for one in results)
    if config.json_output:
        told: dict[str, Any] = {"tests": [one.json() for one in results], "passed": len(results) - failed,
                                "failed": failed, "errors": broken}  # fmt: skip
        if options.coverage:
            told["coverage"] = [one.json() for one in covers]
        say(json_line(told))
    else:
        for cover in covers if options.coverage else ():
            say("\n" + cover.text())
        say(f"{len(results) - failed} passed, {failed} failed" + (f", {len(broken)} not run" if broken else ""))
    sys.stdout.flush()
    for text in broken:
        complain(f"Error: {text}")
    return INPUT_WRONG if failed or broken else OK


def _one_file(path: str, options: argparse.Namespace, config: Config) -> tuple[list[Result], Coverage]:
    """Raises InputError and RulesError."""
    from .trials.coverage import Coverage
    from .trials.documents import FileError
    from .trials.given import GivenCatalogue
    from .trials.suite import Reader, check_names, run

    catalogue = GivenCatalogue()
    beside = Path() if path == _STDIN else Path(path).parent
    try:
        suite = Reader(catalogue, lambda name, where: _beside(beside, name, where)).suite(*_read(path))
        trials = _trials(suite, beside, options, config)
        check_names(suite, trials)
        cover = Coverage(trials)
        seen: Callable[[Any], None] = cover.event if options.coverage else lambda _: None
        return [run(test, trials, seen) for test in suite.tests], cover
    except FileError as problem:
        raise InputError(str(problem)) from None


def _beside(directory: Path, name: str, where: Where) -> tuple[str, str]:
    """A file that a test file names. Raises FileError."""
    from .trials.documents import FileError

    try:
        return _read(str(directory / name))
    except InputError as error:
        raise FileError(where, str(error).splitlines()[0]) from None


def _trials(suite: Suite, beside: Path, options: argparse.Namespace, config: Config) -> Trials:
    """The rules of -r, else those that the file names, else those of the configuration. Raises FileError."""
    from .prepared import read_rules, rules_options
    from .rules.priority import Priority
    from .trials.documents import FileError
    from .trials.load import Trials

    if options.r or not suite.rules_files:
        paths = rules_of(options, config)
    else:
        paths = []
        for name, where in suite.rules_files:
            try:
                paths += rule_files([os.path.normpath(beside / name)], "rules_files")
            except InputError as error:
                raise FileError(where, str(error).splitlines()[0]) from None
    settings = rules_options(config)
    settings["selections"] = (*settings["selections"], *suite.selections)
    settings["rule_matching"] = suite.rule_matching or settings["rule_matching"]
    return Trials(read_rules(paths), **settings, min_priority=Priority(config.priority), complete=True)


# record

_RECORD: Final = (
    "Writes the events of this machine that the rules look at, a line of JSON each with the values of all fields, for "
    "explain and test. Needs root, as watching does."
)
_MOST: Final = 1000


def _record_parser() -> Parser:
    parser = _parser("record", _RECORD, "falco-py record [-w FILE] [--rule RULE] [--type TYPE]... [-r RULES]...")
    parser.add_argument(
        "-w", metavar="FILE", help="write to FILE, which must not be there yet (default: standard output)"
    )
    parser.add_argument("--rule", metavar="RULE", help="only events that this rule looks at")
    parser.add_argument("--type", metavar="TYPE", action="append", default=[], help="only events of this evt.type; may "
                        "repeat")  # fmt: skip
    parser.add_argument("--firing", action="store_true", help="only events that a rule fires on")
    parser.add_argument(
        "-n", metavar="COUNT", type=count, default=_MOST, help=f"stop after COUNT events (default {_MOST})"
    )
    parser.add_argument("-M", metavar="SECONDS", type=seconds, help="stop after so many seconds")
    return parser


def _record(options: argparse.Namespace) -> int:
    from . import app
    from .config.problem import nearest
    from .events.syscalls import ROWS

    for name in options.type:
        if name not in ROWS:
            near = nearest(name, ROWS)
            raise UsageError(
                f"Option '--type': unknown event type {name}" + (f"; did you mean '{near}'?" if near else "")
            )
    config = _config(options)
    files = rules_of(options, config)
    if options.rule is not None:
        from .prepared import read_rules, rules_options
        from .trials.load import Trials

        known = Trials(read_rules(files), **rules_options(config)).rules
        if options.rule not in known:
            _no_rule(options.rule, known)
        if not known[options.rule].enabled:
            raise InputError(f'rule "{options.rule}" is disabled, so nothing is recorded for it')
    with _sink(options.w) as write:
        count = app.record(config, files, write, rule=options.rule, types=frozenset(options.type),
                           firing=options.firing, most=options.n, stop_after_s=options.M)  # fmt: skip
    complain(f"{count} events recorded" + (f" in {options.w}" if options.w else ""))
    return OK


@contextmanager
def _sink(path: str | None) -> Iterator[Callable[[str], None]]:
    """Lines go to a new file that only its owner may read: arguments of commands can hold secrets.

    Raises InputError.
    """
    if path is None:

        def write_out(line: str) -> None:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

        yield write_out
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}\n"
                         "  What to do: give -w a new file in a directory that exists.") from None  # fmt: skip
    with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as file:

        def write_file(line: str) -> None:
            file.write(line + "\n")

        yield write_file


# doctor

_DOCTOR: Final = (
    "Tries what the agent needs, on this machine and with this configuration, and says what works, what does not and "
    "what to do. No alert is sent, and whatever is tried is put back."
)


def _doctor_parser() -> Parser:
    parser = _parser("doctor", _DOCTOR, "falco-py doctor [-c FILE] [-r RULES]... [-o KEY=VALUE]... [--json]")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    return parser


def question(options: argparse.Namespace) -> Question:
    """What `doctor` and --support look at."""
    from .prepared import rules_options
    from .support.finding import Question

    path = options.c if options.c is not None else default_config()
    return Question(path, tuple(options.o), tuple(options.r), rules_options)


def _doctor(options: argparse.Namespace) -> int:
    from .support.doctor import examine
    from .visible import json_line

    report = examine(question(options))
    say(json_line(report.json()) if options.json else report.text())
    return report.exit_code
