"""``minictr plugins``."""

from __future__ import annotations

import click

from minicontainerd.api.services.introspection.v1.introspection_pb2 import Plugin
from minicontainerd.cli.aliases import group
from minicontainerd.cli.output import table
from minicontainerd.client import Client


@group("plugins", "Show what the daemon is made of.")
def plugins() -> None: ...


@plugins.verb("list")
@click.option("--quiet", "-q", is_flag=True, help="Only the ids.")
@click.option("--detailed", "-d", is_flag=True, help="All that is known.")
@click.argument("filters", nargs=-1)
@click.pass_obj
def list_(client: Client, quiet: bool, detailed: bool, filters: tuple[str, ...]) -> None:
    """List the plugins that match any filter."""
    found = client.introspection.plugins(filters)
    if quiet:
        for plugin in found:
            click.echo(f"{plugin.type}.{plugin.id}")
    elif detailed:
        for plugin in found:
            _describe(plugin)
    else:
        rows = [(each.type, each.id, _platforms(each), _status(each), "") for each in found]
        table([("TYPE", "ID", "PLATFORMS", "STATUS", ""), *rows], minimum=4, padding=4)


def _describe(plugin: Plugin) -> None:
    rows = [("Type:", plugin.type), ("ID:", plugin.id)]
    if plugin.requires:
        rows.append(("Requires:", ""))
        rows += [("", each) for each in plugin.requires]
    if plugin.platforms:
        rows.append(("Platforms:", _platforms(plugin)))
    if plugin.exports:
        rows.append(("Exports:", ""))
        rows += [("", f"{key}    {value}") for key, value in sorted(plugin.exports.items())]
    if plugin.capabilities:
        rows.append(("Capabilities:", ",".join(plugin.capabilities)))
    if plugin.HasField("init_err"):
        rows += [("Error:", ""), ("", plugin.init_err.message)]
    table(rows, minimum=4, padding=4)
    click.echo("")


def _platforms(plugin: Plugin) -> str:
    return ",".join(f"{each.os}/{each.architecture}" for each in plugin.platforms) or "-"


def _status(plugin: Plugin) -> str:
    if not plugin.HasField("init_err"):
        return "ok"
    return "skip" if "skip plugin" in plugin.init_err.message else "error"
