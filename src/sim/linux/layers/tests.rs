//! The rule of layers, by what snapshots, clones and reverts do to VMDK files.
#![expect(clippy::disallowed_methods, reason = "the tests write in place, as a VM writes its disk")]

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DEEPEST, Disk, Layers, Refused, Stack};
use crate::sim::disk;
use crate::sim::files;
use crate::sim::seam::Contents;

const IMAGE: &str = "0123456789ab";

/// Disks whose state stands in the file itself, as in a VMDK, so that copying the file copies the state.
struct Bench {
    folder: tempfile::TempDir,
    layers: Arc<Layers>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layers = Layers::new(folder.path().join("layers"));
        Self { folder, layers }
    }

    fn disk(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn new_disk(&self, name: &str) -> PathBuf {
        let path = self.disk(name);
        fs::write(&path, "").unwrap();
        path
    }

    /// Copies a disk, as a clone does, or a snapshot's child that has nothing of its own yet.
    fn copy(&self, from: &Path, name: &str) -> PathBuf {
        let path = self.disk(name);
        fs::copy(from, &path).unwrap();
        path
    }

    fn start(&self, vmdk: &Path) -> Result<Stack, Refused> {
        let state = fs::read(vmdk).unwrap();
        let contents = Contents::Image(format!("system {IMAGE}"));
        let state = (!state.is_empty()).then_some(state.as_slice());
        self.layers.open(IMAGE, &Disk { vmdk, state, contents: &contents }, |state| fs::write(vmdk, state))
    }

    /// Boots, writes a file, and stops; returns the layer that was written to.
    fn run(&self, vmdk: &Path, word: &str) -> String {
        let stack = self.start(vmdk).unwrap();
        fs::write(self.layers.folder().join(&stack.upper).join("up").join(word), "").unwrap();
        stack.upper.clone()
    }

    /// Returns the files that a machine sees.
    fn sees(&self, vmdk: &Path) -> Vec<String> {
        let stack = self.start(vmdk).unwrap();
        let all = stack.lower.iter().chain([&stack.upper]);
        let folders = all.map(|id| self.layers.folder().join(id).join("up"));
        let names = folders.flat_map(|folder| files::entries(&folder));
        let mut names: Vec<String> =
            names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    fn layers(&self) -> usize {
        files::entries(self.layers.folder()).len()
    }
}

#[test]
fn a_disk_goes_on_with_its_own_layer() {
    let bench = Bench::new();
    let vmdk = bench.new_disk("disk.vmdk");
    assert_eq!(bench.run(&vmdk, "one"), bench.run(&vmdk, "two"));
    assert_eq!(bench.sees(&vmdk), ["one", "two"]);
}

#[test]
fn a_clone_has_what_was_there_and_neither_sees_the_others_later_writes() {
    let bench = Bench::new();
    let origin = bench.new_disk("disk.vmdk");
    bench.run(&origin, "baked");
    let clones = [bench.copy(&origin, "one.vmdk"), bench.copy(&origin, "two.vmdk")];
    bench.run(&clones[0], "one");
    bench.run(&clones[1], "two");
    bench.run(&origin, "later");
    bench.run(&clones[0], "again");
    assert_eq!(bench.sees(&clones[0]), ["again", "baked", "one"]);
    assert_eq!(bench.sees(&clones[1]), ["baked", "two"]);
    assert_eq!(bench.sees(&origin), ["baked", "later"]);
    assert_eq!(bench.layers(), 4, "the origin's, frozen, and one each");
}

#[test]
fn a_snapshot_keeps_what_was_there_and_reverting_loses_what_came_after() {
    let bench = Bench::new();
    let base = bench.new_disk("disk.vmdk");
    bench.run(&base, "before");
    let child = bench.copy(&base, "disk-000001.vmdk");
    bench.run(&child, "after");
    assert_eq!(bench.sees(&child), ["after", "before"]);
    let reverted = bench.copy(&base, "disk-000002.vmdk");
    fs::remove_file(&child).unwrap();
    assert_eq!(bench.sees(&reverted), ["before"]);
    bench.layers.collect(bench.folder.path());
    assert_eq!(bench.layers(), 2, "the layer that was reverted is gone");
}

#[test]
fn a_copy_does_not_boot_from_a_layer_that_its_origin_wrote_to_since() {
    let bench = Bench::new();
    let origin = bench.new_disk("disk.vmdk");
    bench.run(&origin, "baked");
    let copy = bench.copy(&origin, "copy.vmdk");
    let running = bench.start(&origin).unwrap();
    assert!(matches!(bench.start(&copy), Err(Refused::InUse(_))));
    drop(running);
    let Err(refused) = bench.start(&copy) else { panic!("it boots") };
    assert!(refused.to_string().contains("Take a snapshot before a copy"), "{refused}");
}

#[test]
fn a_disk_of_another_kind_or_image_says_so() {
    let bench = Bench::new();
    let vmdk = bench.new_disk("disk.vmdk");
    let refused = |state: Option<&[u8]>, contents| {
        let disk = Disk { vmdk: &vmdk, state, contents: &contents };
        bench.layers.open(IMAGE, &disk, |_| Ok(())).err().unwrap()
    };
    let image = |words: &str| Contents::Image(words.to_owned());
    assert!(matches!(refused(None, image("not an operating system")), Refused::AnotherKind));
    assert!(matches!(refused(Some(br#"{"version":1}"#), Contents::Nothing), Refused::AnotherKind));
    assert!(matches!(refused(None, Contents::Partitions), Refused::Nothing));
    assert!(matches!(refused(None, image("system ffffffffffff")), Refused::AnotherImage { .. }));
    let lost = format!(r#"{{"fusionlab_layers":1,"image":"{IMAGE}","layers":["00000000"],"epoch":1}}"#);
    assert!(matches!(refused(Some(lost.as_bytes()), Contents::Nothing), Refused::Lost(_)));
    assert_eq!(bench.layers(), 0);
}

#[test]
fn a_stack_has_an_end() {
    let bench = Bench::new();
    let mut vmdk = bench.new_disk("0.vmdk");
    for depth in 1..=DEEPEST {
        bench.run(&vmdk, "x");
        vmdk = bench.copy(&vmdk, &format!("{depth}.vmdk"));
    }
    assert!(matches!(bench.start(&vmdk), Err(Refused::TooDeep(21))));
}

#[test]
fn a_copy_that_has_not_booted_keeps_its_origins_layers() {
    let bench = Bench::new();
    let library = bench.folder.path().join("library");
    let place = library.join("lab/a.vmwarevm");
    fs::create_dir_all(&place).unwrap();
    let (origin, copy) = (bench.disk("origin.vmdk"), place.join("disk.vmdk"));
    disk::create(&origin, (64 << 20) / 512).unwrap();
    let contents = Contents::Image(format!("system {IMAGE}"));
    let boot = Disk { vmdk: &origin, state: None, contents: &contents };
    let save = |state: &[u8]| disk::Disk::open(&origin).unwrap().save(state);
    drop(bench.layers.open(IMAGE, &boot, save).unwrap());
    disk::flatten(&origin, &copy).unwrap();
    fs::remove_file(&origin).unwrap();
    bench.layers.collect(&library);
    assert_eq!(bench.layers(), 1);
    fs::remove_file(&copy).unwrap();
    bench.layers.collect(&library);
    assert_eq!(bench.layers(), 0);
}

#[test]
fn a_disk_that_cannot_save_its_list_does_not_boot() {
    let bench = Bench::new();
    let vmdk = bench.new_disk("disk.vmdk");
    let contents = Contents::Image(format!("system {IMAGE}"));
    let full = RefCell::new(0);
    let save = |_: &[u8]| {
        *full.borrow_mut() += 1;
        Err(std::io::ErrorKind::StorageFull.into())
    };
    let opened = bench.layers.open(IMAGE, &Disk { vmdk: &vmdk, state: None, contents: &contents }, save);
    assert!(matches!(opened, Err(Refused::Failed(_))));
    assert_eq!(full.into_inner(), 1);
}
