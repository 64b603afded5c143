#!/bin/sh
# Takes away what made this machine one: no two clones may share a machine id, a host key or a lease.
set -eu
systemctl stop kubelet
apt-get clean
rm -rf /var/lib/apt/lists/* /var/lib/kubelet/* /etc/kubernetes/*
rm -f /etc/ssh/ssh_host_* /var/lib/systemd/random-seed /etc/netplan/50-cloud-init.yaml /etc/hostname
rm -rf /var/lib/dhcp/* /run/systemd/netif/leases/*
# Empty, not absent: an absent one counts as a first boot and would enable units again.
truncate -s 0 /etc/machine-id
if [ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ]; then
    ln -sf /etc/machine-id /var/lib/dbus/machine-id
fi
journalctl --rotate --vacuum-time=1s >/dev/null 2>&1 || true
