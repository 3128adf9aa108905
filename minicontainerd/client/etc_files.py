"""``/etc/hosts``, ``/etc/hostname`` and ``/etc/resolv.conf`` of a container, written when its network is known.

A container's mounts are fixed when it is created, its addresses are known a moment later. So empty files of the host
are mounted, and filled before the container starts: a mount shows the file itself, whatever is written into it since.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minicontainerd.network.result import Result

FOLDER = "/run/minicontainerd/etc"
NAMES = ("hosts", "hostname", "resolv.conf")


class EtcFiles:
    """The three files of the container *full_id*, in a folder of its own below *folder*."""

    def __init__(self, full_id: str, folder: str = FOLDER) -> None:
        self.folder = Path(folder, full_id)

    def make(self) -> list[str]:
        """Make them, empty; gives what ``--mount`` takes for each."""
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name in NAMES:
            (self.folder / name).touch(mode=0o644)
        return [f"type=bind,src={self.folder}/{name},dst=/etc/{name},options=rbind:rw" for name in NAMES]

    def fill(self, hostname: str, results: Sequence[Result]) -> None:
        """Write into them what the networks resulted in."""
        (self.folder / "hostname").write_text(f"{hostname}\n")
        (self.folder / "hosts").write_text(hosts(hostname, results))
        (self.folder / "resolv.conf").write_text(resolv_conf([result["dns"] for result in results]))

    def remove(self) -> None:
        """Remove them, if they were ever made."""
        shutil.rmtree(self.folder, ignore_errors=True)


def hosts(hostname: str, results: Sequence[Result]) -> str:
    """hosts(5): itself under every address it has.

    >>> print(hosts("web", [{"ips": [{"address": "10.1.0.5/16"}]}]), end="")
    127.0.0.1 localhost
    ::1 localhost ip6-localhost ip6-loopback
    10.1.0.5 web
    """
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{each['address'].split('/')[0]} {hostname}" for result in results for each in result["ips"]]
    return "\n".join(lines) + "\n"


def resolv_conf(told: Sequence[dict[str, Any]], host: str = "/etc/resolv.conf") -> str:
    """resolv.conf(5): what the networks say about DNS; where they say nothing, what the *host* has."""
    lines = []
    for dns in told:
        lines += [f"nameserver {each}" for each in dns.get("nameservers") or []]
        lines += [f"domain {dns['domain']}"] if dns.get("domain") else []
        lines += [f"{word} {' '.join(dns[word])}" for word in ("search", "options") if dns.get(word)]
    if lines:
        return "\n".join(lines) + "\n"
    try:
        return Path(host).read_text()
    except FileNotFoundError:
        return ""
