//! Fusion's networks: their database file, and `vmnet-cli`, which makes the services follow it.
//!
//! The order is stop → replace the file → configure → start → look; if what is seen is not what was wished, the old
//! file comes back the same way (facts/fusion-networking.md §2). `root_step.rs` does it under `sudo` where it must.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Fusion;
use crate::formats::networking::Document;
use crate::host::process::{self, Finished, Options};
use crate::host::{HostError, Result, files, system};

pub mod root_step;

const PROGRAM: &str = "vmnet-cli";
const STOP: &str = "--stop";
const CONFIGURE: &str = "--configure";
const START: &str = "--start";
const STATUS: &str = "--status";
/// What `--start` prints about each service that it could not start, exit status 0 or not.
const FAILED: &str = "Failed to ";

/// What each line of `--status` about a service holds.
const SERVICE: &str = " service on vmnet";

/// The networks of one Fusion.
#[derive(Clone, Debug)]
pub struct Networks {
    fusion: Fusion,
    /// Where what must survive a crash is kept: backups, the change under way, the request to root.
    folder: PathBuf,
}

/// A change of the networking file.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The whole new file.
    pub new: &'a [u8],
    /// The file that `new` was made from; none if there was none. Another one now is refused.
    pub expect_before: Option<&'a [u8]>,
    /// The network that the change is about: its services are looked at afterwards.
    pub vmnet: u8,
    /// Where to keep the file as it was; what stands there already is an older one, and is kept.
    pub backup: &'a Path,
    /// Limit of each of the programs' steps (`Limits::network_apply`).
    pub limit: Duration,
}

/// What an applied change did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// What the programs printed.
    pub output: String,
}

impl Networks {
    pub fn new(fusion: Fusion, folder: PathBuf) -> Self {
        Self { fusion, folder }
    }

    /// Returns the networking file; none if Fusion has not written one yet.
    pub fn read(&self) -> Result<Option<Vec<u8>>> {
        files::read_if_exists(&self.fusion.networking())
    }

    /// Says whether the services that the file wants for a network run: DHCP, and NAT if it has that.
    ///
    /// The host adapter does not count: since macOS 11 it is `disabled` until a VM runs (§2.2, §2.5).
    pub async fn services_running(&self, vmnet: u8, limit: Duration) -> Result<bool> {
        let Some(file) = self.read()? else { return Ok(false) };
        let wanted = wanted_services(&file, vmnet);
        if wanted.is_empty() {
            return Ok(false);
        }
        let status = cli(&self.fusion, STATUS, limit).await?.text();
        if !status.contains(SERVICE) {
            // It tells nothing, as it may do for who is not root (§8): that Fusion has derived the network's own
            // configuration from the file is then the best sign. Guests prove the rest.
            return Ok(files::exists(&self.fusion.preferences().join(format!("vmnet{vmnet}/dhcpd.conf"))));
        }
        Ok(wanted.iter().all(|service| is_running(&status, service, vmnet)))
    }

    /// Says whether changing the file takes another user: root.
    pub fn needs_root(&self) -> bool {
        let file = self.fusion.networking();
        let writable = |path: &Path| !files::exists(path) || files::is_writable(path);
        let is_ours = files::is_writable(&self.fusion.preferences()) && writable(&file);
        !(is_ours || system::is_root())
    }

    /// Makes the networks follow a new file, or puts everything back ([`HostError::Network`]).
    ///
    /// Once begun it goes to its end, even if the caller is not interested any more.
    pub async fn apply(&self, change: &Change<'_>) -> Result<Applied> {
        let before = self.read()?;
        refuse_if_changed(before.as_deref(), change.expect_before)?;
        keep_backup(change.backup, before.as_deref())?;
        if self.needs_root() {
            return root_step::ask_root(&self.fusion, change).await;
        }
        let (fusion, new) = (self.fusion.clone(), change.new.to_owned());
        let (vmnet, limit) = (change.vmnet, change.limit);
        let task = tokio::spawn(async move { replace(&fusion, &new, before, vmnet, limit).await });
        task.await.unwrap_or(Err(HostError::Interrupted))
    }
}

/// Refuses to overwrite a file that somebody changed since it was read: Fusion's window does so on Apply.
pub(super) fn refuse_if_changed(now: Option<&[u8]>, expected: Option<&[u8]>) -> Result<()> {
    if now == expected {
        return Ok(());
    }
    Err(HostError::Network {
        reason: "Fusion's networking file was changed by somebody else since it was read".to_owned(),
        output: String::new(),
        restored: true,
    })
}

