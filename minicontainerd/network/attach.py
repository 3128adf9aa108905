"""The library: carry out a network's list of plugins for one container, and undo it.

::

    ADD     first plugin to last; each is given the result of the one before; the last result is remembered
    CHECK   first to last; each is given the remembered result
    DEL     last to first; each is given the remembered result; then it is forgotten
    GC      DEL for every attachment remembered and no longer valid, then all plugins are told which are
    STATUS  each plugin: could you serve an ADD now?

Two things make it safe to fail anywhere. ADD is written down before it starts, and whatever goes wrong in it is
followed by DEL of the whole list, since any plugin may have got halfway. And DEL takes the configuration and the
arguments that ADD was given, from what was written down, even if the files of the administrator have changed since.

Below it all is one function that runs one plugin: :func:`executed` starts a program.

Source: cni@3f51e88 SPEC.md, section 3; libcni/api.go.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..errors import ContainerdError, FailedPrecondition, InvalidArgument
from ..linux.tell import step
from . import config, execute
from .cache import FOLDER, Attachment, Cache, Remembered
from .config import Network, PluginConfig
from .failure import UNDECODABLE, PluginError
from .result import Result, read, written
from .versions import at_least

PATH = ("/opt/cni/bin",)
"""Where plugins are looked for, if the caller does not say."""

Call = Callable[[str, Mapping[str, str], PluginConfig, float], Any]
"""Run the program of a plugin with these CNI_* variables and this configuration, within so many seconds."""


def executed(program: str, environment: Mapping[str, str], request: PluginConfig, seconds: float) -> Any:
    """A plugin as a process of its own, which is what the specification describes."""
    return execute.execute(program, environment, request, seconds=seconds)


class Cni:
    """A caller of plugins: where they are, what is remembered of them, and how long each may take (seconds)."""

    def __init__(
        self,
        path: Sequence[str] = PATH,
        cache: str | os.PathLike[str] = FOLDER,
        seconds: float = execute.SECONDS,
        call: Call = executed,
    ) -> None:
        self.path = tuple(path)
        self.cache = Cache(cache)
        self.seconds = seconds
        self.call = call

    def add(self, network: Network, attachment: Attachment) -> Result:
        """Attach a container to the network; gives the final result, in the newest form.

        Raises:
            InvalidArgument: there is no network namespace named.
            FailedPrecondition: it is attached already.
            NotFound: a plugin's program is not there.
            PluginError: a plugin failed. What was done up to there is undone.
        """
        if not attachment.netns:
            raise InvalidArgument(f"container {attachment.container_id}: a network namespace is needed")
        with self.cache.busy(network.name, attachment.container_id):
            known = self.cache.recall(network.name, attachment)
            if known is not None and known.finished:
                raise FailedPrecondition(
                    f"container {attachment.container_id} is on network {network.name} as {attachment.ifname} already; "
                    "delete that first"
                )
            self.cache.remember(network, attachment, None, finished=False)
            try:
                result = self._add(network, attachment)
                self.cache.remember(network, attachment, written(result, network.version), finished=True)
            except BaseException as error:
                self._undo(network, attachment, error)
                raise
            return result

    def delete(self, network: Network, attachment: Attachment) -> None:
        """Detach a container; doing so again is no error. What ADD was told is told again.

        Raises:
            PluginError: a plugin failed; the attachment is still remembered, to be deleted later.
        """
        with self.cache.busy(network.name, attachment.container_id):
            known = self.cache.recall(network.name, attachment)
            if known is not None:
                network, attachment = _as_it_was(known, network, attachment)
            self._delete(network, attachment, known.result if known else None)

    def check(self, network: Network, attachment: Attachment) -> None:
        """Ask every plugin whether the attachment is still as ADD left it.

        Raises:
            FailedPrecondition: it was never attached, or the network's version has no CHECK.
            PluginError: a plugin finds something missing.
        """
        if network.disable_check:
            return
        if not at_least(network.version, "0.4.0"):
            raise FailedPrecondition(f"network {network.name} is of CNI {network.version}, which has no CHECK yet")
        with self.cache.busy(network.name, attachment.container_id):
            known = self.cache.recall(network.name, attachment)
            if known is None or not known.finished:
                raise FailedPrecondition(f"container {attachment.container_id} is not on network {network.name}")
            network, attachment = _as_it_was(known, network, attachment)
            for plugin in network.plugins:
                self._run("CHECK", network, plugin, attachment, known.result)

    def collect(self, network: Network, valid: Iterable[tuple[str, str]]) -> None:
        """GC: remove what is left of attachments that are not *valid*, pairs of container id and interface.

        Raises:
            ExceptionGroup: of what failed; everything was tried.
        """
        if network.disable_gc:
            return
        kept = set(valid)
        failures: list[Exception] = []
        with self.cache.alone(network.name):
            for known in self.cache.all(network.name):
                if (known.attachment.container_id, known.attachment.ifname) not in kept:
                    try:
                        self._delete(*_as_it_was(known, network, known.attachment), known.result)
                    except (ContainerdError, OSError) as error:
                        failures.append(error)
            if at_least(network.version, "1.1.0"):
                failures += self._tell_valid(network, kept)
        if failures:
            raise ExceptionGroup(f"collecting garbage of network {network.name}", failures)

    def status(self, network: Network) -> None:
        """Ask every plugin whether it could serve an ADD. Before version 1.1.0 there is no such question.

        Raises:
            PluginError: one could not; its code says why.
        """
        if at_least(network.version, "1.1.0"):
            for plugin in network.plugins:
                self._call("STATUS", plugin["type"], {}, config.request(network, plugin))

    def versions(self, kind: str) -> tuple[str, ...]:
        """Which versions the plugin called *kind* speaks."""
        try:
            said = self._call("VERSION", kind, {}, {"cniVersion": "1.0.0"})
        except PluginError as error:
            if "VERSION" in error.msg:  # from before there was this command: it does not know it
                return ("0.1.0",)
            raise
        offered = said.get("supportedVersions") if isinstance(said, dict) else None
        if not isinstance(offered, list) or not all(isinstance(each, str) for each in offered):
            raise PluginError(UNDECODABLE, f"asked for its versions it said {said!r}", plugin=kind)
        return tuple(offered)

    def attachments(self, container_id: str = "", network: str = "") -> list[Remembered]:
        """What is remembered, of one container or one network if named."""
        return self.cache.all(network, container_id)

    def _add(self, network: Network, attachment: Attachment) -> Result:
        result: Result | None = None
        for plugin in network.plugins:
            said = self._run("ADD", network, plugin, attachment, result)
            try:
                result = read(said, network.version)
            except InvalidArgument as error:
                raise PluginError(UNDECODABLE, f"its result is none: {error}", plugin=plugin["type"]) from error
            if plugin is not network.plugins[-1]:
                self.cache.remember(network, attachment, written(result, network.version), finished=False)
        assert result is not None  # a network has at least one plugin
        return result

    def _delete(self, network: Network, attachment: Attachment, result: Result | None) -> None:
        for plugin in reversed(network.plugins):
            self._run("DEL", network, plugin, attachment, result if at_least(network.version, "0.4.0") else None)
        self.cache.forget(network.name, attachment)

    def _undo(self, network: Network, attachment: Attachment, error: BaseException) -> None:
        """After a failed ADD. What cannot be undone now is still written down, for a later DEL or GC."""
        known = self.cache.recall(network.name, attachment)
        try:
            self._delete(network, attachment, known.result if known else None)
        except (ContainerdError, OSError) as another:
            error.add_note(f"and undoing it failed: {another}")

    def _tell_valid(self, network: Network, valid: set[tuple[str, str]]) -> list[Exception]:
        failures: list[Exception] = []
        attachments = [{"containerID": id, "ifname": ifname} for id, ifname in sorted(valid)]
        for plugin in network.plugins:
            request = config.request(network, plugin) | {
                "cni.dev/valid-attachments": attachments,
                "cni.dev/attachments": attachments,  # how libcni spelled it first, and plugins read it
            }
            try:
                self._call("GC", plugin["type"], {}, request)
            except (ContainerdError, OSError) as error:
                failures.append(error)
        return failures

    def _run(
        self, command: str, network: Network, plugin: PluginConfig, attachment: Attachment, result: Result | None
    ) -> Any:
        variables = {
            "CNI_CONTAINERID": attachment.container_id,
            "CNI_NETNS": attachment.netns,
            "CNI_IFNAME": attachment.ifname,
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in attachment.args),
        }
        previous = None if result is None else written(result, network.version)
        request = config.request(network, plugin, capability_args=attachment.capability_args, previous=previous)
        return self._call(command, plugin["type"], variables, request)

    def _call(self, command: str, kind: str, variables: Mapping[str, str], request: PluginConfig) -> Any:
        program = execute.find(kind, self.path)
        environment = {"CNI_COMMAND": command, "CNI_PATH": os.pathsep.join(self.path), **variables}
        with step(f"{command} by the plugin {kind}", "CNI section 3"):
            return self.call(program, environment, request, self.seconds)


def _as_it_was(known: Remembered, network: Network, attachment: Attachment) -> tuple[Network, Attachment]:
    """The configuration and arguments that ADD was given; only the namespace may have become unknown since."""
    with contextlib.suppress(InvalidArgument):  # written down by another caller, in a way that we do not take
        then = config.parse(known.config)
        network = then if then.name == network.name else network
    return network, dataclasses.replace(known.attachment, netns=attachment.netns or known.attachment.netns)
