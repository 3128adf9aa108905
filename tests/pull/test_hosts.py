"""Which servers are asked: the folders, the order, the settings; and that mirrors are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicontainerd.errors import InvalidArgument
from minicontainerd.pull import auth
from minicontainerd.pull.hosts import hosts
from minicontainerd.pull.pull import pull
from minicontainerd.pull.registry import Options
from minicontainerd.store.content import NamespacedContent
from tests.pull.conftest import put_image
from tests.pull.faulty import FaultyRegistry


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "hosts.toml").write_text(text)


@pytest.mark.parametrize(
    ("registry", "urls"),
    [
        ("docker.io", ["https://registry-1.docker.io/v2"]),
        ("localhost:5000", ["http://localhost:5000/v2"]),
        ("127.0.0.1", ["https://127.0.0.1/v2"]),
        ("r.example:5000", ["https://r.example:5000/v2"]),
    ],
)
def test_without_configuration(registry: str, urls: list[str]) -> None:
    assert [host.url for host in hosts(registry)] == urls


def test_the_order_is_that_of_the_file_and_the_server_is_last(tmp_path: Path) -> None:
    write(
        tmp_path,
        "r.example",
        """
        server = "https://r.example"
        [host."https://z.example"]
          capabilities = ["pull"]
          dial_timeout = "1s500ms"
        [host."http://a.example/path"]
          [host."http://a.example/path".header]
            x-one = ["1", "2"]
        [host."https://b.example/api"]
          override_path = true
          ca = "ca.pem"
          client = [["c.cert", "c.key"]]
          skip_verify = true
        """,
    )
    z, a, b, last = hosts("r.example", tmp_path)
    assert (z.url, z.capabilities, z.timeout) == ("https://z.example/v2", frozenset(("pull",)), 1.5)
    assert (a.url, a.header) == ("http://a.example/path/v2", (("x-one", "1"), ("x-one", "2")))
    assert (b.url, b.ca, b.skip_verify) == ("https://b.example/api", (f"{tmp_path}/r.example/ca.pem",), True)
    assert b.client == ((f"{tmp_path}/r.example/c.cert", f"{tmp_path}/r.example/c.key"),)
    assert last.url == "https://r.example/v2"


def test_folders_are_tried_in_order(tmp_path: Path) -> None:
    for name in ("_default", "r.example:5000", "r.example_5000_", "r.example"):
        write(tmp_path, name, f'[host."https://{name.strip("_").replace(":", "-")}.mirror"]')
    assert hosts("r.example:5000", tmp_path)[0].host == "r.example_5000.mirror"
    (tmp_path / "r.example_5000_").rename(tmp_path / "away")
    assert hosts("r.example:5000", tmp_path)[0].host == "r.example-5000.mirror"
    (tmp_path / "r.example:5000").rename(tmp_path / "away 2")
    assert hosts("r.example:5000", tmp_path)[0].host == "default.mirror"  # never the folder without the port
    assert hosts("r.example:5000", tmp_path)[-1].host == "r.example:5000"


def test_dockers_certificate_files(tmp_path: Path) -> None:
    (tmp_path / "r.example").mkdir()
    for name in ("a.crt", "b.cert", "b.key", "c.cert"):
        (tmp_path / "r.example" / name).touch()
    [host] = hosts("r.example", tmp_path)
    folder = f"{tmp_path}/r.example"
    assert host.ca == (f"{folder}/a.crt",)
    assert host.client == ((f"{folder}/b.cert", f"{folder}/b.key"), (f"{folder}/c.cert", ""))


@pytest.mark.parametrize("text", ["server = ", 'capabilities = ["fly"]', "client = 7", 'dial_timeout = "soon"'])
def test_what_cannot_be_understood_is_named(tmp_path: Path, text: str) -> None:
    write(tmp_path, "r.example", text)
    with pytest.raises(InvalidArgument, match=r"failed to decode .*r\.example/hosts\.toml"):
        hosts("r.example", tmp_path)


def test_a_mirror_is_asked_first_and_told_the_registry(
    registry: FaultyRegistry, content: NamespacedContent, tmp_path: Path
) -> None:
    put_image(registry)
    with FaultyRegistry() as empty:
        text = f'server = "http://{registry.host}"\n[host."http://{empty.host}"]\n'
        write(tmp_path, "r.example", text)
        options = Options(folder=tmp_path, backoff=0.01)
        pull("r.example/app:1", content, lambda *_: None, options=options, wanted=[])
        assert empty.log[0] == "HEAD /v2/app/manifests/1?ns=r.example"
        assert registry.log[0] == "HEAD /v2/app/manifests/1?ns=r.example"


def test_challenges_are_read() -> None:
    header = 'Negotiate, Basic realm="a \\"b\\"", Bearer realm="https://x/t" , service=plain'
    bearer, basic, *_ = auth.parse(header)
    assert bearer.parameters == {"realm": "https://x/t", "service": "plain"}
    assert basic.parameters == {"realm": 'a "b"'}
    assert auth.parse("") == []
