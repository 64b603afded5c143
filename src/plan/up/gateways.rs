//! The part of `up` that makes gateways.

use std::net::Ipv4Addr;

use super::{Draft, List};
use crate::lab::{Lab, Node};
use crate::plan::drift;
use crate::plan::facts::Facts;
use crate::plan::step::{Action, Gate, Phase};
use crate::stack::dns;

/// The verb of the step that looks who else is on the LAN.
const PROBE: &str = "lan.probe";
/// What runs on a gateway.
pub(super) const UNITS: [&str; 4] = ["nginx", "keepalived", dns::UNIT, "chrony"];

impl List<'_> {
    /// Plans the look at who else is on the LAN, unless a gateway of ours has the VIP already.
    pub(super) fn lan(&mut self) {
        let vip = self.lab.lan.vip;
        let is_held = self.lab.gateways().any(|node| self.guest(node).is_some_and(|guest| guest.holds(vip)));
        let Some(node) = self.lab.gateways().find(|node| node.lan().is_some()).filter(|_| !is_held) else {
            return;
        };
        let action = Action::ProbeLan { node: node.name.clone() };
        let id = self.lab.gateway.virtual_router_id;
        let seconds = u32::try_from(self.lab.limits.lan_probe.as_secs()).unwrap_or(u32::MAX);
        let draft = Draft::of(PROBE, node, Phase::Configure, seconds, action)
            .text(format!("listen whether anybody in the home network has {vip} or VRRP router id {id}"))
            .why("no gateway of the lab holds the VIP yet")
            .gate(Gate::Guest);
        self.add(draft, [format!("guest.ready/{}", node.name), "network.apply".to_owned()]);
    }

    /// Returns the steps that probe the LAN, of those that may be planned.
    pub(super) fn probes(&self) -> impl Iterator<Item = String> {
        self.lab.gateways().map(|node| format!("{PROBE}/{}", node.name))
    }

    pub(super) fn gateway(&mut self, node: &Node) {
        let down = || self.guest(node).and_then(|guest| drift::of_units(guest, &UNITS));
        let Some(why) = self.stale_files(node).or_else(down) else {
            let text = "nginx, Keepalived and the name server run as configured";
            return self.keep(format!("{}: {text}", node.name));
        };
        let action = Action::ConfigureGateway { node: node.name.clone() };
        let draft = Draft::of("gateway.configure", node, Phase::Configure, 3, action)
            .text(format!("configure nginx, Keepalived and the name server on {}", node.name))
            .why(why)
            .unseen(self.is_unseen(node))
            .gate(Gate::Guest);
        // Another domain may take another authority, whose certificate is among the files.
        let needs = ["network.apply", "identity.create"].map(str::to_owned);
        let needs = needs.into_iter().chain([format!("guest.ready/{}", node.name)]);
        // Nothing takes the VIP before somebody has listened who else has it.
        self.add(draft, needs.chain(self.probes()).collect::<Vec<_>>());
    }

    pub(super) fn vips(&mut self) {
        let (lan, internal) = (self.lab.lan.vip, self.lab.internal.vip);
        let configures: Vec<String> =
            self.lab.gateways().map(|node| format!("gateway.configure/{}", node.name)).collect();
        let changing = configures.iter().any(|id| self.planned(id));
        if !changing && let Some(holder) = vip_holder(self.lab, self.facts) {
            return self.keep(format!("VIPs: {lan} and {internal} held by {holder}"));
        }
        let draft = Draft::new("gateway.vips", Phase::Cluster, 4, Action::AwaitVips)
            .text(format!("wait until one gateway holds {lan} and {internal}"))
            .why(if changing {
                "Keepalived is being configured".to_owned()
            } else {
                format!("{lan} is held by {}, {internal} by {}", self.holders(lan), self.holders(internal))
            });
        self.add(draft, configures.into_iter().chain(self.probes()).collect::<Vec<_>>());
    }
}

impl List<'_> {
    /// Names the gateways that hold an address.
    fn holders(&self, address: Ipv4Addr) -> String {
        let holds = |node: &&Node| self.guest(node).is_some_and(|guest| guest.holds(address));
        let names: Vec<&str> = self.lab.gateways().filter(holds).map(|node| node.name.as_str()).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(" and ") }
    }
}

/// Returns the one gateway that holds both VIPs; none if there is not exactly one.
pub fn vip_holder<'a>(lab: &'a Lab, facts: &Facts) -> Option<&'a str> {
    let holds = |node: &&Node, vip| facts.guests.get(&node.name).is_some_and(|guest| guest.holds(vip));
    let lan: Vec<&Node> = lab.gateways().filter(|node| holds(node, lab.lan.vip)).collect();
    let internal: Vec<&Node> = lab.gateways().filter(|node| holds(node, lab.internal.vip)).collect();
    match (lan.as_slice(), internal.as_slice()) {
        ([one], [other]) if one.name == other.name => Some(&one.name),
        _ => None,
    }
}
