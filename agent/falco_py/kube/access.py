# SPDX-License-Identifier: Apache-2.0
"""A service account or a kubeconfig becomes what a request needs: address, TLS context, proxy, headers.

The `kubernetes` package reads both and keeps the credentials fresh. Invariant: only its configuration is imported, of
33 MB of modules 2; credentials that cannot be renewed leave those from before.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import ssl
import sys
import types
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_NAMESPACE_MAX: Final = 253
_NO_PACKAGE: Final = "the Python package `kubernetes` is not installed: pip install kubernetes"


class AccessError(Exception):
    """There is no way to ask the API; the text says why."""


class Access:
    """`open`, `renew` and `headers` may wait for a file, or for a program that the kubeconfig names: `blocks`.

    `url` has no slash at its end; `server_name` is "" for that in the URL, `proxy` "" for none, `namespace` the one
    that the credentials are of.
    """

    def __init__(
        self, kubeconfig: str = "", *, service_account: str = SERVICE_ACCOUNT, environ: Mapping[str, str] = os.environ
    ) -> None:
        """Reads nothing yet: see `open`."""
        self.kubeconfig = kubeconfig
        self.blocks = bool(kubeconfig)
        self.opened = False
        self.url = ""
        self.server_name = ""
        self.proxy = ""
        self.namespace = "default"
        self.tls: ssl.SSLContext | None = None
        self.failures = 0  # of keeping the credentials fresh
        self._service_account = service_account
        self._environ = environ
        self._configuration: Any = None
        self._token = ""

    def open(self) -> None:
        """Raises AccessError."""
        if self.opened:
            return
        self._take(self._read())
        self.opened = True

    def renew(self) -> bool:
        """Reads all anew: whether there are other credentials now. Raises AccessError; then all is as before."""
        before = self._token, self._stamps()
        self._take(self._read())
        self.opened = True
        return (self._token, self._stamps()) != before

    def headers(self) -> dict[str, str]:
        """Who asks; the token is read anew when its time has come."""
        with _complaints() as complaints:
            try:
                self._token = _token(self._configuration)
            except Exception as error:  # noqa: BLE001 - whatever a file or a program gave; what was good may be yet
                complaints.append(str(error))
        self.failures += bool(complaints)
        return {"Authorization": self._token} if self._token else {}

    def _read(self) -> Any:
        with _complaints() as complaints:
            try:
                configuration = self._from_file() if self.kubeconfig else self._from_pod()
            except AccessError:
                raise
            except Exception as error:
                raise AccessError(f"{self._source()}: {str(error) or type(error).__name__}") from error
        if complaints:
            raise AccessError(f"{self._source()}: {'; '.join(complaints)}")
        return configuration

    def _source(self) -> str:
        return self.kubeconfig or "service account of the pod"

    def _from_pod(self) -> Any:
        with _package() as package:
            loader = importlib.import_module("kubernetes.config.incluster_config").InClusterConfigLoader
        configuration = package.Configuration()
        directory = self._service_account
        loader(f"{directory}/token", f"{directory}/ca.crt", environ=self._environ).load_and_set(configuration)
        with suppress(OSError), open(f"{directory}/namespace", encoding="utf-8", errors="replace") as file:
            self.namespace = file.read(_NAMESPACE_MAX).strip() or "default"
        return configuration

    def _from_file(self) -> Any:
        with _package() as package:
            kube_config = importlib.import_module("kubernetes.config.kube_config")
        configuration = package.Configuration()
        kube_config.load_kube_config(self.kubeconfig, client_configuration=configuration, persist_config=False)
        context = kube_config.list_kube_config_contexts(self.kubeconfig)[1].get("context")
        namespace = context.get("namespace") if isinstance(context, dict) else None
        self.namespace = namespace if namespace and isinstance(namespace, str) else "default"
        return configuration

    def _take(self, configuration: Any) -> None:
        """Raises AccessError and changes nothing then."""
        url = str(configuration.host).rstrip("/")
        host = urlsplit(url).hostname
        if not host:
            raise AccessError(f"{self._source()}: {url!r} is no address")
        try:
            token = _token(configuration)
            tls = _context(configuration) if url.startswith("https:") else None
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise AccessError(f"{self._source()}: certificates: {error}") from error
        self._configuration, self._token, self.tls, self.url = configuration, token, tls, url
        self.server_name = getattr(configuration, "tls_server_name", None) or ""
        proxy = configuration.proxy
        past = proxy_bypass(host, {"no": getattr(configuration, "no_proxy", None) or ""})
        self.proxy = "" if past or not proxy else str(proxy)

    def _stamps(self) -> list[tuple[int, int]]:
        found = []
        for name in ("ssl_ca_cert", "cert_file", "key_file"):
            with suppress(OSError, TypeError):
                status = os.stat(getattr(self._configuration, name, None))  # type: ignore[arg-type]
                found.append((status.st_ino, status.st_mtime_ns))
        return found


def load(kubeconfig: str = "") -> Access:
    """Raises AccessError."""
    access = Access(kubeconfig)
    access.open()
    return access


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "root":
            self.messages.append(record.getMessage())


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What the package says with `logging` instead of raising it: why a plugin gave nothing."""
    handler = _Complaints()
    logging.getLogger().addHandler(handler)
    try:
        yield handler.messages
    finally:
        logging.getLogger().removeHandler(handler)


