//! Looking: gathers the facts of a run, everything at once, nothing changed.
//!
//! What only some verbs look at has a file of its own: `mac` and `survey` for `doctor` and `network`, `resources` for the eyes.

pub mod ask;
pub mod identities;
pub mod mac;
pub mod resources;
pub mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::host::fusion::vmx_file;
use crate::host::{clock, files, system};
use crate::lab::{Node, names, paths};
use crate::plan::facts::{ClusterFacts, Facts, GuestFacts, HostFacts, TemplateFacts, VmFacts, VmState};
use crate::stack::facts::Question;
use crate::stack::identity::{Leaf, Stale};
use crate::stack::validity::Validity;
use crate::stack::{facts as questions, kubectl, node as nodes, vm};

use self::ask::{ALL, in_order};
use crate::engine::access::kubeconfig::Merger;
use crate::engine::access::names as domain_names;
use crate::engine::context::{Engine, tail};
use crate::engine::drill::record;
use crate::engine::error::{EngineError, Result};
use crate::engine::home::{lab_folder, networks, store};
use crate::engine::images::template::{Stage, TemplateDir};
use crate::engine::images::templates::Layered;
use crate::engine::images::{self, templates};
use crate::engine::vms::{bundle, library};

/// Cards that a VM can have.
pub const MAX_CARDS: u32 = 10;

/// Gathers all facts.
pub async fn facts(engine: &Arc<Engine>) -> Result<Facts> {
    let facts = facts_of_machines(engine).await?;
    let cluster = cluster(engine, &facts.guests).await;
    Ok(with_cluster(facts, cluster))
}

/// Completes facts with the cluster's.
pub fn with_cluster(facts: Facts, cluster: Result<Option<ClusterFacts>>) -> Facts {
    match cluster {
        Ok(cluster) => Facts { cluster, ..facts },
        Err(error) => Facts { unreadable: Some(error.to_string()), ..facts },
    }
}

/// Gathers all facts but the cluster's own.
pub async fn facts_of_machines(engine: &Arc<Engine>) -> Result<Facts> {
    let mut facts = host_facts(engine).await?;
    facts.guests = guests(engine, &facts.vms).await;
    Ok(facts)
}

/// Gathers what the host knows, asking no guest: enough to take a lab down.
pub async fn host_facts(engine: &Arc<Engine>) -> Result<Facts> {
    let running = engine.vms.running().await?;
    let layered = Layered::of(&engine.fusion);
    let vms = lab_vms(engine, &running, &layered)?;
    Ok(Facts {
        host: host(engine, &running).await?,
        template: template(engine, &running, &layered)?,
        now: clock::now(),
        stale_identity: stale_identity(engine)?,
        own_certificates: own_certificates(engine)?,
        identity: has_identity(engine)?,
        lab_folder: lab_folder::is_ours(&engine.dir)?,
        merged_kubeconfigs: Merger::of(engine).merged()?,
        resolver: domain_names::record(&engine.dir)?,
        kubeconfig: digest_of(&engine.dir.kubeconfig())?,
        drill: record::read(engine)?,
        vms,
        ..network_facts(engine).await?
    })
}

fn has_identity(engine: &Engine) -> Result<bool> {
    let Some(identity) = engine.identity() else { return Ok(false) };
    Ok(store::is_complete(&engine.lab, &identity) && store::is_published(&identity, &engine.dir)?)
}

fn stale_identity(engine: &Engine) -> Result<Vec<(Leaf, Stale)>> {
    let Some(identity) = engine.identity() else { return Ok(Vec::new()) };
    Ok(identity.stale(&engine.lab, clock::now())?)
}

fn own_certificates(engine: &Engine) -> Result<Vec<(Leaf, Validity)>> {
    let Some(identity) = engine.identity() else { return Ok(Vec::new()) };
    Ok(identity.validities()?.to_vec())
}

fn digest_of(path: &Path) -> Result<Option<String>> {
    if files::exists(path) { Ok(Some(files::sha256_file(path)?)) } else { Ok(None) }
}

async fn host(engine: &Engine, running: &BTreeSet<PathBuf>) -> Result<HostFacts> {
    let templates = files::resolved(&engine.home.templates());
    Ok(HostFacts {
        memory_mib: system::memory_mib(),
        cpus: system::cpus(),
        // A template that bakes is ours, and plugged into Fusion's own network.
        running: running.iter().filter(|vmx| !vmx.starts_with(&templates)).cloned().collect(),
        foreign_macs: foreign_macs(engine)?,
        routes: engine.networks.routes(engine.lab.limits.fusion_query).await?.unwrap_or_default(),
        wifi: engine.networks.wifi(engine.lab.limits.fusion_query).await,
        // Asked where it is decided on: it takes a Mac a second to answer.
        lan: Vec::new(),
        fusion: engine.fusion.version.clone(),
        fusion_ui_open: engine.networks.window_open(engine.lab.limits.fusion_query).await?,
    })
}

