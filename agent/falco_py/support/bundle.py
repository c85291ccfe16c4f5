# SPDX-License-Identifier: Apache-2.0
"""The facts for a report of a defect become one JSON document, secrets removed.

What is secret is found in all files and options first, and then looked for in every text of the document. Invariant:
the document is valid JSON in ASCII whatever bytes files, names and the command line hold, and nothing here raises
because something cannot be read: the reason stands in its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from typing import TYPE_CHECKING, Any, Final

from .. import __version__
from ..config import ConfigError
from ..config.load import merged, yaml_files
from ..config.tree import Mapping, Scalar, Sequence, parse
from ..config.values import items
from ..rules.collector import ENGINE_VERSION
from .doctor import CHECKS, examine
from .finding import REMOVED
from .redact import Secrets, UnreadableError, holds_secret, is_secret, of_override, of_yaml
from .serving import running
from .settings import rules_paths
from .system import python, system

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Sequence as Words

    from ..config.tree import Node
    from .doctor import Report
    from .finding import Check, Question

_MOST_FILE_BYTES: Final = 4 << 20
_MOST_FILES: Final = 200
_MOST_NODES: Final = 20_000
_LONE: Final = re.compile("[\ud800-\udfff]")


def bundle(question: Question, argv: Words[str], checks: Words[Check] = CHECKS) -> dict[str, Any]:
    """`argv`: the command line; `checks`: those that the doctor makes."""
    question.private = True
    secrets = Secrets()
    for override in question.overrides:
        secrets.overrides[override] = of_override(override, secrets, os.environ)
    config_files = [_file(path, secrets, of_rules=False) for path in _named(config_paths(question))]
    tree = _merged(question, secrets)
    report = examine(question, checks)
    rules, missing = _rules_paths(question)
    rules_files = [_file(path, secrets, of_rules=True) for path in _named(rules)]
    told = secrets.with_variables()
    return {
        "version": __version__,
        "engine_version": ".".join(map(str, ENGINE_VERSION)),
        "cmdline": " ".join(secrets.word(word) for word in argv),
        "system_info": secrets.everywhere(system()),
        "python": secrets.everywhere(python()),
        "environment": sorted(os.environ),
        "config": {"files": secrets.everywhere(config_files), "merged": told.everywhere(tree)},
        "rules": {"files": secrets.everywhere(rules_files), "missing": secrets.everywhere(missing)},
        "doctor": told.everywhere(_doctor(report)),
        "agent": told.everywhere(_agent(question)),
    }


def text(made: dict[str, Any]) -> str:
    """JSON in ASCII; what is no character in a file or a name becomes U+FFFD."""
    return json.dumps(_encodable(made), indent=2, ensure_ascii=True, allow_nan=False)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_encodable(key): _encodable(one) for key, one in value.items()}
    return [_encodable(one) for one in value] if isinstance(value, list | tuple) else value


def _named(paths: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(paths))[:_MOST_FILES]


def config_paths(question: Question) -> list[str]:
    """The files of the configuration, as far as they can be found."""
    try:
        return merged(question.path, question.overrides)[1]
    except ConfigError:
        return [] if question.path is None else [question.path, *_guessed(question.path)]


def _guessed(path: str) -> list[str]:
    """The files that a main file names, where something cannot be read; none when it is that file itself."""
    data, _ = _read(path)
    try:
        root = parse((data or b"").decode("utf-8-sig"), path)
    except (ConfigError, UnicodeDecodeError):
        return []
    found: list[str] = []
    for entry in items(root.entries.get("config_files")) if isinstance(root, Mapping) else ():
        where = entry.entries.get("path") if isinstance(entry, Mapping) else entry
        if isinstance(where, Scalar):
            found += _yaml_files(where.text)
    return found


def _yaml_files(path: str) -> list[str]:
    try:
        return yaml_files(path)
    except ConfigError:
        return []


def _read(path: str) -> tuple[bytes | None, str]:
    """The bytes of a file, or None and why not."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        return None, getattr(error, "strerror", None) or str(error)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None, "it is no regular file"
        data = file.read(_MOST_FILE_BYTES + 1)
    return (data, "") if len(data) <= _MOST_FILE_BYTES else (None, f"larger than {_MOST_FILE_BYTES >> 20} MiB")


def _file(path: str, secrets: Secrets, *, of_rules: bool) -> dict[str, Any]:
    data, reason = _read(path)
    if data is None:
        return {"name": path, "text": None, "left_out": reason}
    made: dict[str, Any] = {"name": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        told = of_yaml(data.decode("utf-8"), secrets, os.environ, file=path, every_text=not of_rules)
    except UnicodeDecodeError as error:
        return {**made, "text": None, "left_out": f"not UTF-8: byte {error.start} cannot be read"}
    except UnreadableError as error:
        return {**made, "text": None, "left_out": str(error)}
    return {**made, "text": told}


def _rules_paths(question: Question) -> tuple[list[str], list[str]]:
    try:
        return rules_paths(question)
    except ConfigError as error:
        return [], [one.message for one in error.problems]


def _merged(question: Question, secrets: Secrets) -> Any:
    """The tree of all files and options; its secrets are added to `secrets`."""
    try:
        root = merged(question.path, question.overrides)[0]
    except ConfigError as error:
        return {"left_out": [one.message for one in error.problems]}
    return _Plain(secrets).value(root, "", False)


class _Plain:
    """A tree as JSON, secrets removed, variables of the environment not filled in."""

    def __init__(self, secrets: Secrets) -> None:
        self.secrets = secrets
        self.count = 0

    def value(self, node: Node, path: str, secret: bool) -> Any:
        self.count += 1
        if self.count > _MOST_NODES:
            return "..."
        if isinstance(node, Scalar):
            if node.text and (secret or holds_secret(node.text)):
                self.secrets.add(node.text)
                return REMOVED
            where = node.place.file, node.place.line, node.place.column
            return self.secrets.unexpanded.get(where, node.text)
        if isinstance(node, Sequence):
            return [self.value(one, path, secret) for one in node.items]
        made = {}
        for name, one in node.entries.items():
            under = f"{path}.{name}" if path else name
            made[name] = self.value(one, under, secret or is_secret(under))
        return made


def _doctor(report: Report) -> dict[str, Any]:
    return {"summary": report.summary(), **report.json()}


def _agent(question: Question) -> dict[str, Any]:
    """What a running agent tells of itself."""
    pid, told, problem = running(question)
    if told is None:
        return {"pid": pid, "status": None, "reason": problem or "none answers"}
    return {"pid": pid, "status": told}
