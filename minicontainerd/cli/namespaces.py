"""``minictr namespaces``."""

from __future__ import annotations

import contextlib

import click

from minicontainerd.cli.aliases import group
from minicontainerd.cli.output import parse_labels, table
from minicontainerd.client import Client
from minicontainerd.errors import InvalidArgument, NotFound


@group("namespaces", "Manage namespaces.")
def namespaces() -> None: ...


@namespaces.verb("create", "c")
@click.argument("name")
@click.argument("labels", nargs=-1)
@click.pass_obj
def create(client: Client, name: str, labels: tuple[str, ...]) -> None:
    """Make a namespace; it will also be made by the first thing created in it."""
    client.namespaces.create(name, parse_labels(labels))


@namespaces.verb("label")
@click.argument("name")
@click.argument("labels", nargs=-1)
@click.pass_obj
def label(client: Client, name: str, labels: tuple[str, ...]) -> None:
    """Set labels; an empty value removes one."""
    if not labels:
        raise InvalidArgument("please specify a namespace and at least one label")
    client.namespaces.label(name, parse_labels(labels))


@namespaces.verb("list")
@click.option("--quiet", "-q", is_flag=True, help="Only the names.")
@click.pass_obj
def list_(client: Client, quiet: bool) -> None:
    """List namespaces."""
    found = client.namespaces.list()
    if quiet:
        for namespace in found:
            click.echo(namespace.name)
        return
    rows = [(each.name, ",".join(f"{k}={v}" for k, v in sorted(each.labels.items())), "") for each in found]
    table([("NAME", "LABELS", ""), *rows])


@namespaces.verb("remove", "rm")
@click.argument("names", nargs=-1, required=True)
@click.option("--cgroup", "-c", is_flag=True, help="Accepted for ctr's sake; a namespace has no cgroup to remove here.")
@click.pass_obj
def remove(client: Client, names: tuple[str, ...], cgroup: bool) -> None:
    """Remove namespaces; each must be empty."""
    for name in names:
        with contextlib.suppress(NotFound):  # as ctr: what is not there is as good as removed
            client.namespaces.delete(name)
        click.echo(name)
