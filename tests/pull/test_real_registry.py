"""Debian's docker-registry behind TLS and a password: what a registry in the world asks for, over HTTP/2."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from conformance import images
from conformance.peers import free_port, running
from minicontainerd.errors import ContainerdError
from minicontainerd.oci.image import Descriptor
from minicontainerd.pull.pull import pull
from minicontainerd.pull.registry import Options, Registry
from minicontainerd.store.blobs import Blobs
from minicontainerd.store.content import Content
from minicontainerd.store.database import Database

pytestmark = pytest.mark.skipif(not shutil.which("docker-registry"), reason="needs Debian's docker-registry")
USER, PASSWORD = "someone", "a secret: with a colon"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """``host:port/repository:tag`` of an image, and the file of the authority that signed the server's certificate."""
    folder = tmp_path_factory.mktemp("registry")
    port = free_port()
    subject = ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(["openssl", "req", "-x509", "-days", "2", *key, *subject], check=True, capture_output=True)
    (folder / "htpasswd").write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {
            "addr": f"127.0.0.1:{port}",
            "tls": {"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")},
        },
        "auth": {"htpasswd": {"realm": "here", "path": str(folder / "htpasswd")}},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    ref = f"127.0.0.1:{port}/app:1"
    copy = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"--dest-creds={USER}:{PASSWORD}"]

    def ready() -> bool:
        done = subprocess.run([*copy, f"oci:{images.busybox()}:busybox", f"docker://{ref}"], capture_output=True)
        return done.returncode == 0

    with running(["docker-registry", "serve", str(folder / "config.yml")], folder / "log", ready):
        yield ref, folder / "cert.pem"


@pytest.fixture
def hosts(registry: tuple[str, Path], tmp_path: Path) -> Path:
    """A folder of hosts.toml files that names the authority."""
    ref, certificate = registry
    host = ref.partition("/")[0]
    folder = tmp_path / "hosts" / host
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(f'server = "https://{host}"\n[host."https://{host}"]\n  ca = "{certificate}"\n')
    return tmp_path / "hosts"


def test_a_pull_over_tls_with_a_password(registry: tuple[str, Path], hosts: Path, tmp_path: Path) -> None:
    database = Database(tmp_path / "metadata.db")
    content = Content(database, Blobs(tmp_path / "content")).within("default")
    saved: dict[str, Descriptor] = {}
    options = Options(folder=hosts, credentials=lambda host: (USER, PASSWORD))
    pulled = pull(registry[0], content, saved.__setitem__, options=options)
    database.close()
    assert saved == {registry[0]: pulled.target}


def test_http_2_is_spoken_where_the_server_can(
    registry: tuple[str, Path], hosts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = Options(folder=hosts, credentials=lambda host: (USER, PASSWORD))
    with caplog.at_level("INFO", "httpx"), Registry(registry[0], options) as found:
        found.resolve()
    assert caplog.messages and all("HTTP/2" in message for message in caplog.messages)


def test_a_certificate_that_nobody_vouches_for(registry: tuple[str, Path], hosts: Path) -> None:
    [file] = hosts.glob("*/hosts.toml")
    file.write_text("".join(line for line in file.read_text().splitlines(True) if "ca =" not in line))
    options = Options(folder=hosts, backoff=0)
    with pytest.raises(ContainerdError, match="(?i)certificate"), Registry(registry[0], options) as found:
        found.resolve()


def test_a_wrong_password(registry: tuple[str, Path], hosts: Path) -> None:
    options = Options(folder=hosts, credentials=lambda host: (USER, "wrong"), backoff=0)
    with pytest.raises(ContainerdError, match=r"401|[Uu]nauthorized|authoriz"), Registry(registry[0], options) as found:
        found.resolve()
