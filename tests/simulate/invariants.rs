//! What must hold whatever happens: others' things as they were, one of each of ours, nothing secret told, nothing left.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use fusionlab::engine::error::EngineError;
use fusionlab::engine::images::templates::{self, Template};
use fusionlab::host::{Aftermath, HostError, lock};
use fusionlab::lab::{Lab, Network, Node, paths};
use fusionlab::sim::control::{self, Request};
use fusionlab::sim::inside::WITNESS;
use fusionlab::sim::seam::Segment;
use sha2::{Digest, Sha256};

use super::mac::{Mac, Verb};
use super::networking::{self, Others, difference};
use super::{secrets, users};

/// What the keys of a VMX have in their names that Fusion writes by itself, in small letters.
const FUSIONS: [&str; 6] =
    ["uuid.", "generatedaddress", "pcislotnumber", "cleanshutdown", "softpoweroff", "vmotion."];

/// Something that must never be.
#[derive(Debug)]
pub struct Violation {
    pub rule: &'static str,
    pub what: String,
}

impl Violation {
    pub fn of(rule: &'static str, what: impl fmt::Display) -> Self {
        Self { rule, what: what.to_string() }
    }
}

pub type Found = Result<(), Violation>;

/// The Mac before fusionlab came.
pub struct Before {
    networking: Others,
    /// Everything in the library, by its digest.
    library: BTreeMap<PathBuf, String>,
    running: RefCell<BTreeSet<PathBuf>>,
    /// What ran of Fusion's networks.
    services: BTreeMap<u8, [bool; 3]>,
    /// The Mac's user's kubeconfig.
    kubeconfig: Vec<u8>,
    /// Each cluster's authority, once there is one, by its lab's name.
    authority: RefCell<BTreeMap<String, Vec<u8>>>,
    /// How much of the trace has been looked at.
    seen: RefCell<usize>,
    /// Our lines of the networking file after the last verb, unless a change was left in the middle.
    ours: RefCell<Option<Vec<Vec<u8>>>>,
}

impl Before {
    pub fn of(mac: &Mac) -> Self {
        Self {
            networking: Others::of(mac),
            library: library(mac),
            running: RefCell::new(mac.inside.machines().into_iter().map(|machine| machine.vmx).collect()),
            services: services(mac),
            kubeconfig: users::has_other_clusters(mac),
            authority: RefCell::default(),
            seen: RefCell::new(mac.inside.trace().len()),
            ours: RefCell::new(Some(Vec::new())),
        }
    }

    /// Somebody who runs VMs beside ours shuts them down.
    pub async fn strangers_shut_down(&self, mac: &Mac) {
        for vmx in self.running.take() {
            let stop = Request::Stop { vmx, soft: false };
            control::ask(&mac.inside.places, &stop).await.expect("the world answers");
        }
    }

    /// A `destroy` of a lab has come to its end, perhaps.
    pub fn lab_may_be_gone(&self, lab: &Lab) {
        self.authority.borrow_mut().remove(&lab.name);
    }

    /// Whatever was done, and however it ended.
    pub fn still_holds(&self, mac: &Mac, lab: &Lab, verb: Verb) -> Found {
        self.networking.still_hold(mac)?;
        self.others_are_untouched(mac)?;
        one_of_each(mac)?;
        self.looks_at_the_trace(mac)?;
        secrets::are_kept(mac)?;
        journals_are_readable(mac)?;
        self.all_is_claimed(mac)?;
        self.ours.replace((!pending(mac).exists()).then(|| networking::ours(mac)));
        users::keep_their_clusters(mac, &self.kubeconfig)?;
        mac.labs().try_for_each(|one| self.authority_stays(mac, one, verb.destroys() && one.name == lab.name))
    }

    /// After a verb that says that all is well.
    pub fn after_success(&self, mac: &Mac, lab: &Lab, verb: Verb) -> Found {
        match verb {
            Verb::Up => lab_is_whole(mac, lab),
            Verb::Destroy | Verb::DestroyAll if mac.second().is_none() => self.is_back(mac),
            Verb::NetworkRestore if mac.second().is_none() => self.networking.is_back(mac),
            Verb::Drill if mac.home.lab(&lab.name).drill().exists() => {
                Err(Violation::of("put back", "what the drill broke is not"))
            }
            Verb::KubeconfigMerge => users::have_the_lab(mac, lab),
            Verb::TemplatePrune => nothing_is_unused(mac),
            _ => Ok(()),
        }
    }