/// Looks afresh at what a change of Fusion's networks is decided on: a plan's facts may be minutes old.
pub async fn network_facts(engine: &Engine) -> Result<Facts> {
    let limits = &engine.lab.limits;
    let record = networks::record(engine)?;
    let vmnet = record.as_ref().map_or(engine.lab.internal.vmnet, |record| record.vmnet);
    let networking = engine.networks.read()?;
    Ok(Facts {
        network_running: networking.is_some()
            && engine.networks.services_running(engine.lab.internal.vmnet, limits.fusion_query).await?,
        networking,
        network_record: record,
        network_made: networks::made(engine, vmnet)?,
        unfinished: survey::unfinished(&engine.networks)?,
        ..Facts::default()
    })
}

/// Looks at the template alone.
pub async fn template_facts(engine: &Engine) -> Result<TemplateFacts> {
    template(engine, &engine.vms.running().await?, &Layered::of(&engine.fusion))
}

fn template(engine: &Engine, running: &BTreeSet<PathBuf>, layered: &Layered) -> Result<TemplateFacts> {
    let dir = TemplateDir::of(engine);
    let stage = dir.usable(running)?.map(|manifest| manifest.stage);
    Ok(TemplateFacts {
        image_cached: images::cached(engine).is_some(),
        present: files::exists(&dir.root),
        disk_written: stage.is_some(),
        baked: stage >= Some(Stage::Baked),
        frozen: stage == Some(Stage::Frozen),
        hanging: layered.hanging_on(&dir.root),
        key: dir.key,
    })
}

/// Looks at the folder of each node, and at other folders beside them that bear this lab's mark.
fn lab_vms(
    engine: &Engine,
    running: &BTreeSet<PathBuf>,
    layered: &Layered,
) -> Result<BTreeMap<String, VmFacts>> {
    let mut vms = BTreeMap::new();
    let folder = engine.fusion.library.join(&engine.lab.name);
    let bundles = if files::exists(&folder) { files::list(&folder)? } else { Vec::new() };
    for bundle in bundles {
        if let Some(name) = paths::node_in_making(&bundle) {
            let vmx = paths::vmx_of(&engine.bundle(&name));
            let unfinished = VmFacts::new(vmx, VmState::Unfinished);
            // What stands under that name counts for more.
            vms.entry(name).or_insert(unfinished);
            continue;
        }
        let Some(name) = bundle.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else { continue };
        if bundle.extension().is_some_and(|extension| extension == "vmwarevm") {
            let mut vm = vm_facts(&engine.lab.name, &name, &bundle, running)?;
            if vm.state == VmState::Ours {
                vm.hanging = layered.hanging_on(&bundle);
            }
            if engine.lab.node(&name).is_some() || vm.state != VmState::Foreign {
                vms.insert(name, vm);
            }
        }
    }
    Ok(vms)
}

fn vm_facts(lab: &str, node: &str, bundle: &Path, running: &BTreeSet<PathBuf>) -> Result<VmFacts> {
    let vmx = paths::vmx_of(bundle);
    let resolved = files::canonicalize(&vmx).unwrap_or_else(|_| vmx.clone());
    let runs = running.contains(&resolved);
    let mut facts = VmFacts { running: runs, ..VmFacts::new(resolved, VmState::Foreign) };
    if bundle::is_leftover(bundle, lab, node) {
        facts.state = VmState::Unfinished;
    } else if files::exists(&vmx) {
        if let Ok(Some(parsed)) = vmx_file::read(&vmx)
            && bundle::is_marked(&parsed, lab, node)
        {
            facts.state = VmState::Ours;
            facts.spec = parsed.get(names::VMX_SPEC);
            facts.parts = vm::parts(&parsed);
            facts.lost = templates::lost_disks(&facts.vmx, &parsed);
        }
    } else if files::list(bundle)?.len() == files::half_written(bundle)?.len() {
        // A run that was killed as it began to write its first mark leaves no more; the next one that works here sweeps it.
        facts.state = VmState::Absent;
    }
    Ok(facts)
}

/// Returns the MACs of VMs in the library that are not this lab's. One that was copied or moved bears its marks, and is as
/// much in the way as any other.
fn foreign_macs(engine: &Engine) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for (vmx, parsed) in library::vms(&engine.fusion.library) {
        let unfinished = vmx.parent().is_some_and(bundle::is_unfinished);
        let owner = bundle::owner(&engine.fusion.library, &vmx, &parsed);
        let ours = owner.is_some_and(|(lab, _)| lab == engine.lab.name);
        if unfinished || ours {
            continue;
        }
        for card in 0..MAX_CARDS {
            for key in [format!("ethernet{card}.address"), format!("ethernet{card}.generatedAddress")] {
                found.extend(parsed.get(&key).map(|mac| (mac.to_ascii_lowercase(), vmx.clone())));
            }
        }
    }
    Ok(found)
}

