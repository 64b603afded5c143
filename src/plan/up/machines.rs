//! The part of `up` that makes machines: from nothing to a guest that takes our key.

use super::{Draft, List};
use crate::lab::Node;
use crate::plan::step::{Action, Gate, Phase};

impl List<'_> {
    /// From nothing to a guest that takes our key.
    pub(super) fn machine(&mut self, node: &Node) {
        let name = &node.name;
        let vm = self.vm(node).cloned();
        let spec_is_right = vm
            .as_ref()
            .is_some_and(|vm| vm.spec.is_some() && vm.spec.as_ref() == self.desired.specs.get(name));
        if vm.is_none() {
            let draft = Draft::of("vm.clone", node, Phase::Clone, 3, Action::CloneVm { node: name.clone() })
                .text(format!("clone {name} from the template"))
                .why("there is no such VM")
                .gate(Gate::Parent);
            self.add(draft, ["template.freeze".to_owned()]);
        }
        let running = vm.as_ref().is_some_and(|vm| vm.running);
        let stopped = self.planned(&format!("vm.stop/{name}"));
        if !spec_is_right {
            if running && !stopped {
                self.stop(node, "its VMX or seed is not what the lab file says");
            }
            let why =
                if vm.is_none() { "it is new" } else { "its VMX or seed is not what the lab file says" };
            let draft =
                Draft::of("vm.configure", node, Phase::Clone, 1, Action::ConfigureVm { node: name.clone() })
                    .text(format!("write the VMX and seed of {name}: {}", hardware(node)))
                    .why(why);
            self.add(
                draft,
                [format!("vm.clone/{name}"), format!("vm.stop/{name}"), "identity.create".to_owned()],
            );
        }
        if !running || stopped || !spec_is_right {
            let draft = Draft::of("vm.start", node, Phase::Boot, 5, Action::StartVm { node: name.clone() })
                .text(format!("start {name}"))
                .why("it is not running")
                .gate(Gate::PowerOn);
            let needs = [format!("vm.configure/{name}"), format!("vm.stop/{name}")];
            self.add(draft, needs.into_iter().chain(["network.apply", "template.freeze"].map(str::to_owned)));
        }
        let ready =
            self.guest(node).is_some_and(|guest| guest.cloud_init == "done" && guest.holds(node.address()));
        if !ready || self.planned(&format!("vm.start/{name}")) {
            let draft =
                Draft::of("guest.ready", node, Phase::Ready, 25, Action::AwaitGuest { node: name.clone() })
                    .text(format!(
                        "wait for {name} at {}: login, cloud-init, its own address",
                        node.address()
                    ))
                    .why(if self.guest(node).is_some() {
                        "cloud-init is not done"
                    } else {
                        "it does not answer yet"
                    })
                    .gate(Gate::Guest);
            self.add(draft, [format!("vm.start/{name}"), "network.apply".to_owned()]);
        } else {
            self.keep(format!("{name}: running at {}", node.address()));
        }
    }

    /// Names the files of a node that are missing or differ; none if all are right, or all of them if unknown.
    pub(super) fn stale_files(&self, node: &Node) -> Option<String> {
        let Some(guest) = self.guest(node) else { return Some("it was not running".to_owned()) };
        let Some(wished) = self.desired.files.get(&node.name) else {
            return Some("the lab's identity is new".to_owned());
        };
        let stale: Vec<&str> = wished
            .iter()
            .filter(|(path, digest)| guest.files.get(*path) != Some(digest))
            .map(|(path, _)| path.as_str())
            .collect();
        match stale.as_slice() {
            [] => None,
            [one] => Some(format!("{one} differs")),
            [first, rest @ ..] => Some(format!("{first} and {} more differ", rest.len())),
        }
    }
}

/// Returns a node's size and cards in a few words.
fn hardware(node: &Node) -> String {
    let cards: Vec<String> =
        node.nics.iter().map(|nic| format!("{} {}", nic.guest_name(), nic.address)).collect();
    let cpus = if node.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", node.cpus) };
    format!("{cpus}, {} MiB, {}", node.memory_mib, cards.join(", "))
}
