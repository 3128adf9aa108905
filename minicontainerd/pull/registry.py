"""A registry, as a puller sees it: names become digests, digests become bytes.

Two endpoints of the OCI distribution API do it all (``<name>`` is the repository)::

    HEAD /v2/<name>/manifests/<tag>      what is the digest, media type and size of this tag?
    GET  /v2/<name>/manifests/<digest>   the manifest
    GET  /v2/<name>/blobs/<digest>       config or layer; with "Range: bytes=N-" from where a broken connection ended

Around each request there is a small loop: a 401 is answered with credentials (auth.py), 429 and 5xx are waited for, as
long as ``Retry-After`` says; a server that does not know HEAD is asked with GET. And around that, another: the servers
that may be asked (hosts.py), the first that has an answer gives it. Errors of the last are what the user sees.

The error words are those of containerd's client, because people search for them.
Source: distribution-spec v1.1.1 spec.md; containerd@301026e core/remotes/docker/{resolver,fetcher}.go.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

from minicontainerd.errors import ContainerdError, InvalidArgument, NotFound, OutOfRange, Unimplemented
from minicontainerd.oci import digest as digests
from minicontainerd.oci import image
from minicontainerd.oci.image import Descriptor
from minicontainerd.oci.reference import Reference, parse
from minicontainerd.pull.auth import AuthorizationFailed, Authorizer, Credentials, RequestFailed
from minicontainerd.pull.hosts import Host, hosts

ACCEPT = ", ".join((image.DOCKER_MANIFEST, image.DOCKER_INDEX, image.MANIFEST, image.INDEX, "*/*"))
ATTEMPTS = 5
MAX_WAIT = 30.0  # seconds that a server may make us wait by Retry-After
CHUNK = 1 << 18  # bytes handed on at a time
_USER_AGENT = "minicontainerd/0.1.0"
_LATER = (408, 429, 500, 502, 503, 504)
_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")  # how OpenSSL says that plain text came


class BadReference(InvalidArgument):
    """The reference cannot be looked up. Clients print the message as it is, so there are no words after it."""

    words = ""


@dataclass
class Options:
    """How to reach registries: *folder* holds the ``hosts.toml`` files, *credentials* answers for a host name."""

    plain_http: bool = False
    skip_verify: bool = False
    folder: Path | None = None
    credentials: Credentials | None = None
    backoff: float = 0.1  # seconds before the second attempt; doubles with each
    headers: dict[str, str] = field(default_factory=dict)


class Server:
    """One server that may have the repository *name*."""

    def __init__(self, host: Host, name: str, options: Options) -> None:
        self.host = host
        self._name = name
        self._options = options
        self._scheme = "https" if host.has_tls_settings and not host.host.endswith(":80") else host.scheme
        headers = {"User-Agent": _USER_AGENT, **options.headers, **dict(host.header)}
        timeout = httpx.Timeout(30, connect=host.timeout or 30)
        limits = httpx.Limits(max_connections=32)
        self.client = httpx.Client(
            http2=True, verify=_tls(host), timeout=timeout, limits=limits, headers=headers, follow_redirects=True
        )
        self._authorizer = Authorizer(self.client, host.host, options.credentials, f"repository:{name}:pull")

    @contextlib.contextmanager
    def get(self, method: str, path: str, headers: dict[str, str], *, last: bool) -> Iterator[httpx.Response]:
        """Send a request until there is an answer worth having; *last* if no other server will be asked.

        Raises:
            AuthorizationFailed: our credentials are not good enough.
            RequestFailed: no connection.
        """
        for attempt in range(ATTEMPTS):
            response = self._send(method, path, headers, retry=last and attempt + 1 < ATTEMPTS, attempt=attempt)
            if response is None:
                continue
            try:
                retry = attempt + 1 < ATTEMPTS and self._again(response, last=last)
                if method == "HEAD" and response.status_code == 405:
                    method, retry = "GET", True
                if not retry:
                    yield response
                    return
                wait = _retry_after(response) if response.status_code in _LATER else 0
            finally:
                response.close()
            self._wait(attempt, wait)
        raise RequestFailed(f"failed to do request: {self.host.host} gave no answer in {ATTEMPTS} attempts")

    def _send(
        self, method: str, path: str, headers: dict[str, str], *, retry: bool, attempt: int
    ) -> httpx.Response | None:
        """One try; None if the connection broke and another try may do better."""
        if answer := self._authorizer.header():
            headers = {**headers, "Authorization": answer}
        url = f"{self._scheme}://{self.host.host}{self.host.path}/{self._name}/{path}"
        try:
            return self._ask(self.client.build_request(method, url, headers=headers))
        except httpx.ConnectError as error:
            if self._scheme != self.host.scheme and _is_plain_text(error):
                self._scheme = self.host.scheme
                return self._send(method, path, headers, retry=retry, attempt=attempt)
            raise RequestFailed(f'failed to do request: {method.capitalize()} "{url}": {explain(error)}') from error
        except httpx.HTTPError as error:
            if not retry:
                raise RequestFailed(f'failed to do request: {method.capitalize()} "{url}": {explain(error)}') from error
            self._wait(attempt, None)
            return None

    def _ask(self, request: httpx.Request) -> httpx.Response:
        """Send *request*, and once more if nothing is answered, as Go's http.Transport does.

        A server may close an idle connection just when it is used again.
        """
        try:
            return self.client.send(request, stream=True)
        except httpx.RemoteProtocolError:
            return self.client.send(request, stream=True)

    def _again(self, response: httpx.Response, *, last: bool) -> bool:
        status = response.status_code
        if status == 401:
            sent = response.request.headers.get("Authorization", "")
            return self._authorizer.challenged(response, sent)
        return status in (408, 429) or (status in _LATER and last)

    def _wait(self, attempt: int, asked: float | None) -> None:
        if asked is None:
            asked = self._options.backoff * 2**attempt * random.uniform(0.5, 1.5)
        time.sleep(min(asked, MAX_WAIT))


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


def _tls(host: Host) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if host.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        for file in host.ca:
            context.load_verify_locations(file)
        for certificate, key in host.client:
            context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument(f"unable to load certificates of {host.host}: {error}") from error
    return context


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_plain_text(error: Exception) -> bool:
    return any(isinstance(cause, ssl.SSLError) and (cause.reason or "") in _NOT_TLS for cause in _causes(error))


def explain(error: httpx.HTTPError) -> str:
    """What went wrong with a connection, in the words Go's programs use."""
    host = error.request.url.netloc.decode() if error._request else ""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"tls: failed to verify certificate: x509: {cause.verify_message}"
        if isinstance(cause, ConnectionRefusedError):
            return f"dial tcp {host}: connect: connection refused"
        if type(cause).__name__ == "gaierror":
            return f"dial tcp: lookup {host.rpartition(':')[0] or host}: no such host"
    if isinstance(error, httpx.ConnectTimeout):
        return f"dial tcp {host}: i/o timeout"
    return str(error) or type(error).__name__