    /// After an `up` that says that it failed: what it says of the networks is so, unless somebody else wrote meanwhile.
    pub fn after_failure(&self, mac: &Mac, verb: Verb, error: &EngineError) -> Found {
        let known = self.ours.borrow();
        let is_said = verb == Verb::Up && says_restored(error) && !mac.inside.was_rewritten();
        let (Some(before), true) = (&*known, is_said) else { return Ok(()) };
        let now = networking::ours(mac);
        if *before == now { Ok(()) } else { Err(Violation::of("put back", difference(before, &now))) }
    }

    /// After a `destroy` that says that the lab is gone.
    pub fn is_back(&self, mac: &Mac) -> Found {
        self.networking.is_back(mac)?;
        self.others_are_untouched(mac)?;
        // Also what was told until then.
        secrets::are_kept(mac)?;
        let left: Vec<PathBuf> =
            library(mac).into_keys().filter(|path| !self.library.contains_key(path)).collect();
        if !left.is_empty() {
            return Err(Violation::of("nothing left", format!("{left:?}")));
        }
        let home = &mac.home;
        let backups = home.network().join("backups");
        let kept = [home.sim(), home.templates(), home.images(), home.locks(), home.0.join("runs"), backups];
        let is_left =
            |path: &PathBuf| is_temporary(path) || !kept.iter().any(|folder| path.starts_with(folder));
        let files = everything(&home.0).into_iter().filter(|path| !path.is_dir());
        let mut left: Vec<PathBuf> = files.filter(is_left).collect();
        let folders = mac.labs().map(|lab| home.lab(&lab.name).root().to_owned());
        left.extend(folders.filter(|folder| folder.exists()));
        if !left.is_empty() {
            return Err(Violation::of("nothing left", format!("{left:?}")));
        }
        users::have_no_lab(mac, &self.kubeconfig)?;
        self.runs_as_before(mac)?;
        for path in everything(&mac.home.locks()) {
            if lock::holder(&path).is_ok_and(|holder| holder.is_some()) {
                return Err(Violation::of("nothing left", format!("{} is held", path.display())));
            }
        }
        Ok(())
    }

    /// No machine runs that did not before, and Fusion's networks run as before, unless their power was cut or somebody
    /// else has changed them since.
    fn runs_as_before(&self, mac: &Mac) -> Found {
        let ours =
            mac.inside.machines().into_iter().find(|machine| !self.running.borrow().contains(&machine.vmx));
        if let Some(machine) = ours {
            return Err(Violation::of("nothing left", format!("{} runs", machine.vmx.display())));
        }
        let now = services(mac);
        if now == self.services || power_was_cut(mac) || !self.networking.is_original(mac) {
            return Ok(());
        }
        Err(Violation::of("world as before", format!("of networks ran {:?}, and now {now:?}", self.services)))
    }

    fn others_are_untouched(&self, mac: &Mac) -> Found {
        let now = library(mac);
        for (path, digest) in &self.library {
            match now.get(path) {
                Some(other) if other == digest => {}
                Some(_) => return Err(Violation::of("others' VMs", format!("{} changed", path.display()))),
                None => return Err(Violation::of("others' VMs", format!("{} is gone", path.display()))),
            }
        }
        let running: BTreeSet<PathBuf> =
            mac.inside.machines().into_iter().map(|machine| machine.vmx).collect();
        match self.running.borrow().iter().find(|vmx| !running.contains(*vmx)) {
            Some(vmx) if !power_was_cut(mac) => {
                Err(Violation::of("others' VMs", format!("{} does not run any more", vmx.display())))
            }
            _ => Ok(()),
        }
    }

    /// Nobody asked for what must not be, and no network was stopped under others' VMs.
    pub fn looks_at_the_trace(&self, mac: &Mac) -> Found {
        let trace = mac.inside.trace();
        let from = self.seen.replace(trace.len());
        let new = || trace[from.min(trace.len())..].iter().map(|(_, text)| text);
        if let Some(text) = new().find(|text| text.starts_with(WITNESS)) {
            return Err(Violation::of("never asked for", text));
        }
        let others_run = !self.running.borrow().is_empty() && !power_was_cut(mac);
        match new().find(|text| text.starts_with("vmnet-cli --stop")) {
            Some(text) if others_run => Err(Violation::of("others' VMs", format!("cut off: {text}"))),
            _ => Ok(()),
        }
    }

