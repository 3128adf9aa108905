"""Bad input gets a clear error and changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .. import images
from ..peers import Ctr, free_port

Blobs = dict[str, bytes]
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def _media_type(body: bytes) -> str:
    return INDEX if INDEX.encode() in body else MANIFEST if MANIFEST.encode() in body else "application/octet-stream"


@pytest.fixture
def registry() -> Iterator[Callable[[bytes, Blobs], str]]:
    """A registry that serves one manifest and some blobs exactly as the test gives them, right or wrong."""
    servers: list[ThreadingHTTPServer] = []

    def serve(manifest: bytes, blobs: Blobs) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.partition("?")[0].rpartition("/")[2]
                found = manifest if "/manifests/" in self.path else blobs.get(name)
                self.send_response(200 if found is not None else 404)
                body = found or b""
                self.send_header("Content-Type", _media_type(body))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_address[1]}/bad:1"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def good() -> tuple[dict[str, object], Blobs]:
    """Manifest and blobs of an image that is right, and that no daemon has seen: content is shared by namespaces."""
    with images.writing() as (archive, buffer):
        images.add(archive, "unique", data=os.urandom(64 << 10))
    with tempfile.TemporaryDirectory() as folder:
        layout = Path(folder) / "layout"
        images.write_layout(layout, [buffer.getvalue()], "good")
        digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"].removeprefix("sha256:")
        manifest = json.loads((layout / "blobs/sha256" / digest).read_text())
        return manifest, {f"sha256:{file.name}": file.read_bytes() for file in (layout / "blobs/sha256").iterdir()}


def layer_of(manifest: dict[str, object]) -> dict[str, object]:
    layers = manifest["layers"]
    assert isinstance(layers, list)
    found: dict[str, object] = layers[0]
    return found


def refused(ctr: Ctr, ref: str, *, fetched: bool = False) -> str:
    """Pull *ref*, which must fail and leave nothing; answers what was said.

    ctr writes the name when all is *fetched*, before it unpacks, and leaves it if that fails; minictr writes it last.
    """
    other = ctr.within(f"{ctr.namespace}-bad")
    ended = other.run("images", "pull", "--plain-http", ref)
    assert ended.code == 1, ended
    assert other("images", "ls", "--quiet") in ("", f"{ref}\n" if fetched else "")
    assert len(other("snapshots", "ls").splitlines()) == 1
    other.run("images", "rm", ref)
    other("leases", "create", "--id", "sync")
    other("leases", "delete", "--sync", "sync")
    assert other("content", "ls", "--quiet") == ""
    return ended.err


@pytest.mark.clause("ctr.errors")
def test_nobody_listens(ctr: Ctr) -> None:
    assert "connection refused" in refused(ctr, f"127.0.0.1:{free_port()}/bad:1")


@pytest.mark.clause("ctr.errors")
def test_an_image_that_is_not_there(ctr: Ctr, image: str) -> None:
    assert "not found" in refused(ctr, image.replace("busybox", "nobody"))


@pytest.mark.clause("ctr.errors")
def test_a_manifest_that_is_not_json(ctr: Ctr, registry: Callable[[bytes, Blobs], str]) -> None:
    assert refused(ctr, registry(b"{nonsense", {}))


@pytest.mark.clause("ctr.errors")
def test_a_layer_with_other_bytes(ctr: Ctr, registry: Callable[[bytes, Blobs], str]) -> None:
    manifest, blobs = good()
    digest = str(layer_of(manifest)["digest"])
    blobs[digest] = blobs[digest][:-1] + bytes([blobs[digest][-1] ^ 1])
    assert "unexpected commit digest" in refused(ctr, registry(json.dumps(manifest).encode(), blobs))


@pytest.mark.clause("ctr.errors")
def test_a_layer_cut_short(ctr: Ctr, registry: Callable[[bytes, Blobs], str]) -> None:
    manifest, blobs = good()
    digest = str(layer_of(manifest)["digest"])
    blobs[digest] = blobs[digest][: len(blobs[digest]) // 2]
    assert refused(ctr, registry(json.dumps(manifest).encode(), blobs))


@pytest.mark.clause("ctr.errors")
def test_a_layer_that_is_no_archive(ctr: Ctr, registry: Callable[[bytes, Blobs], str]) -> None:
    manifest, blobs = good()
    data = b"this is no gzip"
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    layer_of(manifest).update(digest=digest, size=len(data))
    assert refused(ctr, registry(json.dumps(manifest).encode(), {**blobs, digest: data}), fetched=True)


@pytest.mark.clause("ctr.errors")
def test_a_layer_that_is_not_what_the_config_says(ctr: Ctr, registry: Callable[[bytes, Blobs], str]) -> None:
    manifest, blobs = good()
    config = manifest["config"]
    assert isinstance(config, dict)
    document = json.loads(blobs[config["digest"]])
    document["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]
    data = json.dumps(document).encode()
    config.update(digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data))
    said = refused(ctr, registry(json.dumps(manifest).encode(), {**blobs, config["digest"]: data}), fetched=True)
    assert "wrong diff id" in said


@pytest.mark.clause("ctr.errors")
def test_an_image_for_other_platforms_only(ctr: Ctr, registry: Callable[[bytes, Blobs], str]) -> None:
    manifest, blobs = good()
    data = json.dumps(manifest).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    platform = {"os": "linux", "architecture": "s390x"}
    entry = {"mediaType": MANIFEST, "digest": digest, "size": len(data), "platform": platform}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    assert "no match for platform" in refused(ctr, registry(json.dumps(index).encode(), blobs), fetched=True)


@pytest.mark.clause("ctr.errors")
def test_content_with_the_wrong_digest_is_not_kept(ctr: Ctr) -> None:
    wrong = "sha256:" + hashlib.sha256(b"other").hexdigest()
    ended = ctr.run("content", "ingest", "--expected-digest", wrong, "wrong", input=b"these bytes")
    assert ended.code == 1 and "unexpected commit digest" in ended.err
    assert wrong not in ctr("content", "ls", "--quiet")


@pytest.mark.clause("ctr.errors")
def test_a_full_disk_is_told_and_loses_nothing(ctr: Ctr, image: str, folder: Path, pytestconfig: pytest.Config) -> None:
    """A daemon on a file system of 24 MB: a pull that does not fit fails, what was there stays, what fits works."""
    from ..peers import DAEMONS

    small = folder / f"small-{pytestconfig.getoption('--target')}"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], check=True)
    try:
        with DAEMONS[str(pytestconfig.getoption("--target"))](small) as daemon:
            kept = "sha256:" + hashlib.sha256(b"kept").hexdigest()
            daemon("content", "ingest", "kept", input=b"kept")
            daemon("content", "label", kept, "containerd.io/gc.root=yes")
            ended = daemon.run("content", "ingest", "large", input=b"x" * (30 << 20))
            assert ended.code == 1 and "no space left on device" in ended.err
            assert len(daemon("content", "ls", "--quiet").split()) == 1
            assert daemon("content", "get", kept) == "kept"
    finally:
        subprocess.run(["umount", str(small)], check=True)
