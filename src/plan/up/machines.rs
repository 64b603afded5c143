//! The part of `up` that makes machines: from nothing to a guest that takes our key.

use super::List;
use crate::lab::Node;
use crate::plan::drift;
use crate::plan::facts::VmFacts;
use crate::plan::kind::Kind;
use crate::plan::step::{Action, Step, StepId};

impl List<'_> {
    /// From nothing to a guest that takes our key. If it has to be stopped, then after these steps.
    pub(super) fn machine(&mut self, node: &Node, first: &[StepId]) {
        let name = &node.name;
        let vm = self.vm(node).cloned();
        let changed = vm.as_ref().and_then(|vm| self.changed(node, vm));
        let spec_is_right = vm.is_some() && changed.is_none();
        if vm.is_none() {
            let text = format!("clone {name} from the template");
            let step = Step::new(Action::CloneVm { node: name.clone() }, text, "there is no such VM");
            self.add(step, [Kind::TemplateFreeze.id()]);
        }
        let running = vm.as_ref().is_some_and(|vm| vm.running);
        let stopped = self.planned_on(Kind::VmStop, node);
        if !spec_is_right {
            let why = changed.unwrap_or_else(|| "it is new".to_owned());
            if running && !stopped {
                self.stop(node, &why, first);
            }
            let text = format!("write the VMX and seed of {name}: {}", hardware(node));
            let step = Step::new(Action::ConfigureVm { node: name.clone() }, text, why);
            self.add(step, [Kind::VmClone.on(name), Kind::VmStop.on(name), Kind::IdentityCreate.id()]);
        }
        if !running || stopped || !spec_is_right {
            let action = Action::StartVm { node: name.clone() };
            let step = Step::new(action, format!("start {name}"), "it is not running");
            let own = [Kind::VmConfigure.on(name), Kind::VmStop.on(name)];
            self.add(step, own.into_iter().chain([Kind::NetworkApply.id(), Kind::TemplateFreeze.id()]));
        }
        self.ready(node);
    }

    /// Returns why a VM is configured anew; none if it is what the lab file says.
    pub(super) fn changed(&self, node: &Node, vm: &VmFacts) -> Option<String> {
        if vm.spec.is_none() || vm.spec.as_ref() != self.desired.specs.get(&node.name) {
            return Some("its VMX or seed is not what the lab file says".to_owned());
        }
        drift::of_parts(node, self.desired.parts.get(&node.name)?, &vm.parts)
    }

    fn ready(&mut self, node: &Node) {
        let (name, address) = (&node.name, node.address());
        let starts = self.planned_on(Kind::VmStart, node);
        let why = match self.guest(node) {
            Some(guest) if guest.cloud_init != "done" => "cloud-init is not done".to_owned(),
            Some(guest) if !guest.holds(address) => format!("it does not hold {address}"),
            Some(_) if !starts => return self.keep(format!("{name}: running at {address}")),
            Some(_) => "it is started".to_owned(),
            None => "it does not answer yet".to_owned(),
        };
        let text = format!("wait for {name} at {address}: login, cloud-init, its own address");
        let step = Step::new(Action::AwaitGuest { node: name.clone() }, text, why);
        self.add(step, [Kind::VmStart.on(name), Kind::NetworkApply.id()]);
    }

    /// Names the files of a node that are missing or differ; none if all are right.
    pub(super) fn stale_files(&self, node: &Node) -> Option<String> {
        let Some(guest) = self.guest(node) else { return Some("it was not running".to_owned()) };
        let Some(wished) = self.desired.files.get(&node.name) else {
            return Some("the lab's identity is new".to_owned());
        };
        drift::of_files(guest, wished)
    }
}

/// Returns a node's size and cards in a few words.
fn hardware(node: &Node) -> String {
    let cards: Vec<String> =
        node.nics.iter().map(|nic| format!("{} {}", nic.guest_name(), nic.address)).collect();
    let cpus = if node.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", node.cpus) };
    format!("{cpus}, {} MiB, {}", node.memory_mib, cards.join(", "))
}
