# SPDX-License-Identifier: Apache-2.0
"""Configuration and rules files become all that the agent needs of them to run, checked as far as possible.

Made at the start, and beside the running agent at a reload. Invariant: nothing that runs is touched.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from .background import Background
    from .config import Config
    from .engine.drops import Watched
    from .engine.watching import Fingerprint
    from .kernel.pushdown import Plan
    from .outputs.output import Output
    from .rules.bundle import Bundle


class InputError(Exception):
    """What the command line names cannot be used; the text says why and what to do."""


class RulesFileError(InputError):
    """A rules file that cannot be read."""


@dataclass(frozen=True, slots=True)
class Input:
    """What the command line and falco.yaml name. `watched`: the files and directories it all came from.

    `skipped`: lines about rules files that are not there.
    """

    config: Config
    rules_files: Sequence[str]
    watched: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """`outputs`: those that are new or set up otherwise than before; `seen`: the files when they were read."""

    input: Input
    bundle: Bundle
    plan: Plan
    outputs: Mapping[str, Output]
    settings: Mapping[str, Hashable]  # of all outputs, see outputs.build
    seen: Fingerprint
    wanted: frozenset[str]  # event types that the kernel must tell
    digests: Mapping[str, str]  # sha256 of the files, in hexadecimal, when metrics tell them

    @property
    def config(self) -> Config:
        return self.input.config


def read_rules(paths: Sequence[str]) -> list[tuple[str, str]]:
    """(name, text) of each file. Raises RulesFileError with the reason and what to do."""
    files = []
    for path in paths:
        try:
            files.append((path, Path(path).read_text(encoding="utf-8", errors="surrogateescape")))
        except OSError as error:
            raise RulesFileError(
                f"{path}: cannot be read: {error.strerror}\n"
                "  What to do: check the path given with -r (or rules_files in falco.yaml) and its permissions."
            ) from error
    return files


def rules_options(config: Config) -> dict[str, Any]:
    """What the configuration says about loading rules. Makes the fields of `static_fields`."""
    from .fields import catalogue

    catalogue.set_static(dict(config.static_fields))
    return {
        "rule_matching": config.rule_matching,
        "extra_output": config.append_output,
        "selections": config.rules,
        "base64": config.buffer_format_base64,
    }


def load_rules(config: Config, paths: Sequence[str]) -> Bundle:
    """Raises RulesFileError or rules.RulesError."""
    from .rules.bundle import load
    from .rules.priority import Priority

    files = read_rules(paths)
    log.info("Loading rules from:")
    for path in paths:
        log.info(f"   {path}")
    for selection in config.rules:
        log.info(str(selection))
    bundle = load(files, min_priority=Priority(config.priority), **rules_options(config))
    for warning in bundle.warnings:
        for line in str(warning).split("\n"):
            log.warning(line)
    if config.capture_enabled:
        _tell_of_captures(config, bundle)
    return bundle


def _tell_of_captures(config: Config, bundle: Bundle) -> None:
    """Whoever asked for captures must know that there are none, and for which rules."""
    asking = [rule.name for rule in bundle.rules if rule.capture]
    if config.capture_mode == "all_rules":
        log.warning("capture.mode is all_rules, but this build writes no captures: alerts come without them")
    elif asking:
        log.warning(f"{len(asking)} rules say 'capture: true', but this build writes no captures: alerts of these come "
                    f"without them: {', '.join(asking)}")  # fmt: skip


# Falco's default: I/O calls reach only the rules that name them, not those that run on every event.
IGNORED_IO = frozenset(
    ["pread", "preadv", "pwrite", "pwritev", "read", "readv", "recv", "send", "sendfile", "write", "writev"]
)
_EVERY_EVENT = 200  # a condition that allows more event types than this does not name them


def wanted_events(bundle: Bundle) -> frozenset[str]:
    """The event types that the kernel must tell for these rules."""
    wanted: set[str] = set()
    for rule in bundle.rules:
        types = rule.event_types
        wanted |= types - IGNORED_IO if len(types) > _EVERY_EVENT else types
    return frozenset(wanted) & bundle.event_types


def watched_rules(bundle: Bundle) -> list[Watched]:
    """What each rule may miss when events are lost."""
    from .engine.drops import Watched
    from .kernel.tables import classes_of

    return [Watched(rule.name, rule.priority, classes_of(rule.event_types)) for rule in bundle.rules]


def plan_of(bundle: Bundle) -> Plan:
    """What the kernel may drop. Tells of rules that cost much or are not compared whole there."""
    from .kernel.pushdown import Rule as Asked
    from .kernel.pushdown import plan
    from .kernel.widening import notice

    made = plan(Asked(rule.name, rule.event_types, rule.tree, rule.priority) for rule in bundle.rules)
    if costly := made.every_read:
        log.notice(
            f"{len(costly)} rules look at every file opened for reading, because their conditions name no path that "
            f"the kernel could compare: {', '.join(costly)}"
        )
    if widened := notice(made.widened):
        log.notice(widened)
    return made


def prepare(
    read: Input, before: Mapping[str, Hashable], background: Background, on_gone: Callable[[], None] = lambda: None,
    seen: Fingerprint | None = None,
) -> Prepared:  # fmt: skip
    """`before`: the settings of the outputs that run; `on_gone`: see outputs.build; `seen`: taken before reading.

    Raises RulesFileError, rules.RulesError and config.problem.SettingError.
    """
    from .engine.watching import fingerprint
    from .outputs import build

    seen = fingerprint(read.watched) if seen is None else seen
    outputs = build.make(read.config, before, background, on_gone)
    web = read.config.webserver
    if web is not None and web.ssl_enabled:
        from .web.server import tls

        tls(web.ssl_certificate)
    bundle = load_rules(read.config, read.rules_files)
    plan = plan_of(bundle)
    digests = digests_of([*read.config.files, *read.rules_files]) if read.config.metrics is not None else {}
    return Prepared(read, bundle, plan, outputs, build.settings(read.config), seen, wanted_events(bundle), digests)


def digests_of(files: Sequence[str]) -> dict[str, str]:
    import hashlib

    found = {}
    for file in files:
        with suppress(OSError):  # it was there when it was read
            found[file] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return found


def set_up_log(config: Config) -> None:
    from .syslog import Syslog

    log.configure(
        level=config.log_level,
        iso=config.time_format_iso_8601,
        enabled=config.log_stderr,
        as_json=config.log_json,
        syslog=Syslog(timeout_s=0) if config.log_syslog else None,
    )


def announce(read: Input) -> None:
    """Tells which files were read, and what of them has no effect."""
    config = read.config
    if config.files:
        log.info("Falco-py initialized with configuration files:")
        for name in config.files:
            log.info(f"   {name}")
    else:
        log.info("No configuration file: the built-in configuration is used")
    for text in config.warnings:
        log.warning(text)
    for text in config.notices:
        log.notice(text)
    for text in read.skipped:
        log.debug(text)


def told(error: Exception) -> tuple[str, str] | None:
    """What is wrong with the input, for the user: details, which may be empty, and the sum of them, both one line or
    more; None when it is not the input's fault.
    """
    from .config import ConfigError
    from .config.problem import SettingError
    from .rules.problems import RulesError

    if isinstance(error, RulesError):
        count = sum(problem.severity == "error" for problem in error.problems)
        return "\n".join(map(str, error.problems)), f"{count} error{'s' * (count != 1)} in the rules"
    if isinstance(error, ConfigError | SettingError | InputError):
        return "", str(error)
    return None
