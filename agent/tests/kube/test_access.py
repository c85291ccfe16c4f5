# SPDX-License-Identifier: Apache-2.0
"""The API server is asked only over TLS that is trusted, with credentials that are kept fresh."""

from __future__ import annotations

import json
import logging
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.kube.access import Access, AccessError, load
from falco_py.kube.client import ApiError, Client
from tests.kube.api import PODS, Api, Reply, kubeconfig, pod, service_account, status
from tests.outputs.receiver import Certificates, Proxy, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from falco_py.background import Background

AGENT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of another authority."""
    return Certificates(tmp_path_factory.mktemp("strangers"))


@pytest.fixture
def serve(certificates: Certificates) -> Iterator[Callable[..., Api]]:
    made: list[Api] = []

    def serve(*, tls: bool = True, clients: str = "", names: str = "IP:127.0.0.1") -> Api:
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificates.signed("server", names))
            if clients:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(clients)
        made.append(Api(context))
        return made[-1]

    yield serve
    for api in made:
        api.close()


@pytest.fixture
def connect(background: Background) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def connect(access: Access, **more: Any) -> Client:
        made.append(Client(access, **more))
        return made[-1]

    yield connect
    for client in made:
        background.call(client.close(), 10)


@pytest.fixture
def get(background: Background) -> Callable[[Client], dict[str, Any]]:
    return lambda client: background.call(client.get(PODS), 20)


# The service account of a pod


def test_a_pod_shows_its_token_to_the_server_that_its_authority_vouches_for(
    serve: Callable[..., Api], certificates: Certificates, tmp_path: Path, connect: Callable[..., Client],
    get: Callable[[Client], dict[str, Any]],
) -> None:  # fmt: skip
    api = serve()
    api.tokens = {"first"}
    api.put(PODS, pod("a"))
    client = connect(service_account(tmp_path / "account", api.port, certificates.ca))

    assert [one["metadata"]["name"] for one in get(client)["items"]] == ["a"]
    assert api.requests[0].headers["authorization"].lower() == "bearer first"
    assert api.requests[0].headers["user-agent"].startswith("falco-py/")
    assert api.requests[0].headers["accept-encoding"] == "identity"
    assert client.access.namespace == "falco"


def test_a_server_of_another_authority_is_not_asked(
    serve: Callable[..., Api], strangers: Certificates, tmp_path: Path, connect: Callable[..., Client],
    get: Callable[[Client], dict[str, Any]],
) -> None:  # fmt: skip
    api = serve()
    client = connect(service_account(tmp_path / "account", api.port, strangers.ca))

    with pytest.raises(ApiError, match=r"Unreachable.*certificate verify failed"):
        get(client)
    assert api.requests == []


def test_a_server_with_another_name_is_not_asked(
    serve: Callable[..., Api], certificates: Certificates, tmp_path: Path, connect: Callable[..., Client],
    get: Callable[[Client], dict[str, Any]],
) -> None:  # fmt: skip
    api = serve(names="DNS:elsewhere")
    client = connect(service_account(tmp_path / "account", api.port, certificates.ca))

    with pytest.raises(ApiError, match="IP address mismatch"):
        get(client)
    assert api.requests == []


def test_a_token_that_was_changed_is_read_when_the_old_one_is_refused(
    serve: Callable[..., Api], certificates: Certificates, tmp_path: Path, connect: Callable[..., Client],
    get: Callable[[Client], dict[str, Any]],
) -> None:  # fmt: skip
    api = serve()
    api.tokens = {"first"}
    client = connect(service_account(tmp_path / "account", api.port, certificates.ca))
    get(client)
    api.tokens = {"second"}
    (tmp_path / "account" / "token").write_text("second")

    get(client)

    assert [one.headers["authorization"][7:] for one in api.requests] == ["first", "first", "second"]


def test_a_token_is_read_again_within_a_minute(
    serve: Callable[..., Api], certificates: Certificates, tmp_path: Path, connect: Callable[..., Client],
    get: Callable[[Client], dict[str, Any]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import datetime

    api = serve()
    client = connect(service_account(tmp_path / "account", api.port, certificates.ca))
    get(client)
    (tmp_path / "account" / "token").write_text("second")

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) + datetime.timedelta(seconds=61)

    monkeypatch.setattr(datetime, "datetime", Later)
    get(client)

    assert [one.headers["authorization"][7:] for one in api.requests] == ["first", "second"]


def test_a_token_that_cannot_be_read_any_more_is_used_as_long_as_it_is_good(
    serve: Callable[..., Api], certificates: Certificates, tmp_path: Path, connect: Callable[..., Client],
    get: Callable[[Client], dict[str, Any]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    api = serve()
    access = service_account(tmp_path / "account", api.port, certificates.ca)
    client = connect(access)
    get(client)
    (tmp_path / "account" / "token").write_text("")
    monkeypatch.setattr("falco_py.kube.access._token", lambda configuration: 1 / 0)
    get(client)

    assert [one.headers["authorization"][7:] for one in api.requests] == ["first", "first"]
    assert access.failures == 1


def test_the_same_token_is_not_tried_again(
    serve: Callable[..., Api], certificates: Certificates, tmp_path: Path, connect: Callable[..., Client],
    get: Callable[[Client], dict[str, Any]],
) -> None:  # fmt: skip
    api = serve()
    api.tokens = {"other"}
    client = connect(service_account(tmp_path / "account", api.port, certificates.ca))

    with pytest.raises(ApiError, match="401 Unauthorized: who are you"):
        get(client)
    assert len(api.requests) == 1


def test_an_authority_that_was_changed_is_read_when_the_old_one_does_not_vouch(
    serve: Callable[..., Api], certificates: Certificates, strangers: Certificates, tmp_path: Path,
    connect: Callable[..., Client], get: Callable[[Client], dict[str, Any]],
) -> None:  # fmt: skip
    api = serve()
    client = connect(service_account(tmp_path / "account", api.port, strangers.ca))
    with pytest.raises(ApiError):
        get(client)
    (tmp_path / "account" / "new").write_bytes(Path(certificates.ca).read_bytes())
    (tmp_path / "account" / "new").rename(tmp_path / "account" / "ca.crt")
    with pytest.raises(ApiError):
        get(client)

    assert get(client)["items"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: made._environ.clear(), "Service host/port is not set"),
        (lambda made: Path(made._service_account, "token").unlink(), "token file does not exist"),
        (lambda made: Path(made._service_account, "ca.crt").write_text("none"), "certificates"),
    ],
)
def test_what_is_wrong_with_a_service_account_is_told(
    change: Callable[[Any], None], said: str, certificates: Certificates, tmp_path: Path
) -> None:
    access = service_account(tmp_path / "account", 1, certificates.ca)
    change(access)

    with pytest.raises(AccessError, match=f"service account of the pod: .*{said}"):
        access.open()


def test_a_service_account_that_is_not_there_yet_is_looked_for_with_each_request(
    serve: Callable[..., Api], certificates: Certificates, tmp_path: Path, connect: Callable[..., Client],
    get: Callable[[Client], dict[str, Any]],
) -> None:  # fmt: skip
    api = serve()
    access = service_account(tmp_path / "account", api.port, certificates.ca)
    (tmp_path / "account" / "token").rename(tmp_path / "away")
    client = connect(access)
    with pytest.raises(ApiError, match="NoAccess"):
        get(client)
    (tmp_path / "away").rename(tmp_path / "account" / "token")

    assert get(client)["items"] == []


# A kubeconfig


def test_a_kubeconfig_may_have_a_client_certificate_and_the_name_of_the_server(
    serve: Callable[..., Api], certificates: Certificates, tmp_path: Path, connect: Callable[..., Client],
    get: Callable[[Client], dict[str, Any]],
) -> None:  # fmt: skip
    api = serve(clients=certificates.ca, names="DNS:elsewhere")
    cert, key = certificates.signed("agent")
    path = kubeconfig(
        tmp_path / "config", api.url, {"client-certificate": cert, "client-key": key},
        **{"certificate-authority": certificates.ca, "tls-server-name": "elsewhere"},
    )  # fmt: skip

    access = load(path)

    assert get(connect(access))["items"] == []
    assert access.namespace == "falco"


def test_a_kubeconfig_may_say_that_nothing_is_verified(
    serve: Callable[..., Api], tmp_path: Path, connect: Callable[..., Client], get: Callable[[Client], dict[str, Any]]
) -> None:
    api = serve()
    path = kubeconfig(tmp_path / "config", api.url, **{"insecure-skip-tls-verify": True})

    assert get(connect(load(path)))["items"] == []


def test_a_token_file_is_read_again_when_its_token_is_refused(
    serve: Callable[..., Api], tmp_path: Path, connect: Callable[..., Client], get: Callable[[Client], dict[str, Any]]
) -> None:
    api = serve(tls=False)
    api.tokens = {"first"}
    (tmp_path / "token").write_text("first\n")
    client = connect(load(kubeconfig(tmp_path / "config", api.url, {"tokenFile": str(tmp_path / "token")})))
    get(client)
    api.tokens = {"second"}
    (tmp_path / "token").write_text("second\n")

    assert get(client)["items"] == []


def plugin(path: Path, text: str) -> dict[str, Any]:
    """A user whose credentials a program gives."""
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "interactiveMode": "Never"}}


GIVES = """
import json, pathlib
runs = pathlib.Path({runs!r}); runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": {{"token": pathlib.Path({token!r}).read_text(), "expirationTimestamp": {expires!r}}}}}))
"""


def test_a_program_may_give_the_token_and_is_run_again_when_it_is_refused(
    serve: Callable[..., Api], tmp_path: Path, connect: Callable[..., Client], get: Callable[[Client], dict[str, Any]]
) -> None:
    api = serve(tls=False)
    (tmp_path / "token").write_text("first")
    text = GIVES.format(runs=str(tmp_path / "runs"), token=str(tmp_path / "token"), expires="2999-01-01T00:00:00Z")
    api.tokens = {"first"}
    client = connect(Access(kubeconfig(tmp_path / "config", api.url, plugin(tmp_path / "plugin", text))))
    get(client)
    get(client)
    assert (tmp_path / "runs").read_text() == "x"

    api.tokens = {"second"}
    (tmp_path / "token").write_text("second")
    get(client)

    assert (tmp_path / "runs").read_text() == "xx"


def test_a_program_is_run_again_when_its_token_has_expired(
    serve: Callable[..., Api], tmp_path: Path, connect: Callable[..., Client], get: Callable[[Client], dict[str, Any]]
) -> None:
    api = serve(tls=False)
    (tmp_path / "token").write_text("first")
    text = GIVES.format(runs=str(tmp_path / "runs"), token=str(tmp_path / "token"), expires="2001-01-01T00:00:00Z")
    client = connect(Access(kubeconfig(tmp_path / "config", api.url, plugin(tmp_path / "plugin", text))))
    get(client)
    (tmp_path / "token").write_text("second")
    get(client)

    assert [one.headers["authorization"] for one in api.requests] == ["Bearer first", "Bearer second"]


def test_a_program_that_fails_is_told_and_nothing_is_asked(
    serve: Callable[..., Api], tmp_path: Path, connect: Callable[..., Client], get: Callable[[Client], dict[str, Any]],
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    api = serve(tls=False)
    user = plugin(tmp_path / "plugin", "import sys; print('log in first', file=sys.stderr); sys.exit(3)")
    client = connect(Access(kubeconfig(tmp_path / "config", api.url, user)))

    with pytest.raises(ApiError, match=r"NoAccess: .*process returned 3\. log in first"):
        get(client)
    assert api.requests == []
    assert capfd.readouterr().err == ""
    assert not any(
        isinstance(one, logging.StreamHandler) and one.stream is sys.stderr for one in logging.getLogger().handlers
    )


HANGS = "import os, pathlib, time; pathlib.Path({pid!r}).write_text(str(os.getpid())); time.sleep(60)"


def test_a_program_that_never_ends_holds_nobody(
    tmp_path: Path, connect: Callable[..., Client], background: Background
) -> None:
    user = plugin(tmp_path / "plugin", HANGS.format(pid=str(tmp_path / "pid")))
    client = connect(Access(kubeconfig(tmp_path / "config", "http://127.0.0.1:1", user)), timeout_s=0.3)
    began_s = time.monotonic()
    for _ in range(2):
        with pytest.raises(ApiError, match="NoAccess: credentials: nothing within"):
            background.call(client.get(PODS), 10)

    assert time.monotonic() - began_s < 5
    assert sum(one.name == "credentials" for one in threading.enumerate()) == 1
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "."), ("[]", "."), ("a: b", "."), ("{", "."), ('{"current-context": "x", "contexts": 1}', "."),
     (json.dumps({"current-context": "x", "clusters": [{"name": "c", "cluster": {"server": "nothing"}}], "users": [],
                  "contexts": [{"name": "x", "context": {"cluster": "c"}}]}), "no address")],
)  # fmt: skip
def test_what_is_wrong_with_a_kubeconfig_is_told_with_its_name(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(AccessError, match=f"{path}: .*{said}"):
        load(str(path))


def test_a_proxy_is_used_where_the_environment_says_so(
    serve: Callable[..., Api], certificates: Certificates, tmp_path: Path, connect: Callable[..., Client],
    get: Callable[[Client], dict[str, Any]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    api = serve()
    proxy = Proxy()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    get(connect(service_account(tmp_path / "account", api.port, certificates.ca)))
    assert [head.split()[:2] for head in proxy.heads] == [["CONNECT", f"127.0.0.1:{api.port}"]]

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    get(connect(service_account(tmp_path / "account", api.port, certificates.ca)))
    assert len(proxy.heads) == 1
    proxy.close()


# Requests


def test_what_is_written_is_json_and_what_is_refused_is_told(
    serve: Callable[..., Api], tmp_path: Path, connect: Callable[..., Client], background: Background
) -> None:
    api = serve(tls=False)
    client = connect(load(kubeconfig(tmp_path / "config", api.url)))

    assert background.call(client.post("/api/v1/namespaces/falco/events", {"reason": "Ü"}), 10) == {"reason": "Ü"}
    assert background.call(client.patch("/api/v1/x", {"count": 2}), 10) == {"count": 2}
    assert [(one.method, one.headers["content-type"]) for one in api.requests] == [
        ("POST", "application/json"), ("PATCH", "application/merge-patch+json")
    ]  # fmt: skip

    api.answer = lambda asked: status(409, "Conflict", "m" * 5000)
    with pytest.raises(ApiError) as caught:
        background.call(client.post("/x", {}), 10)
    assert (caught.value.status, caught.value.reason, len(caught.value.message)) == (409, "Conflict", 500)


@pytest.mark.parametrize("body", [b"", b"[]", b"nothing", b"\xff", b"[" * 50_000])
def test_an_answer_that_is_no_object_is_an_error(
    body: bytes, serve: Callable[..., Api], tmp_path: Path, connect: Callable[..., Client],
    get: Callable[[Client], dict[str, Any]],
) -> None:  # fmt: skip
    api = serve(tls=False)
    api.answer = lambda asked: Reply(body=body)

    with pytest.raises(ApiError, match="Malformed"):
        get(connect(load(kubeconfig(tmp_path / "config", api.url))))


def test_an_answer_that_is_too_large_is_not_held(
    serve: Callable[..., Api], tmp_path: Path, connect: Callable[..., Client],
    get: Callable[[Client], dict[str, Any]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("falco_py.kube.client.BODY_MAX", 100_000)
    api = serve(tls=False)
    api.answer = lambda asked: Reply(body=b"x" * 5_000_000)

    with pytest.raises(ApiError, match="TooLarge"):
        get(connect(load(kubeconfig(tmp_path / "config", api.url))))


def test_a_redirect_is_not_followed(
    serve: Callable[..., Api], tmp_path: Path, connect: Callable[..., Client], get: Callable[[Client], dict[str, Any]]
) -> None:
    api = serve(tls=False)
    api.answer = lambda asked: Reply(302, headers={"Location": f"{api.url}/elsewhere"})

    with pytest.raises(ApiError, match="302"):
        get(connect(load(kubeconfig(tmp_path / "config", api.url))))
    assert len(api.requests) == 1


def test_a_server_that_never_answers_is_an_error_in_time(
    serve: Callable[..., Api], tmp_path: Path, connect: Callable[..., Client], get: Callable[[Client], dict[str, Any]]
) -> None:
    api = serve(tls=False)
    api.answer = lambda asked: Reply(hang=True)

    with pytest.raises(ApiError, match="Timeout"):
        get(connect(load(kubeconfig(tmp_path / "config", api.url)), timeout_s=0.2))


def test_a_server_that_is_not_there_is_an_error(
    tmp_path: Path, connect: Callable[..., Client], get: Callable[[Client], dict[str, Any]]
) -> None:
    with pytest.raises(ApiError, match="Unreachable"):
        get(connect(load(kubeconfig(tmp_path / "config", f"http://127.0.0.1:{free_port()}"))))


# What it costs

COST = """
import sys
sys.path.insert(0, {agent!r})
import aiohttp
from falco_py.kube.access import load, Access
from falco_py.kube.client import Client
access = load({kubeconfig!r}) if {kubeconfig!r} else Access(
    service_account={account!r}, environ={{"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "1"}})
access.open()
print(sum(name.startswith("kubernetes.client.") for name in sys.modules), "kubernetes" in sys.modules)
import kubernetes.client
print(kubernetes.client.CoreV1Api.__name__, kubernetes.client.Configuration.__name__)
"""


@pytest.mark.parametrize("by_file", [False, True])
def test_of_the_package_only_the_configuration_is_imported_and_it_can_still_be_imported_whole(
    by_file: bool, certificates: Certificates, tmp_path: Path
) -> None:
    service_account(tmp_path / "account", 1, certificates.ca)
    path = kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
    text = COST.format(agent=str(AGENT), kubeconfig=path if by_file else "", account=str(tmp_path / "account"))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.splitlines() == ["1 False", "CoreV1Api Configuration"]


def test_without_the_package_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(AccessError, match="pip install kubernetes"):
        load(kubeconfig(tmp_path / "config", "http://127.0.0.1:1"))
