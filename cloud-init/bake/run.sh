#!/bin/sh
# Runs the numbered steps in order, tells the host how far it is, and powers off. The host waits for that.
#
# systemd runs it once cloud-init has ended (stack/bake.rs), so that the last step can take away what cloud-init left.
set -eu
cd "$(dirname "$0")"
# A service has no home; helm wants one.
export HOME=/root

# Tells the host, by the serial console and by a guest variable, in case Fusion writes no console.
say() {
    echo "fusionlab-bake: $1"
    echo "fusionlab-bake: $1" >/dev/console 2>/dev/null || true
    vmware-rpctool "info-set guestinfo.fusionlab.bake fusionlab-bake: $1" >/dev/null 2>&1 || true
}

# The kernel's own messages would tear our words apart.
dmesg --console-off || true
for step in ./[0-9][0-9]-*.sh; do
    name=${step#./}
    say "step $name"
    if ! "$step"; then
        say "failed $name"
        poweroff
        exit 1
    fi
done

# Everything is on the disk before the host is told so: from here on it may lose its power.
sync
say "done $(cat /opt/fusionlab/baked.json)"
poweroff
