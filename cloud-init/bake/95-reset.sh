#!/bin/sh
# Takes away what made this machine one: no two clones may share a machine id, a host key, a lease or a random seed.
set -eu

# What writes at its end is stopped before its files go, or they would come back at the power-off.
systemctl stop kubelet chrony
systemctl stop systemd-random-seed
journalctl --relinquish-var

cloud-init clean --logs --seed
rm -f /etc/hostname /etc/ssh/ssh_host_*
# The seed of a clone says all of its network. Debian's images bring DHCP on every card, which would win by its name.
rm -f /etc/netplan/*
rm -rf /var/lib/dhcp/* /run/systemd/netif/leases/*
rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
rm -rf /var/lib/chrony/* /var/lib/kubelet/* /etc/kubernetes/*

# Names of a storage host, which some images make at their first boot.
rm -f /etc/nvme/hostnqn /etc/nvme/hostid
if [ -f /etc/iscsi/initiatorname.iscsi ]; then
    echo "GenerateName=yes" >/etc/iscsi/initiatorname.iscsi
fi

# Empty, not absent: an absent one counts as a first boot and would enable units again.
truncate -s 0 /etc/machine-id
if [ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ]; then
    ln -sf /etc/machine-id /var/lib/dbus/machine-id
fi

apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/journal/* /root/.cache
find /var/log -type f \( -name '*.gz' -o -name '*.[0-9]' -o -name '*.old' \) -delete
find /var/log -type f -exec truncate -s 0 {} +
