#!/bin/sh
# Runs a command in the guest image, over a layer of its own, in the namespaces that this was started in.
# $1: the image's rootfs, $2: a folder for the layer, $3: the stub, then the command.
set -eu
rootfs=$1 layer=$2 stub=$3
shift 3
root=$layer/root
mkdir -p "$layer/upper" "$layer/work" "$root"
mount -t overlay overlay -o "lowerdir=$rootfs,upperdir=$layer/upper,workdir=$layer/work" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/run/systemd/resolve" "$root/run/stubs"
echo "nameserver 198.18.0.1" >"$root/run/systemd/resolve/stub-resolv.conf"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -sf pts/ptmx "$root/dev/ptmx"
mount --bind "$stub" "$root/usr/lib/fusionlab-sim/fusionlab"
for name in dmesg journalctl poweroff swapoff sync; do
    ln -s /usr/lib/fusionlab-sim/fusionlab "$root/run/stubs/$name"
done
exec chroot "$root" env -i SYSTEMD_OFFLINE=1 HOME=/root \
    PATH=/run/stubs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
