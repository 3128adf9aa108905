"""The collector keeps what some root leads to, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from minicontainerd.api.services.containers.v1.containers_pb2 import Container
from minicontainerd.api.services.images.v1.images_pb2 import Image
from minicontainerd.api.services.leases.v1.leases_pb2 import Resource
from minicontainerd.api.types.descriptor_pb2 import Descriptor
from minicontainerd.oci import digest as digests
from minicontainerd.store import gc
from minicontainerd.store.containers import Containers
from minicontainerd.store.content import Content
from minicontainerd.store.database import Database
from minicontainerd.store.images import Images
from minicontainerd.store.leases import Leases

REF = "containerd.io/gc.ref.content."


def put(content: Content, data: bytes, **labels: str) -> str:
    with content.within("n").writer(repr(data)) as writer:
        writer.write(data)
        return writer.commit(0, "", labels)


def left(content: Content) -> set[str]:
    return {info.digest for info in content.within("n").walk()}


def image(digest: str, **labels: str) -> Image:
    return Image(name="i", target=Descriptor(digest=digest, size=1, media_type="m"), labels=labels)


def test_an_image_keeps_what_its_labels_lead_to(database: Database, content: Content) -> None:
    layer = put(content, b"layer")
    manifest = put(content, b"manifest", **{REF + "l.0": layer})
    put(content, b"lonely")
    Images(database).create("n", image(manifest))
    removed = gc.collect(database, content.blobs)
    assert [node.name for node in removed] == [digests.of(b"lonely")]
    assert left(content) == {layer, manifest} == {blob.digest for blob in content.blobs.walk()}
    Images(database).delete("n", "i")
    gc.collect(database, content.blobs)
    assert left(content) == set() and list(content.blobs.walk()) == []


def test_an_expired_image_goes_and_takes_its_content(database: Database, content: Content) -> None:
    Images(database).create("n", image(put(content, b"x"), **{gc.EXPIRE: "2020-01-01T00:00:00Z"}))
    assert {node.kind for node in gc.collect(database, content.blobs)} == {"images", "content"}


def test_a_lease_keeps_until_it_ends_or_expires(database: Database, content: Content) -> None:
    leases = Leases(database)
    child = put(content, b"child")
    parent = put(content, b"parent", **{REF + "0": child})
    leases.create("n", "l", {gc.EXPIRE: "2999-01-01T00:00:00Z"})
    leases.create("n", "old", {gc.EXPIRE: "2020-01-01T00:00:00Z"})
    leases.add_resource("n", "l", Resource(type="content", id=parent))
    gc.collect(database, content.blobs)
    assert left(content) == {parent, child}
    assert [each.id for each in leases.list("n")] == ["l"]
    leases.delete("n", "l")
    leases.create("n", "flat", {gc.FLAT: "yes"})
    leases.add_resource("n", "flat", Resource(type="content", id=parent))
    gc.collect(database, content.blobs)
    assert left(content) == {parent}


def test_a_root_label_keeps_and_a_label_that_only_looks_like_an_edge_does_not(
    database: Database, content: Content
) -> None:
    other = put(content, b"other")
    root = put(content, b"root", **{gc.ROOT: "yes", "containerd.io/gc.ref.contents": other})
    gc.collect(database, content.blobs)
    assert left(content) == {root}


def test_a_blob_stays_while_any_namespace_has_it(database: Database, content: Content) -> None:
    digest = put(content, b"x")
    with content.within("m").writer("r", expected=digest) as writer:
        writer.commit()
    content.within("m").update_labels(digest, {gc.ROOT: "yes"})
    gc.collect(database, content.blobs)
    assert left(content) == set()
    assert content.within("m").read(digest) == b"x"


def test_an_adopted_blob_survives_until_its_writer_commits(database: Database, content: Content) -> None:
    digest = put(content, b"x")
    with content.within("m").writer("r", expected=digest) as writer:
        gc.collect(database, content.blobs)
        writer.commit()
    assert content.within("m").read(digest) == b"x"


def test_what_a_crash_left_behind_is_swept(database: Database, content: Content) -> None:
    with content.blobs.writer("n/no row") as writer:
        writer.write(b"half")
    with content.blobs.writer("n/also none") as writer:
        writer.write(b"whole")
        writer.commit()
    gc.collect(database, content.blobs)
    assert list(content.blobs.statuses()) == [] and list(content.blobs.walk()) == []


def test_an_ingest_goes_when_its_time_is_over(database: Database, content: Content) -> None:
    content.within("n").writer("r").close()
    gc.collect(database, content.blobs)
    assert len(content.within("n").statuses()) == 1
    with database.write() as tx:
        tx.execute("UPDATE ingests SET expires_at = 1")
    gc.collect(database, content.blobs)
    assert content.within("n").statuses() == [] and list(content.blobs.statuses()) == []


def test_a_container_keeps_its_snapshot_and_that_its_parent(database: Database, content: Content) -> None:
    with database.write() as tx:
        for key, parent in (("base", ""), ("c", "base"), ("lonely", "base")):
            row = ("n", "overlayfs", key, f"n/{key}", parent, "{}", 0, 0)
            tx.execute("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    container = Container(id="c", snapshotter="overlayfs", snapshot_key="c")
    container.runtime.name = "r"
    Containers(database).create("n", container)
    swept: list[bool] = []
    removed = gc.collect(database, content.blobs, [lambda: swept.append(True)])
    assert removed == [gc.Node("snapshots/overlayfs", "n", "lonely")] and swept


NODES = st.integers(0, 12).map(lambda number: gc.Node("content", "n", str(number)))


@given(st.dictionaries(NODES, st.lists(NODES, max_size=4), max_size=10), st.lists(NODES, max_size=3))
def test_what_is_reachable_is_closed_and_no_more(edges: dict[gc.Node, list[gc.Node]], roots: list[gc.Node]) -> None:
    graph = gc.Graph(edges, roots)
    marked = graph.reachable()
    assert set(roots) <= marked
    assert all(to in marked for node in marked for to in edges.get(node, ()))
    assert marked <= set(roots) | {to for tos in edges.values() for to in tos}
