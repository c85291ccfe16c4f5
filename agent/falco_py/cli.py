# SPDX-License-Identifier: Apache-2.0
"""The command line becomes one call: of the agent, of a listing or of a sub-command.

Invariant: whatever the user did wrong is told on one screen with what to do, never as a traceback.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .options import (
    COMMANDS,
    INPUT_WRONG,
    INTERRUPTED,
    MACHINE_CANNOT,
    OK,
    UsageError,
    check_sources,
    complain,
    falco_parser,
    input_of,
    parse,
    say,
)
from .prepared import InputError, told

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence


def _start(options: argparse.Namespace) -> int:
    from . import app

    remarks = [
        f"'{word}' belongs to no option and is ignored; rules files are given with -r" for word in options.ignored
    ]
    with _pid_file(None if options.dry_run else options.P):
        return app.run(lambda: input_of(options), stop_after_s=options.M, dry_run=options.dry_run, remarks=remarks)


@contextmanager
def _pid_file(path: str | None) -> Iterator[None]:
    """Holds this process's id in `path` for as long as the agent runs. Raises InputError."""
    if path is None:
        yield
        return
    try:
        Path(path).write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise InputError(
            f"{path}: the pid file cannot be written: {error.strerror}\n"
            "  What to do: give -P a file in a directory that exists and may be written to."
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # somebody removed it, or its directory: it is gone, as it should be
            os.unlink(path)


def _support(options: argparse.Namespace) -> int:
    from .commands import question
    from .support.bundle import bundle, text

    say(text(bundle(question(options), sys.argv)))
    return OK


def _dispatch(options: argparse.Namespace) -> int:
    if options.help:
        say(falco_parser().format_help())
        return OK
    from . import showing

    if options.version:
        return showing.version(options)
    if options.list is not None:
        return showing.list_fields(options)
    if options.list_events:
        return showing.list_events(options)
    if options.i:
        return showing.list_ignored()
    if options.list_plugins:
        return showing.list_plugins()
    if options.plugin_info is not None:
        return showing.plugin_info(options.plugin_info)
    if options.page_size:
        say(f"Your system page size is: {os.sysconf('SC_PAGE_SIZE')}")
        return OK
    if options.support:
        return _support(options)
    if options.rule_schema or options.config_schema:
        return showing.schema(options.rule_schema)
    if options.V:
        return showing.check_rules(options)
    if options.L or options.l is not None:
        return showing.describe(options)
    check_sources(options)
    return _start(options)


def _command(words: Sequence[str]) -> int:
    from . import commands

    return commands.main(words)


def _hold_standard_files() -> None:
    """A standard file that the caller closed becomes /dev/null, so that no file opened later gets its number."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: fd
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    _hold_standard_files()
    try:
        code = _command(words) if words[:1] and words[0] in COMMANDS else _dispatch(parse(words))
        sys.stdout.flush()
        return code
    except UsageError as error:
        complain(f"Error: {error}\nfalco-py --help shows the options")
        return INPUT_WRONG
    except InputError as error:
        complain(f"Error: {error}")
        return INPUT_WRONG
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OK
    except Exception as error:  # noqa: BLE001 - the last place where it can be told in plain words
        return _told(error, verbose="-v" in words or bool(os.environ.get("FALCO_PY_DEBUG")))


def _told(error: Exception, *, verbose: bool) -> int:
    """What went wrong, for the user; returns the exit code."""
    found = told(error)
    if found is not None:
        details, summary = found
        if details:
            complain(details)
            summary += "; nothing was started"
        complain(f"Error: {summary}")
        return INPUT_WRONG
    host = sys.modules.get("falco_py.kernel.host")
    if host is not None and isinstance(error, host.HostError):
        complain(f"Error: {error}")
        return MACHINE_CANNOT
    if verbose:
        import traceback

        traceback.print_exception(error)
    complain(
        f"internal error: {type(error).__name__}: {error}\n  This is a defect of falco-py; -v shows where it happened."
    )
    return INPUT_WRONG
