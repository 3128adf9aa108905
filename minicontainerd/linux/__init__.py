"""The kernel's verbs: one function a system call, one file a topic of the manual. It decides nothing.

The only room with ctypes, ioctls, netlink and raw paths of /proc and cgroups. Each function that changes something is
an *act* that can be told (``tell``), raises ``OSError`` as the kernel gave it, and cites the errnos that callers rely
on. Everything above raises the classes of ``errors.py``.

============= ==========================================================================================
libc, tell    how a call is made, and how it is told: read these two first
mount         mount, umount, pivot_root and the newer calls on mounts as descriptors
readonly      two of those, for who has no time to import more
mount_options the words of config.json and fstab as flags; mount_list carries out a snapshotter's list
mountinfo     what is mounted where
paths         paths in a root that is not ours, by openat2
namespaces    unshare, setns
fork          a child that is born in its cgroup
process       prctl, start times, names, limits of oom; scheduling and memory_policy beside it
capabilities  the five sets
apparmor      a profile, from the next execve on
selinux       a label, from then on too; and those of files and mounts
seccomp       filters: compiled by libseccomp, loaded by one call; unknown_calls: what newer ones meet
cgroup        version 2, as files; kernel_file writes a setting
bpf           programs for a cgroup's devices, instruction by instruction
terminal      pseudo-terminals, and a descriptor sent to another process
signals       names and numbers
loopback      ``lo``, up
netlink       messages to the kernel's network; links: interfaces; ifname: what they may be called;
              routes: addresses and routes; traffic: how fast
files         one entry of a directory that somebody else has a say in
disk          folders and files that survive a crash
faults        a crash or an error at the n-th of all these acts, for tests
============= ==========================================================================================
"""
