//! The part of `up` that makes gateways.

use super::{Draft, List};
use crate::lab::{Lab, Node};
use crate::plan::facts::Facts;
use crate::plan::step::{Action, Gate, Phase};

impl List<'_> {
    pub(super) fn gateway(&mut self, node: &Node) {
        let units_run = self
            .guest(node)
            .is_some_and(|guest| guest.unit_active("nginx") && guest.unit_active("keepalived"));
        let why = match self.stale_files(node) {
            Some(stale) => stale,
            None if !units_run => "nginx or keepalived is not running".to_owned(),
            None => return self.keep(format!("{}: nginx and keepalived run as configured", node.name)),
        };
        let action = Action::ConfigureGateway { node: node.name.clone() };
        let draft = Draft::of("gateway.configure", node, Phase::Configure, 3, action)
            .text(format!("configure nginx and keepalived on {}", node.name))
            .why(why)
            .gate(Gate::Guest);
        self.add(draft, [format!("guest.ready/{}", node.name), "network.apply".to_owned()]);
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
                "keepalived is being configured"
            } else {
                "not exactly one gateway holds both"
            });
        self.add(draft, configures);
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
