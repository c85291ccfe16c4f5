# SPDX-License-Identifier: Apache-2.0
"""Texts of files become texts without secrets, and the secrets found become a filter for all other texts.

A YAML text is parsed to find where values stand, and is cut there: what stands at a key that may hold a secret, or
whose name says so, goes as a whole. Invariant: a text that cannot be parsed is not shown at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import yaml

from ..config.keys import KEYS
from ..config.tree import MAX_DEPTH, expand
from ..visible import visible
from .finding import REMOVED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SECRET_KEYS: Final = frozenset(name for name, key in KEYS.items() if key.secret)
_NAMES: Final = (
    "pass|passwd|password|passphrase|pwd|token|tokens|secret|secrets|key|keys|apikey|apikeys|auth|authorization|"
    "authentication|credential|credentials|cookie|bearer|private|webhook"
)
_NAME: Final = re.compile(rf"(?:^|[^a-z])(?:{_NAMES})(?:[^a-z]|$)")
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OPAQUE: Final = frozenset(["init_config", "open_params"])  # texts for plugins, in a language of their own
_LAST: Final = "|".join(sorted({name.rpartition(".")[2] for name in SECRET_KEYS} | _OPAQUE))
_LEAST: Final = 4  # shorter values are cut where they stand, and not looked for elsewhere
_SHOWN: Final = (57, 60)  # a message may hold the beginning of a value
_COMMON: Final = frozenset(["true", "false", "null", "none", "http", "https"])
_LONG_PART: Final = 10  # a user or a path of a URL; shorter ones are words that stand in other texts
_MOST_NODES: Final = 100_000
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")

_USERINFO: Final = re.compile(r"(?i)([a-z][a-z0-9+.-]*://)[^/?#\s\"'<>]*@")
_QUERY: Final = re.compile(r"(?i)([a-z][a-z0-9+.-]*://[^?#\s\"'<>]*)(?:\?|#(?=[^\s\"'<>]*=))[^\s\"'<>]+")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)(\s+)(?=[^\s\"']*[0-9=+/])[A-Za-z0-9._~+/=-]{8,}")
_HEADER: Final = re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?)(?:(?:bearer|basic|token)\s+)?[^\s\"']+")

_ASSIGNED: Final = re.compile(rf"(?i)(?:^|[^a-z])(?:{_NAMES})s?[\"']?\s*[:=]\s*[^\s%]")  # not a field of an output
_SETTING: Final = re.compile(
    rf"(?i)(?:^|[^a-z])(?:{_NAMES}|{_LAST})s?[\"']?(?:\s*[:=]\s*(?:[^\s%]|$)|\s+(?=\S*[0-9])\S{{8,}})"
)
_RANDOM: Final = re.compile(r"(?=[^\s]*[0-9])(?=[^\s]*[A-Za-z])[A-Za-z0-9_+=~-]{16,}")


@dataclass
class Secrets:
    """Values that must not be shown, wherever they turn up."""

    values: set[str] = field(default_factory=set)
    overrides: dict[str, str] = field(default_factory=dict)  # of -o, as given and as they may be shown
    variables: set[str] = field(default_factory=set)  # values of the environment that the configuration names
    unexpanded: dict[tuple[str, int, int], str] = field(default_factory=dict)  # by place: values that name variables
    _pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        """A value, and the forms in which a message may hold it."""
        forms = {value, *value.splitlines(), value.replace("\n", " "), visible(value)}
        forms |= {form[:end] for form in list(forms) for end in _SHOWN if len(form) > end}
        stripped = {form.strip() for form in forms}
        self.values |= {form for form in stripped if len(form) >= _LEAST and form.lower() not in _COMMON}
        self._pattern = None

    def with_variables(self) -> Secrets:
        """These, and all values of the environment that are named: for texts made from the configuration."""
        made = Secrets(set(self.values), self.overrides)
        for value in self.variables:
            made.add(value)
        return made

    def add_url(self, text: str) -> None:
        """A URL, and what is told of it in parts."""
        self.add(text)
        try:
            parts = urlsplit(text)
        except ValueError:
            return
        named = [part for part in (parts.username, parts.path) if part and len(part) >= _LONG_PART]
        for part in (parts.password, parts.query, parts.fragment, *named):
            if part:
                self.add(part)
                self.add(unquote(part))

    def scrub(self, text: str) -> str:
        """`text` without any of the values, and without what looks like a credential anywhere."""
        for given, shown in sorted(self.overrides.items(), key=lambda one: -len(one[0])):
            if given != shown and len(given) >= _LEAST:
                text = text.replace(given, shown).replace(visible(given), shown)
        if self._pattern is None and self.values:
            longest = sorted(self.values, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest)))
        if self._pattern is not None:
            text = self._pattern.sub(REMOVED, text)
        return generic(text)

    def word(self, word: str) -> str:
        """A word of the command line: the value of -o, or -o with its value."""
        for head in ("", "-o"):
            if word.startswith(head) and (shown := self.overrides.get(word.removeprefix(head))) is not None:
                return self.scrub(head + shown)
        return self.scrub(word)

    def everywhere(self, value: Any) -> Any:
        """`scrub` over all texts of a JSON value; keys of mappings too."""
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, dict):
            return {self.scrub(str(key)): self.everywhere(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.everywhere(one) for one in value]
        return value


def generic(text: str) -> str:
    """`text` without user and query of URLs, and without credentials of HTTP."""
    text = _USERINFO.sub(rf"\1{REMOVED}@", text)
    text = _QUERY.sub(rf"\1?{REMOVED}", text)
    text = _HEADER.sub(rf"\1{REMOVED}", text)
    return _BEARER.sub(rf"\1\2{REMOVED}", text)


def is_secret(path: str) -> bool:
    """Whether the value at a dotted key must not be shown: by the table of keys, or because its name says so."""
    last = path.rpartition(".")[2]
    if any(path == name or path.endswith(f".{name}") for name in SECRET_KEYS):
        return True
    return last in _OPAQUE or bool(_NAME.search(_WORDS.sub("_", last).lower()))


def holds_secret(value: str) -> bool:
    """Whether a text at any key may hold a secret, such as `password=x` among others."""
    return bool(_ASSIGNED.search(_WORDS.sub("_", value)))


def is_under_secret(path: str) -> bool:
    """Whether a dotted key, or one that it is under, is secret."""
    parts = path.split(".")
    return any(is_secret(".".join(parts[:end])) for end in range(1, len(parts) + 1))


class UnreadableError(Exception):
    """A text whose secrets cannot be found; it says why."""


def of_yaml(
    text: str,
    secrets: Secrets,
    environment: Mapping[str, str],
    *,
    path: str = "",
    file: str = "",
    every_text: bool = True,
) -> str:
    """A YAML document with what is secret cut out; its secrets are added to `secrets`.

    `path`: the dotted key that the document stands at. `file`: its name, when variables of the environment are filled
    in. `every_text`: texts that hold something like `password=x` go as well. Raises UnreadableError.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        comments = list(_comments(text))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UnreadableError(f"it cannot be parsed as YAML ({type(error).__name__})") from None
    cutter = _Cutter(secrets, environment, file, every_text)
    if root is not None:
        cutter.walk(root, path, is_under_secret(path), 0)
    return _cut(text, [*cutter.ranges, *comments])


