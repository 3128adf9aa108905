"""``minictr images``."""

from __future__ import annotations

import click

from minicontainerd.api import timestamp
from minicontainerd.api.services.images.v1.images_pb2 import Image as Record
from minicontainerd.cli.aliases import group
from minicontainerd.cli.output import labels as show_labels
from minicontainerd.cli.output import parse_labels, size, table, warn
from minicontainerd.cli.progress import ProgressReport
from minicontainerd.cli.registry_flags import registry_flags
from minicontainerd.client import Client
from minicontainerd.client.image import Image
from minicontainerd.client.pull import pull as pull_image
from minicontainerd.client.pull import unpack
from minicontainerd.errors import AlreadyExists, ContainerdError, InvalidArgument, NotFound
from minicontainerd.linux.mount import MNT
from minicontainerd.linux.mount_list import mount_all, unmount_all
from minicontainerd.oci import platform as platforms
from minicontainerd.pull.registry import Options


@group("images", "Manage images.")
def images() -> None: ...


@images.verb("pull")
@registry_flags
@click.option("--snapshotter", default="", envvar="CONTAINERD_SNAPSHOTTER", help="Unpack for this snapshotter.")
@click.option("--label", "labels", multiple=True, help="A label for the image.")
@click.option("--platform", "platform", multiple=True, help="Pull for this platform, for example linux/arm64.")
@click.option("--all-platforms", is_flag=True, help="Pull for every platform there is.")
@click.option("--print-chainid", is_flag=True, help="Print the name of the resulting snapshot.")
@click.option("--max-concurrent-downloads", type=int, default=0, help="Fetch so many blobs at once; 3 by default.")
@click.option("--sync-fs", is_flag=True, help="Return when the unpacked files are on the disk, not before.")
@click.argument("ref")
@click.pass_obj
def pull(
    client: Client,
    options: Options,
    snapshotter: str,
    labels: tuple[str, ...],
    platform: tuple[str, ...],
    all_platforms: bool,
    print_chainid: bool,
    max_concurrent_downloads: int,
    sync_fs: bool,
    ref: str,
) -> None:
    """Pull an image from a registry and unpack it."""
    started = timestamp.now()
    wanted = [] if all_platforms else [platforms.parse(each) for each in platform] or None
    with ProgressReport() as report:
        pulled = pull_image(
            client,
            ref,
            options=options,
            wanted=wanted,
            snapshotter=snapshotter,
            labels=parse_labels(labels),
            progress=report,
            parallel=max_concurrent_downloads or 3,
            sync=sync_fs,
        )
    if print_chainid:
        click.echo(f"image chain ID: {pulled.chain_id}")
    click.echo(f"done: {(timestamp.now() - started) / 1e6:.6f}ms\t")


