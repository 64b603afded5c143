//! systemd's units: which exist, what starting one needs, and what it brings up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::dnsmasq::Dnsmasq;
use super::keepalived::Keepalived;
use super::kube::kubelet;
use super::live::UnitState;
use super::nginx::Nginx;
use super::state::Disk;
use super::vrrp::Vrrp;
use super::{Model, pace};

/// Units with the package that brings them.
const UNITS: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("kubelet", "kubelet"),
    ("nginx", "nginx"),
    ("keepalived", "keepalived"),
    ("chrony", "chrony"),
    ("ssh", "openssh-server"),
    ("open-vm-tools", "open-vm-tools"),
    ("systemd-networkd", ""),
    ("systemd-resolved", ""),
    ("systemd-timesyncd", ""),
    ("systemd-modules-load", ""),
    ("systemd-sysctl", ""),
    ("apt-daily.timer", ""),
    ("apt-daily-upgrade.timer", ""),
    ("unattended-upgrades", ""),
];
/// Our own name server on gateways, by the unit file that the host writes.
const NAME_SERVER: &str = "fusionlab-dns";
const NGINX_CONF: &str = "/etc/nginx/nginx.conf";
const KEEPALIVED_CONF: &str = "/etc/keepalived/keepalived.conf";
const CONTAINERD_CONF: &str = "/etc/containerd/config.toml";

/// Returns a unit's name as the model keeps it: without `.service`, and by its real name.
pub fn canonical(name: &str) -> &str {
    match name.strip_suffix(".service").unwrap_or(name) {
        "chronyd" => "chrony",
        "sshd" => "ssh",
        other => other,
    }
}

/// Says whether a unit file exists.
pub fn exists(model: &Model, unit: &str) -> bool {
    model.disk(|disk| {
        let packaged = UNITS.iter().any(|(name, package)| {
            *name == unit && (package.is_empty() || disk.packages.contains_key(*package))
        });
        packaged || disk.file(&format!("/etc/systemd/system/{unit}.service")).is_some()
    })
}

/// Starts every enabled unit, those first that others need.
pub async fn start_enabled(model: &Arc<Model>) {
    let enabled = model.disk(|disk| disk.enabled.clone());
    let known = UNITS.iter().map(|(name, _)| *name).chain([NAME_SERVER]);
    let order = known.map(str::to_owned).filter(|name| enabled.contains(name));
    for unit in order.collect::<Vec<_>>() {
        if !model.live(|live| live.unit_active(&unit)) && exists(model, &unit) {
            match start(model, &unit).await {
                Ok(()) => model.around.console(&format!("[  OK  ] Started {unit}.service.")),
                Err(_) => model.around.console(&format!("[FAILED] Failed to start {unit}.service.")),
            }
        }
    }
}

/// Starts a unit; an error is what its control process said.
pub async fn start(model: &Arc<Model>, unit: &str) -> Result<(), String> {
    model.host.start(model, unit).await
}

pub async fn stop(model: &Arc<Model>, unit: &str) {
    model.host.stop(model, unit).await;
}

/// Starts a unit of a machine that is its model.
pub async fn start_modelled(model: &Arc<Model>, unit: &str) -> Result<(), String> {
    if model.live(|live| live.unit_active(unit)) {
        return Ok(());
    }
    model.pass(pace::UNIT_START).await;
    bring_up(model, unit)
}

/// Does what a unit's start does, at once.
fn bring_up(model: &Arc<Model>, unit: &str) -> Result<(), String> {
    let started = match unit {
        "nginx" => start_nginx(model, None),
        "keepalived" => start_keepalived(model),
        "containerd" => check_containerd(model),
        NAME_SERVER => start_name_server(model),
        "kubelet" => {
            kubelet::start(model);
            return Ok(());
        }
        "chrony" => {
            start_chrony(model);
            Ok(())
        }
        "systemd-networkd" => {
            forget_foreign_routes(model);
            Ok(())
        }
        _ => Ok(()),
    };
    let state = if started.is_ok() { UnitState::Active } else { UnitState::Failed };
    model.live(|live| live.set_unit(unit, state));
    match &started {
        Ok(()) => model.log(unit, format!("Started {unit}.service.")),
        Err(why) => model.log(unit, why.clone()),
    }
    if unit == "containerd" && started.is_ok() {
        kubelet::containerd_up(model);
    }
    model.commons.announce();
    started
}

