# SPDX-License-Identifier: Apache-2.0
"""A node of the tree becomes the value that its key takes.

Invariant: a value is never replaced by a default because it could not be understood; what is wrong is a `WrongError`
that says what was expected.
"""

from __future__ import annotations

import math
from typing import Final

from .keys import Key, Kind, Value
from .problem import nearest
from .tree import Mapping, Node, Scalar, Sequence

_TRUE: Final = frozenset({"true", "yes", "on", "y"})
_FALSE: Final = frozenset({"false", "no", "off", "n"})


class WrongError(Exception):
    """`expected`: what the key takes; or `message`, which says all. `node`: what is wrong, when it is not the whole."""

    def __init__(self, expected: str, *, message: str = "", hint: str = "", node: Node | None = None) -> None:
        super().__init__(message or expected)
        self.expected, self.message, self.hint, self.node = expected, message, hint, node


def found(node: Node) -> str:
    """What stands there, for a message."""
    if isinstance(node, Scalar):
        text = node.text if len(node.text) <= 60 else node.text[:57] + "..."
        return f'"{text}"'
    return "a list" if isinstance(node, Sequence) else "keys with values"


def is_null(node: Node | None) -> bool:
    """Not given, or without a value."""
    return node is None or (isinstance(node, Scalar) and node.is_null)


def items(node: Node | None) -> tuple[Node, ...]:
    """The entries of a list; a single value is a list of one, no value an empty one."""
    if node is None or is_null(node):
        return ()
    return node.items if isinstance(node, Sequence) else (node,)


def shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def typed(key: Key, node: Node) -> Value:
    """The value of `node` for `key`. Raises WrongError."""
    match key.kind:
        case Kind.ANY:  # its reader looks closer
            return None
        case Kind.BOOL:
            return boolean(node)
        case Kind.MAP:
            return _map(node)
        case Kind.TEXTS:
            return tuple(_text(key, item, Kind.TEXTS.value) for item in items(node))
        case Kind.TEXT:
            return _text(key, node, key.kind.value)
    if not isinstance(node, Scalar):
        raise WrongError(key.kind.value)
    return _number(key, node.text)


def boolean(node: Node) -> bool:
    """Raises WrongError."""
    if isinstance(node, Scalar):
        word = node.text
        # The spellings of YAML 1.1 that Falco's parser takes: true, True and TRUE, not tRUE.
        if word in (word.lower(), word.capitalize(), word.upper()):
            if word.lower() in _TRUE:
                return True
            if word.lower() in _FALSE:
                return False
    raise WrongError(Kind.BOOL.value)


def _text(key: Key, node: Node, kind: str) -> str:
    """One text; one of the choices, in any case, when the key has some."""
    if not isinstance(node, Scalar):
        raise WrongError(kind)
    if not key.choices:
        return node.text
    for choice in key.choices:
        if node.text.lower() == choice:
            return choice
    like = _alike(node.text.lower(), key.choices)
    hint = f"Did you mean {like}?" if like else ""
    several = f"{'some' if key.kind is Kind.TEXTS else 'one'} of {', '.join(key.choices)}"
    if not key.wrong:
        raise WrongError(several, hint=hint, node=node)
    message = key.wrong.replace("{}", node.text)
    if not all(choice in key.wrong for choice in key.choices):
        hint = f"It must be {several}.{' ' * bool(hint)}{hint}"
    raise WrongError(several, message=message, hint=hint, node=node)


def _alike(word: str, choices: tuple[str, ...]) -> str | None:
    """The choice most like `word`, or the only one that ends in it: `ebpf` is for modern_ebpf."""
    ending = [choice for choice in choices if word and choice.endswith(word)]
    return nearest(word, choices) or (ending[0] if len(ending) == 1 else None)


def _map(node: Node) -> tuple[tuple[str, str], ...]:
    if not isinstance(node, Mapping):
        raise WrongError(Kind.MAP.value)
    made: list[tuple[str, str]] = []
    for name, value in node.entries.items():
        if not isinstance(value, Scalar):
            raise WrongError(Kind.MAP.value, node=value)
        made.append((name, value.text))
    return tuple(made)


def _number(key: Key, text: str) -> Value:
    wanted = key.kind.value
    if key.at_least is not None:
        wanted += f" from {key.at_least}" + (f" to {key.at_most}" if key.at_most is not None else " up")
    try:
        if not text.isascii() or "_" in text or len(text) > 40:
            raise ValueError
        value: int | float = int(text) if key.kind is Kind.INT else float(text)
    except ValueError:
        raise WrongError(wanted) from None
    too_small = key.at_least is not None and value < key.at_least
    if not math.isfinite(value) or too_small or (key.at_most is not None and value > key.at_most):
        raise WrongError(wanted)
    return value
