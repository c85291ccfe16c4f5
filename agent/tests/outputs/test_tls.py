# SPDX-License-Identifier: Apache-2.0
"""Alerts go only to a receiver that is trusted, over TLS; files of certificates that cannot serve are told."""

from __future__ import annotations

import shutil
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.background import Background
from falco_py.config.model import HttpOutput
from falco_py.config.problem import SettingError
from falco_py.outputs import tls
from falco_py.outputs.http import Http
from tests.outputs.items import item, until
from tests.outputs.receiver import Certificates, Proxy, Receiver, openssl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., Http]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of another authority."""
    return Certificates(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> tuple[str, str]:
    return certificates.signed("server")


@pytest.fixture
def serve() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def serve(pair: tuple[str, str], clients: str = "", newest: ssl.TLSVersion | None = None) -> Receiver:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        if newest is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = newest
        made.append(Receiver(tls=context))
        return made[-1]

    yield serve
    for receiver in made:
        receiver.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    background = Background()
    made: list[Http] = []

    def make(url: str, **settings: Any) -> Http:
        settings = {"spool_directory": str(tmp_path / f"spool{len(made)}"), **settings}
        http = Http(HttpOutput(url, **settings), json_output=False, background=background,
                    first_pause_s=0.02, longest_pause_s=0.1)  # fmt: skip
        made.append(http)
        http.start()
        http.offer(item("a"))
        http.tell()
        return http

    yield make
    for http in made:
        http.close(0.0)
    background.close()


class TestTrust:
    def test_an_unknown_receiver_is_refused(self, serve: Any, make: Make, server: tuple[str, str]) -> None:
        receiver = serve(server)
        http = make(receiver.url)
        until(lambda: "its certificate is not trusted: " in http.problem)
        assert "(see http_output.ca_cert)" in http.problem
        assert receiver.requests == []
        assert http.spool_waiting == 1

    @pytest.mark.parametrize("key", ["ca_cert", "ca_bundle"])
    def test_an_authority_that_is_named_is_trusted(
        self, serve: Any, make: Make, server: tuple[str, str], certificates: Certificates, key: str
    ) -> None:
        receiver = serve(server)
        http = make(receiver.url, **{key: certificates.ca})
        until(lambda: http.sent)
        assert receiver.bodies == ["a"]

    def test_a_hashed_directory_is_trusted(
        self, serve: Any, make: Make, server: tuple[str, str], certificates: Certificates
    ) -> None:
        receiver = serve(server)
        http = make(receiver.url, ca_path=certificates.hashed_directory())
        until(lambda: http.sent)

    def test_insecure_trusts_anybody_and_says_so(
        self, serve: Any, make: Make, strangers: Certificates, capfd: pytest.CaptureFixture[str]
    ) -> None:
        receiver = serve(strangers.signed("other", "DNS:elsewhere.example"))
        http = make(receiver.url, insecure=True)
        until(lambda: http.sent)
        assert f"the certificate of https://127.0.0.1:{receiver.port} is not verified" in capfd.readouterr().err

    def test_a_certificate_for_another_host_is_refused(
        self, serve: Any, make: Make, certificates: Certificates
    ) -> None:
        receiver = serve(certificates.signed("elsewhere", "DNS:elsewhere.example"))
        http = make(receiver.url, ca_cert=certificates.ca)
        until(lambda: "its certificate is not trusted: IP address mismatch" in http.problem)
        assert receiver.requests == []

    def test_old_versions_of_tls_are_refused(
        self, serve: Any, make: Make, server: tuple[str, str], certificates: Certificates
    ) -> None:
        receiver = serve(server, newest=ssl.TLSVersion.TLSv1_1)
        http = make(receiver.url, ca_cert=certificates.ca)
        until(lambda: http.retried > 2)
        assert receiver.requests == []
        assert "it cannot be reached" in http.problem
        newer = serve(server, newest=ssl.TLSVersion.TLSv1_2)
        accepted = make(newer.url, ca_cert=certificates.ca)
        until(lambda: accepted.sent)

    def test_a_renewed_authority_is_read_without_a_restart(
        self, serve: Any, make: Make, server: tuple[str, str], certificates: Certificates, strangers: Certificates,
        tmp_path: Path,
    ) -> None:  # fmt: skip
        trusted = shutil.copy(strangers.ca, tmp_path / "ca.crt")
        receiver = serve(server)
        http = make(receiver.url, ca_cert=str(trusted))
        until(lambda: "not trusted" in http.problem)
        shutil.copy(certificates.ca, tmp_path / "new.crt")
        (tmp_path / "new.crt").rename(trusted)
        until(lambda: http.sent)

    def test_a_proxy_sees_where_it_goes_and_nothing_else(
        self, serve: Any, make: Make, server: tuple[str, str], certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        proxy = Proxy()
        monkeypatch.setenv("https_proxy", f"http://user:secret@127.0.0.1:{proxy.port}")
        receiver = serve(server)
        http = make(receiver.url, ca_cert=certificates.ca, headers=(("Authorization", "Bearer x"),))
        until(lambda: http.sent)
        (head,) = proxy.heads
        assert head.startswith(f"CONNECT 127.0.0.1:{receiver.port} ")
        assert "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in head
        assert "Bearer" not in head
        assert "proxy-authorization" not in receiver.requests[0].headers
        proxy.close()


class TestMutual:
    def test_without_a_certificate_of_its_own_alerts_wait(
        self, serve: Any, make: Make, server: tuple[str, str], certificates: Certificates
    ) -> None:
        receiver = serve(server, clients=certificates.ca)
        http = make(receiver.url, ca_cert=certificates.ca)
        until(lambda: http.retried > 3)
        assert http.problem
        assert receiver.requests == []
        assert (http.spool_waiting, http.lost) == (1, 0)

    def test_with_one_they_are_taken(
        self, serve: Any, make: Make, server: tuple[str, str], certificates: Certificates
    ) -> None:
        receiver = serve(server, clients=certificates.ca)
        cert, key = certificates.signed("client")
        http = make(receiver.url, ca_cert=certificates.ca, mtls=True, client_cert=cert, client_key=key)
        until(lambda: http.sent)

    def test_a_renewed_certificate_is_shown_without_a_restart(
        self, serve: Any, make: Make, server: tuple[str, str], certificates: Certificates, strangers: Certificates,
        tmp_path: Path,
    ) -> None:  # fmt: skip
        receiver = serve(server, clients=certificates.ca)
        cert, key = (str(shutil.copy(path, tmp_path)) for path in strangers.signed("client"))
        http = make(receiver.url, ca_cert=certificates.ca, mtls=True, client_cert=cert, client_key=key)
        until(lambda: http.retried > 2)
        assert receiver.requests == []
        for new, old in zip(certificates.signed("client"), (cert, key), strict=True):
            shutil.copy(new, tmp_path / "new")
            (tmp_path / "new").rename(old)
        until(lambda: http.sent)


class TestFiles:
    def refused(self, **settings: Any) -> SettingError:
        with pytest.raises(SettingError) as raised:
            Http(HttpOutput("https://receiver.example/", **settings), json_output=False, background=Background())
        return raised.value

    @pytest.mark.parametrize("key", ["ca_cert", "ca_bundle"])
    def test_a_missing_file_is_told_with_its_key(self, key: str) -> None:
        problem = self.refused(**{key: "/no/such.crt"})
        assert problem.key == f"http_output.{key}"
        assert problem.message == "/no/such.crt cannot be read (No such file or directory)"

    def test_a_file_that_is_no_certificate_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "ca.crt").write_text("hello")
        problem = self.refused(ca_cert=str(tmp_path / "ca.crt"))
        assert problem.key == "http_output.ca_cert"
        assert "holds no certificate that can be read" in problem.message
        assert "PEM" in problem.remedy

    def test_a_key_of_another_certificate_is_told(self, certificates: Certificates) -> None:
        cert, _ = certificates.signed("one")
        _, key = certificates.signed("two")
        problem = self.refused(mtls=True, client_cert=cert, client_key=key)
        assert problem.key == "http_output.client_key"
        assert problem.message == f"{key} is not the key of {cert}"

    def test_a_key_with_a_password_is_told_not_asked_for(
        self, certificates: Certificates, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        cert, key = certificates.signed("locked")
        locked = str(tmp_path / "locked.key")
        openssl("ec", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked)
        problem = self.refused(mtls=True, client_cert=cert, client_key=locked)
        assert "without a password" in problem.remedy
        assert capfd.readouterr().err == ""

    def test_a_missing_directory_is_told_but_for_the_default(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        missing = str(tmp_path / "missing")
        assert self.refused(ca_path=missing).key == "http_output.ca_path"
        monkeypatch.setattr(tls, "_DEFAULT_CA_PATH", missing)
        Http(HttpOutput("https://receiver.example/", ca_path=missing), json_output=False, background=Background())

    def test_files_do_not_matter_without_tls(self) -> None:
        settings = HttpOutput("http://receiver.example/", mtls=True, ca_cert="/no/such.crt")
        Http(settings, json_output=False, background=Background())

    def test_headers_that_the_agent_sets_are_refused(self) -> None:
        assert self.refused(headers=(("Content-Length", "1"),)).key == "http_output.headers"

    def test_a_proxy_that_cannot_be_used_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1080")
        assert "https_proxy" in self.refused().message
