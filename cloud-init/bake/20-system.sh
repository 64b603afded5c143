#!/bin/sh
# Prepares the kernel and turns swap off for good. Modules and settings are in files that the seed wrote.
set -eu
systemctl restart systemd-modules-load systemd-sysctl
swapoff -a
# Fields are parted by spaces or tabs; a pattern with spaces alone lets swap come back.
sed -i -E '/^[^#].*[[:space:]]swap[[:space:]]/d' /etc/fstab
rm -f /swap.img
systemctl mask swap.target
