# SPDX-License-Identifier: Apache-2.0
"""Configuration and rules files become all that the agent needs of them to run, checked as far as possible.

Made at the start, and beside the running agent at a reload. Invariant: nothing that runs is touched.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from .background import Background
    from .config import Config
    from .engine.drops import Watched
    from .engine.overlay import Overlay
    from .engine.watching import Fingerprint
    from .kernel.pushdown import Plan
    from .outputs.output import Output
    from .rules.bundle import Bundle
    from .ruleset import File, LeftOut


class InputError(Exception):
    """What the command line names cannot be used; the text says why and what to do."""


class RulesFileError(InputError):
    """A rules file that cannot be read."""


@dataclass(frozen=True, slots=True)
class Input:
    """What the command line and falco.yaml name. `watched`: the files and directories it all came from.

    `rules_paths`: what `rules_files` are found by; `overlay`: files that are not read from the disk; `skipped`: lines
    about rules files that are not there.
    """

    config: Config
    rules_files: Sequence[str]
    watched: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    rules_paths: tuple[str, ...] = ()
    overlay: Overlay | None = None

    def under(self, overlay: Overlay | None) -> Input:
        """The same with the rules files as `overlay` has them. Raises InputError when there are none."""
        if overlay is None:
            return self
        from .engine.overlay import files_of

        files = [file for path in self.rules_paths for file in files_of(path, overlay)]
        if not files:
            raise InputError(
                f"no rules file is left, as there is none for {overlay.directory} in the ConfigMap\n"
                "  What to do: put a key into it that ends in .yaml."
            )
        return replace(self, rules_files=files, overlay=overlay)


@dataclass(frozen=True, slots=True)
class Prepared:
    """`outputs`: those that are new or set up otherwise than before; `seen`: the files when they were read.

    `rules_digest`: of the rules files in use, see ruleset; `left_out`: those that are not, because they are broken.
    """

    input: Input
    bundle: Bundle
    plan: Plan
    outputs: Mapping[str, Output]
    settings: Mapping[str, Hashable]  # of all outputs, see outputs.build
    seen: Fingerprint
    wanted: frozenset[str]  # event types that the kernel must tell
    digests: Mapping[str, str]  # sha256 of the files, in hexadecimal, when metrics tell them
    rules_digest: str = ""
    left_out: tuple[LeftOut, ...] = ()

    @property
    def config(self) -> Config:
        return self.input.config


def read_rules(paths: Sequence[str], overlay: Overlay | None = None) -> list[File]:
    """(name, text) of each file. Raises RulesFileError with the reason and what to do."""
    return [(path, _text(path, overlay)) for path in paths]


def _text(path: str, overlay: Overlay | None) -> str:
    text = None if overlay is None else overlay.text(path)
    if text is not None:
        return text.replace("\r\n", "\n").replace("\r", "\n")  # as reading a file does
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise RulesFileError(
            f"{path}: cannot be read: {error.strerror}\n"
            "  What to do: check the path given with -r (or rules_files in falco.yaml) and its permissions."
        ) from error


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
    return _load(config, read_rules(paths))


def _load(config: Config, files: Sequence[File]) -> Bundle:
    _announce_rules(config, files)
    return _told(config, _loaded(config, files))


def _announce_rules(config: Config, files: Sequence[File]) -> None:
    log.info("Loading rules from:")
    for path, _ in files:
        log.info(f"   {path}")
    for selection in config.rules:
        log.info(str(selection))


def _loaded(config: Config, files: Sequence[File]) -> Bundle:
    from .rules.bundle import load
    from .rules.priority import Priority

    return load(files, min_priority=Priority(config.priority), **rules_options(config))


def _told(config: Config, bundle: Bundle) -> Bundle:
    for warning in bundle.warnings:
        for line in str(warning).split("\n"):
            log.warning(line)
    if config.capture_enabled:
        _tell_of_captures(config, bundle)
    return bundle


def _load_rest(config: Config, paths: Sequence[str]) -> tuple[Bundle, list[File], list[LeftOut]]:
    """What can be loaded of the files, and those that cannot. Raises RulesFileError or rules.RulesError when nothing
    can be.
    """
    from .rules.problems import RulesError
    from .ruleset import LeftOut, Mistake, without_broken

    files: list[File] = []
    left_out: list[LeftOut] = []
    unreadable: RulesFileError | None = None
    for path in paths:
        try:
            files += read_rules([path])
        except RulesFileError as error:
            unreadable = unreadable or error
            left_out.append(
                LeftOut(path, Mistake(path, str(error).split("\n")[0].removeprefix(f"{path}: ")), str(error))
            )
    if unreadable is not None and not files:
        raise unreadable
    _announce_rules(config, files)
    try:
        bundle = _loaded(config, files)
    except RulesError as error:
        bundle, files, broken = without_broken(files, lambda some: _loaded(config, some), error)
        left_out += broken
    for one in left_out:
        for line in one.details.split("\n"):
            log.error(line)
        log.error(f"{one.file} is left out: the agent starts with the other rules files")
    return _told(config, bundle), files, left_out


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
    seen: Fingerprint | None = None, *, skip_broken: bool = False,
) -> Prepared:  # fmt: skip
    """`before`: the settings of the outputs that run; `on_gone`: see outputs.build; `seen`: taken before reading;
    `skip_broken`: rules files with mistakes are left out.

    Raises RulesFileError, rules.RulesError and config.problem.SettingError.
    """
    from .engine.watching import fingerprint
    from .outputs import build
    from .ruleset import digest

    seen = fingerprint(read.watched, read.overlay) if seen is None else seen
    outputs = build.make(read.config, before, background, on_gone)
    web = read.config.webserver
    if web is not None and web.ssl_enabled:
        from .web.server import tls

        tls(web.ssl_certificate)
    left_out: list[LeftOut] = []
    if skip_broken:
        bundle, files, left_out = _load_rest(read.config, read.rules_files)
        read = replace(read, rules_files=[name for name, _ in files])
    else:
        files = read_rules(read.rules_files, read.overlay)
        bundle = _load(read.config, files)
    return Prepared(
        read, bundle, plan_of(bundle), outputs, build.settings(read.config), seen, wanted_events(bundle),
        _digests(read) if read.config.metrics is not None else {}, digest(files), tuple(left_out),
    )  # fmt: skip


def _digests(read: Input) -> dict[str, str]:
    import hashlib

    found = {}
    for file in (*read.config.files, *read.rules_files):
        text = None if read.overlay is None else read.overlay.text(file)
        with suppress(OSError):  # it was there when it was read
            content = Path(file).read_bytes() if text is None else text.encode()
            found[file] = hashlib.sha256(content).hexdigest()
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
