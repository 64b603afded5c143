#!/bin/sh
# Joins a machine of QEMU to the simulated world, at every start: fetches the program that stands in for Kubernetes', and
# says where the world is and which machine this is.
set -eu
world=@world@
port=@port@
program=/usr/lib/fusionlab-sim/fusionlab

curl -fsS --retry 30 --retry-all-errors --retry-delay 1 -o "$program.new" "http://$world/fusionlab"
chmod 0755 "$program.new"
mv -f "$program.new" "$program"

mkdir -p /run/fusionlab-sim
printf '%s:%s\n%s\n' "$world" "$port" "$(cat /sys/class/dmi/id/product_uuid)" >/run/fusionlab-sim/machine.new
mv -f /run/fusionlab-sim/machine.new /run/fusionlab-sim/machine
