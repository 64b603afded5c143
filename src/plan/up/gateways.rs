//! The part of `up` that makes gateways.

use super::{List, services};
use crate::lab::Node;
use crate::plan::kind::Kind;
use crate::plan::step::{Action, Step, StepId};
use crate::plan::{costs, drift};
use crate::stack::vips;

impl List<'_> {
    /// Plans the look at who else is on the LAN, unless a gateway of ours has the VIP already.
    pub(super) fn lan(&mut self) {
        let vip = self.lab.lan.vip;
        let is_held = self.lab.gateways().any(|node| self.guest(node).is_some_and(|guest| guest.holds(vip)));
        let Some(node) = self.lab.gateways().find(|node| node.lan().is_some()).filter(|_| !is_held) else {
            return;
        };
        let id = self.lab.gateway.virtual_router_id;
        let text = format!("listen whether anybody in the home network has {vip} or VRRP router id {id}");
        let why = "no gateway of the lab holds the VIP yet";
        let step = Step::new(Action::ProbeLan { node: node.name.clone() }, text, why);
        let cost_seconds = costs::of_probe(&self.lab.limits);
        let needs = [Kind::GuestReady.on(&node.name), Kind::NetworkApply.id()];
        self.add(Step { cost_seconds, ..step }, needs);
    }

    /// Returns the steps that probe the LAN, of those that may be planned.
    pub(super) fn probes(&self) -> Vec<StepId> {
        self.on_gateways(Kind::LanProbe)
    }

    fn on_gateways(&self, kind: Kind) -> Vec<StepId> {
        self.lab.gateways().map(|node| kind.on(&node.name)).collect()
    }

    pub(super) fn gateway(&mut self, node: &Node) {
        let down = || self.guest(node).and_then(|guest| drift::of_units(guest, &services(node, guest)));
        let Some(why) = self.stale_files(node).or_else(down) else {
            let text = "nginx, Keepalived and the name server run as configured";
            return self.keep(format!("{}: {text}", node.name));
        };
        let text = format!("configure nginx, Keepalived and the name server on {}", node.name);
        let step = Step::new(Action::ConfigureGateway { node: node.name.clone() }, text, why);
        // Another domain may take another authority, whose certificate is among the files.
        let needs = [Kind::NetworkApply.id(), Kind::IdentityCreate.id(), Kind::GuestReady.on(&node.name)];
        // Nothing takes the VIP before somebody has listened who else has it.
        self.add_unseen(self.is_unseen(node), step, needs.into_iter().chain(self.probes()));
    }

    pub(super) fn vips(&mut self) {
        let (lan, internal) = (self.lab.lan.vip, self.lab.internal.vip);
        let configures = self.on_gateways(Kind::GatewayConfigure);
        let changing = configures.iter().any(|id| self.planned(id));
        if !changing && let Some(holder) = vips::holder(self.lab, &self.facts.guests) {
            return self.keep(format!("VIPs: {lan} and {internal} held by {holder}"));
        }
        let text = format!("wait until one gateway holds {lan} and {internal}");
        let why = if changing {
            "Keepalived is being configured".to_owned()
        } else {
            let holders = |vip| vips::named_holders(self.lab, &self.facts.guests, vip);
            format!("{lan} is held by {}, {internal} by {}", holders(lan), holders(internal))
        };
        self.add(Step::new(Action::AwaitVips, text, why), configures.into_iter().chain(self.probes()));
    }
}
