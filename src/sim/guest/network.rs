//! The guest's interfaces: network-config v2 as netplan would apply it, leases, and what addresses it holds.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::live::Interface;
use super::{Model, pace, routing};
use crate::formats::mac::Mac;
use crate::sim::seam::{Card, Client, Segment};

/// The kernel parameter of a machine that answers no echo request.
const IGNORES_PINGS: &str = "net.ipv4.icmp_echo_ignore_all";

/// network-config version 2; the keys that the model knows, and no others (facts/vm-images-cloudinit.md §4.4).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    version: u8,
    #[serde(default)]
    renderer: Option<String>,
    ethernets: BTreeMap<String, Ethernet>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Ethernet {
    r#match: Option<Match>,
    set_name: Option<String>,
    dhcp4: bool,
    dhcp6: bool,
    accept_ra: bool,
    dhcp_identifier: Option<Identifier>,
    dhcp4_overrides: Overrides,
    addresses: Vec<String>,
    routes: Vec<Route>,
    nameservers: Nameservers,
    optional: bool,
    link_local: Option<Vec<String>>,
    mtu: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    macaddress: Option<Mac>,
    name: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Identifier {
    Mac,
    Duid,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Overrides {
    use_routes: bool,
    use_dns: bool,
    use_hostname: bool,
    send_hostname: bool,
    use_ntp: bool,
    use_domains: Option<Value>,
    route_metric: Option<u32>,
}

impl Default for Overrides {
    fn default() -> Self {
        let yes = true;
        Self {
            use_routes: yes,
            use_dns: yes,
            use_hostname: yes,
            send_hostname: yes,
            use_ntp: yes,
            use_domains: None,
            route_metric: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    to: String,
    via: Ipv4Addr,
    #[serde(default)]
    #[expect(dead_code, reason = "a key that netplan knows and the model has no use for")]
    metric: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Nameservers {
    addresses: Vec<Ipv4Addr>,
    search: Vec<String>,
}

impl NetworkConfig {
    /// Reads a seed's `network-config`, bare or under `network:`.
    pub fn read(value: &Value) -> Result<Self, String> {
        let bare = value.get("network").unwrap_or(value);
        let config: Self =
            serde_json::from_value(bare.clone()).map_err(|error| format!("network-config: {error}"))?;
        if config.version != 2 {
            return Err(format!("network-config: version {} is not supported by netplan", config.version));
        }
        if let Some(renderer) = config.renderer.as_deref().filter(|renderer| *renderer != "networkd") {
            return Err(format!("network-config: renderer {renderer} is not installed"));
        }
        for (id, ethernet) in &config.ethernets {
            ethernet.check().map_err(|why| format!("network-config: {id}: {why}"))?;
        }
        Ok(config)
    }

    /// Returns cloud-init's fallback: DHCP on the first card.
    pub fn fallback(card: Option<&Card>) -> Self {
        let ethernet = |card: &Card| (card.name.clone(), Ethernet { dhcp4: true, ..Ethernet::default() });
        Self { version: 2, renderer: None, ethernets: card.map(ethernet).into_iter().collect() }
    }

    fn of(&self, card: &Card) -> Option<&Ethernet> {
        let named = |id: &str, ethernet: &Ethernet| match &ethernet.r#match {
            Some(rule) => {
                rule.macaddress.is_none_or(|mac| mac == card.mac)
                    && rule.name.as_ref().is_none_or(|name| *name == card.name)
            }
            None => id == card.name,
        };
        self.ethernets.iter().find(|(id, ethernet)| named(id, ethernet)).map(|(_, ethernet)| ethernet)
    }
}

impl Ethernet {
    fn check(&self) -> Result<(), String> {
        if self.r#match.as_ref().is_some_and(|rule| rule.macaddress.is_none() && rule.name.is_none()) {
            return Err("match needs macaddress or name".into());
        }
        if self.set_name.is_some() && self.r#match.is_none() {
            return Err("set-name needs match".into());
        }
        for address in &self.addresses {
            address
                .parse::<Ipv4Net>()
                .map_err(|_| format!("{address} is not an address with its prefix length"))?;
        }
        for route in &self.routes {
            let known =
                matches!(route.to.as_str(), "default" | "0.0.0.0/0") || route.to.parse::<Ipv4Net>().is_ok();
            if !known {
                return Err(format!("route to {} is neither default nor a network", route.to));
            }
        }
        if self.mtu.is_some_and(|mtu| !(576..=9000).contains(&mtu)) {
            return Err("mtu must be from 576 to 9000".into());
        }
        Ok(())
    }
}

/// Brings all cards up as configured, waiting for leases as networkd-wait-online does.
pub async fn bring_up(model: &Model, config: &NetworkConfig) {
    let mut waited = false;
    for card in &model.hardware.cards {
        let Some(ethernet) = config.of(card) else {
            model.log("systemd-networkd", format!("{}: unmanaged", card.name));
            continue;
        };
        let mut interface = ethernet.interface(card);
        if ethernet.dhcp4 && !take_lease(model, card, ethernet, &mut interface).await {
            waited |= !ethernet.optional;
            tokio::spawn(ask_on(model.arc(), card.clone(), ethernet.clone()));
        }
        for (address, prefix) in &interface.addresses {
            model.around.console(&format!("ci-info: | {} | True | {address}/{prefix} |", card.name));
        }
        model.live(|live| live.interfaces.push(interface));
        model.commons.announce();
    }
    if waited {
        model.around.console("[*     ] A start job is running for Wait for Network to be Configured");
        model.pass(pace::WAIT_ONLINE).await;
    }
}

/// Asks for a lease until there is one, as networkd does for as long as the machine runs.
async fn ask_on(model: Arc<Model>, card: Card, ethernet: Ethernet) {
    let asking = async {
        let mut interface = ethernet.interface(&card);
        loop {
            model.pass(pace::DHCP_RETRY).await;
            if take_lease(&model, &card, &ethernet, &mut interface).await {
                return interface;
            }
        }
    };
    let Some(found) = model.power.run_until_cancelled(asking).await else { return };
    model.live(|live| {
        if let Some(there) = live.interfaces.iter_mut().find(|there| there.name == found.name) {
            let new = found.addresses.iter().filter(|address| !there.addresses.contains(address));
            let new: Vec<_> = new.copied().collect();
            there.addresses.extend(new);
            there.router = there.router.or(found.router);
            there.dns = found.dns;
        }
    });
    model.commons.announce();
}

impl Ethernet {
    fn interface(&self, card: &Card) -> Interface {
        let nets = self.addresses.iter().filter_map(|address| address.parse::<Ipv4Net>().ok());
        let default = self.routes.iter().find(|route| matches!(route.to.as_str(), "default" | "0.0.0.0/0"));
        Interface {
            name: self.set_name.clone().unwrap_or_else(|| card.name.clone()),
            segment: card.segment.clone(),
            addresses: nets.map(|net| (net.addr(), net.prefix_len())).collect(),
            router: default.map(|route| route.via),
            dns: self.nameservers.addresses.clone(),
        }
    }
}

async fn take_lease(model: &Model, card: &Card, ethernet: &Ethernet, interface: &mut Interface) -> bool {
    let hostname =
        Some(model.hostname()).filter(|name| ethernet.dhcp4_overrides.send_hostname && !name.is_empty());
    let uid = match ethernet.dhcp_identifier {
        Some(Identifier::Mac) => None,
        Some(Identifier::Duid) | None => Some(duid(model, card)),
    };
    let Some(lease) = model.around.lease(card, &Client { hostname, uid }).await else {
        model.log("systemd-networkd", format!("{}: DHCPv4 client: no lease", card.name));
        return false;
    };
    model
        .log("systemd-networkd", format!("{}: DHCPv4 address {}/{}", card.name, lease.address, lease.prefix));
    interface.addresses.push((lease.address, lease.prefix));
    if ethernet.dhcp4_overrides.use_routes && interface.router.is_none() {
        interface.router = lease.router;
    }
    if ethernet.dhcp4_overrides.use_dns {
        interface.dns.extend(lease.dns);
    }
    true
}

/// Returns networkd's own identifier: 255, an IAID that comes from the card's name, and a DUID of its own kind (2, with
/// systemd's number) that comes from the machine id, so that clones with one machine id share it
/// (facts/test-bench.md §4).
fn duid(model: &Model, card: &Card) -> String {
    let id = model.disk(|disk| disk.text("/etc/machine-id").unwrap_or_default());
    let digest = |text: &str| Sha256::digest(text);
    let mut bytes = vec![0xff];
    bytes.extend(&digest(&card.name)[..4]);
    bytes.extend([0x00, 0x02, 0x00, 0x00, 0xab, 0x11]);
    bytes.extend(&digest(id.trim())[..8]);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// One address that the machine holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub interface: String,
    pub segment: Segment,
    pub address: Ipv4Addr,
    pub prefix: u8,
}

/// Sets a link up or down; says whether there is such a card. networkd takes what it configured off an interface that
/// loses its carrier, and puts it back when the carrier returns.
pub fn set_link(model: &Model, name: &str, up: bool) -> bool {
    if !super::units::interfaces(model).iter().any(|known| known == name) {
        return false;
    }
    let changed =
        model.live(|live| if up { live.down.remove(name) } else { live.down.insert(name.to_owned()) });
    if changed {
        let word = if up { "Gained" } else { "Lost" };
        model.log("systemd-networkd", format!("{name}: {word} carrier"));
        model.commons.announce();
    }
    true
}

/// Returns the addresses held now: the interfaces' own, then Keepalived's.
pub fn addresses(model: &Model) -> Vec<Held> {
    let (interfaces, vrrp, left) =
        model.live(|live| (live.up().cloned().collect::<Vec<_>>(), live.vrrp.clone(), live.left.clone()));
    let mut held: Vec<Held> = interfaces.iter().flat_map(Interface::held).collect();
    for vip in vrrp.map(|vrrp| vrrp.holds()).unwrap_or_default().into_iter().chain(left) {
        let Some(interface) = interfaces.iter().find(|interface| interface.name == vip.device) else {
            continue;
        };
        if !held.iter().any(|other| other.address == vip.address) {
            held.push(Held {
                interface: vip.device,
                segment: interface.segment.clone(),
                address: vip.address,
                prefix: vip.prefix,
            });
        }
    }
    held
}

impl Interface {
    fn held(&self) -> Vec<Held> {
        let held = |&(address, prefix): &(Ipv4Addr, u8)| Held {
            interface: self.name.clone(),
            segment: self.segment.clone(),
            address,
            prefix,
        };
        self.addresses.iter().map(held).collect()
    }
}

/// Says whether an address is one of the machine's, loopback included.
pub fn is_own(model: &Model, address: Ipv4Addr) -> bool {
    address.is_loopback() || addresses(model).iter().any(|held| held.address == address)
}

/// Resolves a name by an address literal or the hosts file: the model's guests have no other names.
pub fn resolve(model: &Model, name: &str) -> Option<Ipv4Addr> {
    if let Ok(address) = name.parse() {
        return Some(address);
    }
    let hosts = model.disk(|disk| disk.text("/etc/hosts")).unwrap_or_default();
    let line_names = |line: &str| -> Option<Ipv4Addr> {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    hosts.lines().find_map(line_names)
}

/// Asks whether a machine at the address is alive: it answers, if only by refusing a connection to its echo port.
pub async fn ping(model: &Model, address: Ipv4Addr, interface: Option<&str>) -> bool {
    const ECHO: u16 = 7;
    if is_own(model, address) {
        return true;
    }
    let cards = routing::ways(model, interface, address);
    let deaf = |other: &Arc<Model>| {
        let holds = addresses(other).iter().any(|held| held.address == address);
        holds && other.live(|live| live.sysctl.get(IGNORES_PINGS).is_some_and(|value| value == "1"))
    };
    if cards.iter().flat_map(|card| model.hears(&card.segment)).any(|other| deaf(&other)) {
        return false;
    }
    let answer = model.around.connect(&cards, std::net::SocketAddrV4::new(address, ECHO)).await;
    match answer {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::guest::yaml;

    fn read(text: &str) -> Result<NetworkConfig, String> {
        NetworkConfig::read(&yaml::document(text).unwrap())
    }

    #[test]
    fn cards_are_found_by_mac_and_unknown_keys_are_refused() {
        let config = read("version: 2\nethernets:\n  lab: {match: {macaddress: \"00:50:56:00:00:01\"}, dhcp4: true, dhcp-identifier: mac}\n").unwrap();
        let card =
            |mac: &str| Card { mac: mac.parse().unwrap(), segment: Segment::Lan, name: "ens160".into() };
        assert!(config.of(&card("00:50:56:00:00:01")).is_some());
        assert!(config.of(&card("00:50:56:00:00:02")).is_none());
        let error = read("version: 2\nethernets: {a: {dhcp5: true}}").unwrap_err();
        assert!(error.contains("dhcp5"), "{error}");
        assert!(read("version: 1\nethernets: {}").unwrap_err().contains("version 1"));
        assert!(read("version: 2\nethernets: {a: {addresses: [10.0.0.1]}}").unwrap_err().contains("prefix"));
    }
}
