# SPDX-License-Identifier: Apache-2.0
"""values.yaml and the agent's configuration become what is made from them: `make docs`.

These are the part `falco` of values.schema.json and the table of values in docs/kubernetes.md. Invariant: running it
twice changes nothing; the tests compare its output with the files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

CHARTS = Path(__file__).parent
CHART = CHARTS / "falco-py"
PAGE = CHARTS.parent / "docs/kubernetes.md"
BEGIN, END = "<!-- values: made by charts/values_page.py -->\n", "<!-- end of values -->\n"
LONGEST = 60  # a default that is longer is left to values.yaml


class Value(NamedTuple):
    """`key` is dotted; `default` is what values.yaml has there; `text` its comment, empty when there is none."""

    key: str
    default: Any
    text: str


def values() -> list[Value]:
    """Every value: what has a comment, and below a mapping without one each of its keys."""
    source = (CHART / "values.yaml").read_text()
    node = yaml.compose(source, yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    return list(_below(node, "", source.splitlines()))


def _below(mapping: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Value]:
    loader = yaml.SafeLoader("")
    for key, node in mapping.value:
        name = f"{prefix}{key.value}"
        text = _comment(lines, key.start_mark.line)
        if not text and isinstance(node, yaml.MappingNode) and node.value:
            yield from _below(node, f"{name}.", lines)
        else:
            yield Value(name, loader.construct_object(node, deep=True), text)


def _comment(lines: list[str], line: int) -> str:
    """The lines of comment right above, as one."""
    found: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].strip().removeprefix("#").strip())
    return " ".join(found)


def table() -> str:
    rows = ["| value | default | what it does |\n| --- | --- | --- |\n"]
    for value in values():
        default = json.dumps(value.default) if value.default not in ("", [], {}) else ""
        shown = "see `values.yaml`" if len(default) > LONGEST else f"`{default}`" if default else ""
        rows.append(f"| `{value.key}` | {shown} | {value.text.replace('|', chr(92) + '|')} |\n")
    return "".join(rows)


def schema() -> str:
    """values.schema.json with the agent's own schema of falco.yaml in it."""
    sys.path.insert(0, str(CHARTS.parent / "agent"))
    from falco_py.config.schema import config_schema

    found = json.loads((CHART / "values.schema.json").read_text())
    agents = config_schema()
    found["properties"]["falco"] = {key: agents[key] for key in ("type", "additionalProperties", "properties")}
    return json.dumps(_without_defaults(found), indent=2) + "\n"


def _without_defaults(node: Any) -> Any:
    """Defaults are those of values.yaml."""
    if isinstance(node, dict):
        named = isinstance(node.get("properties"), dict)
        return {
            key: {name: _without_defaults(one) for name, one in part.items()}
            if key == "properties" and named
            else _without_defaults(part)
            for key, part in node.items()
            if key != "default"
        }
    return [_without_defaults(part) for part in node] if isinstance(node, list) else node


def page() -> str:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> int:
    """With `--check` nothing is written, and 1 says that something would be."""
    made = {CHART / "values.schema.json": schema(), PAGE: page()}
    changed = [path for path, text in made.items() if path.read_text() != text]
    for path in changed:
        if "--check" in sys.argv[1:]:
            print(f"{path.relative_to(CHARTS.parent)} is not up to date: make docs", file=sys.stderr)
        else:
            path.write_text(made[path])
            print(f"docs: {path.name} written")
    return 1 if changed and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
