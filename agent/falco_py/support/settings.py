# SPDX-License-Identifier: Apache-2.0
"""Configuration and rules are loaded as the agent does it, and become findings.

Invariant: a problem is told with its place, never with the line that it stands in, which may hold a secret.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..config import Config, ConfigError, load
from ..config.keys import KEYS
from ..config.load import merged, yaml_files
from ..config.tree import Scalar
from ..config.values import items
from .finding import Check, fine, warn, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..config import Problem
    from .finding import Finding, Question

SHOWN: Final = 3  # problems, warnings or names; the others are counted
_LOAD_S: Final = 60.0
_SECRET_KEYS: Final = tuple(name for name, key in KEYS.items() if key.secret)
_VALUE: Final = re.compile(r', found ".*$', re.DOTALL)
_OVERRIDE: Final = re.compile(r"^-o ([^=]*)=.*$", re.DOTALL)


def _some(texts: Sequence[str], separator: str = "\n") -> str:
    more = len(texts) - SHOWN
    return separator.join(texts[:SHOWN]) + (f"{separator}and {more} more" if more > 0 else "")


def _told(problem: Problem) -> str:
    """A problem without values that may be secret: that of -o, and what was found at a key that takes one."""
    place = _OVERRIDE.sub(r"-o \1=...", str(problem.place))
    secret = any(name in problem.message for name in _SECRET_KEYS)
    message = _VALUE.sub("", problem.message) if secret else problem.message
    return f"{place}: {message}"


def _line(text: str, overrides: Sequence[str]) -> str:
    """A warning or a notice, which begins with its place."""
    for override in overrides:
        text = text.replace(f"-o {override}", f"-o {override.partition('=')[0]}=...")
    return text


def _configuration(question: Question) -> Iterator[Finding]:
    try:
        config = load(question.path, question.overrides)
    except ConfigError as error:
        hints = [one.hint for one in error.problems if one.hint]
        yield wrong("configuration", _some([_told(one) for one in error.problems]),
                    hints[0] if hints else "mend the value; docs/config.md tells what each key takes")  # fmt: skip
        return
    question.config = config
    files = f"{', '.join(config.files)}: loads" if config.files else "no file: the built-in configuration is used"
    if config.warnings:
        said = _some([_line(one, question.overrides) for one in config.warnings])
        yield warn("configuration", f"{files}, with {_count(config.warnings, 'warning')}\n{said}",
                   "mend or remove these keys")  # fmt: skip
    else:
        yield fine("configuration", files)
    if config.notices:
        said = _some([_line(one, question.overrides) for one in config.notices])
        yield fine("configuration", f"{_count(config.notices, 'key')} without effect\n{said}")


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'s' * (len(things) != 1)}"


def rules_paths(question: Question) -> tuple[list[str], list[str]]:
    """The rules files, and what was asked for by -r and is not there. Raises ConfigError."""
    paths = question.rules or (question.config.rules_files if question.config else _named(question))
    files: list[str] = []
    missing: list[str] = []
    for path in paths:
        found = yaml_files(path)
        files += found
        if not found and question.rules:
            missing.append(path)
    return files, missing


def _named(question: Question) -> tuple[str, ...]:
    """The rules files that a configuration names which cannot be used for other reasons. Raises ConfigError."""
    root = merged(question.path, question.overrides)[0].entries
    node = root.get("rules_files", root.get("rules_file"))
    if node is None:
        return Config().rules_files
    return tuple(one.text for one in items(node) if isinstance(one, Scalar))


def _rules(question: Question) -> Iterator[Finding]:
    from ..kernel.pushdown import Rule as Asked
    from ..kernel.pushdown import plan
    from ..rules.bundle import load as load_rules
    from ..rules.priority import Priority
    from ..rules.problems import RulesError

    config = question.config or Config()
    try:
        files, missing = rules_paths(question)
    except ConfigError:
        yield warn("rules", "not tried, because the configuration cannot be read", "mend the configuration first")
        return
    if missing:
        yield wrong("rules", f"no rules file: {_some(missing, ', ')}", "check the path given with -r")
        return
    if not files:
        yield wrong(
            "rules",
            "none of the rules files that the configuration names is there",
            "give rules files with -r, or rules_files in falco.yaml",
        )
        return
    try:
        texts = [(path, Path(path).read_text(encoding="utf-8", errors="surrogateescape")) for path in files]
        bundle = load_rules(texts, min_priority=Priority(config.priority), **question.rules_options(config))
    except OSError as error:
        yield wrong("rules", f"{error.filename}: cannot be read: {error.strerror}", "check its permissions")
        return
    except RulesError as error:
        bad = [one for one in error.problems if one.severity == "error"]
        said = _some([f"{one.file}:{one.line}:{one.column}: {one.message}" for one in bad])
        yield wrong("rules", f"{_count(bad, 'error')}\n{said}",
                    f"`falco-py -V {files[-1]}` shows each with its place")  # fmt: skip
        return
    types = {name for rule in bundle.rules for name in rule.event_types}
    fact = f"{_count(bundle.rules, 'rule')} in {_count(files, 'file')}, {len(types)} event types"
    if not bundle.rules:
        yield warn("rules", f"{fact}: no alert can come", "enable some, or lower `priority`")
    elif bundle.warnings:
        said = _some([f"{one.file}:{one.line}:{one.column}: {one.message}" for one in bundle.warnings])
        yield warn("rules", f"{fact}, with {_count(bundle.warnings, 'warning')}\n{said}",
                   f"`falco-py -V {files[-1]}` explains them")  # fmt: skip
    else:
        yield fine("rules", fact)
    made = plan(Asked(rule.name, rule.event_types, rule.tree, rule.priority) for rule in bundle.rules)
    if made.every_read:
        yield fine(
            "cost of rules",
            f"{len(made.every_read)} of them look at every file opened for reading: {_some(made.every_read, ', ')}",
        )


def _rights(question: Question) -> Iterator[Finding]:
    """Whoever can write what the agent reads decides what it watches, and by program_output what it runs."""
    config = question.config or Config()
    try:
        rules = rules_paths(question)[0]
    except ConfigError:
        rules = []
    named = [*config.files, *config.included, *(question.rules or config.rules_files), *rules]
    places = dict.fromkeys(place for path in named for place in (path, os.path.dirname(os.path.abspath(path))))
    open_to_all = [place for place in places if _open_to_all(place, listed=place in named)]
    if open_to_all:
        yield warn("rights", f"every user can write {_some(open_to_all, ', ')}", f"chmod o-w {open_to_all[0]}")
    else:
        yield fine("rights", "no file or directory that is read can be written by every user")


def _open_to_all(path: str, *, listed: bool) -> bool:
    """`listed`: whatever is put into the directory is read. In others nobody removes what is not his, where sticky."""
    try:
        mode = os.stat(path).st_mode
        if os.statvfs(path).f_flag & os.ST_RDONLY:  # the volume of a ConfigMap: nobody writes there
            return False
    except OSError:
        return False
    return bool(mode & stat.S_IWOTH) and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX and not listed)


CHECKS: Final = (
    Check("configuration", _configuration),
    Check("rules", _rules, _LOAD_S),
    Check("rights", _rights),
)