class Registry:
    """The servers that may have the image *ref*, opened: close it, or use it as a context manager.

    Raises:
        InvalidArgument: *ref* is no reference, or the configuration of its hosts is wrong.
    """

    def __init__(self, ref: str, options: Options | None = None) -> None:
        options = options or Options()
        self.ref = ref
        self.reference: Reference = parse(ref)
        registry = self.reference.hostname
        found = hosts(registry, options.folder, plain_http=options.plain_http, skip_verify=options.skip_verify)
        self._servers = [Server(host, self.reference.repository, options) for host in found]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.client.close()

    def _asked(self, *capabilities: str) -> list[Server]:
        return [server for server in self._servers if set(capabilities) <= server.host.capabilities]

    def _path(self, server: Server, *parts: str) -> str:
        proxy = server.host.host not in (self.reference.hostname, "registry-1.docker.io")
        return "/".join(parts) + (f"?ns={self.reference.hostname}" if proxy else "")

    def resolve(self) -> Descriptor:
        """Find out what the reference means now.

        Raises:
            NotFound: no server has it.
            InvalidArgument: the reference has neither tag nor digest, or a digest that is none.
            AuthorizationFailed, RequestFailed: as the last server that was asked had it.
        """
        try:
            if not self.reference.object:
                raise InvalidArgument("object required")
            if self.reference.digest:
                digests.validate(self.reference.digest)
            return self._resolve()
        except ContainerdError as error:
            words = f'failed to resolve reference "{self.ref}"'
            if isinstance(error, InvalidArgument):
                raise BadReference(f"{words}: {str(error).removesuffix(': invalid argument')}") from error
            raise type(error)(f"{words}: {error}") from error

    def _resolve(self) -> Descriptor:
        digest = self.reference.digest
        needed = ("pull",) if digest else ("pull", "resolve")
        servers = self._asked(*needed)
        if not servers:
            raise NotFound("no resolve hosts")
        problem: ContainerdError | None = None
        for kind in ("manifests", "blobs") if digest else ("manifests",):
            for server in servers:
                path = self._path(server, kind, digest or self.reference.object)
                try:
                    return self._ask(server, path, digest, last=server is servers[-1])
                except NotFound as error:
                    problem = problem or error
                except AuthorizationFailed as error:
                    words = "pull access denied, repository does not exist or may require authorization"
                    problem = problem or AuthorizationFailed(f"{words}: {error}")
                except ContainerdError as error:
                    problem = error if problem is None or isinstance(problem, NotFound) else problem
            if problem is not None and not isinstance(problem, NotFound):
                break  # only a server that has no such manifest may be asked for a blob of that digest
        raise problem or NotFound(self.ref)

    def _ask(self, server: Server, path: str, digest: str, *, last: bool) -> Descriptor:
        with server.get("HEAD", path, {"Accept": ACCEPT}, last=last) as response:
            if response.status_code == 404:
                raise NotFound(self.ref)
            _expect(response)
            media_type = response.headers.get("content-type", "").partition(";")[0].strip()
            size = int(response.headers.get("content-length", "-1"))
            named = response.headers.get("docker-content-digest", "")
            if named:
                digests.validate(named)
            if response.request.method == "GET":
                size = -1  # the answer to a GET may be compressed on its way: count what arrives
        if not (digest or named) or size < 0:
            media_type, found, size = self._measure(server, path, last=last)
            if not digest:
                named = found
        if media_type in ("text/plain", image.DOCKER_MANIFEST_1):
            raise Unimplemented(
                f'media type "{image.DOCKER_MANIFEST_1}" is no longer supported, please rebuild the image'
            )
        if size > image.MAX_DOCUMENT:
            raise NotFound(f"rejecting {size} byte manifest for {self.ref}")
        return Descriptor(media_type, digest or named, size)

    def _measure(self, server: Server, path: str, *, last: bool) -> tuple[str, str, int]:
        """Media type, digest and length of what a GET gives, for servers whose HEAD does not tell."""
        with server.get("GET", path, {"Accept": ACCEPT}, last=last) as response:
            _expect(response)
            size, hasher = 0, hashlib.sha256()
            for chunk in response.iter_bytes(CHUNK):
                size += len(chunk)
                hasher.update(chunk)
                if size > image.MAX_DOCUMENT:
                    raise NotFound(f"rejecting manifest of more than {image.MAX_DOCUMENT} bytes for {self.ref}")
            media_type = response.headers.get("content-type", "").partition(";")[0].strip()
        return media_type, f"sha256:{hasher.hexdigest()}", size

    @contextlib.contextmanager
    def open(self, descriptor: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """The bytes of *descriptor* from *offset* on.

        Raises:
            NotFound: no server has it.
            OutOfRange: a server answers with another range than was asked for.
            httpx.HTTPError: in the middle, when the connection breaks.
        """
        document = descriptor.media_type in image.INDEXES | image.MANIFESTS
        headers = {"Accept": f"{descriptor.media_type}, */*", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        problem: ContainerdError | None = None
        servers = self._asked("pull")
        for server in servers:
            path = self._path(server, "manifests" if document else "blobs", descriptor.digest)
            with contextlib.ExitStack() as stack:
                try:
                    response = stack.enter_context(server.get("GET", path, headers, last=server is servers[-1]))
                    if response.status_code == 404:
                        words = f"could not fetch content descriptor {descriptor.digest} ({descriptor.media_type})"
                        raise NotFound(f"{words} from remote")
                    _expect(response)
                except ContainerdError as error:
                    problem = problem or error
                    continue
                yield _from(response, offset)
                return
        raise problem or NotFound("no pull hosts")


def _expect(response: httpx.Response) -> None:
    if response.status_code <= 299:
        return
    request = response.request
    words = f"unexpected status from {request.method} request to {request.url}: {response.status_code}"
    kind = AuthorizationFailed if response.status_code in (401, 403) else RequestFailed
    raise kind(f"{words} {response.reason_phrase}")


def _from(response: httpx.Response, offset: int) -> Iterator[bytes]:
    """The body from *offset* on, also if the server has ignored that we asked for a range."""
    chunks = response.iter_raw()  # as they come: what waits for more would be lost when the connection breaks
    if not offset or response.status_code == 206:
        told = response.headers.get("content-range", "")
        if offset and told and not told.startswith(f"bytes {offset}-"):
            raise OutOfRange(f"unhandled content range in response: {told}")
        return chunks
    return _without(chunks, offset)


def _without(chunks: Iterator[bytes], offset: int) -> Iterator[bytes]:
    for chunk in chunks:
        if offset < len(chunk):
            yield chunk[offset:]
        offset = max(offset - len(chunk), 0)
