#!/bin/sh
# Runs the numbered steps in order, says on the console how it ended, and powers off. The host waits for that.
set -eu
cd /opt/fusionlab/bake

# Prints to the log and to the serial console, where the host reads it.
say() {
    echo "$1"
    echo "$1" >/dev/console 2>/dev/null || true
}

for step in ./[0-9][0-9]-*.sh; do
    name=${step#./}
    say "fusionlab-bake: step $name"
    if ! "$step"; then
        say "fusionlab-bake: failed $name"
        poweroff
        exit 1
    fi
done

say "fusionlab-bake: done $(cat /opt/fusionlab/baked.json)"
# Last: after this the machine no longer knows who it was.
cloud-init clean --logs --seed
sync
poweroff
