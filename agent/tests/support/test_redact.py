# SPDX-License-Identifier: Apache-2.0
"""What is secret goes out of texts, and the rest stays as it is."""

from __future__ import annotations

import pytest

from falco_py.support.finding import REMOVED
from falco_py.support.redact import Secrets, UnreadableError, generic, is_secret, of_override, of_yaml, suspicious

X = REMOVED


def shown(text: str, environment: dict[str, str] | None = None, *, path: str = "", every_text: bool = True) -> str:
    return of_yaml(text, Secrets(), environment or {}, path=path, every_text=every_text)


def untouched(text: str) -> bool:
    return shown(text) == text


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("webserver: {bearer_token: abc, listen_port: 1}\n", f"webserver: {{bearer_token: {X}, listen_port: 1}}\n"),
        ("webserver:\n  bearer_token: a b\n  listen_port: 1\n", f"webserver:\n  bearer_token: {X}\n  listen_port: 1\n"),
        ("a: 1\npassword: 'a ''b'\nb: 2\n", f"a: 1\npassword: {X}\nb: 2\n"),
        ('password: "a\\\n  b" # c\n', f"password: {X} # c\n"),
        ("password: |\n  a\n  b\n\n# c\nb: 2\n", f"password: {X}\n\n# c\nb: 2\n"),
        ("password: >-\n  a\n  b\nb: 2", f"password: {X}\nb: 2"),
        ("password: a\n  b\nb: 2\n", f"password: {X}\nb: 2\n"),
        ("password: !!str &x abc\nb: *x\n", f"password: {X}\nb: *x\n"),
        ("b: &x abc\npassword: *x\n", f"b: {X}\npassword: *x\n"),
        ("tokens: [a, b]\nb: 2\n", f"tokens: {X}\nb: 2\n"),
        ("tokens:\n  - a\n  - b: c\nb: 2\n", f"tokens:\n  {X}\nb: 2\n"),
        ("b: &h {X-A: abc}\nhttp_output: {headers: *h}\n", f"b: {X}\nhttp_output: {{headers: *h}}\n"),
        ("b: &h {bearer_token: abc}\nwebserver: {<<: *h}\n", f"b: &h {{bearer_token: {X}}}\nwebserver: {{<<: *h}}\n"),
        ("http_output:\n  url: http://x/\nurl: http://x/\n", f"http_output:\n  url: {X}\nurl: http://x/\n"),
        ("password: a\npassword: b\n", f"password: {X}\npassword: {X}\n"),
        ("? [a, b]\n: c\n", f"? {X}\n: {X}\n"),
        ("\ufeffpassword: abc\r\nb: 2\r\n", f"\ufeffpassword: {X}\r\nb: 2\r\n"),
        ("a: 'é😀'\npassword: abc # é\n", f"a: 'é😀'\npassword: {X} # é\n"),
        ("plugins:\n- init_config: '{\"x\": 1}'\n  name: k\n", f"plugins:\n- init_config: {X}\n  name: k\n"),
        ("x: 'a; password=abc'\n", f"x: {X}\n"),
    ],
)  # fmt: skip
def test_secrets_are_cut_where_they_stand(text: str, cut: str) -> None:
    assert shown(text) == cut


@pytest.mark.parametrize(
    "text",
    ["", "# a comment\n", "bearer_token: ''\ntokens: []\n", "a: [1, {b: c}]\n# see https://falco.org/docs/#rules\n",
     "keep_alive: true\nmonkey: x\nkeyboard: y\n", "output: key=%evt.arg.key\n", "- rule: x\n  condition: a = b\n"],
)  # fmt: skip
def test_what_is_not_secret_stays_as_it_is(text: str) -> None:
    assert untouched(text)


