"""``minictr snapshots``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from minicontainerd.api import timestamp
from minicontainerd.api.services.snapshots.v1 import snapshots_pb2 as api
from minicontainerd.cli.aliases import group
from minicontainerd.cli.output import parse_labels, size, table
from minicontainerd.client import Client
from minicontainerd.client.snapshots import RemoteSnapshots
from minicontainerd.errors import ContainerdError
from minicontainerd.oci.mount import Mount

KINDS = {api.UNKNOWN: "Unknown", api.VIEW: "View", api.ACTIVE: "Active", api.COMMITTED: "Committed"}


@dataclass
class Chosen:
    """The client, and the snapshotter that the group's flag names."""

    client: Client
    snapshots: RemoteSnapshots


@group("snapshots", "Manage snapshots.")
@click.option(
    "--snapshotter", default="", envvar="CONTAINERD_SNAPSHOTTER", help="Which snapshotter; default overlayfs."
)
@click.pass_context
def snapshots(context: click.Context, snapshotter: str) -> None:
    context.obj = Chosen(context.obj, context.obj.snapshots(snapshotter))


@snapshots.verb("list")
@click.pass_obj
def list_(chosen: Chosen) -> None:
    """List snapshots."""
    rows = [(info.name, info.parent, KINDS[info.kind], "") for info in chosen.snapshots.walk()]
    table([("KEY", "PARENT", "KIND", ""), *rows])


@snapshots.verb("tree")
@click.pass_obj
def tree(chosen: Chosen) -> None:
    """Draw which snapshot is made on which."""
    children: dict[str, list[str]] = {}
    known = {info.name: info.parent for info in chosen.snapshots.walk()}
    for name, parent in known.items():
        children.setdefault(parent if parent in known else "", []).append(name)

    def draw(name: str, depth: int) -> None:
        click.echo(" " + "  " * (depth - 1) + ("\\_ " if depth else "") + name)
        for child in sorted(children.get(name, ())):
            draw(child, depth + 1)

    for root in sorted(children.get("", ())):
        draw(root, 0)


@snapshots.verb("info")
@click.argument("key")
@click.pass_obj
def info(chosen: Chosen, key: str) -> None:
    """Print all that is known of a snapshot, as JSON."""
    found = chosen.snapshots.stat(key)
    shown: dict[str, object] = {"Kind": KINDS[found.kind], "Name": found.name}
    if found.parent:
        shown["Parent"] = found.parent
    if found.labels:
        shown["Labels"] = dict(sorted(found.labels.items()))
    shown["Created"] = timestamp.rfc3339(timestamp.from_wire(found.created_at))
    shown["Updated"] = timestamp.rfc3339(timestamp.from_wire(found.updated_at))
    click.echo(json.dumps(shown, indent=4))


@snapshots.verb("usage")
@click.option("-b", "in_bytes", is_flag=True, help="Sizes in bytes.")
@click.argument("keys", nargs=-1)
@click.pass_obj
def usage(chosen: Chosen, in_bytes: bool, keys: tuple[str, ...]) -> None:
    """Print how much disk snapshots take, their parents not counted."""
    rows = []
    for key in keys or [info.name for info in chosen.snapshots.walk()]:
        found = chosen.snapshots.usage(key)
        rows.append((key, str(found.size) if in_bytes else size(found.size), str(found.inodes), ""))
    table([("KEY", "SIZE", "INODES", ""), *rows], minimum=1, padding=1)


@snapshots.verb("delete")
@click.argument("keys", nargs=-1, required=True)
@click.pass_obj
def delete(chosen: Chosen, keys: tuple[str, ...]) -> None:
    """Remove snapshots; each must have no children."""
    for key in keys:
        try:
            chosen.snapshots.remove(key)
        except ContainerdError as error:
            raise type(error)(f'failed to remove "{key}": {error}') from None


