"""``minictr oci``."""

from __future__ import annotations

import json

import click

from minicontainerd.cli.aliases import group
from minicontainerd.client import Client
from minicontainerd.oci import spec as specs


@group("oci", "Show what a runtime would be told.")
def oci() -> None: ...


@oci.verb("spec")
@click.pass_obj
def spec(client: Client) -> None:
    """Print the spec that a container without any flags would have."""
    click.echo(json.dumps(specs.default(client.namespace, ""), indent=4))