def test_conditions_of_rules_may_speak_of_passwords() -> None:
    text = "- rule: x\n  condition: proc.args contains 'password=x'\n"
    assert shown(text, every_text=False) == text
    assert shown(text) != text


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\x00", "a: 1\n---\nb: 2\n", "a: " + "[" * 5000])
def test_a_text_that_cannot_be_parsed_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        shown(text)


def test_aliases_that_multiply_are_refused_in_time() -> None:
    levels = "".join(f"m{n}: &m{n} {{a: *m{n - 1}, b: *m{n - 1}}}\n" for n in range(1, 40))
    with pytest.raises(UnreadableError, match="more than 100000 values"):
        shown(f"m0: &m0 {{a: 1}}\n{levels}")


@pytest.mark.parametrize(
    "comment",
    ["bearer_token: abc", "url: http://x/y", "see https://u:abc@x/", "call https://x/?t=abc", "token = abc",
     "Authorization: Basic abcdefgh1", "curl -H 'X-Api-Key: abc'", "old: A1b2C3d4E5f6G7h8", "program: curl",
     "the token abcdefg1", "secretKey: abc"],
)  # fmt: skip
def test_comments_that_may_hold_secrets_go(comment: str) -> None:
    assert suspicious(comment)
    for head, tail in (("a: 1 # ", "\nb: 2\n"), ("# ", "\na: 1\n"), ("a: |  # ", "\n  text # 1\n"), ("a: 1\n# ", "")):
        assert shown(head + comment + tail) == head + X + tail


@pytest.mark.parametrize("comment", ["the key of the map", "https://falco.org/docs/", "keep_alive: true", "Passwords"])
def test_other_comments_stay(comment: str) -> None:
    assert untouched(f"a: 1 # {comment}\n")


def test_what_is_indented_under_a_comment_that_goes_goes_as_well() -> None:
    text = "# headers:\n#   X-Other: abc\n#   Y: def\n# json_output: true\na: 1\n"
    assert shown(text) == f"# {X}\n#   {X}\n#   {X}\n# json_output: true\na: 1\n"


def test_what_looks_like_a_comment_in_a_value_is_none() -> None:
    assert untouched("a: 'x # url: y'\nb: |\n  # url: z\n")


@pytest.mark.parametrize(
    ("path", "secret"),
    [("http_output.url", True), ("program_output.program", True), ("x.webserver.bearer_token", True), ("url", False),
     ("aws.secretKey", True), ("apiToken", True), ("API-KEY", True), ("http_output.keep_alive", False),
     ("monkey", False), ("authorization", True), ("author", False)],
)  # fmt: skip
def test_names_of_keys_tell_what_is_secret(path: str, secret: bool) -> None:
    assert is_secret(path) == secret


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("https://u:p@host/x", f"https://{X}@host/x"),
        ("https://u:p@ss@host/x", f"https://{X}@host/x"),
        ("https://host/x?a=b&c=d end", f"https://host/x?{X} end"),
        ("'https://host/x#access_token=b'", f"'https://host/x?{X}'"),
        ("https://host/docs/#rules", "https://host/docs/#rules"),
        ("Authorization: Bearer abc.def", f"Authorization: {X}"),
        ("bearer abcdefgh1", f"bearer {X}"),
        ("bearer tokens are read", "bearer tokens are read"),
    ],
)
def test_credentials_are_cut_from_any_text(text: str, cut: str) -> None:
    assert generic(text) == cut


@pytest.mark.parametrize(
    ("override", "cut"),
    [
        ("json_output=true", "json_output=true"),
        ("http_output.url=https://x/", f"http_output.url={X}"),
        ("http_output.headers.Zed=abc", f"http_output.headers.Zed={X}"),
        ("http_output={url: abc, echo: true}", f"http_output={{url: {X}, echo: true}}"),
        ("http_output.headers[]=abc", f"http_output.headers[]={X}"),
        (r"http_output\.url=abc", rf"http_output\.url={X}"),
        ("webserver.bearer_token=[", f"webserver.bearer_token={X}"),
        ("bearer_token", X),
        ("bearer_token=", "bearer_token="),
    ],
)
def test_overrides_are_cut(override: str, cut: str) -> None:
    assert of_override(override, Secrets(), {}) == cut


def test_values_are_cut_wherever_they_turn_up() -> None:
    secrets = Secrets()
    of_yaml("password: 'first line\n\n  second'\nwebserver: {bearer_token: '${T}'}\n", secrets, {"T": "from-outside"})
    assert secrets.scrub("a first line b second c from-outside d") == f"a {X} b {X} c {X} d"


def test_the_beginning_of_a_long_value_is_cut() -> None:
    secrets = Secrets()
    of_yaml(f"password: {'x1' * 60}\n", secrets, {})
    assert secrets.scrub(f'found "{("x1" * 60)[:57]}..."') == f'found "{X}..."'


def test_values_of_the_environment_are_cut_from_what_is_made_of_the_configuration() -> None:
    secrets = Secrets()
    of_yaml("log_level: ${LEVEL}\n", secrets, {"LEVEL": "noticed"}, file="f.yaml")
    assert secrets.scrub("noticed") == "noticed"
    assert secrets.with_variables().scrub("noticed") == X
    assert secrets.unexpanded == {("f.yaml", 1, 12): "${LEVEL}"}