fn keep_backup(backup: &Path, before: Option<&[u8]>) -> Result<()> {
    let Some(before) = before else { return Ok(()) };
    if files::exists(backup) {
        return Ok(());
    }
    files::write_atomic(backup, before, files::PRIVATE_FILE)?;
    if files::read(backup)? == before {
        return Ok(());
    }
    Err(HostError::Content {
        path: backup.to_owned(),
        reason: "the backup is not what was written".to_owned(),
    })
}

/// Stops the networks, replaces the file, starts them and looks; on failure goes back.
pub(super) async fn replace(
    fusion: &Fusion,
    new: &[u8],
    before: Option<Vec<u8>>,
    vmnet: u8,
    limit: Duration,
) -> Result<Applied> {
    let mut log = String::new();
    let Err(reason) = go(fusion, Some(new), vmnet, limit, &mut log).await else {
        return Ok(Applied { output: log });
    };
    log.push_str("putting the old file back\n");
    let back = go(fusion, before.as_deref(), vmnet, limit, &mut log).await;
    let reason = match &back {
        Ok(()) => reason,
        Err(second) if *second == reason => format!("{reason}; putting it back failed in the same way"),
        Err(second) => format!("{reason}; putting it back failed too: {second}"),
    };
    Err(HostError::Network { reason, output: log, restored: back.is_ok() })
}

/// Makes the networks follow `file`; an error says what did not come about.
async fn go(
    fusion: &Fusion,
    file: Option<&[u8]>,
    vmnet: u8,
    limit: Duration,
    log: &mut String,
) -> Result<(), String> {
    // Whether it had anything to stop, and so a good exit status, is not known; what counts is seen at the end.
    if let Err(reason) = obey(fusion, STOP, limit, log).await {
        log.push_str(&format!("({reason})\n"));
    }
    let leases = Leases::read(fusion);
    put(fusion, file).map_err(|error| error.to_string())?;
    // From here on something must be started again, whatever fails.
    let configured = obey(fusion, CONFIGURE, limit, log).await;
    leases.put_back().map_err(|error| error.to_string())?;
    let started = obey(fusion, START, limit, log).await;
    configured.and(started)?;
    look(fusion, file, vmnet, limit, log).await
}

fn put(fusion: &Fusion, file: Option<&[u8]>) -> Result<()> {
    match file {
        Some(bytes) => files::write_keeping_owner(&fusion.networking(), bytes, files::PUBLIC_FILE),
        None => files::remove_file(&fusion.networking()),
    }
}

/// Runs one order of `vmnet-cli`; a bad exit status or a service that it complains about is an error.
async fn obey(fusion: &Fusion, order: &str, limit: Duration, log: &mut String) -> Result<(), String> {
    let finished = cli(fusion, order, limit).await.map_err(|error| error.to_string())?;
    let output = finished.output();
    log.push_str(&format!("$ {PROGRAM} {order}\n"));
    if !output.is_empty() {
        log.push_str(&output);
        log.push('\n');
    }
    let complaints: Vec<&str> = output.lines().filter(|line| line.starts_with(FAILED)).collect();
    match complaints.first() {
        Some(first) => Err((*first).to_owned()),
        None if finished.success() => Ok(()),
        None => Err(finished.error(&fusion.program(PROGRAM), [order]).to_string()),
    }
}

async fn cli(fusion: &Fusion, order: &str, limit: Duration) -> Result<Finished> {
    process::run(&fusion.program(PROGRAM), [order], Options::limit(limit)).await
}

/// Looks whether the file is still what we wrote and the services of the network do what it says.
async fn look(
    fusion: &Fusion,
    file: Option<&[u8]>,
    vmnet: u8,
    limit: Duration,
    log: &mut String,
) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    let now = files::read(&fusion.networking()).map_err(|error| error.to_string())?;
    if let Some(lost) = lost_meaning(file, &now, vmnet) {
        return Err(format!("Fusion rewrote its networking file without `{lost}`"));
    }
    let wanted = wanted_services(file, vmnet);
    if wanted.is_empty() {
        return Ok(());
    }
    let status = cli(fusion, STATUS, limit).await.map_err(|error| error.to_string())?.text();
    log.push_str(&format!("$ {PROGRAM} {STATUS}\n{status}"));
    match wanted.iter().find(|service| !is_running(&status, service, vmnet)) {
        None => Ok(()),
        Some(service) => Err(format!("the {service} service of vmnet{vmnet} does not run")),
    }
}

fn is_running(status: &str, service: &str, vmnet: u8) -> bool {
    let line = format!("{service} service on vmnet{vmnet} is running");
    status.lines().any(|said| said.trim() == line)
}

