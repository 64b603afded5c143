#!/bin/bash
# Says whether nginx accepts connections and answers: Keepalived's chk_nginx. No fork: it runs all the time.
set -eu
exec 3<>/dev/tcp/127.0.0.1/8099
read -r -t 0.5 answer <&3
[ "$answer" = ok ]
