"""How the guest comes up: a few lines of shell in place of a distribution's boot, or systemd where a test needs it.

The initrd goes to ``guest-boot``, which becomes process 1. Both ways end in ``guest-up``, which makes the guest one
that tests can use and says so on the console::

    systemd      systemd ─▶ guest.service ───▶ guest-up: network, modules, ssh ─▶ "guest: ready"
    all others   tini ─▶ guest-init: mounts ─▶ guest-up

The network is QEMU's own, with a fixed address; under Vagrant it is libvirt's, which gives addresses by DHCP, and the
kernel's command line says so.
"""

from __future__ import annotations

BOOT_TINI = "#!/bin/sh\nexec /usr/bin/tini -- /usr/local/sbin/guest-init\n"
BOOT_SYSTEMD = "#!/bin/sh\nexec /lib/systemd/systemd\n"

INIT = r"""#!/bin/sh
# Process 1 is tini, which reaps; this is what it runs. One kind of cgroups, all controllers, and nothing else.
set -e
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
done
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o nosuid,mode=755 run /run
mount -t tmpfs -o nosuid,mode=1777 tmp /tmp
ln -sfn /proc/self/fd /dev/fd
hostname guest
ulimit -n 65536
/usr/local/sbin/guest-up
exec sleep infinity
"""

UP = r"""#!/bin/sh
# What both kinds of init have in common: a network, the usual modules, ssh.
set -e
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ip link set lo up
if ! ip link set eth0 up; then
    echo "no network card"
elif grep -q guest.dhcp /proc/cmdline; then
    busybox udhcpc -q -n -t 20 -T 1 -i eth0 -s /usr/local/sbin/guest-address
else
    ip address add 10.0.2.15/24 dev eth0
fi
sysctl -q -w kernel.panic_on_oops=1 net.ipv4.ip_forward=1
for module in overlay veth bridge br_netfilter loop; do modprobe $module; done
dropbear -R -E -s -p 22 -r /etc/dropbear/host_key 2>/dev/console
echo "guest: ready" > /dev/console
"""

UP_SELINUX = (
    """#!/bin/sh
# The policy, before anything runs that should have a label. It is read by the kernel in one write, or not at all.
set -e
mount -t selinuxfs selinuxfs /sys/fs/selinux
secilc --output /run/policy --filecontexts /dev/null /etc/selinux/guest.cil
dd if=/run/policy of=/sys/fs/selinux/load bs=1M 2>/dev/null
echo 1 > /sys/fs/selinux/enforce
"""
    + UP
)

ADDRESS = r"""#!/bin/sh
# udhcpc calls this with what it was given. Names are resolved too: under Vagrant the guest may have a way out.
[ "$1" = bound ] || exit 0
ip address replace "$ip/${mask:-24}" dev "$interface"
[ -z "$router" ] || ip route replace default via "${router%% *}"
for server in $dns; do echo "nameserver $server"; done > /etc/resolv.conf
"""

SYSTEMD_FILES = {
    # a target of our own: no getty, no timers that fetch packages, no logins
    "etc/systemd/system/default.target": "[Unit]\nRequires=basic.target dbus.socket\nWants=guest.service\n"
    "After=basic.target\nAllowIsolate=yes\n",
    "etc/systemd/system/guest.service": "[Unit]\nAfter=basic.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
    "Delegate=yes\nLimitNOFILE=65536\nTasksMax=infinity\nExecStart=/usr/local/sbin/guest-up\n",
    "etc/systemd/system/tmp.mount": "[Mount]\nWhat=tmpfs\nWhere=/tmp\nType=tmpfs\nOptions=nosuid,mode=1777\n"
    "[Unit]\nDefaultDependencies=no\nBefore=local-fs.target\n",
    "etc/systemd/system/local-fs.target.d/tmp.conf": "[Unit]\nWants=tmp.mount\n",
    "etc/systemd/system/apparmor.service": "",  # an empty file: masked. Tests load the profiles that they want
    "etc/systemd/system/systemd-remount-fs.service": "",
    "etc/machine-id": "",
}
