# SPDX-License-Identifier: Apache-2.0
"""A transformer and its arguments become a Python expression with a type.

Invariant: what a transformer does not take is told when the rules are loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .literals import TEXTS
from .patterns import TRANSFORMER_CODE
from .values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from .syntax import Call


class CallError(Exception):
    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def write(call: Call, argument: Callable[[Any], Value]) -> Value:
    """The expression of a transformer. Raises CallError."""
    name = call.name
    code = TRANSFORMER_CODE.get(name)
    if code is None:
        raise CallError(f"'{name}' is not allowed here", "val() stands on the right side of a comparison only")
    if call.index is not None and name != "getopt":
        raise CallError(f"the transformer '{name}' takes no index")
    args = [argument(one) for one in call.args]
    if name == "concat":
        if len(args) < 2:
            raise CallError("concat takes at least two arguments")
        return Value(f"{code}({', '.join(arg.code for arg in args)})", "CHARBUF")
    if name in ("join", "getopt"):
        if len(args) != 2:
            raise CallError(f"{name} takes exactly two arguments")
        if name == "join":
            if not args[1].is_list:
                raise CallError("the second argument of join must be a list", "write it as (a, b) or name a list field")
            return Value(f"{code}({args[0].code}, {args[1].code})", "CHARBUF")
        return Value(f"{code}({args[0].code}, {args[1].code}, {call.index!r})", "CHARBUF", is_list=True)
    if len(args) != 1:
        raise CallError(f"the transformer '{name}' takes one argument")
    value = args[0]
    if name == "len":
        fits, kind, is_list = value.type in TEXTS or value.type == "BYTEBUF" or value.is_list, "UINT64", False
    else:
        fits = value.type in TEXTS or (name == "b64" and value.type == "BYTEBUF")
        kind, is_list = "CHARBUF" if name == "basename" else value.type, value.is_list
    if not fits:
        raise CallError(f"can't add field transformer: type '{value.type}' is not supported by '{name}' transformer")
    return Value(f"{code}({value.code})", kind, is_list)