/// Asks every machine of the lab at once, whether it runs or not; one that does not answer in time is left out.
pub async fn lab_guests(engine: &Arc<Engine>) -> BTreeMap<String, GuestFacts> {
    ask_guests(engine, engine.lab.nodes.iter().cloned()).await
}

/// Asks every running guest at once; one that does not answer in time is left out.
async fn guests(engine: &Arc<Engine>, vms: &BTreeMap<String, VmFacts>) -> BTreeMap<String, GuestFacts> {
    let runs = |node: &&Node| vms.get(&node.name).is_some_and(|vm| vm.running && vm.state == VmState::Ours);
    ask_guests(engine, engine.lab.nodes.iter().filter(runs).cloned()).await
}

async fn ask_guests(engine: &Arc<Engine>, nodes: impl Iterator<Item = Node>) -> BTreeMap<String, GuestFacts> {
    let one = |node: Node| {
        let engine = engine.clone();
        async move { guest(&engine, &node).await.ok().map(|facts| (node.name, facts)) }
    };
    in_order(nodes, ALL, one).await.into_iter().flatten().collect()
}

/// Asks one guest: one round trip.
pub async fn guest(engine: &Engine, node: &Node) -> Result<GuestFacts> {
    let identity = engine.need_identity()?;
    let files = nodes::files_of(&engine.lab, &identity, node).into_iter().map(|file| file.path);
    let paths: Vec<String> = files.chain([nodes::PENDING.to_owned()]).collect();
    let sent = clock::now_ms();
    let output =
        engine.must_within(node, &questions::guest_command(&paths), engine.lab.limits.guest_command).await?;
    let received = clock::now_ms();
    let mut facts = questions::parse_guest(&output.text()).map_err(|error| EngineError::Guest {
        node: node.name.clone(),
        reason: format!("its facts cannot be read: {error}"),
        tail: tail(&output),
    })?;
    if facts.files.contains_key(nodes::PENDING) {
        // Whatever they hold, the services may go by others: all of it is done again.
        facts.files.clear();
    }
    facts.compare_clock(sent, received);
    engine.identities.note(&node.name, &facts);
    Ok(facts)
}

/// Asks the first control plane that answers; none if none does.
///
/// # Errors
/// [`EngineError::Cluster`] if those that answer say what is not understood.
pub async fn cluster(
    engine: &Arc<Engine>,
    guests: &BTreeMap<String, GuestFacts>,
) -> Result<Option<ClusterFacts>> {
    let has_admin = |node: &&Node| {
        guests.get(&node.name).is_some_and(|guest| guest.kubernetes.iter().any(|file| file == "admin.conf"))
    };
    let candidates: Vec<Node> = engine.lab.control_planes().filter(has_admin).cloned().collect();
    let mut found = Ok(None);
    for node in candidates {
        let ready = engine.run(&node, &kubectl::get_raw("/readyz"), engine.lab.limits.guest_command).await;
        if ready.is_ok_and(|output| output.success()) {
            match cluster_on(engine, &node).await {
                Ok(facts) => return Ok(Some(facts)),
                Err(error @ EngineError::Cluster { .. }) => found = Err(error),
                // It broke off meanwhile, and is as good as silent.
                Err(_) => {}
            }
        }
    }
    found
}

/// Asks all of the cluster's questions on one control plane, one after the other.
pub async fn cluster_on(engine: &Engine, node: &Node) -> Result<ClusterFacts> {
    ask_cluster(engine, node, |_| true).await
}

