# SPDX-License-Identifier: Apache-2.0
"""A list is cut into its items as it comes, however it comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.kube.listing import DEPTH_MAX, Listing, MalformedError, TooLargeError

NASTY = {"a": 'b]}{"\\', "\\": [{}, [], {"x": [{}]}], "items": [{"no": "item"}], "n": -1.5e7, "t": None}
texts = st.text(alphabet='ab"\\{}[]:,é', max_size=6)
values = st.recursive(
    st.none() | st.integers(-(2**62), 2**62) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=4)


def taken(text: bytes, step: int, item_max: int = 1 << 20) -> tuple[list[Any], dict[str, Any]]:
    listing = Listing(item_max)
    found = []
    for begin in range(0, len(text), step):
        found += listing.feed(text[begin : begin + step])
    return found, listing.end()


@given(
    items=st.lists(objects, max_size=5), around=objects, metadata=objects, step=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
)  # fmt: skip
def test_any_list_gives_its_items_and_its_metadata(
    items: list[Any], around: dict[str, Any], metadata: dict[str, Any], step: int, indent: int | None
) -> None:
    text = json.dumps({**around, "items": items, "metadata": metadata}, indent=indent).encode()
    assert taken(text, step) == (items, metadata)


def test_items_are_given_as_soon_as_they_are_whole() -> None:
    listing = Listing()
    assert listing.feed(b'{"metadata":{},"items":[{"a":1},{"b"') == [{"a": 1}]
    assert listing.feed(b":[2]") == []
    assert listing.feed(b"},") == [{"b": [2]}]


def test_lists_within_lists_are_not_taken_for_items() -> None:
    text = json.dumps(
        {"spec": {"items": [NASTY]}, "items": [NASTY, NASTY], "status": {"items": [NASTY]}, "metadata": {"a": 1}}
    )
    assert taken(text.encode(), 7) == ([NASTY, NASTY], {"a": 1})


def test_deep_items_are_found() -> None:
    deep: Any = []
    for _ in range(DEPTH_MAX // 2 - 3):
        deep = [{"x": deep}]
    text = json.dumps({"metadata": {}, "items": [{"deep": deep}, {"flat": 1}]}).encode()
    assert taken(text, 1 << 20)[0] == taken(text, 3)[0] == [{"deep": deep}, {"flat": 1}]


NO_LISTS = [
    b"", b"[]", b"null", b"<html>{[]}</html>", b"]]}}{{[[", b'{"items":[]}', b'{"metadata":[],"items":[]}',
    b'{"metadata":{}} {}', b'{"metadata":{},"items":[{},{', b'{"metadata":{},"items":[{"a":"\xff"}]}',
    b"[" * 1000, b'{"items":' + b"[" * 1000, b'{"metadata":{},"items":[' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"]}",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_LISTS)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_what_is_no_list_is_told(text: bytes, step: int) -> None:
    with pytest.raises(MalformedError):
        taken(text, step)


@given(st.binary(max_size=60) | texts.map(str.encode))
def test_no_bytes_end_in_anything_else(text: bytes) -> None:
    try:
        taken(b'{"metadata":{},"items":[' + text, 7)
    except MalformedError:
        return
    assert json.loads(b'{"metadata":{},"items":[' + text)


@pytest.mark.parametrize(
    "text", [b'{"items":[{"a":"%s' % (b"x" * 300), b'{"a":"%s' % (b"x" * 300), b'{"a":[%s' % (b"[1]," * 99)]
)
def test_what_is_too_large_is_not_held(text: bytes) -> None:
    with pytest.raises(TooLargeError):
        taken(text, 10, item_max=200)


@pytest.mark.parametrize("items", [b"null", b'{"a":{}}', b'{"a":[{}]}', b"[[{}]]", b"3"])
def test_what_is_not_in_the_list_of_items_is_none(items: bytes) -> None:
    assert taken(b'{"items":%b,"metadata":{"a":{}}}' % items, 1) == ([], {"a": {}})


def test_many_items_are_not_too_large() -> None:
    items = [{"a": "x" * 100}] * 50
    assert taken(json.dumps({"metadata": {}, "items": items}).encode(), 10, item_max=200)[0] == items
