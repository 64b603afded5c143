//! Fusion's networks as its services run them: what was derived from the database, and what was started of that.

use std::collections::BTreeMap;
use std::io;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::places::Places;
use super::{files, now_ms};
use crate::formats::dhcp::{DhcpdConf, NatConf};
use crate::formats::lines;
use crate::formats::networking::{Document, Vmnet};

/// One network's services, as they were configured or started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub subnet: Ipv4Net,
    pub nat: bool,
    pub dhcp: bool,
    /// Whether the Mac itself is on it.
    pub adapter: bool,
    /// dhcpd.conf as the DHCP service read it when it started: later changes do not touch it.
    #[serde(default)]
    pub dhcpd_conf: String,
}

/// All networks: what `vmnet-cli` last derived and what runs now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Networks {
    configured: BTreeMap<u8, Network>,
    running: BTreeMap<u8, Network>,
    /// The database as Fusion's window last read it.
    seen: String,
}

impl Networks {
    pub fn load(places: &Places) -> io::Result<Self> {
        match files::read(&places.networks())? {
            Some(text) => Ok(serde_json::from_str(&text)?),
            None => Ok(Self::default()),
        }
    }

    fn save(&self, places: &Places) -> io::Result<()> {
        files::write(&places.networks(), serde_json::to_string_pretty(self)? + "\n")
    }

    /// Returns a network that runs.
    pub fn running(&self, number: u8) -> Option<&Network> {
        self.running.get(&number)
    }

    pub fn all_running(&self) -> &BTreeMap<u8, Network> {
        &self.running
    }

    pub fn configured(&self) -> &BTreeMap<u8, Network> {
        &self.configured
    }

    /// Returns the database as Fusion's window last saw it.
    pub fn seen(&self) -> &str {
        &self.seen
    }
}

/// Reads the database.
pub fn database(places: &Places) -> io::Result<Document> {
    let text = files::read(&places.networking())?.unwrap_or_default();
    if text.is_empty() {
        return Ok(Document::new());
    }
    Document::parse(text.as_bytes()).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", places.networking().display()))
    })
}

/// Derives every network's files from the database, and writes back what Fusion adds to it
/// (facts/fusion-networking.md §2.2, §7).
pub fn configure(places: &Places) -> io::Result<()> {
    let document = database(places)?;
    let mut networks = Networks::load(places)?;
    networks.configured.clear();
    let mut additions = Vec::new();
    for vmnet in document.vmnets() {
        let Some(subnet) = vmnet.subnet.filter(|_| vmnet.exists) else { continue };
        let network = Network {
            subnet,
            nat: vmnet.nat,
            dhcp: vmnet.dhcp,
            adapter: vmnet.adapter,
            dhcpd_conf: String::new(),
        };
        derive_files(places, &document, &vmnet, &network)?;
        additions.extend(journal_lines(places, &document, &vmnet)?);
        networks.configured.insert(vmnet.number, network);
    }
    for number in (0..=u8::MAX).filter(|number| !networks.configured.contains_key(number)) {
        files::remove(&places.vmnet(number))?;
    }
    append_lines(places, &additions)?;
    networks.save(places)
}

/// Returns the lines that Fusion adds to its journal: a UUID where there is none, and the new hash of a changed
/// dhcpd.conf, the old one removed before.
fn journal_lines(places: &Places, document: &Document, vmnet: &Vmnet) -> io::Result<Vec<String>> {
    let number = vmnet.number;
    let mut lines = Vec::new();
    if vmnet.uuid.is_none() {
        lines.push(format!("answer VNET_{number}_HOSTONLY_UUID {}", uuid(number, vmnet.subnet)));
    }
    let hash = files::read(&places.vmnet(number).join("dhcpd.conf"))?.map(|conf| hash(&conf));
    let written = document.answers(number).remove("DHCP_CFG_HASH");
    if let Some(hash) = hash.filter(|hash| Some(hash) != written.as_ref()) {
        lines.extend(written.map(|_| format!("remove_answer VNET_{number}_DHCP_CFG_HASH")));
        lines.push(format!("answer VNET_{number}_DHCP_CFG_HASH {hash}"));
    }
    Ok(lines)
}

/// Appends to the database, finishing an unfinished last line first.
pub fn append_lines(places: &Places, additions: &[String]) -> io::Result<()> {
    if additions.is_empty() {
        return Ok(());
    }
    let text = files::read(&places.networking())?.unwrap_or_default();
    let mut all = lines::split(&text);
    for addition in additions {
        lines::append(&mut all, addition.clone());
    }
    files::write(&places.networking(), lines::join(&all))
}

/// Returns 40 hexadecimal digits that change with the file's meaning. What Fusion digests is not known
/// (facts/fusion-networking.md §1.4); the time of writing is left out here, so that applying twice changes nothing.
fn hash(conf: &str) -> String {
    let meaning: Vec<&str> = conf.lines().filter(|line| !line.contains("Written at")).collect();
    hex::encode_upper(&Sha256::digest(meaning.join("\n"))[..20])
}

