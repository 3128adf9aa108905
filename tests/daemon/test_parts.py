"""The daemon's parts alone: plugins, configuration, events, bundles, the collector's timing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from minicontainerd.api.events.image_pb2 import ImageDelete
from minicontainerd.api.events.task_pb2 import TaskExit
from minicontainerd.daemon import config as configuration
from minicontainerd.daemon.bundle import Bootstrap, Bundle, find_all, parse_bootstrap
from minicontainerd.daemon.collector import Collector
from minicontainerd.daemon.config import Config
from minicontainerd.daemon.events import Exchange
from minicontainerd.daemon.launcher import Launcher, find_binary
from minicontainerd.daemon.plugins import Context, Graph, Plugin, Skip, ordered
from minicontainerd.daemon.server import build, lock
from minicontainerd.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.store.gc import Node


def context(graph: Graph, folder: Path) -> Any:
    return lambda plugin: Context(plugin, folder, folder, {}, graph)


def test_plugins_are_made_in_the_order_that_they_need(tmp_path: Path) -> None:
    made: list[str] = []

    def plugin(name: str, *needs: str) -> Plugin:
        return Plugin(name, "1", lambda context: made.append(name) or name, needs)  # type: ignore[func-returns-value]

    graph = Graph()
    graph.build(
        [plugin("last", "*"), plugin("top", "middle"), plugin("middle", "low"), plugin("low")], context(graph, tmp_path)
    )
    assert made == ["low", "middle", "top", "last"]
    with pytest.raises(FailedPrecondition, match="require each other"):
        ordered([plugin("a", "b"), plugin("b", "a")])


def test_a_plugin_that_fails_takes_only_those_that_need_it_along(tmp_path: Path) -> None:
    def fail(context: Context) -> None:
        raise OSError("no such device")

    def skip(context: Context) -> None:
        raise Skip("not on this host")

    graph = Graph()
    needs = Plugin("c", "1", lambda context: context.get("a", str), ("a",))
    plugins = [Plugin("a", "1", fail), Plugin("b", "1", skip), needs, Plugin("d", "1", lambda context: "fine")]
    graph.build(plugins, context(graph, tmp_path))
    errors = {made.plugin.type: type(made.error).__name__ for made in graph.made}
    assert errors == {"a": "OSError", "b": "Skip", "c": "NotFound", "d": "NoneType"}


def test_every_built_in_plugin_is_made(tmp_path: Path) -> None:
    async def check() -> None:
        config = Config(root=str(tmp_path / "root"), state=str(tmp_path / "state"))
        graph = build(config, Launcher(config.grpc.address))
        assert [made.plugin.uri for made in graph.made if made.error] == []
        graph.close()

    asyncio.run(check())


def test_the_configuration_reads_back_and_unknown_keys_are_named(tmp_path: Path) -> None:
    text = configuration.dump(Config(root="/r"))
    assert configuration.parse(text).root == "/r"
    for wrong, message in (
        ("rot = 1", "rot"),
        ("root = 1", "Expected `str`"),
        ("version = 1", "version 1 is not supported"),
        ("=", "Invalid"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            configuration.parse(wrong)
    with pytest.raises(NotFound):
        configuration.load(str(tmp_path / "none.toml"))


def test_two_daemons_never_share_a_folder(tmp_path: Path) -> None:
    with lock(tmp_path), pytest.raises(FailedPrecondition, match=f"in use by another daemon .pid {os.getpid()}"):
        lock(tmp_path)
    lock(tmp_path).close()


def test_events_reach_who_asked_for_them() -> None:
    async def check() -> list[str]:
        exchange = Exchange()
        exchange.publish("ns", "/tasks/exit", TaskExit(id="early"))
        with exchange.subscribed(["namespace==ns,topic~=|^/tasks/|,event.id==b"]) as envelopes:
            exchange.publish("ns", "/tasks/exit", TaskExit(id="a"))
            exchange.publish("other", "/tasks/exit", TaskExit(id="b"))
            exchange.publish("ns", "/images/delete", ImageDelete(name="b"))
            exchange.publish("ns", "/tasks/exit", TaskExit(id="b"))
            envelope = await anext(envelopes)
        return [envelope.topic, TaskExit.FromString(envelope.event.value).id]

    assert asyncio.run(check()) == ["/tasks/exit", "b"]


@pytest.mark.parametrize("topic", ["", "tasks", "/", "/tasks/", "/ta sks"])
def test_a_topic_that_is_none_is_refused(topic: str) -> None:
    with pytest.raises(InvalidArgument):
        Exchange().publish("ns", topic, TaskExit())


def test_a_bundle_is_made_whole_and_removed_whole(tmp_path: Path) -> None:
    bundle = Bundle.at(tmp_path / "state", tmp_path / "root", "ns", "c")
    bundle.create(b"{}")
    assert (bundle.path / "config.json").read_bytes() == b"{}"
    assert (bundle.path / "work").resolve() == bundle.work
    assert bundle.path.stat().st_mode & 0o777 == 0o700
    with pytest.raises(AlreadyExists):
        bundle.create(b"{}")
    assert bundle.recall() is None
    bundle.choose("/bin/shim")
    bundle.remember(Bootstrap(3, "unix:///run/s", "ttrpc"))
    assert bundle.binary == "/bin/shim"
    assert bundle.recall() == Bootstrap(3, "unix:///run/s", "ttrpc")
    (bundle.path / "bootstrap.json").unlink()  # a daemon died before it could write that
    (bundle.path / "address").write_text("unix:///run/s")
    assert bundle.recall() == Bootstrap(2, "unix:///run/s", "ttrpc")
    lost = Bundle.at(tmp_path / "state", tmp_path / "root", "ns", "lost")
    lost.work.mkdir()
    assert list(find_all(tmp_path / "state", tmp_path / "root")) == [bundle]
    assert not lost.work.exists()
    bundle.delete()
    bundle.delete()
    assert not bundle.path.exists() and not bundle.work.exists()
    with pytest.raises(InvalidArgument):
        Bundle.at(tmp_path, tmp_path, "ns", "../../etc")


@pytest.mark.parametrize(
    "output", [b"", b"{", b'{"version": 3}', b'{"version":9,"address":"unix:///s","protocol":"ttrpc"}']
)
def test_what_is_no_bootstrap_result_is_refused(output: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse_bootstrap(output)


def test_runtime_names_lead_to_shims() -> None:
    assert find_binary("io.containerd.runc.v2").endswith("containerd-shim-mini-v2")
    assert find_binary("/bin/sh") == "/bin/sh"
    with pytest.raises(NotFound, match='"containerd-shim-nobody-v7"'):
        find_binary("io.containerd.nobody.v7")
    with pytest.raises(InvalidArgument, match="invalid runtime name"):
        find_binary("nonsense")


def test_who_waits_for_the_collector_gets_a_run_that_began_afterwards() -> None:
    async def check() -> tuple[int, list[str]]:
        runs = 0

        def collect() -> list[Node]:
            nonlocal runs
            runs += 1
            return [Node("images", "ns", "gone")] if runs == 1 else []

        exchange = Exchange()
        collector = Collector(collect, exchange)
        running = asyncio.create_task(collector.run())
        with exchange.subscribed(['topic=="/images/delete"']) as envelopes:
            await asyncio.gather(*(collector.after_removal(wait=True) for _ in range(5)))
            told = await anext(envelopes)
        running.cancel()
        return runs, [ImageDelete.FromString(told.event.value).name]

    runs, names = asyncio.run(check())
    assert names == ["gone"] and 1 <= runs <= 2
