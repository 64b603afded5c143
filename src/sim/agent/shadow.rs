//! The shadow's disk and memory follow the guest's, and its changes are found, so that they can be written there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::Dialler;
use super::protocol::{self, ETCD, ETCD_FOLDER, Effect, IMAGES, Observation, Seen};
use crate::sim::guest::Model;
use crate::sim::guest::kube::data::EtcdOnDisk;
use crate::sim::guest::live;
use crate::sim::guest::state::{Disk, File};
use crate::sim::seam::Segment;

/// The version of the forms of etcd's data and of the images' names in a guest.
const VERSION: u64 = 1;
/// A file's mode bit that lets everybody read it.
const READABLE: u32 = 0o004;

/// What the guest's disk held when it was last seen or written: whatever differs from it is still to be written.
#[derive(Default)]
pub struct Shadow {
    files: BTreeMap<String, (File, String)>,
    etcd: Option<(EtcdOnDisk, String)>,
    images: Option<(BTreeSet<String>, String)>,
}

/// What the model's disk holds and the guest's does not, or the other way round.
#[derive(Default)]
pub struct Changes {
    pub effects: Vec<Effect>,
    /// The data that one of the effects writes.
    etcd: Option<EtcdOnDisk>,
}

impl Shadow {
    /// Returns the digest of every file whose content is known here.
    pub fn known(&self) -> BTreeMap<String, String> {
        let files = self.files.iter().map(|(path, (_, digest))| (path.clone(), digest.clone()));
        let etcd = self.etcd.iter().map(|(_, digest)| (ETCD.to_owned(), digest.clone()));
        let images = self.images.iter().map(|(_, digest)| (IMAGES.to_owned(), digest.clone()));
        files.chain(etcd).chain(images).collect()
    }

    /// Takes over all that root saw. What the model changed meanwhile stays, and is still to be written.
    pub fn load(&mut self, model: &Model, dialler: &dyn Dialler, mut seen: Observation) {
        model.learn(|disk| {
            self.load_etcd(disk, seen.files.remove(ETCD));
            self.load_images(disk, seen.files.remove(IMAGES));
            let all: BTreeSet<String> = self.files.keys().chain(seen.files.keys()).cloned().collect();
            for path in all {
                self.load_file(disk, &path, seen.files.remove(&path));
            }
            disk.packages = std::mem::take(&mut seen.packages);
        });
        load_memory(model, dialler, seen);
    }

    /// Takes over what somebody else than root could read of the files that a command names.
    pub fn load_named(&mut self, model: &Model, seen: Observation, named: &[String]) {
        model.learn(|disk| {
            for (path, found) in seen.files.into_iter().filter(|(path, _)| named.contains(path)) {
                if let Seen::File(mut file) = found {
                    // Whoever could read it may: the model knows no other users' rights.
                    file.mode |= READABLE;
                    self.load_file(disk, &path, Some(Seen::File(file)));
                }
            }
        });
    }

    fn load_file(&mut self, disk: &mut Disk, path: &str, seen: Option<Seen>) {
        let before = self.files.get(path);
        let unchanged = disk.file(path) == before.map(|(file, _)| file);
        match seen {
            Some(Seen::Same) => {}
            Some(Seen::File(file)) => {
                if unchanged {
                    disk.put_file(path, file.clone());
                }
                let digest = protocol::digest(&file);
                self.files.insert(path.to_owned(), (file, digest));
            }
            None => {
                if unchanged {
                    disk.take(path);
                }
                self.files.remove(path);
            }
        }
    }

    fn load_etcd(&mut self, disk: &mut Disk, seen: Option<Seen>) {
        if matches!(seen, Some(Seen::Same)) {
            return;
        }
        let unchanged = same_etcd(disk.etcd.as_ref(), self.etcd.as_ref().map(|(etcd, _)| etcd));
        let found = seen.and_then(|seen| match seen {
            Seen::File(file) => Some((read_etcd(&file)?, protocol::digest(&file))),
            Seen::Same => None,
        });
        if unchanged {
            disk.etcd = found.as_ref().map(|(etcd, _)| etcd.clone());
        }
        self.etcd = found;
    }

    fn load_images(&mut self, disk: &mut Disk, seen: Option<Seen>) {
        if matches!(seen, Some(Seen::Same)) {
            return;
        }
        let before = self.images.as_ref().map(|(images, _)| images.clone()).unwrap_or_default();
        let found = seen.and_then(|seen| match seen {
            Seen::File(file) => Some((read_images(&file)?, protocol::digest(&file))),
            Seen::Same => None,
        });
        if disk.images == before {
            disk.images = found.as_ref().map(|(images, _)| images.clone()).unwrap_or_default();
        }
        self.images = found;
    }

