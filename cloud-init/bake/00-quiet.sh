#!/bin/sh
# Nothing else may hold dpkg's lock, now or in a clone: mask the timers (a clone's first boot would enable them).
set -eu
for unit in apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service \
    unattended-upgrades.service; do
    systemctl mask "$unit"
    # Not every image has every unit.
    systemctl stop "$unit" 2>/dev/null || true
done
cat >/etc/apt/apt.conf.d/90-fusionlab <<'EOF'
DPkg::Lock::Timeout "300";
Acquire::Retries "5";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
EOF
