"""The garbage collector: what nothing refers to, goes.

Objects are nodes ``(kind, namespace, name)``; labels and columns are the edges::

    lease ─▶ whatever it keeps             container ─▶ its snapshot
    image ─▶ its target                    snapshot ─▶ its parent
    ingest ─▶ the blob it announced        blob ─▶ what its labels containerd.io/gc.ref.* name

The *roots* are: leases that have not expired, images that have not, containers, ingests that still may go on, and
any blob or snapshot with the label ``containerd.io/gc.root``. One transaction marks everything that can be reached
from a root and deletes the rows of the rest, so that no request sees half of it. Afterwards the sweep makes disk and
rows agree: blobs, ingests and snapshots that no row speaks of are removed, those that a crash left behind among them.

An edge by label is one of ``gc.ref.content[.x|/x]=<digest>``, ``gc.ref.snapshot.<snapshotter>[/x]=<key>`` and
``gc.ref.image[.x|/x]=<name>``; what stands behind the dot or slash only makes the label's key unique.

Source: containerd@301026e core/metadata/gc.go, docs/garbage-collection.md. Left out: back references and conditions.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from minicontainerd.api import timestamp
from minicontainerd.errors import NotFound
from minicontainerd.store.blobs import Blobs
from minicontainerd.store.content import backend_ref
from minicontainerd.store.database import Database, load

ROOT = "containerd.io/gc.root"
EXPIRE = "containerd.io/gc.expire"
FLAT = "containerd.io/gc.flat"
_REF = "containerd.io/gc.ref."


class Node(NamedTuple):
    """An object: *kind* is content, ingests, images, containers, leases, or snapshots/<snapshotter>."""

    kind: str
    namespace: str
    name: str


@dataclass
class Graph:
    """Every object with its edges, and the roots among them."""

    edges: dict[Node, list[Node]] = field(default_factory=dict)
    roots: list[Node] = field(default_factory=list)

    def add(self, node: Node, edges: Iterable[Node], *, root: bool = False) -> None:
        """One object; *edges* may lead to things that do not exist."""
        self.edges[node] = list(edges)
        if root:
            self.roots.append(node)

    def reachable(self) -> set[Node]:
        """Everything that some root leads to, the roots included."""
        marked: set[Node] = set()
        grey = list(self.roots)
        while grey:
            node = grey.pop()
            if node not in marked:
                marked.add(node)
                grey.extend(self.edges.get(node, ()))
        return marked | {Node("content", node.namespace, node.name) for node in marked if node.kind == FLAT}


def collect(database: Database, blobs: Blobs, sweeps: Iterable[Callable[[], None]] = ()) -> list[Node]:
    """Collect once; answers what was removed from the database. *sweeps* bring each snapshotter in line with it."""
    with database.write() as tx:
        graph = scan(tx)
        kept = graph.reachable()
        garbage = [node for node in graph.edges if node not in kept]
        for node in garbage:
            _remove(tx, node)
    sweep_blobs(database, blobs)
    for sweep in sweeps:
        sweep()
    return garbage


def scan(tx: sqlite3.Connection, now: int | None = None) -> Graph:
    """The graph of everything in the database, with leases and images judged at the time *now*."""
    now = timestamp.now() if now is None else now
    graph = Graph()
    for row in tx.execute("SELECT * FROM images"):
        labels, namespace = load(row["labels"]), row["namespace"]
        target = Node("content", namespace, row["digest"])
        node = Node("images", namespace, row["name"])
        graph.add(node, [target, *label_edges(namespace, labels)], root=not _expired(labels, now))
    for row in tx.execute("SELECT namespace, id, snapshotter, snapshot_key, labels FROM containers"):
        namespace = row["namespace"]
        snapshot = Node(f"snapshots/{row['snapshotter']}", namespace, row["snapshot_key"])
        node = Node("containers", namespace, row["id"])
        graph.add(node, [snapshot, *label_edges(namespace, load(row["labels"]))], root=True)
    for row in tx.execute("SELECT namespace, digest, labels FROM content"):
        labels, namespace = load(row["labels"]), row["namespace"]
        node = Node("content", namespace, row["digest"])
        graph.add(node, label_edges(namespace, labels), root=ROOT in labels)
    for row in tx.execute("SELECT namespace, snapshotter, key, parent, labels FROM snapshots"):
        labels, namespace, kind = load(row["labels"]), row["namespace"], f"snapshots/{row['snapshotter']}"
        parent = [Node(kind, namespace, row["parent"])] if row["parent"] else []
        graph.add(Node(kind, namespace, row["key"]), [*parent, *label_edges(namespace, labels)], root=ROOT in labels)
    for row in tx.execute("SELECT namespace, ref, expected, expires_at FROM ingests"):
        node = Node("ingests", row["namespace"], row["ref"])
        expected = [Node("content", row["namespace"], row["expected"])] if row["expected"] else []
        graph.add(node, expected, root=row["expires_at"] > now)
    _scan_leases(tx, graph, now)
    return graph


def label_edges(namespace: str, labels: Mapping[str, str]) -> Iterator[Node]:
    """The edges that *labels* of an object in *namespace* make.

    >>> for node in label_edges("ns", {"containerd.io/gc.ref.content.l.0": "sha256:00",
    ...                                "containerd.io/gc.ref.contents": "no edge",
    ...                                "containerd.io/gc.ref.snapshot.overlayfs/a": "key"}):
    ...     print(*node)
    content ns sha256:00
    snapshots/overlayfs ns key
    """
    for label, value in labels.items():
        if not label.startswith(_REF):
            continue
        kind = label.removeprefix(_REF)
        if kind.startswith("snapshot."):
            snapshotter = kind.removeprefix("snapshot.").partition("/")[0]
            yield Node(f"snapshots/{snapshotter}", namespace, value)
        elif kind == "content" or kind.startswith(("content.", "content/")):
            yield Node("content", namespace, value)
        elif kind == "image" or kind.startswith(("image.", "image/")):
            yield Node("images", namespace, value)


def _scan_leases(tx: sqlite3.Connection, graph: Graph, now: int) -> None:
    flat = set()
    for row in tx.execute("SELECT namespace, id, labels FROM leases"):
        labels = load(row["labels"])
        node = Node("leases", row["namespace"], row["id"])
        graph.add(node, [], root=not _expired(labels, now))
        if FLAT in labels:
            flat.add(node)
    for row in tx.execute("SELECT namespace, lease, type, id FROM lease_resources"):
        lease, kept = Node("leases", row["namespace"], row["lease"]), Node(row["type"], row["namespace"], row["id"])
        if lease in flat and kept.kind == "content":
            kept = _alone(graph, kept)
        graph.edges[lease].append(kept)


def _alone(graph: Graph, node: Node) -> Node:
    """A flat lease keeps a blob but nothing it refers to: a leaf without edges stands for the blob."""
    leaf = Node(FLAT, node.namespace, node.name)
    graph.edges.setdefault(leaf, [])
    return leaf


def _expired(labels: Mapping[str, str], now: int) -> bool:
    """Whether the time in the label has come; a time that cannot be read never does."""
    try:
        return EXPIRE in labels and timestamp.parse_rfc3339(labels[EXPIRE]) < now
    except ValueError:
        return False


def _remove(tx: sqlite3.Connection, node: Node) -> None:
    kind, _, snapshotter = node.kind.partition("/")
    if kind == "snapshots":
        tx.execute(
            "DELETE FROM snapshots WHERE namespace = ? AND snapshotter = ? AND key = ?",
            (node.namespace, snapshotter, node.name),
        )
        return
    columns = {"content": "digest", "ingests": "ref", "images": "name", "leases": "id"}
    if kind in columns:
        tx.execute(f"DELETE FROM {kind} WHERE namespace = ? AND {columns[kind]} = ?", (node.namespace, node.name))


def sweep_blobs(database: Database, blobs: Blobs) -> None:
    """Remove the blobs and ingests that no row speaks of."""
    with blobs.publishing:
        with database.read() as tx:
            wanted = {row[0] for row in tx.execute("SELECT digest FROM content UNION SELECT expected FROM ingests")}
            refs = {backend_ref(row[0], row[1]) for row in tx.execute("SELECT namespace, ref FROM ingests")}
        for blob in list(blobs.walk()):
            if blob.digest not in wanted:
                with contextlib.suppress(NotFound):
                    blobs.delete(blob.digest)
        for status in list(blobs.statuses()):
            if status.ref not in refs and not blobs.is_held(status.ref):
                with contextlib.suppress(NotFound):
                    blobs.abort(status.ref)
