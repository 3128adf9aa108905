"""``minictr version``."""

from __future__ import annotations

import platform

import click

import minicontainerd
from minicontainerd.client import Client
from minicontainerd.daemon.services.version import REVISION


@click.command()
@click.pass_obj
def version(client: Client) -> None:
    """Print the versions of client and server."""
    click.echo("Client:")
    click.echo(f"  Version:  {minicontainerd.__version__}")
    click.echo(f"  Revision: {REVISION}")
    click.echo(f"  Python version: {platform.python_version()}")
    click.echo("")
    server = client.version()
    click.echo("Server:")
    click.echo(f"  Version:  {server.version}")
    click.echo(f"  Revision: {server.revision}")
    click.echo(f"  UUID: {client.introspection.server().uuid}")
    if server.version != minicontainerd.__version__:
        click.echo("WARNING: version mismatch", err=True)
    if server.revision != REVISION:
        click.echo("WARNING: revision mismatch", err=True)