/// Stops a unit of a machine that is its model.
pub async fn stop_modelled(model: &Arc<Model>, unit: &str) {
    if model.live(|live| live.unit(unit)) == UnitState::Inactive {
        return;
    }
    model.live(|live| live.set_unit(unit, UnitState::Inactive));
    match unit {
        "nginx" => model.live(|live| live.nginx = None),
        NAME_SERVER => model.live(|live| live.dnsmasq = None),
        "keepalived" => {
            if let Some(vrrp) = model.live(|live| live.vrrp.take()) {
                vrrp.resign();
            }
        }
        "kubelet" => kubelet::stop(model),
        "chrony" => model.live(|live| live.clock_synced = false),
        _ => {}
    }
    model.log(unit, format!("Stopped {unit}.service."));
    model.commons.announce();
    model.pass(pace::UNIT_STOP).await;
}

/// Ends a unit's processes at once, as `systemctl kill --signal=SIGKILL` does; its `Restart=` decides what follows. An
/// error is why the model cannot.
pub fn kill(model: &Arc<Model>, unit: &str) -> Result<(), String> {
    match unit {
        _ if !model.live(|live| live.unit_active(unit)) => return Ok(()),
        "nginx" => model.live(|live| live.nginx = None),
        "keepalived" => {
            model.live(|live| live.left = live.vrrp.take().map(|vrrp| vrrp.die()).unwrap_or_default())
        }
        other => return Err(format!("the model guest kills nginx and keepalived only, not {other}")),
    }
    model.log(unit, format!("{unit}.service: Main process exited, code=killed, status=9/KILL"));
    let again = model.disk(|disk| restart(disk, unit));
    let state = if again.is_some() { UnitState::Activating } else { UnitState::Failed };
    model.live(|live| live.set_unit(unit, state));
    model.commons.announce();
    if let Some(pause) = again {
        let (held, unit) = (Arc::clone(model), unit.to_owned());
        model.spawn(async move {
            held.pass(pause).await;
            held.pass(pace::UNIT_START).await;
            // Whoever stopped it meanwhile does not want it back.
            if held.live(|live| live.unit(&unit)) == UnitState::Activating {
                held.log(&unit, format!("{unit}.service: Scheduled restart job, restart counter is at 1."));
                let _ = bring_up(&held, &unit);
            }
        });
    }
    Ok(())
}

/// Returns after how long systemd starts a killed unit again, by its drop-ins; none if it does not.
fn restart(disk: &Disk, unit: &str) -> Option<Duration> {
    /// systemd's `DefaultRestartSec`.
    const PAUSE: Duration = Duration::from_millis(100);
    let folder = format!("/etc/systemd/system/{unit}.service.d");
    let texts =
        disk.glob(&folder, ".conf").into_iter().filter_map(|path| disk.text(&path)).collect::<Vec<_>>();
    let value = |key: &str| {
        let mut lines =
            texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.trim().split_once('='));
        lines.rfind(|(known, _)| *known == key).map(|(_, value)| value.to_owned())
    };
    let again = value("Restart")
        .is_some_and(|when| matches!(when.as_str(), "always" | "on-failure" | "on-abnormal" | "on-abort"));
    let seconds = |text: String| match text.strip_suffix("ms") {
        Some(millis) => millis.parse::<f64>().ok().map(|millis| millis / 1000.0),
        None => text.trim_end_matches('s').parse().ok(),
    };
    let pause = value("RestartSec").and_then(seconds);
    let pause = pause.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    again.then(|| pause.unwrap_or(PAUSE))
}

/// Makes a running unit read its configuration again; a bad one leaves it as it was.
pub async fn reload(model: &Arc<Model>, unit: &str) -> Result<(), String> {
    model.pass(pace::UNIT_START).await;
    match unit {
        "nginx" => {
            let former = model.live(|live| live.nginx.clone());
            start_nginx(model, former)?;
        }
        "keepalived" => start_keepalived(model)?,
        "ssh" | "chrony" => {}
        other => {
            return Err(format!(
                "Failed to reload {other}.service: Job type reload is not applicable for unit {other}.service."
            ));
        }
    }
    model.log(unit, format!("Reloaded {unit}.service."));
    model.commons.announce();
    Ok(())
}

fn start_nginx(model: &Model, former: Option<Arc<Nginx>>) -> Result<(), String> {
    let read = model.disk(|disk| Nginx::read(disk, NGINX_CONF));
    let nginx = read.map_err(|why| format!("nginx: [emerg] {why}"))?;
    for listener in &nginx.listeners {
        let ours = former
            .as_ref()
            .is_some_and(|former| former.listeners.iter().any(|other| other.port == listener.port));
        if !ours && super::services::port_taken(model, listener.port) {
            let host = listener.address.map_or("0.0.0.0".to_owned(), |address| address.to_string());
            return Err(format!(
                "nginx: [emerg] bind() to {host}:{} failed (98: Address already in use)",
                listener.port
            ));
        }
        if let Some(address) = listener.address.filter(|address| !super::network::is_own(model, *address)) {
            return Err(format!(
                "nginx: [emerg] bind() to {address}:{} failed (99: Cannot assign requested address)",
                listener.port
            ));
        }
    }
    model.live(|live| live.nginx = Some(Arc::new(nginx)));
    Ok(())
}

