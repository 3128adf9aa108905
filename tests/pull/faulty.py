"""A registry that misbehaves on demand: one rule a path, each used a number of times, then it behaves.

It keeps blobs and manifests in memory, speaks plain HTTP/1.1 on loopback, and logs every request it got.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from minicontainerd.oci.digest import of


@dataclass
class Fault:
    """What to do wrong, *times* times, on paths that *pattern* matches."""

    pattern: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = -1  # bytes of the body after which the connection breaks
    body: bytes | None = None
    method: str = ""
    silent: bool = False  # the connection is closed without an answer


@dataclass
class FaultyRegistry:
    """Start it with ``with``; *tokens* and *basic* switch on authentication."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # by tag and digest: media type, bytes
    faults: list[Fault] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    ranges: bool = True
    basic: str = ""  # user:password
    token: str = ""
    token_post: bool = True
    issued: str = ""  # another token than the one that is accepted
    token_requests: list[dict[str, Any]] = field(default_factory=list)
    digests: bool = True  # send Docker-Content-Digest

    def add(self, data: bytes) -> str:
        self.blobs[of(data)] = data
        return of(data)

    def add_manifest(self, data: bytes, media_type: str, *tags: str) -> str:
        for name in (of(data), *tags):
            self.manifests[name] = (media_type, data)
        return of(data)

    def __enter__(self) -> FaultyRegistry:
        registry = self

        class Handler(_Handler):
            server_registry = registry

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and re.search(fault.pattern, path) and fault.method in ("", method):
                fault.times -= 1
                return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_registry: FaultyRegistry

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        registry = self.server_registry
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        registry.token_requests.append({"method": "POST", **form})
        if not registry.token_post:
            self.reply(405, {}, b"")
            return
        self.reply(200, {}, json.dumps({"access_token": registry.token, "expires_in": 60}).encode())

    def answer(self) -> None:
        registry = self.server_registry
        parts = urlsplit(self.path)
        registry.log.append(
            f"{self.command} {self.path}" + (f" {self.headers['range']}" if self.headers["range"] else "")
        )
        if parts.path == "/token":
            query = parse_qs(parts.query)
            registry.token_requests.append({"method": "GET", "auth": self.headers["authorization"], **query})
            self.reply(200, {}, json.dumps({"token": registry.issued or registry.token}).encode())
            return
        if not self.allowed():
            return
        fault = registry.fault(self.command, self.path)
        if fault and fault.silent:
            self.close_connection = True
            return
        if fault and fault.status:
            self.reply(fault.status, fault.headers, fault.body or b"")
            return
        kind, name = parts.path.split("/")[-2:]
        media_type, data = (
            registry.manifests.get(name, ("", None)) if kind == "manifests" else ("", registry.blobs.get(name))
        )
        if data is None:
            self.reply(404, {}, b"")
            return
        headers = {"Content-Type": media_type or "application/octet-stream"}
        if registry.digests:
            headers["Docker-Content-Digest"] = of(data)
        if fault and fault.body is not None:
            data = fault.body
        status = 200
        if (wanted := re.fullmatch(r"bytes=(\d+)-", self.headers["range"] or "")) and registry.ranges:
            status = 206
            headers["Content-Range"] = f"bytes {wanted[1]}-{len(data) - 1}/{len(data)}"
            data = data[int(wanted[1]) :]
        self.reply(status, headers, data, fault.cut if fault else -1)

    def allowed(self) -> bool:
        registry, sent = self.server_registry, self.headers["authorization"] or ""
        if registry.basic:
            wanted, challenge = f"Basic {base64.b64encode(registry.basic.encode()).decode()}", 'Basic realm="r"'
        elif registry.token:
            wanted = f"Bearer {registry.token}"
            challenge = f'Bearer realm="http://{registry.host}/token",service="srv",scope="repository:app:pull"'
        else:
            return True
        if sent == wanted:
            return True
        error = ',error="invalid_token"' if sent.startswith("Bearer") else ""
        self.reply(401, {"WWW-Authenticate": challenge + error}, b"")
        return False

    def reply(self, status: int, headers: dict[str, str], data: bytes, cut: int = -1) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data if cut < 0 else data[:cut])
        if cut >= 0:
            self.close_connection = True