class _Cutter:
    """`ranges` of the text that must go, as (start, end)."""

    def __init__(self, secrets: Secrets, environment: Mapping[str, str], file: str, every_text: bool) -> None:
        self.secrets = secrets
        self.environment = environment
        self.file = file
        self.every_text = every_text
        self.ranges: list[tuple[int, int]] = []
        self._seen: set[tuple[int, str, bool]] = set()  # aliases lead to one node by many ways

    def walk(self, node: yaml.Node, path: str, secret: bool, depth: int) -> None:
        """Raises UnreadableError."""
        if depth > MAX_DEPTH:
            raise UnreadableError(f"it is nested deeper than {MAX_DEPTH} levels")
        if (id(node), path, secret) in self._seen:
            return
        self._seen.add((id(node), path, secret))
        if len(self._seen) > _MOST_NODES:
            raise UnreadableError(f"it has more than {_MOST_NODES} values")
        if secret and node.value:
            self.ranges.append((node.start_mark.index, node.end_mark.index))
        if isinstance(node, yaml.ScalarNode):
            self._scalar(node, path, secret)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self.walk(item, path, secret, depth + 1)
        else:
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    self.walk(key, path, True, depth + 1)
                    self.walk(value, path, True, depth + 1)
                    continue
                under = path if key.value == "<<" else f"{path}.{key.value}" if path else key.value
                self.walk(value, under, secret or is_secret(under), depth + 1)

    def _scalar(self, node: yaml.ScalarNode, path: str, secret: bool) -> None:
        value: str = node.value
        variables = [self.environment.get(name.strip(), "") for name in _VARIABLE.findall(value)]
        if variables:
            where = self.file, node.start_mark.line + 1, node.start_mark.column + 1
            self.secrets.unexpanded[where] = value
            self.secrets.variables.update(variables)
        if secret:
            known = KEYS.get(path)
            if known is None or known.secret:  # else: a path that is named so, such as client_key
                for one in {value, expand(value, self.environment), *variables}:
                    (self.secrets.add_url if "://" in one else self.secrets.add)(one)
            return
        if self.every_text and holds_secret(value):
            self.secrets.add(value)
            self.ranges.append((node.start_mark.index, node.end_mark.index))


