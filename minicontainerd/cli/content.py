"""``minictr content``."""

from __future__ import annotations

import re
import sys

import click

from minicontainerd.api import timestamp
from minicontainerd.cli.aliases import group
from minicontainerd.cli.output import labels as show_labels
from minicontainerd.cli.output import parse_labels, since, size_si, table, warn
from minicontainerd.client import Client
from minicontainerd.errors import AlreadyExists, ContainerdError, InvalidArgument, NotFound
from minicontainerd.oci import digest as digests

CHUNK = 1 << 20


@group("content", "Manage content.")
def content() -> None: ...


@content.verb("list")
@click.option("--quiet", "-q", is_flag=True, help="Only the digests.")
@click.argument("filters", nargs=-1)
@click.pass_obj
def list_(client: Client, quiet: bool, filters: tuple[str, ...]) -> None:
    """List the blobs that match any filter."""
    found = client.content.walk(filters)
    if quiet:
        for info in found:
            click.echo(info.digest)
        return
    rows = [
        (info.digest, size_si(info.size), since(timestamp.from_wire(info.created_at)), show_labels(info.labels))
        for info in found
    ]
    table([("DIGEST", "SIZE", "AGE", "LABELS"), *rows], tabs=True)


@content.verb("get")
@click.argument("digest")
@click.pass_obj
def get(client: Client, digest: str) -> None:
    """Write a blob to standard output."""
    try:
        digests.validate(digest)
    except InvalidArgument:
        raise click.ClickException("invalid checksum digest format") from None
    client.content.info(digest)
    for chunk in client.content.chunks(digest):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


@content.verb("ingest")
@click.option("--expected-size", type=int, default=0, help="How many bytes it must be.")
@click.option("--expected-digest", default="", help="The digest it must have.")
@click.argument("ref")
@click.pass_obj
def ingest(client: Client, expected_size: int, expected_digest: str, ref: str) -> None:
    """Read a blob from standard input. Nothing refers to it: label or lease it, or the next collection takes it."""
    try:
        with client.content.writer(ref, expected=expected_digest, total=expected_size) as writer:
            if writer.offset:
                writer.truncate()
            while chunk := sys.stdin.buffer.read(CHUNK):
                writer.write(chunk)
            writer.commit(expected_size, expected_digest)
    except AlreadyExists:
        return  # what was asked for is there


@content.verb("active")
@click.option("--root", hidden=True, default="/tmp/content")
@click.argument("pattern", default="")
@click.pass_obj
def active(client: Client, root: str, pattern: str) -> None:
    """List the ingests whose names match a pattern."""
    statuses = [status for status in client.content.statuses() if re.search(pattern, status.ref)]
    rows = [
        (status.ref, size_si(status.offset), since(timestamp.from_wire(status.started_at)), "") for status in statuses
    ]
    table([("REF", "SIZE", "AGE", ""), *rows], tabs=True)


@content.verb("label")
@click.argument("digest")
@click.argument("labels", nargs=-1)
@click.pass_obj
def label(client: Client, digest: str, labels: tuple[str, ...]) -> None:
    """Set labels; an empty value removes one. Prints all of them."""
    if not labels:
        raise InvalidArgument("please specify a digest and at least one label")
    found = client.content.update_labels(digest, parse_labels(labels))
    click.echo(",".join(f"{key}={value}" for key, value in sorted(found.labels.items())))


@content.verb("delete")
@click.argument("digests", nargs=-1, required=True)
@click.pass_obj
def delete(client: Client, digests: tuple[str, ...]) -> int:
    """Remove blobs from the namespace."""
    failed = 0
    for digest in digests:
        try:
            client.content.delete(digest)
        except NotFound as error:
            warn(f"failed to delete {digest}", "error", error=error)
        except ContainerdError as error:
            warn(f"failed to delete {digest}", "error", error=error)
            failed = 1
        else:
            click.echo(digest)
    return failed
