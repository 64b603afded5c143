#!/bin/sh
# One template serves every role: gateways enable nginx and Keepalived, nodes never start them.
set -eu
systemctl disable nginx keepalived
systemctl stop nginx keepalived
systemctl enable containerd kubelet chrony open-vm-tools
mkdir -p /etc/systemd/journald.conf.d
cat >/etc/systemd/journald.conf.d/fusionlab.conf <<'EOF'
[Journal]
SystemMaxUse=200M
EOF
