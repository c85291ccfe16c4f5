# SPDX-License-Identifier: Apache-2.0
"""The socket on which an agent tells of itself."""

from __future__ import annotations

import os
import socket
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from falco_py.web import status
from falco_py.web.status import Status, StatusError, ask

if TYPE_CHECKING:
    from pathlib import Path

TOLD = {"events": 3, "rules": []}


def serving(path: Path) -> Status:
    return Status(str(path), lambda: dict(TOLD))


def test_whoever_connects_is_told(tmp_path: Path) -> None:
    path = tmp_path / "made" / "status.sock"
    with serving(path) as answering:
        assert not answering.problem
        assert [ask(str(path)) for _ in range(10)] == [TOLD] * 10
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o755
    assert not path.exists()
    with pytest.raises(StatusError, match="No such file"):
        ask(str(path))


def test_a_socket_that_a_killed_agent_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with serving(path) as answering:
        assert not answering.problem
        assert ask(str(path)) == TOLD


def test_a_second_agent_leaves_the_first_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    with serving(path):
        with serving(path) as second:
            assert second.problem == f"another agent answers on {path}"
        assert ask(str(path)) == TOLD


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    path.write_text("mine")
    with serving(path) as answering:
        assert "is no socket" in answering.problem
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["none/below/status.sock", "x" * 200])
def test_a_path_that_cannot_be_made_is_a_problem_not_an_end(tmp_path: Path, name: str) -> None:
    with serving(tmp_path / name) as answering:
        assert answering.problem


def test_clients_that_do_not_read_hold_up_only_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "CLIENT_S", 0.1)
    path = tmp_path / "status.sock"
    large = {"text": "x" * (4 << 20)}
    with Status(str(path), lambda: large) as answering, socket.socket(socket.AF_UNIX) as lazy:
        lazy.connect(str(path))
        assert ask(str(path)) == large
        assert answering.failures == 1


def test_a_failure_to_tell_is_not_the_end_of_telling(tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    luck = iter([1, 0])

    def snapshot() -> dict[str, float]:
        return {"events": 1 / (1 - next(luck))}

    with Status(str(path), snapshot) as answering:
        with pytest.raises(StatusError, match="not that of an agent"):
            ask(str(path))
        assert ask(str(path)) == {"events": 1.0}
        assert answering.failures == 1


def test_an_answer_that_is_not_an_agents_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other.sock"

    def answer(text: bytes) -> None:
        client, _ = listening.accept()
        with client:
            client.sendall(text)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(2)
        for text, said in (
            (b"hello", "not that of an agent"),
            (b"[1]", "not that of an agent"),
            (b"x" * 99, "not end"),
        ):
            monkeypatch.setattr(status, "MAX_ANSWER_BYTES", 50)
            thread = threading.Thread(target=answer, args=(text,))
            thread.start()
            with pytest.raises(StatusError, match=said):
                ask(str(path))
            thread.join()


def test_the_environment_names_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(status.VARIABLE, raising=False)
    assert status.socket_path() == "/run/falco-py/status.sock"
    monkeypatch.setenv(status.VARIABLE, "/tmp/x")
    assert status.socket_path() == "/tmp/x"
