//! Our own folders on a small disk, on a full one and on one that cannot be written: for root on Linux.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::rows::{DESTROY, UP};
use super::{comes_up, solo, words};

/// A small disk in a folder's place, for root only.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn on(folder: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&folder).expect("the folder can be made");
        let options = format!("mode=700,size={size}");
        Self::mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], &folder);
        Self(folder)
    }

    fn remount(&self, options: &str) {
        Self::mount(&["-o", &format!("remount,{options}")], &self.0);
    }

    fn mount(words: &[&str], folder: &PathBuf) {
        let done = Command::new("mount").args(words).arg(folder).status().expect("mount runs");
        assert!(done.success(), "mount {words:?} {}", folder.display());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Says whether these tests can be run, and why not.
fn may_mount() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let may = std::env::var_os("FUSIONLAB_TEST_TOOLS").is_some() && is_root && cfg!(target_os = "linux");
    if !may {
        println!("skipped: FUSIONLAB_TEST_TOOLS is not set, or this is not root on Linux");
    }
    may
}

#[test]
fn a_full_or_read_only_disk_of_our_own_is_named_and_the_next_up_goes_on() {
    if !may_mount() {
        return;
    }
    let session = solo();
    session.clone().args(["template", "build", "--yes"]).run().exits(0);
    let disk = SmallDisk::on(session.fusionlab_home().join("labs"), "16k");
    let says_read_only = |verb: &[&str]| {
        let ended = session.clone().args(verb).run().exits(4);
        assert!(words(&ended).contains("the disk that it is on is mounted read-only"), "{}", ended.shown());
    };
    disk.remount("ro");
    says_read_only(UP);
    disk.remount("rw");
    // Each is too small for something else: the keys, the records, the journal, the logs.
    for size in ["16k", "64k", "100k", "140k", "180k"] {
        disk.remount(&format!("size={size}"));
        let ended = session.clone().args(UP).run();
        if !ended.status.success() {
            assert_eq!(ended.status.code(), Some(4), "{size}: {}", ended.shown());
            assert!(ended.stderr.contains("disk-full"), "{size}: {}", ended.shown());
        }
    }
    disk.remount("size=64m");
    comes_up(&session);
    disk.remount("ro");
    session.clone().args(["verify"]).run().exits(0);
    says_read_only(DESTROY);
    disk.remount("rw");
    session.args(DESTROY).run().exits(0);
}

#[test]
fn a_disk_that_is_full_or_read_only_below_any_of_our_folders_is_named_and_the_next_up_goes_on() {
    if !may_mount() {
        return;
    }
    let session = solo();
    session.clone().args(["sim", "start"]).run().exits(0);
    // What each is for: locks, the networking file's backups, the disk that machines are cloned from.
    for (folder, options) in [("locks", "ro"), ("network", "size=4k"), ("templates", "size=64k")] {
        let disk = SmallDisk::on(session.fusionlab_home().join(folder), "1m");
        disk.remount(options);
        let ended = session.clone().args(UP).run().exits(4);
        let says = if options == "ro" { "mounted read-only" } else { "disk-full" };
        assert!(words(&ended).contains(says), "{folder}: {}", ended.shown());
    }
    comes_up(&session);
    session.args(DESTROY).run().exits(0);
}
