# SPDX-License-Identifier: Apache-2.0
"""Fields of the user and the group: `user.*`, `group.*`.

Ids come from the event's header (the thread's credentials at the call), names from the passwd and group files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .model import Field, FieldType, fixed

if TYPE_CHECKING:
    from falco_py.events.event import Event

T = FieldType
UNKNOWN = "<NA>"


def _user(e: Event) -> Any:
    return e.table.users.user(e.process, e.header.uid)


def user_name(e: Event) -> str:
    return e.table.users.user_name(e.process, e.header.uid) or UNKNOWN


def user_home(e: Event) -> str:
    found = _user(e)
    return found[1] if found is not None else UNKNOWN


def user_shell(e: Event) -> str:
    found = _user(e)
    return found[2] or UNKNOWN if found is not None else UNKNOWN


def login_name(e: Event) -> str:
    uid = e.process.loginuid
    return UNKNOWN if uid < 0 else e.table.users.user_name(e.process, uid) or UNKNOWN


def group_name(e: Event) -> str:
    return e.table.users.group_name(e.process, e.header.gid) or UNKNOWN


ROWS: tuple[Field, ...] = (
    Field(name="user.uid", klass="user", type=T.UINT32, doc="User id.", code=fixed("e.header.uid"), print_format="ID"),
    Field(name="user.name", klass="user", type=T.CHARBUF, doc="User name.", code=fixed("user_name(e)")),
    Field(
        name="user.homedir", klass="user", type=T.CHARBUF, doc="Home directory of the user.", code=fixed("user_home(e)")
    ),
    Field(name="user.shell", klass="user", type=T.CHARBUF, doc="Login shell of the user.", code=fixed("user_shell(e)")),
    Field(
        name="user.loginuid",
        klass="user",
        type=T.INT64,
        doc="Audit user id, -1 when it is not set.",
        code=fixed("e.process.loginuid"),
        print_format="ID",
    ),
    Field(name="user.loginname", klass="user", type=T.CHARBUF, doc="Audit user name.", code=fixed("login_name(e)")),
    Field(
        name="group.gid", klass="group", type=T.UINT32, doc="Group id.", code=fixed("e.header.gid"), print_format="ID"
    ),
    Field(name="group.name", klass="group", type=T.CHARBUF, doc="Group name.", code=fixed("group_name(e)")),
)
