"""Our plugins killed, or failed by the kernel, at each of their acts in turn: DEL or GC cleans up whatever that left.

For our own plugins alone, which have a way in for this (``minicontainerd/linux/faults``). The whole chain is run by our
library. After an odd number of acts it is DEL that cleans, after an even one GC.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.cni.harness import Config
from conformance.networks import Namespace
from minicontainerd.linux.namespaces import inside
from minicontainerd.network import config
from minicontainerd.network.attach import Cni
from minicontainerd.network.cache import Attachment
from minicontainerd.network.failure import PluginError


@pytest.mark.clause("cni.life.delete-after-failure", "cni.del.best-effort", "cni.gc.removes", "cni.order.add-error")
@pytest.mark.parametrize("how", ["die", "ENOMEM"])
def test_at_every_act(
    how: str,
    ours: Path,
    host: Namespace,
    make: Callable[[], Namespace],
    network: Config,
    leases: Callable[[], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MINICONTAINERD_FAULTS", str(tmp_path))
    acts, plan = tmp_path / "acts", tmp_path / "plan"
    acts.touch()
    plan.touch()
    mapping = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
    chain = [network, {"type": "portmap", "capabilities": {"portMappings": True}}, {"type": "firewall"}]
    web = config.parse(json.dumps({"cniVersion": "1.1.0", "name": "web", "plugins": chain}).encode())
    cni = Cni([str(ours)], cache=tmp_path / "cache")
    for ordinal in itertools.count(1):
        container = make()
        asked = Attachment(f"c{ordinal}", container.path, capability_args={"portMappings": [mapping]})
        acts.write_text("")
        plan.write_text(f"{ordinal} {how}")
        with inside(host.descriptor):
            try:
                cni.add(web, asked)
                reached = False
            except PluginError:
                reached = True  # and the library has undone it, as far as it could
            plan.write_text("")
            if ordinal % 2:
                cni.delete(web, asked)
            else:
                cni.collect(web, [])
        assert leases() == [] and cni.attachments() == [], f"act {ordinal}: {acts.read_text()}"
        assert set(container.links()) == {"lo"} and set(host.links()) <= {"lo", "mini0"}, f"act {ordinal}"
        assert not any(host.has(text) for text in ("10.9.0.", "fd09::", "8080")), f"act {ordinal}"
        container.close()
        if not reached:
            break
    assert ordinal > 12