@snapshots.verb("prepare")
@click.option("--target", "-t", default="", help="Print mount commands for this folder.")
@click.option("--mounts", is_flag=True, help="Print the mounts as JSON.")
@click.argument("key")
@click.argument("parent", default="")
@click.pass_obj
def prepare(chosen: Chosen, target: str, mounts: bool, key: str, parent: str) -> None:
    """Make a writable snapshot on a committed one; it stays until it is removed."""
    labels = {"containerd.io/gc.root": timestamp.rfc3339(timestamp.now() // 10**9 * 10**9)}
    _show(chosen.snapshots.prepare(key, parent, labels), target, mounts)


@snapshots.verb("view")
@click.option("--target", "-t", default="", help="Print mount commands for this folder.")
@click.option("--mounts", is_flag=True, help="Print the mounts as JSON.")
@click.argument("key")
@click.argument("parent", default="")
@click.pass_obj
def view(chosen: Chosen, target: str, mounts: bool, key: str, parent: str) -> None:
    """Make a read-only snapshot of a committed one."""
    _show(chosen.snapshots.view(key, parent), target, mounts)


@snapshots.verb("mounts", "m", "mount")
@click.argument("target")
@click.argument("key")
@click.pass_obj
def mounts(chosen: Chosen, target: str, key: str) -> None:
    """Print the commands that mount a snapshot at TARGET."""
    _show(chosen.snapshots.mounts(key), target, False)


@snapshots.verb("commit")
@click.argument("key")
@click.argument("active")
@click.pass_obj
def commit(chosen: Chosen, key: str, active: str) -> None:
    """Turn the snapshot ACTIVE into the committed snapshot KEY."""
    labels = {"containerd.io/gc.root": timestamp.rfc3339(timestamp.now() // 10**9 * 10**9)}
    chosen.snapshots.commit(key, active, labels)


@snapshots.verb("label")
@click.argument("name")
@click.argument("labels", nargs=-1)
@click.pass_obj
def label(chosen: Chosen, name: str, labels: tuple[str, ...]) -> None:
    """Set labels; an empty value removes one. Prints all of them."""
    found = chosen.snapshots.label(name, parse_labels(labels))
    click.echo(",".join(f"{key}={value}" for key, value in sorted(found.labels.items())))


@snapshots.verb("diff")
@click.option("--media-type", default="application/vnd.oci.image.layer.v1.tar+gzip", help="What to write.")
@click.option("--ref", default="", help="The name of the ingest.")
@click.option("--keep", is_flag=True, help="Leave the layer in the content store.")
@click.option("--label", "labels", multiple=True, help="Labels for the layer.")
@click.argument("id_a")
@click.argument("id_b", default="")
@click.pass_obj
def diff(chosen: Chosen, media_type: str, ref: str, keep: bool, labels: tuple[str, ...], id_a: str, id_b: str) -> None:
    """Write what ID_B has over ID_A (or ID_A over its parent) as a layer to standard output."""
    client, store = chosen.client, chosen.snapshots
    options = {"media_type": media_type, "ref": ref, "labels": parse_labels(labels)}
    with client.leased():
        if id_b:
            layer = client.diff.diff(_mounts(store, id_a), _mounts(store, id_b), **options)
        else:
            layer = client.diff.diff(_parent_mounts(store, id_a), _mounts(store, id_a), **options)
        for chunk in client.content.chunks(layer.digest):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        if keep:
            client.content.update_labels(layer.digest, {"containerd.io/gc.root": timestamp.rfc3339(timestamp.now())})


def _mounts(store: RemoteSnapshots, key: str) -> Sequence[Mount]:
    """How to see a snapshot: an active one by itself, a committed one through a view, which the lease ends."""
    if store.stat(key).kind == api.COMMITTED:
        return store.view(f"{key}-view-{timestamp.now()}", key)
    return store.mounts(key)


def _parent_mounts(store: RemoteSnapshots, key: str) -> Sequence[Mount]:
    parent = store.stat(key).parent
    return store.view(f"{key}-parent-view-{timestamp.now()}", parent)


def _show(mounts: Sequence[Mount], target: str, as_json: bool) -> None:
    if as_json:
        shown = [{"Type": each.type, "Source": each.source, "Options": list(each.options)} for each in mounts]
        click.echo(json.dumps(shown, indent=4))
    elif target:
        for each in mounts:
            click.echo(f"mount -t {each.type} {each.source} {target} -o {','.join(each.options)}")
