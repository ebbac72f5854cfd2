"""`Access`: who may ask: keys, names of the server in requests, and pages that browsers may send requests from.

A page of any site can make its visitor's browser send requests to a loopback address, also by giving its own name that
address (DNS rebinding); the headers Host and Origin tell.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from nextword.errors import RequestError
from nextword.serving.errors import ApiError

_PUBLIC_PATHS = ("/health",)
"""Paths that need no key."""
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Access:
    """Conditions under which a request is answered."""

    keys: tuple[str, ...] = ()
    """Keys of which a request must have one; none: it needs none."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which the server may be called, besides those of the loopback address; "*": any."""
    cors_origins: tuple[str, ...] = ()
    """Origins of pages that may call the server from a browser."""

    def check(self, method: str, path: str, headers: Mapping[str, str], query: str) -> None:
        """Raise ApiError if a request may not be answered."""
        self._check_host(headers.get("host", ""))
        self._check_origin(headers.get("origin"), headers.get("host", ""))
        if self.keys and path not in _PUBLIC_PATHS and not is_preflight(method, headers):
            self._check_key(headers, query)

    def allows_origin(self, origin: str | None) -> bool:
        """Return True if pages of this origin may read answers."""
        return origin is not None and origin in self.cors_origins

    def _check_host(self, host: str) -> None:
        name = _name_of(host)
        if "*" not in self.allowed_hosts and name not in (*_LOCAL_NAMES, *self.allowed_hosts):
            raise ApiError(f"the server is not called {name!r}: allow it with --allowed-hosts", status=403)

    def _check_origin(self, origin: str | None, host: str) -> None:
        is_own = origin in (f"http://{host}", f"https://{host}")
        if origin is not None and not is_own and not self.allows_origin(origin):
            raise ApiError(f"pages of {origin!r} may not call this server: allow it with --cors-origins", status=403)

    def _check_key(self, headers: Mapping[str, str], query: str) -> None:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        # All keys are compared, in a time that does not depend on them.
        matches = [hmac.compare_digest(given.encode(), key.encode()) for key in self.keys]
        if not any(matches):
            raise ApiError(
                "no valid key: send the header Authorization: Bearer KEY",
                status=401,
                kind="authentication_error",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Return True for the question of a browser whether a page may send a request; it carries no key, and gets none."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def check_framing(headers: Mapping[str, str]) -> None:
    """Raise ApiError for a body with two lengths: a proxy may take its end for the next request (smuggling)."""
    if "transfer-encoding" in headers and "content-length" in headers:
        message = "transfer-encoding and content-length: a body has one of them"
        raise ApiError(message, headers={"Connection": "close"})


def check_size(scope: Mapping[str, Any], most: int) -> None:
    """Raise ApiError for an address and headers of more bytes: a block that comes at once passes the parser's bound."""
    size = (
        len(scope["raw_path"])
        + len(scope["query_string"])
        + sum(len(name) + len(value) for name, value in scope["headers"])
    )
    if size > most:
        raise ApiError(f"the address and the headers have {size} bytes, and at most {most} are allowed", status=431)


def check_exposure(host: str, access: Access, *, no_auth: bool) -> None:
    """Raise RequestError for an address that others can reach, without a key, unless `no_auth` allows it."""
    if not (is_loopback(host) or access.keys or no_auth):
        raise RequestError(
            f"host = {host!r}: others can reach it, and there is no key: give api_key, or no_auth to allow everyone"
        )


def is_loopback(host: str) -> bool:
    """Return True for an address or name that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_keys(keys: Collection[str]) -> tuple[str, ...]:
    """Return the keys. Raises RequestError for an empty one."""
    if not all(key.strip() and key.isascii() and key.isprintable() for key in keys):
        raise RequestError("api_key: must not be empty, and have printable ASCII characters alone")
    return tuple(key.strip() for key in keys)


def _name_of(host: str) -> str:
    """Return the name in a Host header, without its port."""
    host = host.strip().lower()
    if host.startswith("["):
        name, end, _ = host[1:].partition("]")
        return name if end else host
    return host.rpartition(":")[0] if host.count(":") == 1 else host
