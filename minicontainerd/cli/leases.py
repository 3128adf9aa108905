"""``minictr leases``."""

from __future__ import annotations

import datetime

import click

from minicontainerd.api import timestamp
from minicontainerd.cli.aliases import group
from minicontainerd.cli.output import labels as show_labels
from minicontainerd.cli.output import parse_labels, table
from minicontainerd.cli.units import DURATION
from minicontainerd.client import Client


@group("leases", "Manage leases.")
def leases() -> None: ...


@leases.verb("list")
@click.option("--quiet", "-q", is_flag=True, help="Only the ids.")
@click.argument("filters", nargs=-1)
@click.pass_obj
def list_(client: Client, quiet: bool, filters: tuple[str, ...]) -> None:
    """List the leases that match any filter."""
    found = client.leases.list(filters)
    if quiet:
        for lease in found:
            click.echo(lease.id)
        return
    rows = [
        (each.id, timestamp.rfc3339(each.created_at.seconds * 10**9), show_labels(each.labels), "") for each in found
    ]
    table([("ID", "CREATED AT", "LABELS", ""), *rows])


@leases.verb("create")
@click.option("--id", "id", default="", help="Its name; the daemon makes one otherwise.")
@click.option("--expires", "-x", type=DURATION, default="24h", show_default=True, help="How long it lives; 0 for ever.")
@click.argument("labels", nargs=-1)
@click.pass_obj
def create(client: Client, id: str, expires: float, labels: tuple[str, ...]) -> None:
    """Make a lease and print its id."""
    found = parse_labels(labels)
    if expires:
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=expires)
        found["containerd.io/gc.expire"] = end.strftime("%Y-%m-%dT%H:%M:%SZ")
    click.echo(client.leases.create(id, found).id)


@leases.verb("delete")
@click.option("--sync", is_flag=True, help="Collect garbage before returning.")
@click.argument("ids", nargs=-1, required=True)
@click.pass_obj
def delete(client: Client, sync: bool, ids: tuple[str, ...]) -> None:
    """End leases."""
    for number, id in enumerate(ids, 1):
        client.leases.delete(id, sync=sync and number == len(ids))
        click.echo(id)
