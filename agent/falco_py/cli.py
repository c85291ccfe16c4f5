# SPDX-License-Identifier: Apache-2.0
"""The command line: Falco's options become one call of `app.run`."""

from __future__ import annotations


def main() -> int:
    from . import __version__

    print(f"falco-py version: {__version__}")
    return 0
