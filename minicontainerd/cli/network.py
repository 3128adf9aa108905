"""``minictr network``: the CNI networks of this host, and who is attached to them. ctr has nothing like it."""

from __future__ import annotations

from pathlib import Path

import click

from minicontainerd.cli.aliases import group
from minicontainerd.cli.network_flags import networking
from minicontainerd.cli.output import table
from minicontainerd.network import config, picture


@group("network", "CNI networks, and who is attached to them.")
def network() -> None:
    """The networks that are configured in /etc/cni/net.d, or in the folder NETCONFPATH."""


@network.verb("list")
@click.option("--quiet", "-q", is_flag=True, help="Names only.")
def list_networks(quiet: bool) -> None:
    """List the networks that are configured."""
    found = networking()
    rows = [
        (
            each.name,
            each.version,
            ",".join(plugin["type"] for plugin in each.plugins),
            str(len(found.attached(each.name))),
        )
        for each in config.networks(found.conf_dir)
    ]
    if quiet:
        for row in rows:
            click.echo(row[0])
    else:
        table([("NAME", "CNI", "PLUGINS", "ATTACHED"), *rows])


@network.verb("inspect")
@click.option("--svg", type=click.Path(path_type=Path), help="Draw a picture into this file instead.")
@click.argument("name")
def inspect(name: str, svg: Path | None) -> None:
    """Show what is attached to what, as a tree or as a picture."""
    found = networking()
    drawn = picture.drawing(config.find(name, found.conf_dir), found.attached(name))
    if svg is None:
        click.echo(picture.as_tree(drawn))
    else:
        svg.write_text(picture.as_svg(drawn))
