# SPDX-License-Identifier: Apache-2.0
"""Writes every page that is made. Invariant: a page that is up to date stays as it is."""

from __future__ import annotations

from tests.rules import rule_errors

from . import DOCS, config, events, fields, guide, kernel, manual, metrics, sessions


def main() -> None:
    pages = {
        DOCS / "fields.md": fields.page(),
        DOCS / "events.md": events.page(),
        DOCS / "kernel.md": kernel.page(),
        DOCS / "metrics.md": metrics.page(),
        DOCS / "config.md": config.page(),
        config.SHIPPED: config.shipped(),
        manual.MANUAL: manual.man(),
        manual.BASH: manual.bash(),
        guide.PAGE: guide.page(guide.PAGE.read_text()),
        rule_errors.PAGE: rule_errors.page(),
        **{path: sessions.page(path.read_text()) for path in sessions.PAGES},
    }
    for path, text in pages.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"docs: {path.name} written")


if __name__ == "__main__":
    main()
