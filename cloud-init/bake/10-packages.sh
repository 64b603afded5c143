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

# Debian's own containerd is older than this Kubernetes wants, and its backports have none. Docker's repository has what containerd's
# makers release, with the runc that belongs to it.
candidate=$(apt-cache policy containerd | sed -n 's/^ *Candidate: //p')
if [ "$ID" = debian ] && dpkg --compare-versions "$candidate" lt "$CONTAINERD"; then
    keyring=/etc/apt/keyrings/docker.gpg
    repository=https://download.docker.com/linux/debian
    mkdir -p /etc/apt/keyrings
    curl -fsSL --retry 5 "$repository/gpg" | gpg --batch --yes --dearmor -o "$keyring"
    echo "deb [signed-by=$keyring] $repository $VERSION_CODENAME stable" >/etc/apt/sources.list.d/docker.list
    apt-get update -q
    apt-get install -q -y containerd.io
else
    apt-get install -q -y containerd
fi
