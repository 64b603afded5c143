//! What must hold whatever happens: others' things as they were, one of each of ours, nothing secret told, nothing left.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use fusionlab::engine::error::EngineError;
use fusionlab::host::{HostError, lock};
use fusionlab::lab::paths;
use fusionlab::sim::control::{self, Request};
use fusionlab::sim::inside::WITNESS;
use fusionlab::sim::seam::Segment;
use sha2::{Digest, Sha256};

use super::mac::{Mac, Verb};
use super::secrets;

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
    networking: Vec<u8>,
    /// Everything in the library, by its digest.
    library: BTreeMap<PathBuf, String>,
    running: RefCell<BTreeSet<PathBuf>>,
    /// The cluster's authority, once there is one.
    authority: RefCell<Option<Vec<u8>>>,
    /// How much of the trace has been looked at.
    seen: RefCell<usize>,
    /// Our lines of the networking file after the last verb, unless a change was left in the middle.
    ours: RefCell<Option<Vec<Vec<u8>>>>,
}

impl Before {
    pub fn of(mac: &Mac) -> Self {
        Self {
            networking: networking(mac),
            library: library(mac),
            running: RefCell::new(mac.inside.machines().into_iter().map(|machine| machine.vmx).collect()),
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

    /// A `destroy` has come to its end, perhaps.
    pub fn lab_may_be_gone(&self) {
        self.authority.take();
    }

    /// Whatever was done, and however it ended.
    pub fn still_holds(&self, mac: &Mac, verb: Verb) -> Found {
        let (was, is) = (foreign(&self.networking), foreign(&networking(mac)));
        if was != is {
            return Err(Violation::of("networking file", difference(&was, &is)));
        }
        self.others_are_untouched(mac)?;
        one_of_each(mac)?;
        self.looks_at_the_trace(mac)?;
        secrets::are_kept(mac)?;
        journal_is_readable(mac)?;
        self.all_is_claimed(mac)?;
        self.ours.replace((!pending(mac).exists()).then(|| ours(&networking(mac))));
        self.authority_stays(mac, verb)
    }

    /// After a verb that says that all is well.
    pub fn after_success(&self, mac: &Mac, verb: Verb) -> Found {
        match verb {
            Verb::Up => self.lab_is_whole(mac),
            Verb::Destroy => self.is_back(mac),
            Verb::Verify => Ok(()),
        }
    }

    /// After an `up` that says that it failed: what it says of the networks is so.
    pub fn after_failure(&self, mac: &Mac, verb: Verb, error: &EngineError) -> Found {
        let known = self.ours.borrow();
        let (Some(before), Verb::Up, true) = (&*known, verb, says_restored(error)) else { return Ok(()) };
        let now = ours(&networking(mac));
        if *before == now { Ok(()) } else { Err(Violation::of("put back", difference(before, &now))) }
    }

    /// After an `up` that says that the lab is up.
    pub fn lab_is_whole(&self, mac: &Mac) -> Found {
        if pending(mac).exists() {
            return Err(Violation::of("nothing under way", pending(mac).display()));
        }
        let vip = mac.lab.lan.vip;
        let holders = mac.inside.machines().into_iter().filter(|machine| {
            machine.holds.iter().any(|(segment, address)| *segment == Segment::Lan && *address == vip)
        });
        let holders: Vec<PathBuf> = holders.map(|machine| machine.vmx).collect();
        if holders.len() != 1 {
            return Err(Violation::of("one holder of the VIP", format!("{holders:?}")));
        }
        Ok(())
    }

    /// After a `destroy` that says that the lab is gone.
    pub fn is_back(&self, mac: &Mac) -> Found {
        self.others_are_untouched(mac)?;
        let now = networking(mac);
        if now != self.networking {
            return Err(Violation::of("world as before", difference(&lines(&self.networking), &lines(&now))));
        }
        let left: Vec<PathBuf> =
            library(mac).into_keys().filter(|path| !self.library.contains_key(path)).collect();
        if !left.is_empty() {
            return Err(Violation::of("nothing left", format!("{left:?}")));
        }
        let home = &mac.home;
        let backups = home.network().join("backups");
        let kept = [home.sim(), home.templates(), home.images(), home.locks(), backups];
        let is_left =
            |path: &PathBuf| is_temporary(path) || !kept.iter().any(|folder| path.starts_with(folder));
        let files = everything(&home.0).into_iter().filter(|path| !path.is_dir());
        let left: Vec<PathBuf> = files.filter(is_left).collect();
        let folder = home.lab(&mac.lab.name).root().to_owned();
        if !left.is_empty() || folder.exists() {
            return Err(Violation::of("nothing left", format!("{left:?} in {}", folder.display())));
        }
        for path in everything(&mac.home.locks()) {
            if lock::holder(&path).is_ok_and(|holder| holder.is_some()) {
                return Err(Violation::of("nothing left", format!("{} is held", path.display())));
            }
        }
        Ok(())
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
    fn looks_at_the_trace(&self, mac: &Mac) -> Found {
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
        let dir = mac.home.lab(&mac.lab.name);
        let journal = fs::read(dir.journal()).unwrap_or_default();
        let journal = String::from_utf8_lossy(&journal);
        for bundle in fs::read_dir(mac.fusion.library.join(&mac.lab.name)).into_iter().flatten().flatten() {
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
        if !ours(&networking(mac)).is_empty() && !dir.network_record().exists() {
            return Err(Violation::of(
                "claimed",
                "our lines are in the networking file, and not in the record",
            ));
        }
        Ok(())
    }

    /// The authority is the same from the moment on that there is one, until the lab is gone.
    fn authority_stays(&self, mac: &Mac, verb: Verb) -> Found {
        let now = fs::read(mac.home.lab(&mac.lab.name).identity().join("ca.crt")).ok();
        let mut known = self.authority.borrow_mut();
        match (&*known, &now) {
            (Some(before), Some(now)) if before != now => {
                Err(Violation::of("same authority", "it is another"))
            }
            (Some(_), None) if verb != Verb::Destroy => Err(Violation::of("same authority", "it is gone")),
            _ => {
                *known = now;
                Ok(())
            }
        }
    }
}

fn networking(mac: &Mac) -> Vec<u8> {
    fs::read(mac.fusion.networking()).unwrap_or_default()
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// The record of a change of networks that is under way.
fn pending(mac: &Mac) -> PathBuf {
    mac.home.network().join("pending.json")
}

fn power_was_cut(mac: &Mac) -> bool {
    mac.inside.trace().iter().any(|(_, text)| text == "the Mac loses power")
}

/// Says whether an error says that Fusion's networks were put back.
fn says_restored(error: &EngineError) -> bool {
    match error {
        EngineError::Host(HostError::Network { restored, .. }) => *restored,
        EngineError::Steps { failures, .. } => failures.iter().any(|failure| says_restored(&failure.error)),
        _ => false,
    }
}

/// Returns a key that is said of the lab's network, or nothing.
fn key_of_ours(line: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(line);
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["answer", key, ..] if key.starts_with("VNET_2_") => Some((*key).to_owned()),
        [order @ "add_dhcp_mac_to_ip", "2", ..] => Some((*order).to_owned()),
        _ => None,
    }
}

/// Returns the lines that say how the lab's network is to be; Fusion's own notes of it are none.
fn ours(bytes: &[u8]) -> Vec<Vec<u8>> {
    let is_wish = |line: &Vec<u8>| key_of_ours(line).is_some_and(|key| !key.ends_with("_HASH"));
    let mut kept: Vec<_> = lines(bytes).into_iter().filter(is_wish).collect();
    kept.iter_mut().for_each(|line| line.retain(|byte| *byte != b'\r'));
    kept.sort();
    kept
}

/// Returns the lines that are not about the lab's network.
fn foreign(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut kept = lines(bytes);
    kept.retain(|line| key_of_ours(line).is_none());
    // The last line's end comes and goes with what follows it.
    while kept.last().is_some_and(|line| line.iter().all(u8::is_ascii_whitespace)) {
        kept.pop();
    }
    if let Some(last) = kept.last_mut() {
        last.retain(|byte| *byte != b'\r');
    }
    kept
}

fn difference(was: &[Vec<u8>], is: &[Vec<u8>]) -> String {
    let show = |line: &Vec<u8>| String::from_utf8_lossy(line).into_owned();
    let gone: Vec<String> = was.iter().filter(|line| !is.contains(line)).map(show).collect();
    let new: Vec<String> = is.iter().filter(|line| !was.contains(line)).map(show).collect();
    format!("gone: {gone:?}, new: {new:?}, lines {} and {}", was.len(), is.len())
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
        // A VMX is written by Fusion, too.
        let digest = if path.extension().is_some_and(|ending| ending == "vmx") && bytes.len() > 600 {
            String::new()
        } else {
            hex::encode(Sha256::digest(&bytes))
        };
        (path, digest)
    })
    .collect()
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
fn journal_is_readable(mac: &Mac) -> Found {
    let text = fs::read(mac.home.lab(&mac.lab.name).journal()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    for line in text.lines() {
        if line.rfind("{\"version\"").is_some_and(|begins| begins > 0) {
            return Err(Violation::of("journal", format!("two records in one line: {line}")));
        }
    }
    Ok(())
}
