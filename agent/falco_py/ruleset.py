# SPDX-License-Identifier: Apache-2.0
"""Texts of rules files become a bundle, a digest that names them, or the first mistake in a line.

Invariant: a file is left out only when the others load without it and do not with it.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .rules.bundle import Bundle
    from .rules.problems import RulesError

DIGEST_DIGITS: Final = 12
LINE_LENGTH: Final = 300
_ELLIPSIS: Final = "..."

File = tuple[str, str]  # (name, text)


@dataclass(frozen=True, slots=True)
class Mistake:
    """The first of `errors`. `place`: FILE:LINE:COLUMN, or less of it when that is not known."""

    place: str
    what: str
    errors: int = 1

    def line(self, length: int = LINE_LENGTH) -> str:
        """At most `length` characters, without line breaks; the number of errors is never cut off."""
        more = f" ({self.errors} errors)" if self.errors > 1 else ""
        said = visible(f"{self.place}: {self.what}" if self.place else self.what)
        room = length - len(more)
        return (said if len(said) <= room else said[: room - len(_ELLIPSIS)] + _ELLIPSIS) + more


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A rules file that is not in use, and why."""

    file: str
    mistake: Mistake
    details: str = ""  # all that is wrong with it, lines


def mistake(error: Exception) -> Mistake:
    """Without the line of the file that it is in: that may be long, and hold what is not everybody's."""
    from .config import ConfigError
    from .config.problem import SettingError
    from .rules import problems

    if isinstance(error, problems.RulesError):
        errors = [one for one in error.problems if one.severity == "error"]
        if errors:
            first = errors[0]
            item = f"{first.item_type} '{first.item_name}': " if first.item_name else ""
            return Mistake(f"{first.file}:{first.line}:{first.column}", f"{item}{first.message}", len(errors))
    if isinstance(error, ConfigError) and error.problems:
        return Mistake(str(error.problems[0].place), error.problems[0].message, len(error.problems))
    if isinstance(error, SettingError):
        return Mistake(error.key, error.message)
    return Mistake("", str(error).split("\n")[0] or type(error).__name__)


def digest(files: Sequence[File]) -> str:
    """The first hexadecimal digits of a SHA-256 over names and texts: the same wherever the same rules run."""
    whole = _sha256()
    for name, text in files:
        for part in (name, text):
            content = part.encode("utf-8", "surrogateescape")
            whole.update(f"{len(content)}:".encode())
            whole.update(content)
    return str(whole.hexdigest())[:DIGEST_DIGITS]


def _sha256() -> Any:
    """The interpreter's own: hashlib loads OpenSSL, 4 MB that an agent without TLS has no other use for."""
    for module in ("_sha2", "_sha256"):  # Python 3.12, 3.11
        with suppress(ImportError):
            return importlib.import_module(module).sha256()
    return importlib.import_module("hashlib").sha256()


def without_broken(
    files: Sequence[File], load: Callable[[Sequence[File]], Bundle], found: Exception
) -> tuple[Bundle, list[File], list[LeftOut]]:
    """What loads of `files`, of which all together gave `found`, and what does not.

    One file after the other is added. A file that needs what stood in one left out goes as well, and so does one that
    breaks those before it: these stay, as the rules that come with the agent stand first. Raises `found` when no rules
    are left.
    """
    from .rules import problems

    kept: list[int] = []
    wrong: dict[int, RulesError] = {}
    bundle: Bundle | None = None
    added = True
    while added:  # what needs a later file is tried again when that is there
        added = False
        for index in range(len(files)):
            if index in kept or (index in wrong and not any(other > index for other in kept)):
                continue
            chosen = sorted([*kept, index])
            try:
                bundle = load([files[one] for one in chosen])
            except problems.RulesError as error:
                wrong[index] = error
            else:
                wrong.pop(index, None)
                kept, added = chosen, True
    if bundle is None or not bundle.rules:
        raise found
    return bundle, [files[one] for one in kept], [_left_out(files[index], error) for index, error in wrong.items()]


def _left_out(file: File, error: RulesError) -> LeftOut:
    details = "\n".join(str(one) for one in error.problems if one.severity == "error")
    return LeftOut(file[0], mistake(error), details)
