# SPDX-License-Identifier: Apache-2.0
"""A scratch host with the files of container runtimes, and bbolt databases made from dictionaries."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from falco_py.state.cgroups import ContainerRef

SAMPLES = Path(__file__).parents[4] / "shared" / "spec" / "samples"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples of runtimes' files are not here")
ID = "0123456789ab" + "c" * 52
CONTAINERD_ROOT = "var/lib/containerd"
TASKS = "run/containerd/io.containerd.runtime.v2.task"
STORE = "var/lib/containers/storage"
PAGE_BYTES = 4096
Tree = dict[str, Any]


def ref(engine: str = "cri", full_id: str = ID, pod_uid: str = "") -> ContainerRef:
    return ContainerRef(full_id[:12], full_id, engine, pod_uid)


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text())


def put(root: Path, path: str, content: object) -> Path:
    """A file below `root`; what is neither bytes nor text becomes JSON."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def database(tree: Tree, state: int = 7, entries_max: int = 3) -> bytes:
    """A bbolt file with `tree` as its buckets.

    Pages have at most `entries_max` entries (2 or more), so that there are branches.
    """
    pages: list[bytes] = [b"", b""]

    def stored(items: list[tuple[int, bytes, bytes]]) -> int:
        level = [(items[at : at + entries_max], True) for at in range(0, len(items), entries_max)] or [([], True)]
        children = [(group[0][1] if group else b"", added(leaf(group))) for group, _ in level]
        while len(children) > 1:
            groups = [children[at : at + entries_max] for at in range(0, len(children), entries_max)]
            children = [(group[0][0], added(branch(group))) for group in groups]
        return children[0][1]

    def added(body: bytes) -> int:
        number = len(pages)
        count = -(-len(body) // PAGE_BYTES)
        body = struct.pack("<Q", number) + body[8:12] + struct.pack("<I", count - 1) + body[16:]
        body = body.ljust(count * PAGE_BYTES, b"\0")
        pages.extend(body[at : at + PAGE_BYTES] for at in range(0, len(body), PAGE_BYTES))
        return number

    def bucket(content: Tree) -> bytes:
        items = sorted(
            (1, key.encode(), bucket(value)) if isinstance(value, dict) else (0, key.encode(), value)
            for key, value in content.items()
        )
        items.sort(key=lambda item: item[1])
        if len(items) <= entries_max and not any(kind for kind, _, _ in items):
            return struct.pack("<QQ", 0, 0) + leaf(items)
        return struct.pack("<QQ", stored(items), 0)

    items = sorted(((1, key.encode(), bucket(value)) for key, value in tree.items()), key=lambda item: item[1])
    root = stored(items)
    pages[0], pages[1] = meta(0, root, state - 1), meta(1, root, state)
    return b"".join(pages)


def leaf(items: list[tuple[int, bytes, bytes]]) -> bytes:
    heads, tail, at = b"", b"", 16 * len(items)
    for index, (kind, key, value) in enumerate(items):
        heads += struct.pack("<IIII", kind, at - 16 * index, len(key), len(value))
        tail += key + value
        at += len(key) + len(value)
    return struct.pack("<QHHI", 0, 2, len(items), 0) + heads + tail


def branch(children: list[tuple[bytes, int]]) -> bytes:
    heads, tail, at = b"", b"", 16 * len(children)
    for index, (key, page) in enumerate(children):
        heads += struct.pack("<IIQ", at - 16 * index, len(key), page)
        tail += key
        at += len(key)
    return struct.pack("<QHHI", 0, 1, len(children), 0) + heads + tail


def meta(number: int, root: int, state: int) -> bytes:
    body = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, PAGE_BYTES, 0, root, 0, 0, 0, state)
    checksum = 0xCBF29CE484222325
    for byte in body:
        checksum = (checksum ^ byte) * 0x100000001B3 % (1 << 64)
    return (struct.pack("<QHHI", number, 4, 0, 0) + body + struct.pack("<Q", checksum)).ljust(PAGE_BYTES, b"\0")
