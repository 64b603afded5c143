#!/bin/sh
# usage: fusionlab-check-path INTERFACE ADDRESS...
# Says whether any of the addresses answers through the interface: Keepalived's chk_int and chk_lan.
set -eu
interface=$1
shift
for address in "$@"; do
    if ping -n -q -c 1 -W 0.4 -I "$interface" "$address" >/dev/null 2>&1; then
        exit 0
    fi
done
exit 1
