#!/bin/bash
# Run a command with a libvirtd of its own: private-libvirt.sh COMMAND [ARGUMENT...]
#
# In namespaces for mounts, processes and networks, which end with the command: then no daemon, no bridge, no rule, no
# domain and no volume is left, and a libvirtd that this computer may run is not touched. Wants root, not systemd.
set -euo pipefail

if [ -z "${PRIVATE_LIBVIRT:-}" ]; then
    PRIVATE_LIBVIRT=$(mktemp -d /var/tmp/minicontainerd-libvirt-XXXXXX)
    export PRIVATE_LIBVIRT
    trap 'rm -rf "$PRIVATE_LIBVIRT"' EXIT
    unshare --mount --net --pid --fork --kill-child --mount-proc "$0" "$@"
    exit
fi

mkdir -p "$PRIVATE_LIBVIRT"/{lib/images,cache,log,etc}
mount --make-rprivate /
mount --bind "$PRIVATE_LIBVIRT/lib" /var/lib/libvirt
mount --bind "$PRIVATE_LIBVIRT/cache" /var/cache/libvirt
mount --bind "$PRIVATE_LIBVIRT/log" /var/log/libvirt
cp -r /etc/libvirt/. "$PRIVATE_LIBVIRT/etc/"
rm -rf "$PRIVATE_LIBVIRT"/etc/qemu/networks/autostart
mount --bind "$PRIVATE_LIBVIRT/etc" /etc/libvirt
mount -t tmpfs run /run
mkdir -p /run/lock
cat > /etc/libvirt/qemu.conf <<-END
	user = "root"
	group = "root"
	security_driver = "none"
	cgroup_controllers = []
	namespaces = []
	remember_owner = 0
END
ip link set lo up
sysctl -q -w net.ipv4.ip_forward=1 || true

virtlogd -d < /dev/null > "$PRIVATE_LIBVIRT/log/virtlogd" 2>&1
libvirtd -d < /dev/null > "$PRIVATE_LIBVIRT/log/libvirtd" 2>&1
for _ in $(seq 100); do
    virsh -c qemu:///system version > /dev/null 2>&1 && break
    sleep 0.2
done
virsh -c qemu:///system version > /dev/null # says why, if it does not answer

export VAGRANT_HOME=$PRIVATE_LIBVIRT/vagrant VAGRANT_DOTFILE_PATH=$PRIVATE_LIBVIRT/dot VAGRANT_CHECKPOINT_DISABLE=1
"$@"
