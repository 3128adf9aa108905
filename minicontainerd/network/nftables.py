"""nftables: rules for packets, changed by one transaction at a time through the program ``nft``.

A *table* holds *chains*; a chain that hooks into the way of packets is a *base chain*; a rule matches and decides::

    table inet cni_masquerade {
        chain postrouting { type nat hook postrouting priority srcnat; goto leaving; }
        chain leaving { ip saddr 10.1.0.5 ip daddr != 10.1.0.0/16 masquerade comment "8a1f...-0c2e... web c1" }
    }

Changes are written in nft's own language, so that what ``--explain`` tells can be typed; what is there is read as
JSON. One call of :func:`change` is one transaction: all of it happens, or nothing.

Every rule that belongs to one attachment carries a comment that begins with a *tag*: a hash of the network, and one
of interface and container. So DEL finds the rules of exactly this attachment, whatever address they speak of, and GC
those of the network that belong to nobody. Nothing else is remembered anywhere.

Source: nft(8), libnftables-json(5) of nftables 1.0.6; how the reference marks its rules: plugins@3d27709
pkg/ip/ipmasq_nftables_linux.go.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from ..linux.tell import act
from .failure import IO_FAILURE, PluginError

Rule = dict[str, Any]

_LONGEST_COMMENT = 127


def tag(network: str, container_id: str = "", ifname: str = "") -> str:
    """What the comments of an attachment's rules begin with; without a container, those of all of the network's."""
    if not container_id:
        return f"{_hash(network)}-"
    return f"{_hash(network)}-{_hash(f'{ifname}:{container_id}')}"


def comment(network: str, container_id: str, ifname: str) -> str:
    """The whole comment: the tag, and for people the names. Both names have no letter that nft minds."""
    return f"{tag(network, container_id, ifname)} {network} {container_id}"[:_LONGEST_COMMENT]


@act(
    "nft(8)",
    lines=lambda lines: f"{len(lines)} lines",
    by_hand=lambda a: "nft -f - <<'.'\n{}\n.".format("\n".join(a["lines"])),
)
def change(lines: Sequence[str]) -> None:
    """Carry out *lines* of nft's language, all or none.

    Raises:
        PluginError: nft refused; its words are in it.
    """
    status, _, complaint = _nft(["-f", "-"], "\n".join(lines) + "\n")
    if status != 0:
        raise PluginError(IO_FAILURE, "nft refused the rules", complaint.strip())


def rules(family: str, table: str, chain: str = "") -> list[Rule]:
    """The rules of a chain, or of all chains of a table; none if there is no such thing.

    Raises:
        PluginError: nft failed in another way.
    """
    what = ["chain", family, table, chain] if chain else ["table", family, table]
    status, output, complaint = _nft(["-j", "list", *what], "")
    if status != 0:
        if "No such file or directory" in complaint:
            return []
        raise PluginError(IO_FAILURE, "nft cannot list its rules", complaint.strip())
    return [each["rule"] for each in json.loads(output)["nftables"] if "rule" in each]


def tagged(found: Iterable[Rule], beginning: str) -> list[Rule]:
    """Those of the rules *found* whose comment begins so."""
    return [rule for rule in found if str(rule.get("comment", "")).startswith(beginning)]


def delete(found: Iterable[Rule]) -> None:
    """Delete rules that were listed."""
    lines = ["delete rule {family} {table} {chain} handle {handle}".format(**rule) for rule in found]
    if lines:
        change(lines)


def collect(family: str, table: str, network: str, valid: Iterable[tuple[str, str]]) -> None:
    """Delete the rules of *network* in a table that belong to no *valid* attachment (container, interface)."""
    kept = {tag(network, container_id, ifname) for container_id, ifname in valid}
    ours = tagged(rules(family, table), tag(network))
    delete(rule for rule in ours if rule["comment"].split(" ")[0] not in kept)


def _hash(text: str) -> str:
    import hashlib  # slow to import, and a plugin that has no rules never needs it

    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _nft(arguments: Sequence[str], input: str) -> tuple[int, str, str]:
    """Run nft in the calling thread's network namespace. Its output goes into memory files: no pipe can fill up."""
    files = [os.memfd_create(name) for name in ("in", "out", "err")]
    try:
        os.write(files[0], input.encode())
        os.lseek(files[0], 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)]
        try:
            pid = os.posix_spawnp("nft", ["nft", *arguments], os.environ, file_actions=actions)
        except FileNotFoundError as error:
            raise PluginError(IO_FAILURE, "the program nft is not there; it is in Debian's package nftables") from error
        _, status = os.waitpid(pid, 0)
        output, complaint = (_content(file) for file in files[1:])
        return os.waitstatus_to_exitcode(status), output, complaint
    finally:
        for file in files:
            os.close(file)


def _content(file: int) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    return b"".join(iter(lambda: os.read(file, 1 << 20), b"")).decode(errors="replace")
