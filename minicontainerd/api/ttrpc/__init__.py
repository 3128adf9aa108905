"""ttrpc: remote calls for processes of a few megabytes, between the daemon and its shims.

``frame`` is the format, without any input or output. ``client`` and ``server`` put it on asyncio for the daemon;
a shim, which has no asyncio, drives ``frame`` from its own epoll loop.
"""