fn uuid(number: u8, subnet: Option<Ipv4Net>) -> String {
    let digest = Sha256::digest(format!("vmnet{number} {subnet:?}"));
    let hex = hex::encode_upper(&digest[..16]);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// What came of one service at start, stop or status, in the order in which Fusion says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    pub vmnet: u8,
    pub kind: ServiceKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    Nat,
    Adapter,
    Dhcp,
}

/// Lists the services of networks in ascending order; of one network NAT, adapter, DHCP
/// (facts/fusion-networking.md §2.2).
pub fn services(networks: &BTreeMap<u8, Network>) -> Vec<Service> {
    let of = |(vmnet, network): (&u8, &Network)| {
        let wanted = [
            (ServiceKind::Nat, network.nat),
            (ServiceKind::Adapter, network.adapter),
            (ServiceKind::Dhcp, network.dhcp),
        ];
        let vmnet = *vmnet;
        wanted.into_iter().filter(|(_, wanted)| *wanted).map(move |(kind, _)| Service { vmnet, kind })
    };
    networks.iter().flat_map(of).collect()
}

/// Starts every configured network's services, but for a kind that fails. A DHCP service reads its file now, and
/// no later change.
pub fn start(places: &Places, fails: Option<ServiceKind>) -> io::Result<Networks> {
    let mut networks = Networks::load(places)?;
    networks.running = networks.configured.clone();
    for (number, network) in &mut networks.running {
        network.nat &= fails != Some(ServiceKind::Nat);
        network.dhcp &= fails != Some(ServiceKind::Dhcp);
        network.adapter &= fails != Some(ServiceKind::Adapter);
        network.dhcpd_conf = files::read(&places.vmnet(*number).join("dhcpd.conf"))?.unwrap_or_default();
        if network.dhcp {
            files::write_new(&places.leases(*number), "")?;
        }
    }
    networks.seen = files::read(&places.networking())?.unwrap_or_default();
    networks.save(places)?;
    Ok(networks)
}

/// Stops everything; returns what ran.
pub fn stop(places: &Places) -> io::Result<Networks> {
    let before = Networks::load(places)?;
    let mut networks = before.clone();
    networks.running.clear();
    networks.save(places)?;
    Ok(before)
}

/// Starts or stops one network's one service, as `vmnet-cfgcli servicestart|servicestop` does.
pub fn switch(places: &Places, number: u8, kind: ServiceKind, on: bool) -> io::Result<bool> {
    let mut networks = Networks::load(places)?;
    let Some(configured) = networks.configured.get(&number).cloned() else { return Ok(false) };
    let fresh = Network { nat: false, dhcp: false, adapter: configured.adapter, ..configured.clone() };
    let network = networks.running.entry(number).or_insert(fresh);
    match kind {
        ServiceKind::Nat => network.nat = on && configured.nat,
        ServiceKind::Adapter => network.adapter = on && configured.adapter,
        ServiceKind::Dhcp => {
            network.dhcp = on && configured.dhcp;
            network.dhcpd_conf = files::read(&places.vmnet(number).join("dhcpd.conf"))?.unwrap_or_default();
        }
    }
    networks.save(places)?;
    Ok(true)
}

fn derive_files(places: &Places, document: &Document, vmnet: &Vmnet, network: &Network) -> io::Result<()> {
    let folder = places.vmnet(vmnet.number);
    let conf = folder.join("dhcpd.conf");
    if vmnet.dhcp {
        let before = files::read(&conf)?;
        let derived = DhcpdConf {
            vmnet: vmnet.number,
            subnet: network.subnet,
            nat: vmnet.nat,
            reservations: &document.reservations(vmnet.number),
            written_at: now_ms() / 1000,
        }
        .render(before.as_deref());
        if let Some(before) = before.filter(|before| *before != derived) {
            files::write(&conf.with_extension("conf.bak"), before)?;
        }
        files::write(&conf, derived)?;
    } else {
        files::remove(&conf)?;
    }
    let nat = folder.join("nat.conf");
    if vmnet.nat {
        let answers = document.answers(vmnet.number);
        let udp_timeout = answers.get("NAT_PARAM_UDP_TIMEOUT").and_then(|seconds| seconds.parse().ok());
        let forwards = document.port_forwards(vmnet.number);
        let (vmnet, subnet) = (vmnet.number, network.subnet);
        files::write(&nat, NatConf { vmnet, subnet, udp_timeout, forwards: &forwards }.render())?;
        files::write_new(&folder.join("nat.mac"), format!("00:50:56:f0:00:{vmnet:02x}\n"))?;
    } else {
        files::remove(&nat)?;
    }
    files::make_folder(&folder)
}