def _token(configuration: Any) -> str:
    """The whole value of the header. Whatever comes from a file may end in a newline."""
    found = configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    return str(found).strip() if found else ""


def _context(configuration: Any) -> ssl.SSLContext:
    """Raises OSError, ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif configuration.assert_hostname is False:
        context.check_hostname = False
    data = getattr(configuration, "ca_cert_data", None)
    if configuration.ssl_ca_cert or data:
        context.load_verify_locations(cafile=configuration.ssl_ca_cert, cadata=data)
    else:
        context.load_default_certs()
    if configuration.cert_file:
        # An empty password: a key that needs one would make OpenSSL ask the terminal.
        context.load_cert_chain(configuration.cert_file, configuration.key_file, password="")
    return context


@contextmanager
def _package() -> Iterator[Any]:
    """`kubernetes.client` with nothing but Configuration; within, `kubernetes.config.*` can be imported one by one.

    What the package imports by itself are thousands of models, which cost 33 MB. So its three `__init__` are passed
    over: modules without content stand for them, only as long as is needed. Raises AccessError.
    """
    client = sys.modules.get("kubernetes.client")
    if client is not None:  # somebody has imported it whole
        yield client
        return
    spec = importlib.util.find_spec("kubernetes")
    if spec is None or not spec.submodule_search_locations:
        raise AccessError(_NO_PACKAGE)
    base = next(iter(spec.submodule_search_locations))
    names = ("kubernetes", "kubernetes.client", "kubernetes.config")
    try:
        for name in names:
            module = types.ModuleType(name)
            module.__path__ = [os.path.join(base, *name.split(".")[1:])]
            sys.modules[name] = module
        client = sys.modules["kubernetes.client"]
        client.Configuration = importlib.import_module("kubernetes.client.configuration").Configuration  # type: ignore[attr-defined]
        client.ApiClient = _Fetch  # type: ignore[attr-defined]
        yield client
    except ImportError as error:
        raise AccessError(f"the Python package `kubernetes` cannot be used: {error}") from error
    finally:
        for name in names:
            sys.modules.pop(name, None)


class _Fetch:
    """As much of `kubernetes.client.ApiClient` as renewing the token of an OpenID Connect provider takes."""

    def __init__(self, configuration: Any) -> None:
        self._configuration = configuration

    def call_api(self, method: str, url: str) -> Any:
        import urllib3

        verify = "CERT_REQUIRED" if self._configuration.verify_ssl else "CERT_NONE"
        with urllib3.PoolManager(cert_reqs=verify, ca_certs=self._configuration.ssl_ca_cert) as pool:
            return pool.request(method, url, timeout=10.0, retries=False)
