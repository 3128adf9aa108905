"""How long ADD takes: the reference's plugins, ours as programs, ours by a call. Rows for the table of ``bench``.

The chain is ``bridge`` with ``host-local``, run by our library in every case, in namespaces of its own. What
is compared is the plugins; the library's own share (writing down the attachment) is in all of the numbers alike.
"""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

from conformance.networks import REFERENCE, namespaces
from minicontainerd.linux.namespaces import inside
from minicontainerd.network import config, launcher
from minicontainerd.network.attach import Call, Cni, executed
from minicontainerd.network.cache import Attachment
from minicontainerd.network.plugins import NAMES
from minicontainerd.network.plugins.skeleton import called

from .series import Row, alternate, milliseconds

CALLED, EXECUTED = 1.0, 3.0
"""The highest ratios that we want: by a call no slower than the reference, and as a program three times at most."""


def rows(rounds: int) -> list[Row]:
    """One row for each way to call ours, without and with masquerading. Needs Debian's containernetworking-plugins."""
    with tempfile.TemporaryDirectory(prefix="minicontainerd-bench-") as scratch:
        ours = Path(scratch, "bin")
        launcher.install(ours, NAMES)
        found = []
        for masquerade in (False, True):
            with_rules = ", ipMasq" if masquerade else ""
            for way, call, target in (("called", called, CALLED), ("executed", executed, EXECUTED)):
                times = _measure(Path(scratch, f"{way}{masquerade}"), ours, call, rounds, masquerade=masquerade)
                found.append(Row(f"CNI ADD by bridge{with_rules}, ours {way}", "ms", *times, target))
    return found


def _measure(
    scratch: Path, ours: Path, call: Call, rounds: int, *, masquerade: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Milliseconds of the reference, and of ours; each container is deleted before the next is added."""
    with namespaces() as make:
        host, container = make(), make()
        host.set("ipv6/conf/default/accept_dad", "0")

        def once(cni: Cni, network: config.Network, number: int) -> float:
            asked = Attachment(f"c{number}", container.path)
            with inside(host.descriptor):
                taken = milliseconds(lambda: cni.add(network, asked))
                cni.delete(network, asked)
            return taken

        parties = []
        for mark, folder, way in (("theirs", REFERENCE, executed), ("ours", ours, call)):
            cni = Cni([str(folder)], cache=scratch / mark, call=way)
            parties.append(functools.partial(once, cni, _network(scratch / mark, mark, masquerade=masquerade)))
        alternate(parties, 2)  # the first of each makes its bridge, and warms up
        theirs, ours_ = alternate(parties, rounds)
    return theirs, ours_


def _network(scratch: Path, mark: str, *, masquerade: bool) -> config.Network:
    """Each has a bridge and a subnet of its own, for both are on one host."""
    subnet = {"theirs": "10.8.0.0/16", "ours": "10.9.0.0/16"}[mark]
    ipam = {"type": "host-local", "dataDir": str(scratch / "leases"), "ranges": [[{"subnet": subnet}]]}
    bridge = {"type": "bridge", "bridge": f"{mark}0", "isGateway": True, "ipMasq": masquerade, "ipam": ipam}
    return config.parse(json.dumps({"cniVersion": "1.0.0", "name": mark, "plugins": [bridge]}).encode())
