#!/bin/sh
# Installs what the distribution has: tools of the node, of the gateway, and Fusion's own.
set -eu
# shellcheck source=/dev/null
. /etc/fusionlab/versions.env
# shellcheck source=/dev/null
. /etc/os-release
export DEBIAN_FRONTEND=noninteractive

# What a killed run has left half configured.
dpkg --configure -a
apt-get update -q
apt-get install -q -y ca-certificates curl gpg chrony open-vm-tools openssh-server conntrack socat ethtool \
    ipset iptables iputils-ping jq nginx libnginx-mod-stream keepalived dnsmasq-base

# Debian's own containerd is older than this Kubernetes wants; its backports are not.
candidate=$(apt-cache policy containerd | sed -n 's/^ *Candidate: //p')
if [ "$ID" = debian ] && dpkg --compare-versions "$candidate" lt "$CONTAINERD"; then
    echo "deb http://deb.debian.org/debian $VERSION_CODENAME-backports main" >/etc/apt/sources.list.d/backports.list
    apt-get update -q
    apt-get install -q -y -t "$VERSION_CODENAME-backports" containerd
else
    apt-get install -q -y containerd
fi
