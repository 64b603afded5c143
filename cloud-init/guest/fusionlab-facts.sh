#!/bin/sh
# usage: fusionlab-facts [PATH...]
# Prints what this machine is and has, one key=value a line; of each PATH that exists, the digest.
# One round trip for everything fusionlab wants to know. Needs root; changes nothing.
set -eu

# Prints a file's first line, or nothing.
first_line() {
    if [ -r "$1" ]; then head -n 1 "$1"; fi
}

# Prints the third word of a program's first line of output, or nothing.
third_word() {
    command -v "$1" >/dev/null 2>&1 || return 0
    "$@" 2>/dev/null | awk 'NR == 1 { print $3 }'
}

version() {
    [ -z "$2" ] || printf 'version=%s %s\n' "$1" "$2"
}

present() {
    [ ! -e "$2" ] || printf 'kubernetes=%s\n' "$1"
}

# The same of a file that is nothing without content: a machine that lost its power may have left its name alone.
written() {
    [ ! -s "$2" ] || present "$1" "$2"
}

# Prints in seconds since 1970 what NAME=DATE says, in one of several lines.
moment() {
    date -d "$(printf '%s\n' "$2" | sed -n "s/^$1=//p")" +%s
}

# Prints when a file's certificate begins and ends, or the one that comes in; nothing if there is none.
certificate() {
    dates=$(openssl x509 -noout -dates -in "${2:-/dev/stdin}" 2>/dev/null) || return 0
    printf 'certificate=%s %s %s\n' "$(moment notBefore "$dates")" "$(moment notAfter "$dates")" "$1"
}

# Prints the names in a certificate, one a line.
names() {
    openssl x509 -noout -ext subjectAltName -in "$1" 2>/dev/null | tr ',' '\n' |
        sed -n 's/^ *DNS:/api_name=/p; s/^ *IP Address:/api_name=/p'
}

printf 'hostname=%s\n' "$(hostname)"
printf 'boot_id=%s\n' "$(first_line /proc/sys/kernel/random/boot_id)"
printf 'machine_id=%s\n' "$(first_line /etc/machine-id)"
printf 'product_uuid=%s\n' "$(first_line /sys/class/dmi/id/product_uuid)"
printf 'cloud_init=%s\n' "$(cloud-init status 2>/dev/null | sed -n 's/^status: //p' | head -n 1)"
printf 'clock_ms=%s\n' "$(date +%s%3N)"

ip -4 -o address show scope global | awk '{ sub("/.*", "", $4); print "address=" $2 " " $4 }'

for unit in containerd kubelet nginx keepalived fusionlab-dns chrony ssh; do
    printf 'unit=%s %s\n' "$unit" "$(systemctl is-active "$unit" 2>/dev/null || true)"
    printf 'enabled=%s %s\n' "$unit" "$(systemctl is-enabled "$unit" 2>/dev/null || true)"
done

for path in "$@"; do
    [ -f "$path" ] || continue
    digest=$(sha256sum "$path")
    printf 'file=%s %s\n' "${digest%% *}" "$path"
done

version kubeadm "$(kubeadm version -o short 2>/dev/null || true)"
version kubelet "$(kubelet --version 2>/dev/null | awk '{ print $2 }')"
version containerd "$(third_word containerd --version)"
version nginx "$(nginx -v 2>&1 | sed -n 's|^nginx version: nginx/\([^ ]*\).*|\1|p')"
version keepalived "$(keepalived --version 2>&1 | sed -n 's/^Keepalived v\([^ ]*\).*/\1/p')"
for chart in /opt/fusionlab/charts/cilium-*.tgz; do
    [ -e "$chart" ] || continue
    chart=${chart##*/cilium-}
    version cilium-chart "${chart%.tgz}"
done

for name in kubelet.conf bootstrap-kubelet.conf admin.conf; do
    written "$name" "/etc/kubernetes/$name"
done
present etcd-member /var/lib/etcd/member
for manifest in /etc/kubernetes/manifests/*.yaml; do
    name=${manifest##*/}
    written "manifest-${name%.yaml}" "$manifest"
done
present renewing /etc/kubernetes/fusionlab/renewing
present renewing-kubelet /etc/kubernetes/fusionlab/renewing-kubelet

for path in /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt /var/lib/kubelet/pki/kubelet-client-current.pem; do
    [ ! -r "$path" ] || certificate "$path" "$path"
done
for path in /etc/kubernetes/*.conf; do
    [ -r "$path" ] || continue
    sed -n 's/^ *"\{0,1\}client-certificate-data"\{0,1\}: *"\{0,1\}\([A-Za-z0-9+/=]*\).*/\1/p' "$path" | base64 -d 2>/dev/null | certificate "$path"
done
if [ -r /etc/kubernetes/pki/apiserver.crt ]; then names /etc/kubernetes/pki/apiserver.crt; fi
