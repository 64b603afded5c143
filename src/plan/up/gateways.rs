//! The part of `up` that makes gateways.

use super::{Draft, List};
use crate::lab::Node;
use crate::plan::drift;
use crate::plan::step::{Action, Gate, Phase};
use crate::stack::{dns, vips};

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
        if !changing && let Some(holder) = vips::holder(self.lab, &self.facts.guests) {
            return self.keep(format!("VIPs: {lan} and {internal} held by {holder}"));
        }
        let draft = Draft::new("gateway.vips", Phase::Cluster, 4, Action::AwaitVips)
            .text(format!("wait until one gateway holds {lan} and {internal}"))
            .why(if changing {
                "Keepalived is being configured".to_owned()
            } else {
                let holders = |vip| vips::named_holders(self.lab, &self.facts.guests, vip);
                format!("{lan} is held by {}, {internal} by {}", holders(lan), holders(internal))
            });
        self.add(draft, configures.into_iter().chain(self.probes()).collect::<Vec<_>>());
    }
}