/// Asks those of the cluster's questions that are wanted; what is not asked is as if there were nothing.
pub async fn ask_cluster(
    engine: &Engine,
    node: &Node,
    wanted: impl Fn(Question) -> bool,
) -> Result<ClusterFacts> {
    let mut answers = BTreeMap::new();
    for (question, command) in questions::cluster_commands() {
        if !wanted(question) {
            continue;
        }
        let output = engine.run(node, &command, engine.lab.limits.guest_command).await?;
        if output.success() {
            answers.insert(question, output.text());
        }
    }
    questions::parse_cluster(&node.name, &answers).map_err(|error| {
        let reason = format!("{}: the cluster's state cannot be read: {error}", node.name);
        EngineError::cluster(reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Bench, Machines};

    fn marked(lab: &str, node: &str) -> String {
        let (of, name, spec) = (names::VMX_LAB, names::VMX_NODE, names::VMX_SPEC);
        format!("config.version = \"8\"\n{of} = \"{lab}\"\n{name} = \"{node}\"\n{spec} = \"abc\"\n")
    }

    #[tokio::test]
    async fn on_an_empty_mac_nothing_is_seen() {
        let bench = Bench::new(Machines::default());
        let facts = facts(&bench.engine).await.unwrap();
        assert!(facts.vms.is_empty() && facts.guests.is_empty() && facts.cluster.is_none());
        assert!(!facts.identity && !facts.network_running && facts.networking.is_none());
        assert!(!facts.template.image_cached && !facts.template.disk_written && !facts.template.frozen);
    }

    #[tokio::test]
    async fn a_vm_is_ours_by_its_marks_alone() {
        let bench = Bench::new(Machines::default());
        let engine = &bench.engine;
        bench.file(&engine.vmx("gateway1"), &marked("lab", "gateway1"));
        // The folder was renamed, or the VM copied: the mark names another node.
        bench.file(&engine.vmx("gateway2"), &marked("lab", "gateway1"));
        bench.file(&engine.vmx("k8s-master1"), &marked("other", "k8s-master1"));
        bench.file(&engine.vmx("k8s-master2"), "config.version = \"8\"\n");
        bundle::begin(&engine.bundle("k8s-master3"), "lab", "k8s-master3", bundle::Place::Final).unwrap();
        files::create_dir(&engine.bundle("k8s-worker1")).unwrap();
        bench.file(&engine.bundle("k8s-worker1").join(".fusionlab-Ab3dE6"), "half a ma");
        bench.file(&engine.bundle("k8s-worker2").join("holiday.jpg"), "");
        // No node of the lab file (any more), but of this lab; and one of nobody's.
        bench.file(&engine.vmx("k8s-worker9"), &marked("lab", "k8s-worker9"));
        bench.file(&engine.vmx("stranger"), "config.version = \"8\"\n");
        bench.machines.run(&engine.vmx("gateway1"));
        let facts = facts(engine).await.unwrap();
        let states: Vec<_> = facts.vms.iter().map(|(name, vm)| (name.as_str(), vm.state)).collect();
        assert_eq!(
            states,
            [
                ("gateway1", VmState::Ours),
                ("gateway2", VmState::Foreign),
                ("k8s-master1", VmState::Foreign),
                ("k8s-master2", VmState::Foreign),
                ("k8s-master3", VmState::Unfinished),
                ("k8s-worker1", VmState::Absent),
                ("k8s-worker2", VmState::Foreign),
                ("k8s-worker9", VmState::Ours),
            ]
        );
        let gateway = &facts.vms["gateway1"];
        assert!(gateway.running && !facts.vms["k8s-worker9"].running);
        assert_eq!(gateway.spec.as_deref(), Some("abc"));
        assert!(facts.guests.is_empty(), "a guest that does not answer is left out");
    }

    #[tokio::test]
    async fn others_macs_are_found_one_folder_deep_and_ours_are_not_others() {
        let bench = Bench::new(Machines::default());
        let library = bench.engine.fusion.library.clone();
        let card = |text: &str, mac: &str| format!("{text}ethernet0.address = \"{mac}\"\n");
        let theirs = library.join("windows.vmwarevm/windows.vmx");
        bench.file(&theirs, "ethernet1.generatedAddress = \"00:0C:29:AA:BB:CC\"\n");
        let deeper = library.join("work/web.vmwarevm/web.vmx");
        bench.file(&deeper, &card("", "00:50:56:00:00:01"));
        bench.file(&bench.engine.vmx("gateway1"), &card(&marked("lab", "gateway1"), "00:50:56:25:11:00"));
        // Somebody has made a copy of one of ours.
        let copy = library.join("lab/gateway1 copy.vmwarevm/gateway1.vmx");
        bench.file(&copy, &card(&marked("lab", "gateway1"), "00:50:56:25:11:00"));
        let mut found = facts(&bench.engine).await.unwrap().host.foreign_macs;
        found.sort();
        let expected =
            [("00:0c:29:aa:bb:cc", theirs), ("00:50:56:00:00:01", deeper), ("00:50:56:25:11:00", copy)];
        assert_eq!(found, expected.map(|(mac, vmx)| (mac.to_owned(), vmx)));
    }

    #[tokio::test]
    async fn a_template_that_bakes_is_no_stranger() {
        let bench = Bench::new(Machines::default());
        bench.machines.run(&TemplateDir::of(&bench.engine).vmx());
        bench.machine("gateway1");
        bench.machines.run(&bench.engine.vmx("gateway1"));
        let running = facts(&bench.engine).await.unwrap().host.running;
        assert_eq!(running, [bench.engine.vmx("gateway1")]);
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_is_named() {
        let bench = Bench::new(Machines::default());
        bench.file(&bench.engine.dir.network_record(), "{");
        let error = facts(&bench.engine).await.unwrap_err().to_string();
        assert!(error.contains("network.json") && error.contains("not a network record"), "{error}");
    }
}
