"""The default filter: which system calls a container may make, by what it was granted.

The kernel has some 450 calls, and an ordinary program uses a hundred. What the others can do, a container cannot do
anyway, for it lacks the capability or the namespace; but each is a piece of the kernel that an attacker can look for
a mistake in. So engines allow a list and refuse the rest. The list here is equal in effect to that of the engines (a
test compares the two, call by call), and has three parts::

    always        what programs need, and what the kernel guards well enough by itself
    by capability who was granted CAP_SYS_TIME may set the clock; who was not is told EPERM
    by machine    calls that only some architectures have

What is on no list is answered with ENOSYS, as by a kernel that does not have it: then a C library falls back to an
older call, where EPERM would end the program. Of the calls known to be refused, EPERM is said.

Source: the profile that Debian's golang-github-containers-common 0.50.1 installs, /usr/share/containers/seccomp.json;
containerd@301026e contrib/seccomp/seccomp_default.go differs from it in the errno and in a few calls.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .runtime import Seccomp, Syscall

_ALWAYS = """
    _llseek _newselect accept accept4 access adjtimex alarm bind brk capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 clone clone3 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
    epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve
    execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod
    fchmodat fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsconfig
    fsetxattr fsmount fsopen fspick fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex
    futex_time64 futimesat get_mempolicy get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid
    getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid
    getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname
    getsockopt gettid gettimeofday getuid getuid32 getxattr inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_setup io_submit ioctl ioprio_get ioprio_set ipc keyctl
    kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat
    listen listxattr llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise mbind membarrier memfd_create
    memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mount mount_setattr move_mount
    mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep
    newfstatat open open_tree openat openat2 pause pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 pivot_root
    pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64
    process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2
    read readahead readdir readlink readlinkat readv reboot recv recvfrom recvmmsg recvmmsg_time64 recvmsg
    remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64
    send sendfile sendfile64 sendmmsg sendmsg sendto set_mempolicy set_robust_list set_thread_area set_tid_address
    setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setns setpgid
    setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid
    setsockopt setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown sigaction sigaltstack signal signalfd
    signalfd4 sigpending sigprocmask sigreturn sigsuspend socketcall socketpair splice stat stat64 statfs statfs64
    statx symlink symlinkat sync sync_file_range syncfs syscall sysinfo syslog tee tgkill time timer_create
    timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit
    umask umount umount2 uname unlink unlinkat unshare utime utimensat utimensat_time64 utimes vfork wait4 waitid
    waitpid write writev
"""

_NEVER = """
    bdflush io_pgetevents kexec_file_load kexec_load migrate_pages move_pages nfsservctl nice oldfstat oldlstat
    oldolduname oldstat olduname pciconfig_iobase pciconfig_read pciconfig_write sgetmask ssetmask swapcontext
    swapoff swapon sysfs uselib userfaultfd ustat vm86 vm86old vmsplice
"""

_BY_CAPABILITY = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": "bpf fanotify_init lookup_dcookie perf_event_open quotactl setdomainname sethostname",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module query_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp process_madvise",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}

_BY_MACHINE = {
    "x86_64": "arch_prctl modify_ldt",
    "aarch64": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
}

_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}
"""A machine's own, and those whose programs it runs as well."""

_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, with 32 bits or without, with an old uname or without; and the question what it is."""

_AF_NETLINK, _NETLINK_AUDIT = 16, 9


def default_profile(granted: Iterable[str], machine: str) -> Seccomp:
    """The filter for a container with the capabilities *granted* on a *machine*, as uname(2) calls it.

    >>> profile = default_profile(["CAP_SYS_TIME"], "x86_64")
    >>> [rule["action"] for rule in profile["syscalls"] if "stime" in rule["names"]]
    ['SCMP_ACT_ALLOW']
    """
    has = set(granted)
    allowed = [*_ALWAYS.split(), *_BY_MACHINE.get(machine, "").split()]
    refused = _NEVER.split()
    for capability, names in _BY_CAPABILITY.items():
        (allowed if capability in has else refused).extend(names.split())
    rules: list[Syscall] = [
        {"names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM},
        {"names": allowed, "action": "SCMP_ACT_ALLOW"},
    ]
    rules += [_allow("personality", 0, "SCMP_CMP_EQ", value) for value in _PERSONALITIES]
    rules += _sockets("CAP_AUDIT_WRITE" in has)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": _ARCHITECTURES.get(machine, []),
        "syscalls": rules,
    }


def _sockets(may_audit: bool) -> list[Syscall]:
    """All kinds, but that of the audit log only for who may write there: others would be told of no right, and log."""
    if may_audit:
        return [{"names": ["socket"], "action": "SCMP_ACT_ALLOW"}]
    return [
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": errno.EINVAL,
            "args": [
                {"index": 0, "value": _AF_NETLINK, "op": "SCMP_CMP_EQ"},
                {"index": 2, "value": _NETLINK_AUDIT, "op": "SCMP_CMP_EQ"},
            ],
        },
        _allow("socket", 0, "SCMP_CMP_NE", _AF_NETLINK),
        _allow("socket", 2, "SCMP_CMP_NE", _NETLINK_AUDIT),
    ]


def _allow(name: str, index: int, op: str, value: int) -> Syscall:
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [{"index": index, "value": value, "op": op}]}
