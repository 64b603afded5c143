#!/bin/sh
# Becomes a guest's first process: lays its files over the image's, gives it devices of its own, and starts systemd.
#
# It runs in fresh namespaces (mount, uts, ipc, pid, cgroup, and the guest's network) with the capabilities that a
# guest keeps. In the environment: GUEST the guest's folder in the world, LAYERS the folder of all layers, LOWER and
# UPPER the layers to stand on and to write into, PROGRAM this very binary, CONSOLE the terminal's path.
set -eu
cd "$LAYERS"
# The outer /proc still tells the number that the world knows us by.
read -r pid _ </proc/self/stat
root=$GUEST/root

# A table of mounts parts its words by spaces.
escaped() {
    printf '%s' "$1" | sed 's/ /\\040/g'
}
guest_=$(escaped "$GUEST")
root_=$guest_/root
program_=$(escaped "$PROGRAM")

# The work folder of a guest that lost its power must not be used again.
rm -rf "$UPPER/work"
mkdir "$UPPER/work"
mount -t overlay -o "volatile,lowerdir=$LOWER,upperdir=$UPPER/up,workdir=$UPPER/work" overlay "$root"

# The kernel's files: to read, and to write only what belongs to the guest's network and its own cgroups.
cat >"$GUEST/kernel" <<EOT
proc $root_/proc proc nosuid,nodev,noexec 0 0
$root_/proc/sys $root_/proc/sys none bind 0 0
$root_/proc/sys/net $root_/proc/sys/net none bind 0 0
$guest_/boot_id $root_/proc/sys/kernel/random/boot_id none bind,ro 0 0
sysfs $root_/sys sysfs ro,nosuid,nodev,noexec 0 0
cgroup2 $root_/sys/fs/cgroup cgroup2 nosuid,nodev,noexec 0 0
tmpfs $root_/dev tmpfs mode=755,nosuid,noexec,size=4m 0 0
tmpfs $root_/run tmpfs mode=755,nosuid,nodev,size=256m 0 0
EOT
mount -a -T "$GUEST/kernel"
mount -o remount,bind,ro "$root/proc/sys"
# Not every kernel has these. Swap is the computer's: the guest sees none, or it could turn it off.
for file in swaps sysrq-trigger; do
    [ ! -e "$root/proc/$file" ] || mount -o bind,ro "$GUEST/$file" "$root/proc/$file"
done

# What the firmware says of the machine. Some computers have no such folder: one is laid over the classes then.
if [ -d "$root/sys/devices/virtual/dmi/id" ]; then
    mount -o bind,ro "$GUEST/classes/dmi/id" "$root/sys/devices/virtual/dmi/id"
else
    mount -t overlay -o "ro,lowerdir=$GUEST/classes:$root/sys/class" overlay "$root/sys/class"
fi

mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/fusionlab-sim" "$root/run/.outside"
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/zero" c 1 5
mknod -m 666 "$root/dev/full" c 1 7
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9
mknod -m 666 "$root/dev/tty" c 5 0
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
mkdir -p "$root/usr/lib/fusionlab-sim"
[ -e "$root/usr/lib/fusionlab-sim/fusionlab" ] || : >"$root/usr/lib/fusionlab-sim/fusionlab"
: >"$root/dev/console"
cat >"$GUEST/devices" <<EOT
devpts $root_/dev/pts devpts newinstance,ptmxmode=0666,mode=620,gid=5,nosuid,noexec 0 0
tmpfs $root_/dev/shm tmpfs mode=1777,nosuid,nodev 0 0
$CONSOLE $root_/dev/console none bind 0 0
$guest_/shared $root_/run/fusionlab-sim none bind,nosuid,nodev 0 0
$program_ $root_/usr/lib/fusionlab-sim/fusionlab none bind,ro,nosuid,nodev 0 0
EOT
mount -a -T "$GUEST/devices"

# The seed image's files, where cloud-init looks for them on a disk: no CD drive can be had here.
seed=$root/var/lib/cloud/seed/nocloud-net
rm -rf "$seed"
if [ -d "$GUEST/seed" ]; then
    mkdir -p "$seed"
    cp "$GUEST"/seed/* "$seed/"
fi

# What VMware's tools would tell the host: that the system is up.
units=$root/run/systemd/system
mkdir -p "$units/multi-user.target.wants"
cat >"$units/fusionlab-sim-tools.service" <<'EOT'
[Unit]
Description=Tells the simulated Fusion that this machine is up
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c ": >/run/fusionlab-sim/up"
EOT
ln -s ../fusionlab-sim-tools.service "$units/multi-user.target.wants/fusionlab-sim-tools.service"

echo "(none)" >/proc/sys/kernel/hostname
echo "$pid" >"$GUEST/pid.new"
mv "$GUEST/pid.new" "$GUEST/pid"
cd "$root"
pivot_root . run/.outside
umount -l /run/.outside
rmdir /run/.outside
exec env -i container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=vt220 SYSTEMD_COLORS=0 \
    /lib/systemd/systemd </dev/console >/dev/console 2>&1
