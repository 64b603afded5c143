//! From power-on to a machine that takes logins, and back down.

use std::collections::BTreeMap;
use std::sync::Arc;

use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::ssh_key::{LineEnding, PrivateKey};

use super::live::{Phase, UnitState};
use super::{Model, cloud_init, network, pace, units};
use crate::sim::seam::SshFace;

/// The one host key that guests have.
pub const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// Goes through a boot; returns when the machine is up.
pub async fn boot(model: &Arc<Model>) {
    model.live(|live| live.phase = Phase::Booting);
    model
        .around
        .console("[    0.000000] Linux version 6.8.0-fusionlab-model (a simulated guest, not a real kernel)");
    if let Some(why) = model.broken_disk() {
        model.around.console(&format!(
            "[    1.000000] Kernel panic - not syncing: VFS: Unable to mount root fs: {why}"
        ));
        return std::future::pending().await;
    }
    model.pass(pace::KERNEL).await;
    wake(model);
    start_early_units(model);
    let plan = cloud_init::local_stage(model).await;
    let network = match &plan {
        Some(plan) => plan.network.clone(),
        None => cloud_init::known_network(model),
    };
    if let Some(config) = network {
        network::bring_up(model, &config).await;
    }
    if let Some(plan) = &plan {
        cloud_init::network_stage(model, plan).await;
    }
    start_sshd(model);
    units::start_enabled(model).await;
    if let Some(plan) = &plan {
        cloud_init::final_stage(model, plan).await;
    }
    model.live(|live| live.phase = Phase::Running);
    model.around.console("[  OK  ] Reached target multi-user.target - Multi-User System.");
    model.around.console(&format!("{} login: ", model.hostname()));
    model.commons.announce();
    model.sync();
}

/// What systemd does first: identities, host name, kernel parameters.
fn wake(model: &Model) {
    let (boot_id, fresh) = (random_uuid(model), random_uuid(model).replace('-', ""));
    let (hostname, modules) = model.change_disk(|disk| {
        let id = disk.text("/etc/machine-id").unwrap_or_default();
        if matches!(id.trim(), "" | "uninitialized") {
            disk.put("/etc/machine-id", 0o444, format!("{fresh}\n"));
        }
        (disk.text("/etc/hostname").unwrap_or_default(), units::configured_modules(disk))
    });
    model.live(|live| {
        live.boot_id = boot_id;
        live.hostname = hostname.trim().to_owned();
        live.modules = modules;
        live.set_unit("systemd-networkd", UnitState::Active);
        live.set_unit("systemd-resolved", UnitState::Active);
    });
    units::apply_sysctl(model);
    model.around.console("[  OK  ] Started systemd-journald.service - Journal Service.");
}

fn start_early_units(model: &Model) {
    let tools = model
        .disk(|disk| disk.packages.contains_key("open-vm-tools") && disk.enabled.contains("open-vm-tools"));
    if tools {
        model.live(|live| live.set_unit("open-vm-tools", UnitState::Active));
    }
}

fn start_sshd(model: &Model) {
    if model.disk(|disk| disk.file(HOST_KEY).is_none()) {
        let key = random_host_key(model);
        model.change_disk(|disk| disk.put(HOST_KEY, 0o600, key));
    }
    model.live(|live| {
        live.sshd = true;
        live.set_unit("ssh", UnitState::Active);
    });
    model.around.console("[  OK  ] Started ssh.service - OpenBSD Secure Shell server.");
    model.commons.announce();
}

/// Returns what the SSH server shows and whom it lets in; none until sshd runs.
pub fn ssh_face(model: &Model) -> Option<SshFace> {
    if model.power.is_cancelled() || !model.live(|live| live.sshd) {
        return None;
    }
    model.disk(|disk| {
        let mut users = BTreeMap::new();
        for line in disk.text("/etc/passwd").unwrap_or_default().lines() {
            let Some(name) = line.split(':').next() else { continue };
            let keys = disk.text(&format!("/home/{name}/.ssh/authorized_keys")).unwrap_or_default();
            let keys: Vec<_> = keys.lines().filter(|key| !key.trim().is_empty()).map(str::to_owned).collect();
            if !keys.is_empty() {
                users.insert(name.to_owned(), keys);
            }
        }
        Some(SshFace { host_key: disk.text(HOST_KEY)?, users })
    })
}

/// Stops everything in order and leaves the disk saved.
pub async fn shut_down(model: &Model) {
    model.live(|live| {
        live.phase = Phase::ShuttingDown;
        live.sshd = false;
    });
    model.around.console("[  OK  ] Reached target shutdown.target - System Shutdown.");
    let arc = model.arc();
    for unit in model.live(|live| live.active_units()).into_iter().rev() {
        units::stop(&arc, &unit).await;
    }
    model.pass(pace::SHUTDOWN).await;
    model.around.console("[   60.000000] reboot: Power down");
}

/// Returns a random version-4 UUID from the world's generator.
pub fn random_uuid(model: &Model) -> String {
    let (high, low) = (model.around.random(), model.around.random());
    let (high, low) = (high & !0xf000 | 0x4000, low & !(0b11 << 62) | 1 << 63);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// Makes a host key that nobody outside knows.
pub fn random_host_key(model: &Model) -> String {
    let mut seed = [0; 32];
    for eight in seed.chunks_mut(8) {
        eight.copy_from_slice(&model.around.random().to_le_bytes());
    }
    let pair = Ed25519Keypair::from_seed(&seed);
    let key =
        PrivateKey::new(KeypairData::Ed25519(pair), "root").expect("an Ed25519 key is a valid private key");
    key.to_openssh(LineEnding::LF).expect("an unencrypted key always encodes").to_string()
}

/// Returns the DMI product UUID as Linux shows it.
pub fn product_uuid(model: &Model) -> String {
    let hex: String =
        model.hardware.uuid.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_lowercase();
    if hex.len() != 32 {
        return model.hardware.uuid.clone();
    }
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
