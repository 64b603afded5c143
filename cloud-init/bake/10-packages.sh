#!/bin/sh
# Installs what the distribution has: tools of the node, of the gateway, and Fusion's own.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y ca-certificates curl gpg chrony open-vm-tools openssh-server containerd conntrack \
    socat ethtool ipset iptables iputils-ping jq nginx libnginx-mod-stream keepalived
