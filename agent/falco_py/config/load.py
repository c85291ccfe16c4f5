# SPDX-License-Identifier: Apache-2.0
"""A configuration file, the files it names and `-o` overrides become one tree, and that one `Config`.

Later wins: the file, then `config_files` in order, then overrides. Invariant: raises nothing but `ConfigError`, which
holds every problem found.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from .problem import ConfigError, Place, Problem, nearest
from .reader import strange
from .sections import configuration
from .tree import Mapping, Node, Scalar, Sequence, Step, parse, steps, with_value
from .values import found, is_null, items

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .model import Config

DEFAULT_FILE: Final = "/etc/falco/falco.yaml"
STRATEGIES: Final = ("append", "override", "add-only")
_ENTRY: Final = ("path", "strategy")
_ENTRIES: Final = "For example: - /etc/falco/config.d, or - {path: /etc/falco/site.yaml, strategy: override}"


def load(path: str | None, overrides: Iterable[str] = ()) -> Config:
    """The configuration of `path` (None: the built-in one) with `overrides`, each `key.sub[0]=value`."""
    return configuration(*merged(path, overrides))


def merged(path: str | None, overrides: Iterable[str] = ()) -> tuple[Mapping, list[str], list[str], list[str]]:
    """The tree of all files and overrides, the files read, the paths of config_files, and warnings about these."""
    main = Mapping({}, Place("falco.yaml")) if path is None else _read(path)
    edits = [_edit(override) for override in overrides]
    # As in Falco, an override of config_files counts before the files are included, all others after.
    main = _apply(main, [edit for edit in edits if edit[1][0] == "config_files"])
    including = _Including(main, path)
    if "config_files" in main.entries:
        including.include(main.entries["config_files"])
    root = _apply(including.root, [edit for edit in edits if edit[1][0] != "config_files"])
    return root, including.files, including.paths, including.warnings


def _read(path: str) -> Mapping:
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(Place(path), f"not UTF-8 text: byte {error.start} cannot be read")]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "Name a file that exists with -c." if isinstance(error, FileNotFoundError) else ""
        raise ConfigError([Problem(Place(path), f"cannot read the configuration file: {reason}", hint)]) from None
    node = parse(text, path)
    if not isinstance(node, Mapping):
        if is_null(node):
            return Mapping({}, node.place)
        message = f"the file must hold keys with values, not {found(node)}"
        raise ConfigError([Problem(node.place, message, snippet=node.snippet)])
    return node


# Overrides

_Edit = tuple[str, list[Step], Node]


def _edit(override: str) -> _Edit:
    place = Place(f"-o {override}")
    path, separator, text = override.partition("=")
    if not separator:
        message = f'Error parsing config option "{override}". Must be of the form key=val or key.subkey=val'
        raise ConfigError([Problem(place, message, "For example: -o json_output=true")])
    try:
        way = steps(path.strip())
        if not isinstance(way[0], str):
            raise ValueError("a key must stand first")
    except ValueError as error:
        raise ConfigError([Problem(place, f"{error} in {path!r}")]) from None
    try:
        value = parse(text, place.file, placed=False)
    except ConfigError as error:
        raise ConfigError([Problem(place, p.message, p.hint, p.snippet) for p in error.problems]) from None
    if isinstance(value, Mapping) and not value.entries and not text.strip().startswith("{"):  # no text at all
        value = Scalar("", place)
    return override, way, value


def _apply(root: Mapping, edits: Iterable[_Edit]) -> Mapping:
    for override, way, value in edits:
        try:
            root = cast("Mapping", with_value(root, way, value))
        except ValueError as error:
            raise ConfigError([Problem(Place(f"-o {override}"), str(error))]) from None
    return root


# Further files


class _Including:
    """`root` is the main file with what was included so far. `files` were read; `paths` are those of config_files as
    written, whether they exist or not.
    """

    def __init__(self, root: Mapping, main: str | None) -> None:
        self.root = root
        self.files = [] if main is None else [main]
        self.paths: list[str] = []
        self.warnings: list[str] = []
        self._main = main

    def include(self, node: Node) -> None:
        for entry in items(node):
            where, strategy = self._entry(entry)
            if not where.text or where.is_null:
                continue
            self.paths.append(where.text)
            for path in yaml_files(where.text):
                if self._main is not None and _same(path, self._main):
                    raise ConfigError([Problem(where.place, "the file includes itself", snippet=where.snippet)])
                more = _read(path)
                if "config_files" in more.entries:
                    hint = "Name all files in config_files of the main file."
                    problem = Problem(more.keys["config_files"], "an included file cannot include others", hint)
                    raise ConfigError([problem])
                self.root = _merge(self.root, more, strategy)
                self.files.append(path)

    def _entry(self, entry: Node) -> tuple[Scalar, str]:
        """(path, strategy)"""
        path: Node | None = entry
        strategy = "append"
        if isinstance(entry, Mapping):
            self.warnings += strange(entry, "config_files", _ENTRY)
            path, node = entry.entries.get("path"), entry.entries.get("strategy")
            if node is not None:
                strategy = node.text if isinstance(node, Scalar) else ""
                if strategy not in STRATEGIES:
                    like = nearest(strategy, STRATEGIES)
                    message = f"strategy must be one of {', '.join(STRATEGIES)}, found {found(node)}"
                    hint = f"Did you mean {like}?" if like else ""
                    raise ConfigError([Problem(node.place, message, hint, node.snippet)])
        if not isinstance(path, Scalar):
            message = "config_files takes paths, or entries with path and strategy"
            raise ConfigError([Problem(entry.place, message, _ENTRIES, entry.snippet)])
        return path, strategy


def _same(one: str, other: str) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)


def _merge(root: Mapping, more: Mapping, strategy: str) -> Mapping:
    """`more` over `root`, by top-level keys."""
    entries, keys = dict(root.entries), dict(root.keys)
    for name, node in more.entries.items():
        old = entries.get(name)
        if strategy == "add-only" and old is not None:
            continue
        if strategy == "append" and isinstance(old, Sequence) and isinstance(node, Sequence):
            entries[name] = Sequence(old.items + node.items, old.place, old.snippet)
            continue
        entries[name], keys[name] = node, more.keys[name]
    return Mapping(entries, root.place, keys, root.duplicates + more.duplicates)


def yaml_files(path: str) -> list[str]:
    """`path` itself when it is a file, its .yaml and .yml files by name when a directory, nothing when missing."""
    if os.path.isdir(path):
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise ConfigError([Problem(Place(path), f"cannot read the directory: {error.strerror}")]) from None
        listed = (os.path.join(path, name) for name in names if name.endswith((".yaml", ".yml")))
        return [name for name in listed if os.path.isfile(name)]
    return [path] if os.path.exists(path) else []
