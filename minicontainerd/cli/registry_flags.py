"""The flags of every command that speaks to a registry. Source: containerd@301026e cmd/ctr/commands/commands.go."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from minicontainerd.pull.registry import Options


def registry_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add them to *command*, which gets one argument *options*."""

    @functools.wraps(command)
    def collect(*args: Any, plain_http: bool, skip_verify: bool, user: str, hosts_dir: str, **kwargs: Any) -> Any:
        options = Options(plain_http=plain_http, skip_verify=skip_verify)
        if hosts_dir:
            options.folder = Path(hosts_dir)
        if user:
            name, colon, password = user.partition(":")
            if not colon:
                password = click.prompt("Password", hide_input=True)
            options.credentials = lambda host: (name, password)
        return command(*args, options=options, **kwargs)

    added = (
        click.option("--plain-http", is_flag=True, help="Speak HTTP without TLS."),
        click.option("--skip-verify", "-k", is_flag=True, help="Believe any certificate."),
        click.option("--user", "-u", default="", help="name[:password]; asks for a password that is missing."),
        click.option("--hosts-dir", default="", help="A folder of hosts.toml files."),
    )
    return functools.reduce(lambda decorated, option: option(decorated), reversed(added), collect)