    /// Finds what is still to be written.
    pub fn changes(&self, model: &Model) -> Changes {
        model.disk(|disk| {
            let (mut effects, mut member) = (Vec::new(), None);
            for (path, file) in disk.files() {
                if self.files.get(path).is_none_or(|(known, _)| known != file) {
                    effects.push(write(path, file.clone(), false));
                }
            }
            let gone = self.files.keys().filter(|path| disk.file(path).is_none());
            effects.extend(gone.map(|path| Effect::Remove { path: path.clone() }));
            let before = self.etcd.as_ref().map(|(etcd, _)| etcd);
            match &disk.etcd {
                now if same_etcd(now.as_ref(), before) => {}
                Some(etcd) => {
                    effects.push(write(ETCD, etcd_file(etcd), true));
                    member = Some(etcd.clone());
                }
                None => effects.push(Effect::Remove { path: ETCD_FOLDER.to_owned() }),
            }
            if self.images.as_ref().map_or(!disk.images.is_empty(), |(images, _)| *images != disk.images) {
                effects.push(write(IMAGES, images_file(&disk.images), true));
            }
            Changes { effects, etcd: member }
        })
    }

    /// Remembers that these changes are in the guest.
    pub fn written(&mut self, changes: Changes) {
        for effect in changes.effects {
            match effect {
                Effect::Write { path, file, .. } => {
                    let digest = protocol::digest(&file);
                    match path.as_str() {
                        ETCD => self.etcd = changes.etcd.clone().map(|etcd| (etcd, digest)),
                        IMAGES => self.images = read_images(&file).map(|images| (images, digest)),
                        _ => drop(self.files.insert(path, (file, digest))),
                    }
                }
                Effect::Remove { path } if path == ETCD_FOLDER => self.etcd = None,
                Effect::Remove { path } => drop(self.files.remove(&path)),
            }
        }
    }
}

fn write(path: &str, file: File, durable: bool) -> Effect {
    Effect::Write { path: path.to_owned(), file, durable }
}

fn same_etcd(one: Option<&EtcdOnDisk>, other: Option<&EtcdOnDisk>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            one.name == other.name && (Arc::ptr_eq(&one.data, &other.data) || one.data == other.data)
        }
        (None, None) => true,
        _ => false,
    }
}

fn etcd_file(etcd: &EtcdOnDisk) -> File {
    let form = json!({ "fusionlab_simulated_etcd": VERSION, "member": etcd });
    File { mode: 0o600, owner: "root".into(), content: Arc::new(form.to_string().into_bytes()) }
}

/// Reads a member's data; none for what no model wrote.
fn read_etcd(file: &File) -> Option<EtcdOnDisk> {
    let mut form: serde_json::Value = serde_json::from_slice(&file.content).ok()?;
    (form["fusionlab_simulated_etcd"] == VERSION).then_some(())?;
    serde_json::from_value(form["member"].take()).ok()
}

fn images_file(images: &BTreeSet<String>) -> File {
    let form = json!({ "fusionlab_simulated_images": VERSION, "images": images });
    File { mode: 0o644, owner: "root".into(), content: Arc::new(form.to_string().into_bytes()) }
}

fn read_images(file: &File) -> Option<BTreeSet<String>> {
    let mut form: serde_json::Value = serde_json::from_slice(&file.content).ok()?;
    (form["fusionlab_simulated_images"] == VERSION).then_some(())?;
    serde_json::from_value(form["images"].take()).ok()
}

/// Takes over what the guest's kernel says.
fn load_memory(model: &Model, dialler: &dyn Dialler, seen: Observation) {
    let segments = dialler.addresses();
    let interface = |one: protocol::Interface| {
        let held = |(segment, address): &(Segment, std::net::Ipv4Addr)| {
            one.addresses.iter().any(|(own, _)| own == address).then(|| segment.clone())
        };
        let card = || model.hardware.cards.iter().find(|card| card.name == one.name);
        let segment = segments.iter().find_map(held).or_else(|| card().map(|card| card.segment.clone()));
        live::Interface {
            name: one.name.clone(),
            segment: segment.unwrap_or(Segment::Lan),
            addresses: one.addresses.clone(),
            router: one.router,
            dns: Vec::new(),
        }
    };
    let interfaces = seen.interfaces.into_iter().map(interface).collect();
    model.live(|live| {
        live.hostname = seen.hostname;
        live.boot_id = seen.boot_id;
        live.sysctl = seen.sysctl;
        live.modules = seen.modules;
        live.interfaces = interfaces;
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::guest::kube::data::Data;

    #[test]
    fn etcds_data_and_the_images_survive_their_files() {
        let mut data = Data::default();
        data.revision = 7;
        let etcd = EtcdOnDisk { name: "m1".into(), data: Arc::new(data) };
        let read = read_etcd(&etcd_file(&etcd)).unwrap();
        assert!(same_etcd(Some(&read), Some(&etcd)));
        assert!(read_etcd(&images_file(&BTreeSet::new())).is_none());
        let images = BTreeSet::from(["registry.k8s.io/pause:3.10.2".to_owned()]);
        assert_eq!(read_images(&images_file(&images)), Some(images));
    }
}
