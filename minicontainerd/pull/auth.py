"""Credentials: what a registry wants to see before it gives anything, and where to get that.

A registry that wants some says so by a challenge, once; the answer is remembered for the repository::

    GET /v2/app/manifests/1                          ─▶ 401  WWW-Authenticate: Bearer realm="https://auth/token",
                                                             service="registry", scope="repository:app:pull"
    POST https://auth/token  (with a password)       ─▶ {"access_token": …, "expires_in": 300}
    GET  https://auth/token?service=…&scope=…        ─▶ {"token": …}          without one, or if POST is not known
    GET /v2/app/manifests/1  Authorization: Bearer … ─▶ 200

``Basic`` needs no server of tokens. A user name may be empty: then the password is a refresh token.
Source: distribution v3.0.0 docs/content/spec/auth; containerd@301026e core/remotes/docker/authorizer.go, auth/fetch.go.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from minicontainerd.errors import ContainerdError, InvalidArgument, Unauthenticated, Unavailable

Credentials = Callable[[str], tuple[str, str]]  # of a host: user name and password, each may be empty

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*,?\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]*))')
_NO_POST = (400, 401, 404, 405)  # how servers that know no POST answer it: ACR, Artifactory, GCR, by the rules
_EARLY = 5  # seconds before a token expires that it is not used any more


class AuthorizationFailed(Unauthenticated):
    """A server does not let us in. Clients print the message as it is, so there are no words after it."""

    words = ""


class RequestFailed(Unavailable):
    """A server cannot be reached, or answered what it should not. No words after the message either."""

    words = ""


@dataclass(frozen=True)
class Challenge:
    """One challenge of a WWW-Authenticate header; scheme and parameter names in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse(header: str) -> list[Challenge]:
    """Read a WWW-Authenticate header; Bearer comes before Basic.

    >>> parse('Basic realm="x", Bearer realm="https://a/t",scope="repository:a:pull,push"')[0]
    Challenge(scheme='bearer', parameters={'realm': 'https://a/t', 'scope': 'repository:a:pull,push'})
    """
    challenges, at = [], 0
    while match := re.compile(rf"[\s,]*({_TOKEN})(?=[\s,]|$)").match(header, at):
        parameters, at = {}, match.end()
        while found := _PARAMETER.match(header, at):
            parameters[found[1].lower()] = re.sub(r"\\(.)", r"\1", found[2]) if found[2] is not None else found[3]
            at = found.end()
        challenges.append(Challenge(match[1].lower(), parameters))
    return sorted(challenges, key=lambda one: ["bearer", "basic"].index(one.scheme) if one.scheme in _KNOWN else 9)


_KNOWN = ("bearer", "basic")


@dataclass
class _Answer:
    header: str
    expires: float = float("inf")  # of time.monotonic


class Authorizer:
    """Answers the challenges of one server for one repository; threads wait for the one that gets a token."""

    def __init__(self, client: httpx.Client, host: str, credentials: Credentials | None, scope: str) -> None:
        self._client = client
        self._host = host
        self._credentials = credentials or (lambda host: ("", ""))
        self._scope = scope
        self._challenge: Challenge | None = None
        self._answer: _Answer | None = None
        self._lock = threading.Lock()

    def header(self) -> str:
        """What to send as Authorization; empty as long as nobody asked for anything."""
        with self._lock:
            if self._answer and self._answer.expires < time.monotonic() and self._challenge:
                self._answer = self._answer_to(self._challenge)
            return self._answer.header if self._answer else ""

    def challenged(self, response: httpx.Response, sent: str) -> bool:
        """Take note of a 401; *sent* is what the request had. True if it is worth trying again.

        Raises:
            AuthorizationFailed: the credentials are refused, or there are none.
        """
        with self._lock:
            if self._answer and self._answer.header != sent:
                return True  # another thread has got an answer meanwhile
            for challenge in parse(response.headers.get("www-authenticate", "")):
                if challenge.scheme == "bearer" and (words := challenge.parameters.get("error")) and sent:
                    raise AuthorizationFailed(f"server message: {words}: authorization failed")
                if challenge.scheme in _KNOWN and not (sent and self._challenge == challenge):
                    self._challenge = challenge
                    self._answer = self._answer_to(challenge)
                    return True
        return False

    def _answer_to(self, challenge: Challenge) -> _Answer:
        user, password = self._credentials(self._host)
        if challenge.scheme == "basic":
            if not user or not password:
                raise AuthorizationFailed("authorization failed: no basic auth credentials")
            return _Answer(_basic(user, password))
        if "realm" not in challenge.parameters:
            raise InvalidArgument("no realm specified for token auth challenge")
        scopes = {self._scope, *challenge.parameters.get("scope", "").split(" ")} - {""}
        try:
            reply = self._token(challenge, sorted(scopes), user, password)
        except ContainerdError as error:
            words = "failed to fetch oauth token" if password else "failed to fetch anonymous token"
            raise type(error)(f"{words}: {error}") from error
        token = reply.get("access_token") or reply.get("token")
        if not token:
            raise RequestFailed("authorization server did not include a token in the response")
        lifetime = reply.get("expires_in") or 0
        expires = time.monotonic() + max(lifetime - _EARLY, 1) if lifetime > 0 else float("inf")
        return _Answer(f"Bearer {token}", expires)

    def _token(self, challenge: Challenge, scopes: list[str], user: str, password: str) -> dict[str, Any]:
        realm, service = challenge.parameters["realm"], challenge.parameters.get("service", "")
        if password:
            form = {"scope": " ".join(scopes), "service": service, "client_id": "containerd-client"}
            if user:
                form |= {"grant_type": "password", "username": user, "password": password}
            else:
                form |= {"grant_type": "refresh_token", "refresh_token": password}
            response = self._send("POST", realm, data=form)
            if response.status_code not in _NO_POST:
                return _checked(response)
        query: dict[str, list[str]] = {"service": [service] if service else [], "scope": scopes}
        headers = {"Authorization": _basic(user, password)} if password else {}
        return _checked(self._send("GET", str(httpx.URL(realm).copy_merge_params(query)), headers=headers))

    def _send(self, method: str, url: str, **fields: Any) -> httpx.Response:
        try:
            return self._client.request(method, url, **fields)
        except httpx.HTTPError as error:
            raise RequestFailed(f'{method.capitalize()} "{url}": {error}') from error


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _checked(response: httpx.Response) -> dict[str, Any]:
    if not 200 <= response.status_code < 400:
        words = f"unexpected status from {response.request.method} request to {response.url}"
        kind = AuthorizationFailed if response.status_code in (401, 403) else RequestFailed
        raise kind(f"{words}: {response.status_code} {response.reason_phrase}")
    try:
        reply = response.json()
    except ValueError as error:
        raise RequestFailed(f"unable to decode token response: {error}") from error
    if not isinstance(reply, dict):
        raise RequestFailed("unable to decode token response: not an object")
    return reply