@images.verb("list")
@click.option("--quiet", "-q", is_flag=True, help="Only the names.")
@click.argument("filters", nargs=-1)
@click.pass_obj
def list_(client: Client, quiet: bool, filters: tuple[str, ...]) -> None:
    """List the images that match any filter."""
    try:
        found = client.images.list(filters)
    except ContainerdError as error:
        raise type(error)(f"failed to list images: {error}") from None
    if quiet:
        for record in found:
            click.echo(record.name)
        return
    rows = [_row(client, record) for record in found]
    table([("REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "LABELS", ""), *rows])


def _row(client: Client, record: Record) -> tuple[str, ...]:
    image = Image(client, record)
    try:
        shown = size(image.size())
        on = ",".join(image.platforms()) or "-"
    except ContainerdError as error:
        warn(f"failed to read {record.name}: {error}")
        shown, on = "-", "-"
    return record.name, record.target.media_type, record.target.digest, shown, on, show_labels(record.labels), ""


@images.verb("check")
@click.option("--quiet", "-q", is_flag=True, help="Only the names of those that are ready to use.")
@click.option("--snapshotter", default="", envvar="CONTAINERD_SNAPSHOTTER", help="Unpacked for which snapshotter.")
@click.argument("filters", nargs=-1)
@click.pass_obj
def check(client: Client, quiet: bool, snapshotter: str, filters: tuple[str, ...]) -> None:
    """Tell which images are complete and unpacked."""
    snapshotter = client.snapshots(snapshotter).snapshotter
    rows = []
    for record in client.images.list(filters):
        status, have, unpacked = _check(Image(client, record), client, snapshotter)
        if quiet:
            if status.startswith("complete"):
                click.echo(record.name)
            continue
        target = record.target
        rows.append((record.name, target.media_type, target.digest, status, have, str(unpacked).lower()))
    if not quiet:
        table([("REF", "TYPE", "DIGEST", "STATUS", "SIZE", "UNPACKED", ""), *rows])


def _check(image: Image, client: Client, snapshotter: str) -> tuple[str, str, bool]:
    """Status, present of needed bytes, and whether it is unpacked."""
    try:
        needed = image.needed()
    except NotFound:
        return "unavailable (0/?)", "0.0 B/?", False
    present = []
    for descriptor in needed:
        try:
            client.content.info(descriptor.digest)
            present.append(descriptor)
        except NotFound:
            continue
    have, want = sum(each.size for each in present), sum(each.size for each in needed)
    if len(present) < len(needed):
        return f"incomplete ({len(present)}/{len(needed)})", f"{size(have)}/{size(want)}", False
    return f"complete ({len(present)}/{len(needed)})", f"{size(have)}/{size(want)}", image.is_unpacked(snapshotter)


@images.verb("tag")
@click.option("--force", is_flag=True, help="Replace names that are taken.")
@click.argument("source")
@click.argument("targets", nargs=-1, required=True)
@click.pass_obj
def tag(client: Client, force: bool, source: str, targets: tuple[str, ...]) -> None:
    """Give an image more names."""
    with client.leased():
        record = client.images.get(source)
        for name in targets:
            new = Record(name=name, target=record.target, labels=record.labels)
            try:
                client.images.create(new)
            except AlreadyExists:
                if not force:
                    raise
                client.images.update(new)
            click.echo(name)


@images.verb("label")
@click.option("--replace-all", "-r", is_flag=True, help="Remove the labels that are not named.")
@click.argument("name")
@click.argument("labels", nargs=-1)
@click.pass_obj
def label(client: Client, replace_all: bool, name: str, labels: tuple[str, ...]) -> None:
    """Set labels; an empty value removes one. Prints all of them."""
    if not labels:
        raise InvalidArgument("please specify an image and at least one label")
    wanted = parse_labels(labels)
    paths = ["labels"] if replace_all else [f"labels.{key}" for key in wanted]
    found = client.images.update(Record(name=name, labels=wanted), paths)
    click.echo(",".join(f"{key}={value}" for key, value in sorted(found.labels.items())))


@images.verb("delete")
@click.option("--sync", is_flag=True, help="Collect garbage before returning.")
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def delete(client: Client, sync: bool, names: tuple[str, ...]) -> int:
    """Remove names of images; what no name refers to is collected."""
    failed = 0
    for number, name in enumerate(names, 1):
        try:
            client.images.delete(name, sync=sync and number == len(names))
        except NotFound:
            warn(f"{name}: image not found")
        except ContainerdError as error:
            warn(f"unable to delete {name}", "error", error=error)
            failed = 1
        else:
            click.echo(name)
    return failed


@images.verb("mount")
@click.option("--snapshotter", default="", envvar="CONTAINERD_SNAPSHOTTER", help="Where it is, or is to be, unpacked.")
@click.option("--rw", is_flag=True, help="Let it be changed; the changes go with the unmount.")
@click.option("--platform", default="", help="Of an image for several, take this one.")
@click.argument("ref")
@click.argument("target")
@click.pass_obj
def mount(client: Client, snapshotter: str, rw: bool, platform: str, ref: str, target: str) -> None:
    """Mount an image at TARGET; images unmount ends it."""
    image = Image(client, client.images.get(ref), platforms.parse(platform) if platform else None)
    snapshots = client.snapshots(snapshotter)
    with client.leased():
        if not image.is_unpacked(snapshots.snapshotter):
            unpack(client, image, snapshots.snapshotter)
        # as ctr: the snapshot is called like the folder, which is how unmount finds it, and a root for the collector
        labels = {"containerd.io/gc.root": timestamp.rfc3339(timestamp.now() // 10**9 * 10**9)}
        click.echo(image.chain_id())
        make = snapshots.prepare if rw else snapshots.view
        mounts = make(target, image.chain_id(), labels)
        try:
            mount_all(mounts, target)
        except OSError:
            snapshots.remove(target)
            raise
    click.echo(target)


@images.verb("unmount")
@click.option("--snapshotter", default="", envvar="CONTAINERD_SNAPSHOTTER", help="Where the snapshot is.")
@click.option("--rm", "remove", is_flag=True, help="Remove the snapshot as well.")
@click.argument("target")
@click.pass_obj
def unmount(client: Client, snapshotter: str, remove: bool, target: str) -> None:
    """Unmount an image; its snapshot stays, unless --rm."""
    unmount_all(target, MNT.NOFOLLOW)
    if remove:
        try:
            client.snapshots(snapshotter).remove(target)
        except NotFound as error:
            raise NotFound(f"error removing snapshot: {error}") from None
    click.echo(target)