/// Returns the services that a file wants for a network, as `vmnet-cli` names them; none for no network.
fn wanted_services(file: &[u8], vmnet: u8) -> Vec<&'static str> {
    let Ok(document) = Document::parse(file) else { return Vec::new() };
    let network = document.vmnet(vmnet);
    let services = [("DHCP", network.dhcp), ("NAT", network.nat)];
    services.into_iter().filter(|(_, wanted)| network.exists && *wanted).map(|(name, _)| name).collect()
}

/// Returns what `wished` says of a network and `found` does not. Fusion adds digests and identifiers of its own, drops
/// comments and compacts what was said twice; none of that loses anything.
fn lost_meaning(wished: &[u8], found: &[u8], vmnet: u8) -> Option<String> {
    const FUSIONS_OWN: &str = "DHCP_CFG_HASH";
    let (Ok(wished), Ok(found)) = (Document::parse(wished), Document::parse(found)) else {
        return Some("its version".to_owned());
    };
    let (answers, reservations) = (found.answers(vmnet), found.reservations(vmnet));
    let lost_answer = wished
        .answers(vmnet)
        .into_iter()
        .find(|(key, value)| key != FUSIONS_OWN && answers.get(key) != Some(value))
        .map(|(key, value)| format!("answer VNET_{vmnet}_{key} {value}"));
    let lost_reservation = || {
        let mut wished = wished.reservations(vmnet).into_iter();
        let lost = wished.find(|reservation| !reservations.contains(reservation));
        lost.map(|(mac, address)| format!("add_dhcp_mac_to_ip {vmnet} {mac} {address}"))
    };
    lost_answer.or_else(lost_reservation)
}

/// The lease files, which `--configure` was seen to lose (§2.2 (c)): other networks' VMs keep their addresses.
struct Leases(Vec<(PathBuf, Vec<u8>)>);

impl Leases {
    fn read(fusion: &Fusion) -> Self {
        // What cannot be read cannot be put back; that is no reason not to go on.
        let folder = fusion.leases(0).parent().map(Path::to_owned).unwrap_or_default();
        let mut paths = files::list(&folder).unwrap_or_default();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "leases"));
        Self(
            paths.into_iter().filter_map(|path| files::read(&path).ok().map(|bytes| (path, bytes))).collect(),
        )
    }

    fn put_back(&self) -> Result<()> {
        for (path, bytes) in &self.0 {
            let is_lost = files::read_if_exists(path)?.is_none_or(|now| now.is_empty());
            if is_lost && !bytes.is_empty() {
                files::write_keeping_owner(path, bytes, files::PUBLIC_FILE)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fusion::fake::Fake;

    const BEFORE: &str = "VERSION=1,0\nanswer VNET_8_DHCP yes\nanswer VNET_8_HOSTONLY_SUBNET 172.16.8.0\n";
    const NEW: &str = "VERSION=1,0\nanswer VNET_8_DHCP yes\nanswer VNET_8_HOSTONLY_SUBNET 172.16.8.0\n\
answer VNET_2_DHCP no\nanswer VNET_2_DHCP yes\nanswer VNET_2_NAT yes\nanswer VNET_2_HOSTONLY_SUBNET 10.10.0.0\n\
add_dhcp_mac_to_ip 2 00:50:56:00:00:01 10.10.0.131\n";

    /// A vmnet-cli that appends a digest as the real one does, and runs services for whatever the file says.
    const VMNET_CLI: &str = r#"
file="$FOLDER/Library/Preferences/VMware Fusion/networking"
leases="$FOLDER/var/db/vmware/vmnet-dhcpd-vmnet8.leases"
fault=$(cat "$FOLDER/fault" 2>/dev/null)
new=$(grep -c VNET_2 "$file")
case "$1" in
--stop) echo "Stopped all configured services on all networks"; rm -f "$FOLDER/up" ;;
--configure)
    : > "$leases"
    [ "$fault" = forget ] && grep -v mac_to_ip "$file" > "$FOLDER/t" && cat "$FOLDER/t" > "$file"
    [ "$fault" = refuse ] && [ "$new" -gt 0 ] && exit 1
    echo "answer VNET_8_DHCP_CFG_HASH F1AB" >> "$file" ;;
--start)
    touch "$FOLDER/up"
    if [ "$fault" = lie ] && [ "$new" -gt 0 ]; then
        echo "Failed to start DHCP service on vmnet2"; echo "Failed to start some/all services"; exit 0
    fi
    echo "Started all configured services on all networks" ;;
