#!/bin/sh
# Configures containerd: systemd's cgroups, and the sandbox image that this Kubernetes wants.
# The file's layout follows the installed major version (facts/kubernetes-cilium.md, section 2).
set -eu
# shellcheck source=/dev/null
. /etc/fusionlab/versions.env

version=$(containerd --version | awk '{ print $3 }')
version=${version#v}
# Without what a distribution adds: Debian's 2.2.1~ds1 is a 2.2.1.
if dpkg --compare-versions "${version%%[~+-]*}" lt "$CONTAINERD"; then
    echo "containerd $version is older than $CONTAINERD, which Kubernetes $KUBERNETES needs" >&2
    exit 1
fi

mkdir -p /etc/containerd
case $version in
1.*)
    edit='s|^\( *sandbox_image = \).*|\1"registry.k8s.io/pause:'$PAUSE'"|'
    ;;
*)
    edit="s|^\\( *sandbox = \\).*|\\1'registry.k8s.io/pause:$PAUSE'|"
    ;;
esac
containerd config default |
    sed -e 's/SystemdCgroup = false/SystemdCgroup = true/' -e "$edit" >/etc/containerd/config.toml
grep -q 'SystemdCgroup = true' /etc/containerd/config.toml
grep -q "registry.k8s.io/pause:$PAUSE" /etc/containerd/config.toml
systemctl enable containerd
systemctl restart containerd
