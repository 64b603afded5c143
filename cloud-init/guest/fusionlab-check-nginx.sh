#!/bin/bash
# Says whether nginx accepts connections and answers: Keepalived's chk_nginx.
#
# As long as a run lasts, nginx is asked every tenth of a second; the check fails as soon as it has not answered for half a
# second, in which systemd has a killed one back. No program is started for it: it runs all the time.
set -eu
patience=50 # hundredths of a second
lasts=80

# The time since the boot, in hundredths: the time of day may be set at any moment, as after the Mac has slept.
now() {
    read -r now _ </proc/uptime
    now=$((10#${now/./}))
}

answers() {
    local answer=
    { exec 3<>/dev/tcp/127.0.0.1/8099; } 2>/dev/null || return 1
    read -r -t 0.3 answer <&3
    exec 3>&-
    [ "$answer" = ok ]
}

# Nobody ever writes to it: reading from it is a pause.
exec 4<> <(:)
now
began=$now
last=$now
while :; do
    if answers; then
        now
        last=$now
        ((last - began < lasts)) || exit 0
    else
        now
        ((now - last < patience)) || exit 1
    fi
    read -r -t 0.1 _ <&4 || :
done
