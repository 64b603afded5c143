#!/bin/sh
# Stands for a program that the bake calls and a bare Debian root does not have, or must not have in a test: by its name.
# What real ones leave on the disk is left; dpkg, apt-mark, jq and systemctl are the real ones.
set -eu
name=${0##*/}
PATH=/usr/sbin:/usr/bin:/sbin:/bin

# At the wished call everything in this process namespace is killed, and this call is not made.
# Two ends of a pipe call at once, and each call counts.
exec 9>/stub/lock
flock 9
count=$(($(cat /stub/calls 2>/dev/null || echo 0) + 1))
echo "$count" >/stub/calls
exec 9>&-
if [ "$count" = "$(cat /stub/kill-at 2>/dev/null || true)" ]; then
    kill -9 -1
fi

last() { for word in "$@"; do :; done; echo "$word"; }

# Builds and installs a package without content but for a unit, so that dpkg knows it.
package() {
    wished=${1%%=*} version=9:1.0-1 tree=$(mktemp -d)
    case $1 in *=*) version=${1#*=} && version=${version%\*}1.1 ;; esac
    if [ "$wished" = containerd ]; then version=2.2.1-0ubuntu1; fi
    mkdir -p "$tree/DEBIAN" "$tree/usr/lib/systemd/system"
    printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: none\nDescription: a stub\n' "$wished" "$version" \
        >"$tree/DEBIAN/control"
    printf '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' \
        >"$tree/usr/lib/systemd/system/$wished.service"
    dpkg-deb --build --root-owner-group "$tree" "$tree.deb" >/dev/null
    dpkg --install "$tree.deb" >/dev/null
    rm -rf "$tree" "$tree.deb"
}

apt_get() {
    case $1 in
    update) mkdir -p /var/lib/apt/lists && echo IDENTITY-OF-ONE-MACHINE >/var/lib/apt/lists/deb.debian.org_main ;;
    clean) rm -rf /var/cache/apt/archives/*.deb /var/cache/apt/*.bin ;;
    install)
        shift
        while [ $# -gt 0 ]; do
            case $1 in
            -t) shift ;;
            -*) ;;
            *) [ "$(dpkg-query -W -f '${db:Status-Status}' "${1%%=*}" 2>/dev/null)" = installed ] || package "$1" ;;
            esac
            shift
        done
        ;;
    esac
}

fetch() {
    out=
    url=$(last "$@")
    while [ $# -gt 0 ]; do
        case $1 in
        -o) out=$2 && shift ;;
        -O) out=${url##*/} ;;
        esac
        shift
    done
    if [ -n "$out" ]; then cat "/stub/www/${url##*/}" >"$out"; else cat "/stub/www/${url##*/}"; fi
}

case $name in
apt-get) apt_get "$@" ;;
apt-cache) printf 'containerd:\n  Installed: (none)\n  Candidate: 2.2.1-0ubuntu1\n' ;;
curl) fetch "$@" ;;
gpg) cat >"$(last "$@")" ;;
kubeadm) [ "$1" != version ] || echo v1.36.4 ;;
kubelet) echo "Kubernetes v1.36.4" ;;
containerd)
    case $1 in
    --version) echo "containerd github.com/containerd/containerd 2.2.1 0" ;;
    *) printf "version = 3\n  sandbox = 'registry.k8s.io/pause:3.10'\n  SystemdCgroup = false\n" ;;
    esac
    ;;
crictl)
    case $1 in
    config) echo "runtime-endpoint: unix:///run/containerd/containerd.sock" >/etc/crictl.yaml ;;
    pull) mkdir -p /var/lib/containerd && touch "/var/lib/containerd/$(echo "$2" | tr / _)" ;;
    esac
    ;;
helm)
    case $1 in
    show) tar -xzOf "$3" cilium/Chart.yaml ;;
    template)
        mkdir -p /root/.cache/helm && echo IDENTITY-OF-ONE-MACHINE >/root/.cache/helm/index
        printf '        image: "quay.io/cilium/cilium:v1.20.3@sha256:00"\n      - image: quay.io/cilium/operator:v1.20.3\n'
        ;;
    version) echo v3.18.6 ;;
    esac
    ;;
nginx) echo "nginx version: nginx/1.26.3" >&2 ;;
keepalived) echo "Keepalived v2.3.3 (01/01,2026)" >&2 ;;
cloud-init) rm -rf /var/lib/cloud/* /var/log/cloud-init*.log ;;
vmware-rpctool) echo "$1" >>/stub/told ;;
# The rest acts on a kernel or on services, neither of which is here.
dmesg | journalctl | poweroff | swapoff | sync) echo "$name $*" >>/stub/acted ;;
*)
    echo "no stub for $name" >&2
    exit 127
    ;;
esac