def _comments(text: str) -> Iterator[tuple[int, int]]:
    """The comments that may hold a secret: (start, end). Raises yaml.YAMLError."""
    covered = 0
    dropped_at = -1  # column of the text of the comment that was dropped last; further in, it goes on
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        start, end = token.start_mark.index, token.end_mark.index
        pieces = [(covered, start)] if start > covered else []
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            line_end = text.find("\n", start)
            pieces.append((start, line_end if line_end >= 0 else len(text)))  # the header may have a comment
        covered = max(covered, end)
        for first, last in pieces:
            for found in re.finditer(r"#([ \t]*)([^\r\n\x85\u2028\u2029]*)", text[first:last]):
                column = len(found[1].expandtabs())
                goes_on = 0 <= dropped_at < column
                if goes_on or suspicious(found[2]):
                    dropped_at = dropped_at if goes_on else column
                    yield first + found.start(2), first + found.end()
                else:
                    dropped_at = -1


def suspicious(comment: str) -> bool:
    """Whether a comment may hold a secret: an older setting, a URL with credentials, something random."""
    return bool(_SETTING.search(_WORDS.sub("_", comment)) or _RANDOM.search(comment) or generic(comment) != comment)


def _cut(text: str, ranges: Iterable[tuple[int, int]]) -> str:
    made: list[str] = []
    at = 0
    for start, end in sorted(ranges):
        if end <= at:
            continue
        start = max(start, at)
        cut = text[start:end]
        kept = len(cut) - len(cut.rstrip())  # a collection ends where the next token begins
        if cut.strip():
            if not (made and start == at and made[-1] == REMOVED):
                made += [text[at:start], REMOVED]
            at = end - kept
    return "".join([*made, text[at:]])


def of_override(override: str, secrets: Secrets, environment: Mapping[str, str]) -> str:
    """One value of -o as it may be shown."""
    path, separator, text = override.partition("=")
    if not separator:
        return REMOVED
    dotted = re.sub(r"\[[^\]]*\]", "", path).replace("\\", "").strip()
    try:
        shown = of_yaml(text, secrets, environment, path=dotted)
    except UnreadableError:
        secrets.add(text)
        shown = REMOVED
    return f"{path}={shown}"
