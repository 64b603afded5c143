#!/bin/bash
# usage: fusionlab-check-path INTERFACE ADDRESS...
# Says whether any of the addresses answers through the interface: Keepalived's chk_int and chk_lan.
#
# Keepalived before 2.3.2 runs a check once a second at the most, so one run is many questions: each address is asked four
# times in a second, and the check fails as soon as none of them has answered for half of one.
set -eu
patience=500000 # microseconds
interface=$1
shift

ask() {
    for address in "$@"; do
        ping -n -c 4 -i 0.2 -W 0.15 -I "$interface" "$address" 2>/dev/null &
    done
    wait
}

exec 3< <(ask "$@")
answered=
last=${EPOCHREALTIME/[.,]/}
while :; do
    left=$((last + patience - ${EPOCHREALTIME/[.,]/}))
    ((left > 0)) || exit 1
    printf -v left '0.%06d' "$left"
    status=0
    read -r -t "$left" line <&3 || status=$?
    # Above 128 nothing came in time; any other failure is the last ping's end.
    ((status <= 128)) || exit 1
    ((status == 0)) || break
    if [[ $line == *'bytes from'* ]]; then
        answered=yes
        last=${EPOCHREALTIME/[.,]/}
    fi
done
[ -n "$answered" ]
