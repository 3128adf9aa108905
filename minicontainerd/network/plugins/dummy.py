"""``dummy``: an interface that goes nowhere, to carry an address. Source: plugins@3d27709 plugins/main/dummy."""

from __future__ import annotations

from ..failure import INVALID_CONFIG, PluginError
from ..result import Result
from . import ipam, virtual
from .skeleton import Plugin, Request


def add(request: Request) -> Result:
    """Make it in the container. Without an address it would be of no use at all."""
    if not ipam.kind(request):
        raise PluginError(INVALID_CONFIG, "dummy interface requires an IPAM configuration")
    return virtual.add(request, "dummy")


def check(request: Request) -> None:
    """Is it as it was made?"""
    virtual.check(request, "dummy")


PLUGIN = Plugin("dummy", add=add, delete=virtual.delete, check=check, collect=ipam.pass_on, status=ipam.pass_on)

if __name__ == "__main__":
    PLUGIN.main()
