"""The seam between a client and the daemon: Debian's stock ctr against containerd, and against ours."""
