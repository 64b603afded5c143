#!/bin/bash
# usage: fusionlab-check-path INTERFACE ADDRESS...
# Says whether any of the addresses answers through the interface: Keepalived's chk_int and chk_lan.
#
# Keepalived before 2.3.2 runs a check once a second at the most, so one run is many questions: each address is asked four
# times in a second, and the check fails as soon as none of them has answered for half of one.
set -eu
patience=50 # hundredths of a second
interface=$1
shift

# The time since the boot, in hundredths: the time of day may be set at any moment, as after the Mac has slept.
now() {
    read -r now _ </proc/uptime
    now=$((10#${now/./}))
}

ask() {
    for address in "$@"; do
        ping -n -c 4 -i 0.2 -W 0.15 -I "$interface" "$address" 2>/dev/null &
    done
    wait
}

exec 3< <(ask "$@")
answered=
now
last=$now
while :; do
    now
    left=$((last + patience - now))
    ((left > 0)) || exit 1
    printf -v left '0.%02d' "$left"
    status=0
    read -r -t "$left" line <&3 || status=$?
    # Above 128 nothing came in time; any other failure is the last ping's end.
    ((status <= 128)) || exit 1
    ((status == 0)) || break
    if [[ $line == *'bytes from'* ]]; then
        answered=yes
        now
        last=$now
    fi
done
[ -n "$answered" ]
