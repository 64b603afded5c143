//! What must hold whatever happens: others' things as they were, one of each of ours, nothing secret told, nothing left.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use fusionlab::host::lock;
use fusionlab::lab::Lab;
use fusionlab::sim::control::{self, Request};
use fusionlab::sim::inside::WITNESS;
use fusionlab::sim::seam::Segment;
use sha2::{Digest, Sha256};

use super::mac::{Mac, Verb};
use super::networking::Others;

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
    /// The cluster's authority, once there is one.
    authority: RefCell<Option<Vec<u8>>>,
    /// How much of the trace has been looked at.
    seen: RefCell<usize>,
}

impl Before {
    pub fn of(mac: &Mac) -> Self {
        Self {
            networking: Others::of(mac),
            library: library(mac),
            running: RefCell::new(mac.inside.machines().into_iter().map(|machine| machine.vmx).collect()),
            authority: RefCell::default(),
            seen: RefCell::default(),
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
        self.networking.still_hold(mac)?;
        self.others_are_untouched(mac)?;
        one_of_each(mac)?;
        self.nobody_asked_in_vain(mac)?;
        nothing_secret_is_told(mac)?;
        journal_is_readable(mac)?;
        self.authority_stays(mac, verb)
    }

    /// After a verb that says that all is well.
    pub fn after_success(&self, mac: &Mac, lab: &Lab, verb: Verb) -> Found {
        match verb {
            Verb::Up => lab_is_whole(mac, lab),
            Verb::Destroy if mac.second().is_none() => self.is_back(mac),
            Verb::NetworkRestore if mac.second().is_none() => self.networking.is_back(mac),
            Verb::Drill if mac.home.lab(&lab.name).drill().exists() => {
                Err(Violation::of("put back", "what the drill broke is not"))
            }
            _ => Ok(()),
        }
    }

    /// After a `destroy` that says that the lab is gone.
    pub fn is_back(&self, mac: &Mac) -> Found {
        self.networking.is_back(mac)?;
        let left: Vec<PathBuf> =
            library(mac).into_keys().filter(|path| !self.library.contains_key(path)).collect();
        if !left.is_empty() {
            return Err(Violation::of("nothing left", format!("{left:?}")));
        }
        for lab in mac.labs() {
            let dir = mac.home.lab(&lab.name);
            if dir.root().exists() {
                return Err(Violation::of("nothing left", dir.root().display()));
            }
        }
        let temporary: Vec<PathBuf> =
            everything(&mac.home.0).into_iter().filter(|path| is_temporary(path)).collect();
        if !temporary.is_empty() {
            return Err(Violation::of("nothing left", format!("{temporary:?}")));
        }
        for path in everything(&mac.home.locks()) {
            if lock::holder(&path).is_ok_and(|holder| holder.is_some()) {
                return Err(Violation::of("nothing left", format!("{} is held", path.display())));
            }
        }
        self.others_are_untouched(mac)
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
        let lost = ["the Mac loses power", "the Mac is started anew"];
        let power_was_cut = mac.inside.trace().iter().any(|(_, text)| lost.contains(&text.as_str()));
        let running: BTreeSet<PathBuf> =
            mac.inside.machines().into_iter().map(|machine| machine.vmx).collect();
        match self.running.borrow().iter().find(|vmx| !running.contains(*vmx)) {
            Some(vmx) if !power_was_cut => {
                Err(Violation::of("others' VMs", format!("{} does not run any more", vmx.display())))
            }
            _ => Ok(()),
        }
    }

    fn nobody_asked_in_vain(&self, mac: &Mac) -> Found {
        let trace = mac.inside.trace();
        let from = self.seen.replace(trace.len());
        match trace[from.min(trace.len())..].iter().find(|(_, text)| text.starts_with(WITNESS)) {
            Some((_, text)) => Err(Violation::of("one of each", text)),
            None => Ok(()),
        }
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

/// After an `up` that says that a lab is up.
pub fn lab_is_whole(mac: &Mac, lab: &Lab) -> Found {
    let holders = mac.inside.machines().into_iter().filter(|machine| {
        machine.holds.iter().any(|(segment, address)| *segment == Segment::Lan && *address == lab.lan.vip)
    });
    let holders: Vec<PathBuf> = holders.map(|machine| machine.vmx).collect();
    if holders.len() == 1 {
        Ok(())
    } else {
        Err(Violation::of("one holder of the VIP", format!("{holders:?}")))
    }
}

/// Returns every file below a folder.
pub fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_temporary(path: &Path) -> bool {
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

/// Returns what nobody may be told: the lab's private keys, by a line of each, and its token.
fn secrets(mac: &Mac) -> Vec<(String, String)> {
    let folder = mac.home.lab(&mac.lab.name).identity();
    let mut found = Vec::new();
    for path in everything(&folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
        let is_key = text.contains("PRIVATE KEY-----");
        if name == "token" {
            found.push((name, text.trim().to_owned()));
        } else if is_key && let Some(line) = text.lines().nth(2).filter(|line| line.len() > 20) {
            found.push((name, line.to_owned()));
        }
    }
    found
}

fn nothing_secret_is_told(mac: &Mac) -> Found {
    let secrets = secrets(mac);
    let told = mac.told.lock().expect("nobody panics with it").join("\n");
    let lab = mac.home.lab(&mac.lab.name);
    let sim = mac.home.sim();
    let is_public = |path: &PathBuf| {
        !path.starts_with(lab.identity())
            && !path.starts_with(lab.identity().with_extension("new"))
            && !path.starts_with(&sim)
            && !path.starts_with(mac.home.templates())
            && *path != lab.kubeconfig()
            && !is_temporary(path)
    };
    let files = everything(&mac.home.0).into_iter().filter(is_public);
    let texts = files.map(|path| {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
        (path.display().to_string(), text)
    });
    let texts: Vec<(String, String)> = texts.chain([("what was told".to_owned(), told)]).collect();
    for (name, secret) in secrets.iter().filter(|(_, secret)| !secret.is_empty()) {
        if let Some((place, _)) = texts.iter().find(|(_, text)| text.contains(secret.as_str())) {
            return Err(Violation::of("secrets", format!("{name} is in {place}")));
        }
    }
    Ok(())
}

/// No record was lost: a crash may tear one, and what follows begins on a line of its own.
fn journal_is_readable(mac: &Mac) -> Found {
    let text = fs::read(mac.home.lab(&mac.lab.name).journal()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    for line in text.lines() {
        let broken = serde_json::from_str::<serde_json::Value>(line).is_err();
        if broken && line.matches("\"version\"").count() > 1 {
            return Err(Violation::of("journal", format!("two records in one line: {line}")));
        }
    }
    Ok(())
}