/// Starts dnsmasq as the unit file says: by that file's configuration, if the package is there.
fn start_name_server(model: &Model) -> Result<(), String> {
    if !model.disk(|disk| disk.packages.contains_key("dnsmasq-base")) {
        return Err(format!(
            "{NAME_SERVER}: Failed to locate executable /usr/sbin/dnsmasq: No such file or directory"
        ));
    }
    let unit = model.disk(|disk| disk.text(&format!("/etc/systemd/system/{NAME_SERVER}.service")));
    let unit = unit.unwrap_or_default();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap_or_default();
    let path = start.split_whitespace().find_map(|word| word.strip_prefix("--conf-file="));
    let path = path.ok_or_else(|| format!("{NAME_SERVER}: the unit names no configuration"))?;
    let dnsmasq = model.disk(|disk| Dnsmasq::read(disk, path)).map_err(|why| format!("dnsmasq: {why}"))?;
    model.live(|live| live.dnsmasq = Some(Arc::new(dnsmasq)));
    Ok(())
}

fn start_keepalived(model: &Arc<Model>) -> Result<(), String> {
    let interfaces = interfaces(model);
    let config = model
        .disk(|disk| Keepalived::read(disk, KEEPALIVED_CONF, &interfaces))
        .map_err(|problems| problems.join("\n"))?;
    let former = model.live(|live| live.vrrp.take());
    let vrrp = Vrrp::start(model, config, former.as_deref());
    model.live(|live| {
        live.left.clear();
        live.vrrp = Some(vrrp);
    });
    if let Some(former) = former {
        former.stop.cancel();
    }
    Ok(())
}

/// Returns the names of the machine's network interfaces.
pub fn interfaces(model: &Model) -> Vec<String> {
    let live =
        model.live(|live| live.interfaces.iter().map(|interface| interface.name.clone()).collect::<Vec<_>>());
    let down = model.hardware.cards.iter().map(|card| card.name.clone()).filter(|name| !live.contains(name));
    down.chain(live.clone()).collect()
}

/// Says what containerd would refuse to start with.
pub fn check_containerd(model: &Model) -> Result<(), String> {
    let config = model.disk(|disk| disk.text(CONTAINERD_CONF));
    let version = |line: &str| {
        line.split_once('=')
            .filter(|(key, _)| key.trim() == "version")
            .and_then(|(_, value)| value.trim().parse::<u8>().ok())
    };
    match config.as_deref().map(|text| text.lines().find_map(version)) {
        None | Some(Some(2..=4)) => Ok(()),
        Some(found) => Err(format!(
            "containerd: failed to load TOML {CONTAINERD_CONF}: unsupported config version {found:?}"
        )),
    }
}

/// networkd takes away what it does not own, unless it is told not to (facts/kubernetes-cilium.md §2).
fn forget_foreign_routes(model: &Model) {
    let told = |disk: &Disk| {
        let files = disk.glob("/etc/systemd/networkd.conf.d", ".conf");
        files.iter().filter_map(|path| disk.text(path)).any(|text| text.contains("ManageForeignRoutes=no"))
    };
    if !model.disk(told) {
        model.live(|live| live.pod_routes.clear());
    }
}

fn start_chrony(model: &Arc<Model>) {
    let held = Arc::clone(model);
    model.spawn(async move {
        held.pass(pace::CHRONY_SYNC).await;
        if held.live(|live| live.unit_active("chrony")) {
            held.live(|live| live.clock_synced = true);
        }
    });
}

/// Returns the modules that /etc/modules-load.d wants.
pub fn configured_modules(disk: &Disk) -> BTreeSet<String> {
    let texts = disk
        .glob("/etc/modules-load.d", ".conf")
        .into_iter()
        .filter_map(|path| disk.text(&path))
        .collect::<Vec<_>>();
    let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Applies /etc/sysctl.d; a later file wins.
pub fn apply_sysctl(model: &Model) {
    let parameters = model.disk(|disk| {
        let mut all = BTreeMap::new();
        for path in disk.glob("/etc/sysctl.d", ".conf") {
            for line in disk
                .text(&path)
                .unwrap_or_default()
                .lines()
                .filter(|line| !line.trim_start().starts_with(['#', ';']))
            {
                if let Some((key, value)) = line.split_once('=') {
                    all.insert(key.trim().trim_start_matches('-').to_owned(), value.trim().to_owned());
                }
            }
        }
        all
    });
    model.live(|live| live.sysctl.extend(parameters));
}
