"""The runtime-spec's config.json and state, as types: what ``json.load`` gives, with names a checker knows.

These are TypedDicts: at run time plain dictionaries, so a runtime that starts once a container pays next to nothing
for them; ``shape.py`` holds a document against them. Every key may be absent unless it, or its class, says otherwise.
Units are in the comments; only what Linux uses is here.

Source: runtime-spec 1.3 specs-go/config.go and specs-go/state.go, where the prose for each key is config.md.
"""

from __future__ import annotations

from typing import Literal, Required, TypeAlias, TypedDict

int32: TypeAlias = int
int64: TypeAlias = int
uint16: TypeAlias = int
uint32: TypeAlias = int
uint64: TypeAlias = int
"""Numbers by the bounds that they have in Go, which ``shape.py`` holds them to."""


class Box(TypedDict):
    """A terminal's size, in characters."""

    height: uint64
    width: uint64


class User(TypedDict, total=False):
    uid: uint32
    gid: uint32
    umask: uint32
    additionalGids: list[uint32]
    username: str


class Capabilities(TypedDict, total=False):
    bounding: list[str]
    effective: list[str]
    inheritable: list[str]
    permitted: list[str]
    ambient: list[str]


class Rlimit(TypedDict):
    """*type* is RLIMIT_NOFILE and the like; 2**64-1 means no limit."""

    type: str
    hard: uint64
    soft: uint64


# "class" is a Python keyword, hence the other way to write a TypedDict.
IOPriority = TypedDict("IOPriority", {"class": "str", "priority": "int"}, total=False)


class Scheduler(TypedDict, total=False):
    """Times in nanoseconds."""

    policy: str
    nice: int32
    priority: int32
    flags: list[str]
    runtime: uint64
    deadline: uint64
    period: uint64


class ExecCPUAffinity(TypedDict, total=False):
    """Lists of processors, like ``0-3,7``."""

    initial: str
    final: str


class Process(TypedDict, total=False):
    terminal: bool
    consoleSize: Box
    user: User
    args: list[str]
    env: list[str]
    cwd: str
    capabilities: Capabilities
    rlimits: list[Rlimit]
    noNewPrivileges: bool
    apparmorProfile: str
    oomScoreAdj: int
    scheduler: Scheduler
    selinuxLabel: str
    ioPriority: IOPriority
    execCPUAffinity: ExecCPUAffinity


class Root(TypedDict, total=False):
    path: str
    readonly: bool


class IDMapping(TypedDict):
    containerID: uint32
    hostID: uint32
    size: uint32


class Mount(TypedDict, total=False):
    destination: Required[str]
    type: str
    source: str
    options: list[str]
    uidMappings: list[IDMapping]
    gidMappings: list[IDMapping]


class Hook(TypedDict, total=False):
    """*timeout* in seconds."""

    path: Required[str]
    args: list[str]
    env: list[str]
    timeout: int