--status)
    [ -f "$FOLDER/up" ] || exit 1
    echo "DHCP service on vmnet8 is running"
    [ "$new" -gt 0 ] && echo "DHCP service on vmnet2 is running"
    [ "$new" -gt 0 ] && [ "$fault" != nonat ] && echo "NAT service on vmnet2 is running"
    echo "Hostonly virtual adapter on vmnet2 is disabled"; exit 1 ;;
esac
"#;
    const LIMIT: Duration = Duration::from_secs(10);

    fn setup() -> (Fake, Networks) {
        let fake = Fake::new();
        fake.program(PROGRAM, VMNET_CLI);
        fake.write(&fake.fusion().networking(), BEFORE);
        fake.write(&fake.fusion().leases(8), "lease 172.16.8.130 {\n}\n");
        let networks = Networks::new(fake.fusion(), fake.root().join("network"));
        (fake, networks)
    }

    async fn apply(fake: &Fake, networks: &Networks, before: &str) -> Result<Applied> {
        let backup = fake.root().join("networking.before");
        let expect_before = Some(before.as_bytes());
        let change = Change { new: NEW.as_bytes(), expect_before, vmnet: 2, backup: &backup, limit: LIMIT };
        networks.apply(&change).await
    }

    #[tokio::test]
    async fn a_change_is_stop_replace_configure_start_look() {
        let (fake, networks) = setup();
        assert!(!networks.services_running(2, LIMIT).await.unwrap());
        let applied = apply(&fake, &networks, BEFORE).await.unwrap();
        assert_eq!(
            fake.orders(&[]),
            ["vmnet-cli|--stop", "vmnet-cli|--configure", "vmnet-cli|--start", "vmnet-cli|--status"]
        );
        assert!(applied.output.contains("$ vmnet-cli --start\nStarted all configured"));
        assert!(networks.services_running(2, LIMIT).await.unwrap());
        let ownership = files::ownership(&fake.fusion().networking()).unwrap();
        assert_eq!(ownership.mode, 0o644);
        let backup = files::read_text(&fake.root().join("networking.before")).unwrap();
        assert_eq!(backup, BEFORE);
        let leases = files::read_text(&fake.fusion().leases(8)).unwrap();
        assert!(leases.contains("172.16.8.130"), "leases of other networks survive");
    }

    #[tokio::test]
    async fn a_file_that_somebody_else_changed_is_not_touched() {
        let (fake, networks) = setup();
        let error = apply(&fake, &networks, "VERSION=1,0\n").await.unwrap_err();
        assert!(matches!(error, HostError::Network { restored: true, .. }));
        assert!(fake.orders(&[]).is_empty());
    }

    #[tokio::test]
    async fn whatever_goes_wrong_the_old_file_and_its_services_come_back() {
        for (fault, reason) in [
            ("lie", "Failed to start DHCP service on vmnet2"),
            ("refuse", "failed (exit status 1)"),
            ("nonat", "the NAT service of vmnet2 does not run"),
            ("forget", "without `add_dhcp_mac_to_ip 2 00:50:56:00:00:01 10.10.0.131`"),
        ] {
            let (fake, networks) = setup();
            fake.fault(fault);
            let error = apply(&fake, &networks, BEFORE).await.unwrap_err();
            let HostError::Network { reason: said, restored, output } = error else {
                panic!("{fault}: expected a Network error");
            };
            assert!(said.contains(reason), "{fault}: {said}");
            assert!(restored, "{fault}: {output}");
            let now = files::read(&fake.fusion().networking()).unwrap();
            assert!(now.starts_with(BEFORE.as_bytes()), "{fault}");
            assert!(files::exists(&fake.root().join("up")), "{fault}: the networks run again");
        }
    }

    #[tokio::test]
    async fn the_first_backup_is_kept() {
        let (fake, networks) = setup();
        apply(&fake, &networks, BEFORE).await.unwrap();
        let now = String::from_utf8(networks.read().unwrap().unwrap()).unwrap();
        apply(&fake, &networks, &now).await.unwrap();
        assert_eq!(files::read_text(&fake.root().join("networking.before")).unwrap(), BEFORE);
    }

    #[test]
    fn the_last_word_counts_and_other_networks_are_told_apart() {
        assert_eq!(wanted_services(NEW.as_bytes(), 2), ["DHCP", "NAT"]);
        assert_eq!(wanted_services(NEW.as_bytes(), 8), ["DHCP"]);
        let husk = b"VERSION=1,0\nanswer VNET_2_DHCP yes\n";
        assert!(wanted_services(husk, 2).is_empty(), "a husk is no network");
        assert!(!is_running("DHCP service on vmnet22 is running", "DHCP", 2));
        assert!(!is_running("DHCP service on vmnet2 is not running", "DHCP", 2));
    }
}
