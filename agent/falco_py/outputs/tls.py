# SPDX-License-Identifier: Apache-2.0
"""The keys of http_output about certificates become a TLS context; files that cannot serve are told with their key.

Invariant: the receiver is verified unless `insecure` is said, and TLS is 1.2 at least. Files that were renewed are read
anew by `renew`; when they do not fit together (half renewed), the context from before stays.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Final

from ..config.problem import SettingError

if TYPE_CHECKING:
    from ..config import HttpOutput

_DEFAULT_CA_PATH: Final = "/etc/ssl/certs"


class Tls:
    """`context` is for requests to https:// URLs."""

    def __init__(self, settings: HttpOutput) -> None:
        """Raises SettingError."""
        self._settings = settings
        self._stamps = self._stamped()
        self.context = _context(settings)

    def renew(self) -> bool:
        """Whether files have changed since, and the context with them. Raises SettingError."""
        stamps = self._stamped()
        if stamps == self._stamps:
            return False
        self.context = _context(self._settings)
        self._stamps = stamps
        return True

    def _stamped(self) -> list[tuple[int, int]]:
        settings = self._settings
        found = []
        for path in (settings.ca_cert, settings.ca_bundle, settings.client_cert, settings.client_key):
            try:
                status = os.stat(path)
            except OSError:
                continue
            found.append((status.st_ino, status.st_mtime_ns))
        return found


def _context(settings: HttpOutput) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 refuses certificates of authorities that lack optional extensions; 3.11 and libcurl do not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    _trust_directory(context, settings.ca_path)
    for key in ("ca_cert", "ca_bundle"):
        _trust_file(context, f"http_output.{key}", getattr(settings, key))
    if settings.mtls:
        _show(context, settings.client_cert, settings.client_key)
    return context


def _trust_directory(context: ssl.SSLContext, path: str) -> None:
    if os.path.isdir(path):
        context.load_verify_locations(capath=path)
    elif path not in ("", _DEFAULT_CA_PATH):
        raise SettingError(
            "http_output.ca_path", f"{path} is no directory",
            "Name a directory of certificates (see openssl rehash), or leave the key out.",
        )  # fmt: skip


def _trust_file(context: ssl.SSLContext, key: str, path: str) -> None:
    if not path:
        return
    _readable(key, path)
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise SettingError(
            key, f"{path} holds no certificate that can be read ({_reason(error)})",
            "It must be PEM: -----BEGIN CERTIFICATE-----.",
        ) from error  # fmt: skip


def _show(context: ssl.SSLContext, cert: str, private_key: str) -> None:
    _readable("http_output.client_cert", cert)
    _readable("http_output.client_key", private_key)
    try:
        # An empty password: a key that needs one would make OpenSSL ask the terminal.
        context.load_cert_chain(cert, private_key, password="")
    except (ssl.SSLError, OSError) as error:
        reason = _reason(error)
        if "KEY_VALUES_MISMATCH" in reason:
            raise SettingError(
                "http_output.client_key", f"{private_key} is not the key of {cert}",
                "Name the key that the certificate was made for.",
            ) from error  # fmt: skip
        raise SettingError(
            "http_output.client_cert", f"{cert} and {private_key} cannot be used ({reason})",
            "Both must be PEM, the key without a password.",
        ) from error  # fmt: skip


def _readable(key: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise SettingError(
            key, f"{path} cannot be read ({error.strerror})", "Name a file that the agent may read."
        ) from error


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