HookName = Literal["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


class Hooks(TypedDict, total=False):
    prestart: list[Hook]
    createRuntime: list[Hook]
    createContainer: list[Hook]
    startContainer: list[Hook]
    poststart: list[Hook]
    poststop: list[Hook]


class Namespace(TypedDict, total=False):
    """Without *path* a new one is made."""

    type: Required[str]
    path: str


class Device(TypedDict, total=False):
    """*type* is c, b, u or p; *fileMode* as in chmod."""

    path: Required[str]
    type: Required[str]
    major: int64
    minor: int64
    fileMode: uint32
    uid: uint32
    gid: uint32


class DeviceRule(TypedDict, total=False):
    """*type* is a, b or c; *access* some of rwm; an absent number means any."""

    allow: bool
    type: str
    major: int64
    minor: int64
    access: str


class Memory(TypedDict, total=False):
    """Bytes; -1 is no limit. *swap* is memory and swap together."""

    limit: int64
    reservation: int64
    swap: int64
    kernel: int64
    kernelTCP: int64
    swappiness: uint64
    disableOOMKiller: bool
    useHierarchy: bool
    checkBeforeUpdate: bool


class CPU(TypedDict, total=False):
    """*quota* and *period* in microseconds; *shares* 2 to 262144, 1024 is normal; *cpus* like ``0-3,5``."""

    shares: uint64
    quota: int64
    burst: uint64
    period: uint64
    realtimeRuntime: int64
    realtimePeriod: uint64
    cpus: str
    mems: str
    idle: int64


class Pids(TypedDict, total=False):
    limit: int64


class WeightDevice(TypedDict, total=False):
    major: int64
    minor: int64
    weight: uint16
    leafWeight: uint16


class ThrottleDevice(TypedDict):
    """*rate* in bytes or operations a second."""

    major: int64
    minor: int64
    rate: uint64


class BlockIO(TypedDict, total=False):
    weight: uint16
    leafWeight: uint16
    weightDevice: list[WeightDevice]
    throttleReadBpsDevice: list[ThrottleDevice]
    throttleWriteBpsDevice: list[ThrottleDevice]
    throttleReadIOPSDevice: list[ThrottleDevice]
    throttleWriteIOPSDevice: list[ThrottleDevice]


class HugepageLimit(TypedDict):
    """*pageSize* like ``2MB``; *limit* in bytes."""

    pageSize: str
    limit: uint64


class Rdma(TypedDict, total=False):
    hcaHandles: uint32
    hcaObjects: uint32


class InterfacePriority(TypedDict):
    name: str
    priority: uint32


class Network(TypedDict, total=False):
    classID: uint32
    priorities: list[InterfacePriority]


class Resources(TypedDict, total=False):
    devices: list[DeviceRule]
    memory: Memory
    cpu: CPU
    pids: Pids
    blockIO: BlockIO
    hugepageLimits: list[HugepageLimit]
    rdma: dict[str, Rdma]
    network: Network
    unified: dict[str, str]


class SyscallArgument(TypedDict, total=False):
    index: Required[uint64]
    value: Required[uint64]
    valueTwo: uint64
    op: Required[str]


class Syscall(TypedDict, total=False):
    names: Required[list[str]]
    action: Required[str]
    errnoRet: uint64
    args: list[SyscallArgument]


class Seccomp(TypedDict, total=False):
    defaultAction: Required[str]
    defaultErrnoRet: uint64
    architectures: list[str]
    flags: list[str]
    listenerPath: str
    listenerMetadata: str
    syscalls: list[Syscall]


class Personality(TypedDict, total=False):
    domain: str
    flags: list[str]


class MemoryPolicy(TypedDict, total=False):
    """*mode* is MPOL_BIND and the like; *nodes* a list like ``0-3,7``."""

    mode: str
    nodes: str
    flags: list[str]


class IntelRdt(TypedDict, total=False):
    closID: str
    l3CacheSchema: str
    memBwSchema: str
    schemata: list[str]
    enableMonitoring: bool


class TimeOffset(TypedDict, total=False):
    secs: int64
    nanosecs: uint32


class Linux(TypedDict, total=False):
    uidMappings: list[IDMapping]
    gidMappings: list[IDMapping]
    sysctl: dict[str, str]
    resources: Resources
    cgroupsPath: str
    namespaces: list[Namespace]
    devices: list[Device]
    seccomp: Seccomp
    rootfsPropagation: str
    maskedPaths: list[str]
    readonlyPaths: list[str]
    mountLabel: str
    personality: Personality
    memoryPolicy: MemoryPolicy
    netDevices: dict[str, dict[str, str]]
    intelRdt: IntelRdt
    timeOffsets: dict[str, TimeOffset]


class Spec(TypedDict, total=False):
    """The whole of config.json."""

    ociVersion: str
    process: Process
    root: Root
    hostname: str
    domainname: str
    mounts: list[Mount]
    hooks: Hooks
    annotations: dict[str, str]
    linux: Linux


class State(TypedDict, total=False):
    """What a runtime says of a container, and what a hook reads from its standard input."""

    ociVersion: str
    id: str
    status: Literal["creating", "created", "running", "stopped"]
    pid: int
    bundle: str
    annotations: dict[str, str]
