# SPDX-License-Identifier: Apache-2.0
"""The configuration of outputs becomes outputs, not yet started.

Invariant: what cannot work as configured (a certificate that is no certificate) is told here, before anything that
runs is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from ..background import Background
    from ..config import Config
    from .output import Output


def settings(config: Config) -> dict[str, Hashable]:
    """What each enabled output is made of, by its name: equal settings need no new output."""
    outputs = config.outputs
    shared = outputs.capacity, outputs.timeout_ms
    kinds: dict[str, Hashable] = {
        "stdout": outputs.stdout and (outputs.buffered,),
        "syslog": outputs.syslog,
        "file": outputs.file and (outputs.file, outputs.buffered),
        "program": outputs.program,
        "http": outputs.http and (outputs.http, config.json_output),
    }
    return {name: (kind, shared) for name, kind in kinds.items() if kind}


def make(
    config: Config,
    before: Mapping[str, Hashable],
    background: Background,
    on_gone: Callable[[], None] = lambda: None,
) -> dict[str, Output]:
    """The outputs that are new, or set up otherwise than `before`. Raises config.problem.SettingError.

    `on_gone`: the reader of stdout has gone; called in another thread.
    """
    return {
        name: _made(name, config, background, on_gone)
        for name, kind in settings(config).items()
        if before.get(name) != kind
    }


def _made(name: str, config: Config, background: Background, on_gone: Callable[[], None]) -> Output:
    outputs = config.outputs
    shared: dict[str, Any] = {"capacity": outputs.capacity, "timeout_ms": outputs.timeout_ms}
    if name == "stdout":
        from .stdout import Stdout

        return Stdout(on_gone=on_gone, buffered=outputs.buffered, **shared)
    if name == "syslog":
        from .syslog import Syslog

        return Syslog(**shared)
    if name == "file":
        from .file import File

        assert outputs.file is not None
        return File(outputs.file, buffered=outputs.buffered, **shared)
    if name == "program":
        from .program import Program

        assert outputs.program is not None
        return Program(outputs.program, **shared)
    from .http import Http

    assert outputs.http is not None
    return Http(outputs.http, json_output=config.json_output, background=background, **shared)
