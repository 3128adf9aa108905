"""The shim: one process that stays with a container, so that the daemon need not.

The daemon starts ``containerd-shim-mini-v2`` once a container (once a pod), asks it everything over ttrpc, and may
be restarted at any time. The shim is the container's parent: it holds the ends of its input and output, reaps it,
and tells how it ended.

One thread, one epoll loop, so there are no locks and no races: a request is answered to its end before the next
event is looked at. A process that dies while it is being started is noticed after the start has been answered and
its event published, in that order, because only the loop reaps.

Read in this order:

============ =================================================================================================
main         the command line: ``start`` leaves a server behind and prints its address, ``delete`` cleans up
zygote       the same command line without a start of Python: fork from one that has imported everything
rehearsal    what the next copy does while it waits
loop         epoll: what to do when a descriptor is ready, when a child ends, when a time has come
server       ttrpc on that loop; an answer may come later
service      the Task service: seventeen methods, and the order of events
process      one process: its states, its waiters
container    a container, its processes and its runtime
streams      where its input and output go: FIFO, file, logging program, terminal
logger       a logging program, started and waited for
driver       who makes the container: our runtime, in this process
command_line or another one, by its command line; ``choice`` says which
publisher    events back to the daemon, in order, again if it was away
stats        a cgroup's files as containerd's metrics
============ =================================================================================================

Source: containerd@301026e core/runtime/v2/README.md and cmd/containerd-shim-runc-v2.
"""
