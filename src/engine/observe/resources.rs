//! What the lab takes of its machines and of this Mac: asked for the eyes alone, by no verb that decides on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::host::surroundings::{self, Memory};
use crate::host::{files, system};
use crate::lab::Node;
use crate::plan::facts::{Facts, VmState};
use crate::stack::resources::{self, Resources};
use serde::Serialize;

use super::ask::{ALL, in_order};
use crate::engine::context::Engine;
use crate::engine::error::Result;
use crate::engine::images::templates;
use crate::engine::observe;

const MIB: u64 = 1024 * 1024;

/// All that `status` shows.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub facts: Facts,
    /// By machine; one that did not say is left out.
    pub resources: BTreeMap<String, Resources>,
    pub host: HostUse,
}

/// What the lab has of this Mac, and what is left, in bytes; 0 for a size that the Mac does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostUse {
    pub memory: u64,
    /// What programs can have without pushing others out; none if the Mac does not say.
    pub memory_free: Option<u64>,
    /// What the lab's machines that run were given.
    pub memory_given: u64,
    /// How many of them run.
    pub running: usize,
    /// What the folders of the lab's machines take of the disk.
    pub disk_taken: u64,
    /// What may still be written beside them; none if the disk does not say.
    pub disk_free: Option<u64>,
}

/// Looks at everything; while the API server is asked, the machines are asked for what they use.
pub async fn look(engine: &Arc<Engine>) -> Result<Look> {
    let facts = observe::facts_of_machines(engine).await?;
    let answering = engine.lab.nodes.iter().filter(|node| facts.guests.contains_key(&node.name));
    let limit = engine.lab.limits.fusion_query;
    let (cluster, resources, memory) = tokio::join!(
        observe::cluster(engine, &facts.guests),
        ask_all(engine, answering.cloned()),
        surroundings::memory(&engine.fusion.root, limit),
    );
    let facts = observe::with_cluster(facts, cluster);
    Ok(Look { host: host(engine, &facts, memory)?, facts, resources })
}

/// Asks machines at once, one question each; one that does not answer in time is left out.
async fn ask_all(engine: &Arc<Engine>, nodes: impl Iterator<Item = Node>) -> BTreeMap<String, Resources> {
    let one = |node: Node| {
        let engine = engine.clone();
        async move { ask(&engine, &node).await.map(|found| (node.name, found)) }
    };
    in_order(nodes, ALL, one).await.into_iter().flatten().collect()
}

async fn ask(engine: &Engine, node: &Node) -> Option<Resources> {
    let output = engine.must(node, &resources::command()).await.ok()?;
    resources::parse(&output.text()).ok()
}

fn host(engine: &Engine, facts: &Facts, memory: Memory) -> Result<HostUse> {
    let ours =
        || facts.vms.iter().filter(|(_, vm)| vm.state != VmState::Foreign && vm.state != VmState::Absent);
    let running: Vec<&Node> =
        ours().filter(|(_, vm)| vm.running).filter_map(|(name, _)| engine.lab.node(name)).collect();
    let mut disk_taken = 0;
    for folder in ours().map(|(name, _)| engine.bundle(name)).filter(|folder| files::exists(folder)) {
        disk_taken += templates::allocated(&folder)?;
    }
    let bytes = |mib: u64| mib * MIB;
    Ok(HostUse {
        memory: bytes(memory.mib.unwrap_or_default()),
        memory_free: memory.free_mib.map(bytes),
        memory_given: running.iter().map(|node| bytes(node.memory_mib.into())).sum(),
        running: running.len(),
        disk_taken,
        disk_free: system::free_mib(&engine.fusion.library).ok().map(bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Bench, Machines};

    #[tokio::test]
    async fn machines_that_do_not_answer_are_left_out_and_the_mac_is_told_all_the_same() {
        let bench = Bench::new(Machines::default());
        let nothing = look(&bench.engine).await.unwrap();
        assert!(nothing.resources.is_empty());
        assert_eq!((nothing.host.memory_given, nothing.host.running, nothing.host.disk_taken), (0, 0, 0));
        assert!(nothing.host.memory > 0 && nothing.host.disk_free.is_some());

        let (lab, mark) = (&bench.engine.lab.name, crate::lab::names::VMX_LAB);
        let of = |node: &str| format!("{mark} = \"{lab}\"\n{} = \"{node}\"\n", crate::lab::names::VMX_NODE);
        bench.file(&bench.engine.vmx("gateway1"), &of("gateway1"));
        bench.file(&bench.engine.vmx("gateway2"), &of("gateway2"));
        // Somebody's of the same name takes nothing of ours.
        bench.file(&bench.engine.vmx("k8s-master1"), "config.version = \"8\"\n");
        bench.machines.run(&bench.engine.vmx("gateway1"));
        let seen = look(&bench.engine).await.unwrap();
        assert!(seen.resources.is_empty() && seen.facts.guests.is_empty());
        let given = u64::from(bench.engine.lab.node("gateway1").unwrap().memory_mib) * MIB;
        assert_eq!((seen.host.running, seen.host.memory_given), (1, given));
        assert!(seen.host.disk_taken > 0);
    }
}