    /// Whatever there is of ours has its name on the disk, so that it is known for ours whatever came between: a VM, or
    /// half of one, in the journal; our lines of the networking file in the lab's record.
    fn all_is_claimed(&self, mac: &Mac) -> Found {
        for lab in mac.labs() {
            let journal = fs::read(mac.home.lab(&lab.name).journal()).unwrap_or_default();
            let journal = String::from_utf8_lossy(&journal);
            for bundle in fs::read_dir(mac.fusion.library.join(&lab.name)).into_iter().flatten().flatten() {
                let bundle = bundle.path();
                let name = paths::node_in_making(&bundle)
                    .or_else(|| Some(bundle.file_name()?.to_str()?.strip_suffix(".vmwarevm")?.to_owned()));
                let Some(name) = name.filter(|_| !self.library.keys().any(|path| path.starts_with(&bundle)))
                else {
                    continue;
                };
                if !journal.contains(&format!("\"vm.clone/{name}\"")) {
                    return Err(Violation::of("claimed", format!("the journal says nothing of {name}")));
                }
            }
        }
        for vmnet in mac.labs().map(|lab| lab.internal.vmnet) {
            let mut on_it = mac.labs().filter(|lab| lab.internal.vmnet == vmnet);
            let is_recorded = on_it.any(|lab| mac.home.lab(&lab.name).network_record().exists());
            if !networking::of_network(mac, vmnet).is_empty() && !is_recorded {
                let what =
                    format!("our lines of vmnet{vmnet} are in the networking file, and not in the record");
                return Err(Violation::of("claimed", what));
            }
        }
        Ok(())
    }

    /// The authority is the same from the moment on that there is one, until the lab is gone.
    fn authority_stays(&self, mac: &Mac, lab: &Lab, may_be_gone: bool) -> Found {
        let now = fs::read(mac.home.lab(&lab.name).identity().join("ca.crt")).ok();
        let mut known = self.authority.borrow_mut();
        match (known.get(&lab.name), now) {
            (Some(before), Some(now)) if *before != now => {
                Err(Violation::of("same authority", format!("{}'s is another", lab.name)))
            }
            (Some(_), None) if !may_be_gone => {
                Err(Violation::of("same authority", format!("{}'s is gone", lab.name)))
            }
            (_, Some(now)) => {
                known.insert(lab.name.clone(), now);
                Ok(())
            }
            (_, None) => {
                known.remove(&lab.name);
                Ok(())
            }
        }
    }
}

/// The record of a change of networks that is under way.
fn pending(mac: &Mac) -> PathBuf {
    mac.home.network().join("pending.json")
}

fn power_was_cut(mac: &Mac) -> bool {
    let lost = ["the Mac loses power", "the Mac is started anew"];
    mac.inside.trace().iter().any(|(_, text)| lost.contains(&text.as_str()))
}

/// After an `up` that says that a lab is up.
pub fn lab_is_whole(mac: &Mac, lab: &Lab) -> Found {
    if pending(mac).exists() {
        return Err(Violation::of("nothing under way", pending(mac).display()));
    }
    let machines = mac.inside.machines();
    let bundle = |node: &Node| paths::vm_bundle(&mac.fusion.library, &lab.name, &node.name);
    let internal = || Segment::Vmnet(lab.internal.vmnet);
    let gateways: Vec<PathBuf> = lab.gateways().map(bundle).collect();
    let vips =
        [(Segment::Lan, lab.lan.vip), (internal(), lab.internal.vip)].map(|vip| (vip, gateways.clone()));
    let segment = |network: Network| match network {
        Network::Lan => Segment::Lan,
        Network::Internal => internal(),
    };
    let cards = lab.nodes.iter().flat_map(|node| node.nics.iter().map(move |nic| (node, nic)));
    let own = cards.map(|(node, nic)| ((segment(nic.network), nic.address), vec![bundle(node)]));
    for (address, may_hold) in vips.into_iter().chain(own) {
        let holders: Vec<&PathBuf> =
            machines.iter().filter(|one| one.holds.contains(&address)).map(|one| &one.vmx).collect();
        let is_held = matches!(&*holders, [vmx] if may_hold.iter().any(|bundle| vmx.starts_with(bundle)));
        if !is_held {
            let what = format!("{} on {:?} is held by {holders:?}", address.1, address.0);
            return Err(Violation::of("one holder", what));
        }
    }
    Ok(())
}

