#!/bin/sh
# Nothing else may hold dpkg's lock, now or in a clone: mask the timers (a clone's first boot would enable them).
set -eu
systemctl mask --now apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service
systemctl mask --now unattended-upgrades.service
cat >/etc/apt/apt.conf.d/90-fusionlab <<'EOF'
DPkg::Lock::Timeout "300";
Acquire::Retries "5";
APT::Install-Recommends "false";
EOF
