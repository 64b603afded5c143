//! One of Fusion's networks: its bridge in the Mac's namespace, its NAT and its DHCP server.

use std::io;

use super::addresses::{Lan, VmnetPlaces, mac_of_adapter, mac_of_services, nat_link};
use super::dhcpd::{Dhcpd, Order, Program};
use super::{home, tools};
use crate::sim::linux::prefix::Prefix;
use crate::sim::network::Network;
use crate::sim::places::Places;

/// What all networks share.
pub struct Ground<'a> {
    pub prefix: &'a Prefix,
    pub places: &'a Places,
    pub lan: Lan,
    pub dhcpd: &'a Program,
}

/// A network that runs, or ran.
pub struct Vmnet {
    number: u8,
    /// What runs now.
    running: Option<Network>,
    services: Option<Services>,
    dhcpd: Option<Dhcpd>,
}

/// What the namespace of a network's services is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Services {
    places: VmnetPlaces,
    nat: bool,
}

impl Services {
    /// None where the Mac itself serves all that there is.
    fn of(number: u8, network: &Network) -> Option<Self> {
        let needed = network.nat || (network.dhcp && !network.adapter);
        let places = VmnetPlaces { number, subnet: network.subnet };
        needed.then_some(Self { places, nat: network.nat })
    }
}

impl Vmnet {
    /// Makes the bridge of a network that does not run yet.
    pub async fn new(ground: &Ground<'_>, number: u8) -> io::Result<Self> {
        let line = home::bridge(&bridge(number), &mac_of_adapter(number));
        tools::ip(Some(&ground.prefix.mac()), &[line]).await?;
        Ok(Self { number, running: None, services: None, dhcpd: None })
    }

    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// Makes the network what it is to be; none stops it.
    pub async fn become_like(&mut self, ground: &Ground<'_>, wished: Option<&Network>) -> io::Result<()> {
        let order = wished.and_then(|network| self.order(ground, network));
        let services = wished.and_then(|network| Services::of(self.number, network));
        let moves = self.services.is_some() && self.services != services;
        let was_inside = |dhcpd: &Dhcpd| moves && dhcpd.order.namespace == ground.prefix.nat(self.number);
        let ends = |dhcpd: &mut Dhcpd| Some(&dhcpd.order) != order.as_ref() || was_inside(dhcpd);
        if let Some(dhcpd) = self.dhcpd.take_if(ends) {
            dhcpd.stop().await;
        }
        if moves {
            self.remove_services(ground).await;
        }
        self.settle_bridge(ground, wished).await?;
        if let Some(services) = services.filter(|_| self.services.is_none()) {
            self.services = Some(services);
            if let Err(error) = make_services(ground, services).await {
                self.remove_services(ground).await;
                return Err(error);
            }
        }
        if let Some(order) = order.filter(|_| self.dhcpd.is_none()) {
            self.dhcpd = Some(Dhcpd::start(ground.dhcpd, order).await?);
        }
        Ok(())
    }

    /// Stops what is a child of ours; all else goes with the namespaces.
    pub async fn leave(&mut self) {
        if let Some(dhcpd) = self.dhcpd.take() {
            dhcpd.stop().await;
        }
    }

    fn order(&self, ground: &Ground<'_>, network: &Network) -> Option<Order> {
        let number = self.number;
        let on_mac = (ground.prefix.mac(), bridge(number));
        let on_services = (ground.prefix.nat(number), "in0".to_owned());
        let (namespace, interface) = if network.adapter { on_mac } else { on_services };
        network.dhcp.then(|| Order {
            namespace,
            interface,
            conf: ground.places.vmnet(number).join("dhcpd.conf"),
            content: network.dhcpd_conf.clone(),
            leases: ground.places.leases(number),
            log: home::folder(ground.places).join(format!("vmnet{number}-dhcpd.log")),
        })
    }

    async fn settle_bridge(&mut self, ground: &Ground<'_>, wished: Option<&Network>) -> io::Result<()> {
        let bridge = bridge(self.number);
        let address = |network: &Network| {
            let places = VmnetPlaces { number: self.number, subnet: network.subnet };
            network.adapter.then(|| format!("{}/{}", places.mac(), network.subnet.prefix_len()))
        };
        let (old, new) = (self.running.as_ref().and_then(address), wished.and_then(address));
        let mut lines = Vec::new();
        if old != new {
            lines.push(format!("address flush dev {bridge}"));
            lines.extend(new.map(|new| format!("address add {new} dev {bridge}")));
        }
        if self.running.is_some() != wished.is_some() {
            let state = if wished.is_some() { "up" } else { "down" };
            lines.push(format!("link set {bridge} {state}"));
        }
        tools::ip(Some(&ground.prefix.mac()), &lines).await?;
        self.running = wished.cloned();
        Ok(())
    }

    async fn remove_services(&mut self, ground: &Ground<'_>) {
        let Some(services) = self.services.take() else { return };
        let number = services.places.number;
        // The far ends go with these; a link is gone at once, a namespace in its own time.
        let links = [format!("link del in{number}"), format!("link del nat{number}")];
        tools::ip_remove(Some(&ground.prefix.mac()), &links[..if services.nat { 2 } else { 1 }]).await;
        tools::ip_remove(None, &[format!("netns del {}", ground.prefix.nat(number))]).await;
    }
}

/// Returns the name of a network's bridge in the Mac's namespace.
pub fn bridge(vmnet: u8) -> String {
    format!("vmnet{vmnet}")
}

async fn make_services(ground: &Ground<'_>, services: Services) -> io::Result<()> {
    let Services { places, nat } = services;
    let number = places.number;
    let namespace = ground.prefix.nat(number);
    let (near, far, length) = nat_link(number);
    tools::ip(None, &[format!("netns add {namespace}")]).await?;
    tools::set(&namespace, home::PLAIN)?;
    tools::set(&namespace, home::INFRASTRUCTURE)?;
    let hardware = mac_of_services(number);
    let mut on_mac = vec![
        format!("link add in{number} type veth peer name in0 address {hardware} netns {namespace}"),
        format!("link set in{number} master {} up", bridge(number)),
    ];
    let own = if nat { places.nat() } else { places.dhcp() };
    let mut inside = vec![
        "link set lo up".to_owned(),
        "link set in0 up".to_owned(),
        format!("address add {own}/{} dev in0", places.subnet.prefix_len()),
    ];
    if nat {
        on_mac.extend([
            format!("link add nat{number} type veth peer name out0 netns {namespace}"),
            format!("link set nat{number} up"),
            format!("address add {near}/{length} dev nat{number}"),
        ]);
        inside.extend([
            "link set out0 up".to_owned(),
            format!("address add {far}/{length} dev out0"),
            format!("route add default via {near}"),
        ]);
    }
    tools::ip(Some(&ground.prefix.mac()), &on_mac).await?;
    tools::ip(Some(&namespace), &inside).await?;
    if nat { tools::nft(&namespace, nats_rules(places, ground.lan)).await } else { Ok(()) }
}

/// NAT sends for guests under an address of its own, and asks the home router for the names that it is asked for
/// (facts/fusion-networking.md §3.2).
fn nats_rules(places: VmnetPlaces, lan: Lan) -> String {
    let (own, router) = (places.nat(), lan.router());
    format!(
        r#"
table ip nat {{
    chain arriving {{
        type nat hook prerouting priority dstnat;
        iifname "in0" ip daddr {own} udp dport 53 dnat to {router}
    }}
    chain leaving {{
        type nat hook postrouting priority srcnat;
        oifname "out0" masquerade
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "in0" oifname "out0" accept
    }}
}}
"#
    )
}
