//! `vmnet-cli --configure`: every network's own files from the database, and what Fusion writes back into that.

use std::io;

use ipnet::Ipv4Net;
use sha2::{Digest, Sha256};

use super::compaction;
use super::faults;
use super::network::{Network, Networks, database};
use super::places::Places;
use super::services::{self, Entry};
use super::settings::Settings;
use super::{files, inside, now_ms};
use crate::formats::dhcp::{DhcpdConf, NatConf};
use crate::formats::lines;
use crate::formats::networking::{Document, PortForward, Protocol, Vmnet};

/// Derives every network's files from the database, and writes back what Fusion adds to it
/// (facts/fusion-networking.md §2.2, §7).
pub fn configure(places: &Places) -> io::Result<()> {
    let document = database(places)?;
    let mut networks = Networks::load(places)?;
    networks.configured.clear();
    let mut additions = Vec::new();
    for vmnet in document.vmnets() {
        additions.extend(derive(places, &document, &vmnet, &mut networks)?);
    }
    for number in (0..=u8::MAX).filter(|number| !networks.configured.contains_key(number)) {
        files::remove(&places.vmnet(number))?;
    }
    append_lines(places, &additions)?;
    if faults::strikes(places, faults::LEASES_LOST, "") {
        for number in networks.configured.keys().filter(|number| places.leases(**number).exists()) {
            files::write(&places.leases(*number), "")?;
        }
    }
    if faults::strikes(places, faults::COMPACTS, "") {
        compact(places)?;
    }
    networks.save(places)
}

/// Derives one network's files, as `vmnet-cfgcli update…fromconfig` does; the others stay as they are.
pub fn configure_one(places: &Places, number: u8) -> io::Result<()> {
    let document = database(places)?;
    let mut networks = Networks::load(places)?;
    let additions = derive(places, &document, &document.vmnet(number), &mut networks)?;
    append_lines(places, &additions)?;
    networks.save(places)
}

/// Derives the files of a network, if it is one; returns what Fusion adds to the database for it.
fn derive(
    places: &Places,
    document: &Document,
    vmnet: &Vmnet,
    networks: &mut Networks,
) -> io::Result<Vec<String>> {
    let Some(subnet) = vmnet.subnet.filter(|_| vmnet.exists) else { return Ok(Vec::new()) };
    let network = Network {
        subnet,
        nat: vmnet.nat,
        dhcp: vmnet.dhcp,
        adapter: vmnet.adapter,
        dhcpd_conf: String::new(),
    };
    files::make_folder(&places.vmnet(vmnet.number))?;
    derive_dhcpd_conf(places, document, vmnet, &network)?;
    let mut additions = derive_nat_conf(places, document, vmnet, &network)?;
    additions.extend(journal_lines(places, document, vmnet)?);
    networks.configured.insert(vmnet.number, network);
    Ok(additions)
}

/// Rewrites the database in the order that Fusion has for it, the old text left beside it
/// (facts/fusion-networking.md §1.1).
fn compact(places: &Places) -> io::Result<()> {
    let text = files::read(&places.networking())?.unwrap_or_default();
    let compacted = compaction::compacted(&text);
    if compacted != text {
        inside::networking_rewritten(text.as_bytes(), compacted.as_bytes());
        files::write(&places.networking().with_extension("bak.0"), text)?;
        files::write(&places.networking(), compacted)?;
    }
    Ok(())
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
    let longer = lines::join(&all);
    inside::networking_rewritten(text.as_bytes(), longer.as_bytes());
    files::write(&places.networking(), longer)
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

fn derive_dhcpd_conf(
    places: &Places,
    document: &Document,
    vmnet: &Vmnet,
    network: &Network,
) -> io::Result<()> {
    let conf = places.vmnet(vmnet.number).join("dhcpd.conf");
    if !vmnet.dhcp {
        return files::remove(&conf);
    }
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
    files::write(&conf, derived)
}

/// Writes `nat.conf`. Forwards that only the old one has come back, into the database too, unless they were removed
/// there in so many words (facts/fusion-networking.md §5); returns the lines for that.
fn derive_nat_conf(
    places: &Places,
    document: &Document,
    vmnet: &Vmnet,
    network: &Network,
) -> io::Result<Vec<String>> {
    let number = vmnet.number;
    let path = places.vmnet(number).join("nat.conf");
    if !vmnet.nat {
        files::remove(&path)?;
        return Ok(Vec::new());
    }
    let forwards = document.port_forwards(number);
    let stale = stale_forwards(places, number, &forwards)?;
    let answers = document.answers(number);
    let udp_timeout = answers.get("NAT_PARAM_UDP_TIMEOUT").and_then(|seconds| seconds.parse().ok());
    let conf = NatConf { vmnet: number, subnet: network.subnet, udp_timeout, forwards: &forwards };
    let mut text = conf.render();
    if Settings::load(places)?.has_apples_dhcp() {
        text = as_apples(&text, network.subnet);
    }
    for entry in &stale {
        let heading = format!("[incoming{}]\n\n", word(entry.protocol));
        text = text.replacen(&heading, &format!("{heading}{}\n", entry.line), 1);
    }
    files::write(&path, text)?;
    files::write_new(&places.vmnet(number).join("nat.mac"), format!("00:50:56:f0:00:{number:02x}\n"))?;
    let come_back = |entry: &Entry| {
        let Entry { protocol, host_port, guest, guest_port, .. } = entry;
        let protocol = word(*protocol);
        guest.map(|guest| format!("add_nat_portfwd {number} {protocol} {host_port} {guest} {guest_port}"))
    };
    Ok(stale.iter().filter_map(come_back).collect())
}

/// Returns the forwards of a network's old `nat.conf` that the database neither has nor removes.
fn stale_forwards(places: &Places, number: u8, forwards: &[PortForward]) -> io::Result<Vec<Entry>> {
    let old = files::read(&places.vmnet(number).join("nat.conf"))?.unwrap_or_default();
    let journal = files::read(&places.networking())?.unwrap_or_default();
    let is_removed = |entry: &Entry| {
        let removal =
            ["remove_nat_portfwd", &number.to_string(), word(entry.protocol), &entry.host_port.to_string()]
                .map(str::to_owned);
        journal.lines().any(|line| line.split_whitespace().take(removal.len()).eq(removal.iter()))
    };
    let is_known = |entry: &Entry| {
        let same = |forward: &PortForward| {
            (forward.protocol, forward.host_port) == (entry.protocol, entry.host_port)
        };
        forwards.iter().any(same)
    };
    Ok(services::forwards(&old).into_iter().filter(|entry| !is_known(entry) && !is_removed(entry)).collect())
}

pub fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// Returns a `nat.conf` as releases with Apple's DHCP server have it: the gateway is the host, and guests get the
/// addresses below the middle (facts/fusion-networking.md §2.5).
fn as_apples(nat_conf: &str, subnet: Ipv4Net) -> String {
    let (network, broadcast) = (u32::from(subnet.network()), u32::from(subnet.broadcast()));
    let address = |number: u32| std::net::Ipv4Addr::from(number);
    let theirs = format!("ip = {}\n", address(network.wrapping_add(2)));
    let apples = format!(
        "ip = {}\nlastDhcpAddress = {}\n",
        address(network.wrapping_add(1)),
        address(network + (broadcast - network) / 2)
    );
    nat_conf.replacen(&theirs, &apples, 1)
}
