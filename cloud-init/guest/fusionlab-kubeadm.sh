#!/bin/sh
# usage: fusionlab-kubeadm init|join|reset [ARGUMENT...]
# Runs kubeadm as a unit of its own, prints what it prints, and ends with its exit status. Whoever called may go away:
# kubeadm works on, and the same call again follows it. Needs root.
set -eu

unit=fusionlab-kubeadm
folder=/run/fusionlab-kubeadm
# It holds the bootstrap token.
log=/var/log/fusionlab-kubeadm.log
# Held while kubeadm works: who takes it knows that none does.
turn=/run/fusionlab-kubeadm.lock
# Exit statuses of sysexits.h: wrong usage, and "try again later".
usage=64
busy=75

# Removes what kubeadm's reset leaves behind (facts/kubernetes-cilium.md, section 1.8). What is not there is no matter.
clean() {
    umount /run/cilium/cgroupv2 2>/dev/null || true
    for link in $(ip -brief link show 2>/dev/null | awk '{ sub("@.*", "", $1); print $1 }'); do
        case $link in
        cilium_* | lxc*) ip link delete "$link" 2>/dev/null || true ;;
        esac
    done
    rm -rf /etc/cni/net.d /etc/cilium /etc/kubernetes/pki /run/cilium /var/lib/etcd /var/lib/kubelet/pki \
        /sys/fs/bpf/cilium /sys/fs/bpf/tc/globals/cilium_* 2>/dev/null || true
    command -v iptables >/dev/null 2>&1 || return 0
    for table in raw mangle nat filter; do
        iptables -w -t "$table" -F 2>/dev/null || true
        iptables -w -t "$table" -X 2>/dev/null || true
    done
}

# Empties a file that is root's alone.
private() {
    (umask 077 && : >"$1")
}

# What the unit does: one kubeadm under the lock, its end told in a file that is whole when it is there.
within() {
    exec 9>"$turn"
    flock 9
    private "$log"
    status=0
    kubeadm "$@" 9>&- >"$log" 2>&1 || status=$?
    case $1 in
    reset) clean 9>&- ;;
    esac
    # kubeadm leaves it to the kernel when its files reach the disk; who hears that it is done takes them for whole.
    sync
    printf '%s\n' "$status" >"$folder/status.new"
    mv "$folder/status.new" "$folder/status"
    exit "$status"
}

# Prints the log up to the end of the unit's main process.
follow() {
    pid=$(systemctl show --property=MainPID --value "$unit")
    if [ "${pid:-0}" -gt 0 ]; then
        tail -n +1 -s 0.2 -f --pid="$pid" "$log"
    else
        cat "$log"
    fi
}

case ${1:-} in
--within)
    shift
    within "$@"
    ;;
init | join | reset) ;;
*)
    sed -n '2s/^# //p' "$0" >&2
    exit "$usage"
    ;;
esac

case $(systemctl show --property=ActiveState --value "$unit") in
active | activating | deactivating)
    if [ "$(cat "$folder/call" 2>/dev/null)" != "$*" ]; then
        echo "another kubeadm works here: $(cat "$folder/call" 2>/dev/null)" >&2
        exit "$busy"
    fi
    ;;
*)
    systemctl reset-failed "$unit" 2>/dev/null || true
    mkdir -p "$folder"
    private "$log"
    rm -f "$folder/status"
    printf '%s\n' "$*" >"$folder/call"
    systemd-run --quiet --unit="$unit" --description="kubeadm $1 for fusionlab" "$0" --within "$@"
    ;;
esac

follow
if [ ! -r "$folder/status" ]; then
    echo "kubeadm was stopped before its end; $log has what it said" >&2
    exit 1
fi
exit "$(cat "$folder/status")"