/// What runs of Fusion's networks.
fn services(mac: &Mac) -> BTreeMap<u8, [bool; 3]> {
    mac.inside.services().expect("the networks' state can be read")
}

/// After a `template prune`.
fn nothing_is_unused(mac: &Mac) -> Found {
    let templates = templates::list(&mac.home, &mac.fusion).expect("templates can be listed");
    match templates.into_iter().find(Template::is_unused) {
        Some(template) => {
            Err(Violation::of("nothing left", format!("template {} is unused", template.dir.key)))
        }
        None => Ok(()),
    }
}

/// Says whether an error says that Fusion's networks were put back.
fn says_restored(error: &EngineError) -> bool {
    match error {
        EngineError::Host(HostError::Network { after, .. }) => *after != Aftermath::Unsettled,
        EngineError::Steps { failures, .. } => failures.iter().any(|failure| says_restored(&failure.error)),
        _ => false,
    }
}

/// Returns every file below a folder, and every folder with nothing in it.
pub fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let paths: Vec<PathBuf> =
            fs::read_dir(&next).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        if paths.is_empty() && next != folder {
            found.push(next);
        }
        for path in paths {
            let is_folder = path.is_dir() && !path.is_symlink();
            if is_folder { &mut folders } else { &mut found }.push(path);
        }
    }
    found.sort();
    found
}

pub fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix(".fusionlab-").is_some_and(|rest| rest.len() == 6)
}

/// Returns the files of the library but for what Fusion itself writes beside a VM that runs, and ours.
fn library(mac: &Mac) -> BTreeMap<PathBuf, String> {
    let is_lasting = |path: &PathBuf| {
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        !["log", "lck", "nvram", "vmem"].contains(&ending.as_str())
            && !path.components().any(|part| part.as_os_str().to_string_lossy().ends_with(".lck"))
    };
    let all = everything(&mac.fusion.library).into_iter().filter(is_lasting);
    all.map(|path| {
        let bytes = fs::read(&path).unwrap_or_default();
        let is_vmx = path.extension().is_some_and(|ending| ending == "vmx");
        let bytes = if is_vmx { without_fusions(&bytes) } else { bytes };
        (path, hex::encode(Sha256::digest(&bytes)))
    })
    .collect()
}

/// Returns a VMX without the lines that Fusion writes when the VM starts and ends.
fn without_fusions(vmx: &[u8]) -> Vec<u8> {
    let is_fusions = |line: &&[u8]| {
        let line = String::from_utf8_lossy(line).to_lowercase();
        FUSIONS.iter().any(|part| line.split('=').next().is_some_and(|key| key.contains(part)))
    };
    vmx.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_fusions(line)).collect::<Vec<_>>().concat()
}

/// Never two machines with one MAC, nor two that hold one address.
fn one_of_each(mac: &Mac) -> Found {
    let (mut macs, mut addresses) = (BTreeMap::new(), BTreeMap::new());
    for machine in mac.inside.machines() {
        for card in &machine.macs {
            if let Some(other) = macs.insert(*card, machine.vmx.clone()) {
                return Err(Violation::of("one of each", format!("{card}: {other:?}, {:?}", machine.vmx)));
            }
        }
        for (segment, address) in &machine.holds {
            let key = (format!("{segment:?}"), *address);
            if let Some(other) = addresses.insert(key, machine.vmx.clone()) {
                return Err(Violation::of("one of each", format!("{address}: {other:?}, {:?}", machine.vmx)));
            }
        }
    }
    Ok(())
}

/// No record was lost: a crash may tear one, and what follows begins on a line of its own.
fn journals_are_readable(mac: &Mac) -> Found {
    let dirs = mac.labs().flat_map(|lab| [mac.home.lab(&lab.name), mac.home.runs(&lab.name)]);
    for path in dirs.map(|dir| dir.journal()) {
        let text = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        for line in text.lines() {
            if line.rfind("{\"version\"").is_some_and(|begins| begins > 0) {
                return Err(Violation::of("journal", format!("two records in one line: {line}")));
            }
        }
    }
    Ok(())
}
