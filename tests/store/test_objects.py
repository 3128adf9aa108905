"""Namespaces, images, containers, leases: the tables, their rules and their words."""

import sqlite3
from pathlib import Path

import pytest
from google.protobuf.any_pb2 import Any

from minicontainerd.api.services.containers.v1.containers_pb2 import Container
from minicontainerd.api.services.images.v1.images_pb2 import Image
from minicontainerd.api.services.leases.v1.leases_pb2 import Resource
from minicontainerd.api.types.descriptor_pb2 import Descriptor
from minicontainerd.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Unimplemented
from minicontainerd.oci import digest as digests
from minicontainerd.store.containers import Containers
from minicontainerd.store.database import Database
from minicontainerd.store.images import Images
from minicontainerd.store.leases import Leases
from minicontainerd.store.namespaces import Namespaces

TARGET = Descriptor(digest=digests.of(b"x"), size=1, media_type="application/vnd.oci.image.manifest.v1+json")


def container(id: str = "c", **labels: str) -> Container:
    made = Container(id=id, image="i", labels=labels, snapshotter="overlayfs", snapshot_key=id)
    made.runtime.name = "io.containerd.runc.v2"
    made.runtime.options.CopyFrom(Any(type_url="containerd.runc.v1.Options"))
    made.spec.CopyFrom(Any(type_url="spec", value=b"{}"))
    return made


def test_an_older_program_leaves_a_newer_database_alone(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(FailedPrecondition, match="schema version 99"):
        Database(path)


def test_a_failed_transaction_leaves_no_trace(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as tx:
        tx.execute("INSERT INTO namespaces (name) VALUES ('a')")
        raise ZeroDivisionError
    assert Namespaces(database).list() == []


def test_namespaces(database: Database) -> None:
    namespaces = Namespaces(database)
    assert namespaces.get("nobody").labels == {}
    namespaces.create("a", {"k": "1"})
    with pytest.raises(AlreadyExists, match='namespace "a": already exists'):
        namespaces.create("a", {})
    assert namespaces.update("a", {"l": "2"}).labels == {"k": "1", "l": "2"}
    assert namespaces.update("a", {"k": ""}, ["labels.k"]).labels == {"l": "2"}
    namespaces.update("b", {"made": "by update"})
    assert [each.name for each in namespaces.list()] == ["a", "b"]
    with pytest.raises(InvalidArgument):
        namespaces.create("no/good", {})
    with pytest.raises(NotFound):
        namespaces.delete("c")
    Images(database).create("b", Image(name="i", target=TARGET))
    with pytest.raises(FailedPrecondition, match='namespace "b" must be empty, but it still has images'):
        namespaces.delete("b")
    namespaces.delete("a")


def test_images(database: Database) -> None:
    images = Images(database)
    made = images.create("n", Image(name="i", target=TARGET, labels={"a": "1"}))
    assert made.target == TARGET and made.created_at.seconds > 0
    with pytest.raises(AlreadyExists, match='image "i": already exists'):
        images.create("n", Image(name="i", target=TARGET))
    with pytest.raises(NotFound, match='image "i": not found'):
        images.get("other", "i")
    assert images.update("n", Image(name="i", labels={"b": "2"}), ["labels.b"]).labels == {"a": "1", "b": "2"}
    with pytest.raises(InvalidArgument, match="cannot update"):
        images.update("n", Image(name="i"), ["name"])
    assert [each.name for each in images.list("n", ["labels.b==2"])] == ["i"]
    assert images.list("n", ["name~=x"]) == []
    with pytest.raises(NotFound, match="has target"):
        images.delete("n", "i", Descriptor(digest=digests.of(b"y")))
    images.delete("n", "i", TARGET)
    with pytest.raises(NotFound):
        images.delete("n", "i")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image(target=TARGET), "name must not be empty"),
        (Image(name="i", target=Descriptor(size=1, media_type="m", digest="x")), "invalid"),
        (Image(name="i", target=Descriptor(digest=TARGET.digest, media_type="m")), "Size must be greater"),
        (Image(name="i", target=Descriptor(digest=TARGET.digest, size=1)), "MediaType must be set"),
    ],
)
def test_bad_images_are_refused(database: Database, image: Image, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Images(database).create("n", image)
    assert Images(database).list("n") == []


def test_containers(database: Database) -> None:
    containers = Containers(database)
    first = container(a="1")
    first.extensions["x"].CopyFrom(Any(type_url="t", value=b"v"))
    made = containers.create("n", first)
    assert made.extensions["x"].value == b"v" and made.runtime == first.runtime and made.spec == first.spec
    with pytest.raises(AlreadyExists, match='container "c": already exists'):
        containers.create("n", container())
    changed = container(b="2")
    changed.extensions["y"].CopyFrom(Any(type_url="u"))
    assert containers.update("n", changed, ["labels.b", "extensions.y"]).labels == {"a": "1", "b": "2"}
    assert set(containers.get("n", "c").extensions) == {"x", "y"}
    assert containers.update("n", changed).labels == {"b": "2"}
    assert set(containers.get("n", "c").extensions) == {"y"}
    changed.runtime.name = "other"
    with pytest.raises(InvalidArgument, match="Runtime.Name field is immutable"):
        containers.update("n", changed)
    assert [each.id for each in containers.list("n", ["runtime.name==io.containerd.runc.v2"])] == ["c"]
    containers.delete("n", "c")
    with pytest.raises(NotFound, match='container "c" in namespace "n": not found'):
        containers.get("n", "c")


def test_a_bad_container_is_refused(database: Database) -> None:
    with pytest.raises(InvalidArgument, match=r"container\.ID: identifier \"\.\./x\" must match"):
        Containers(database).create("n", container("../x"))
    with pytest.raises(InvalidArgument, match="Runtime.Name must be set"):
        Containers(database).create("n", Container(id="c"))


def test_leases(database: Database) -> None:
    leases = Leases(database)
    assert leases.create("n", "", {}).id
    leases.create("n", "l", {"k": "v"})
    with pytest.raises(AlreadyExists):
        leases.create("n", "l", {})
    assert [each.id for each in leases.list("n", ["labels.k"])] == ["l"]
    leases.add_resource("n", "l", Resource(type="content", id=TARGET.digest))
    leases.add_resource("n", "l", Resource(type="snapshots/overlayfs", id="k"))
    assert [each.type for each in leases.resources("n", "l")] == ["content", "snapshots/overlayfs"]
    leases.delete_resource("n", "l", Resource(type="content", id=TARGET.digest))
    assert len(leases.resources("n", "l")) == 1
    with pytest.raises(InvalidArgument):
        leases.add_resource("n", "l", Resource(type="content", id="x"))
    with pytest.raises(Unimplemented):
        leases.add_resource("n", "l", Resource(type="images", id="x"))
    leases.delete("n", "l")
    with pytest.raises(NotFound, match="lease does not exist"):
        leases.resources("n", "l")
