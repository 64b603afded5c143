//! What killed runs have left on this Mac, by name; what can go without harm is put away here, the rest is only told.
//!
//! A lab that is being worked on is left out: what is half done there is somebody's work.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::formats::resolver::Resolver;
use crate::host::fusion::Fusion;
use crate::host::lock::{self, Trace};
use crate::host::{clock, files, resolver};
use crate::lab::paths::{self, Home};
use crate::plan::health::{DeadLock, LeftBehind};

use super::{labs, recovery};
use crate::engine::error::Result;
use crate::engine::images::templates;
use crate::engine::journal::Journal;
use crate::engine::vms::bundle::is_leftover;

/// Looks at everything once, and changes nothing.
pub fn look(home: &Home, fusion: &Fusion, backups: usize) -> Result<LeftBehind> {
    let mut left = LeftBehind { now_ms: clock::now_ms(), backups, ..LeftBehind::default() };
    for path in files::list(&home.locks())? {
        let Some(Trace { holder, held, heard_ms }) = lock::trace(&path)? else { continue };
        if !held {
            let last_heard = clock::moment(heard_ms / 1000);
            left.dead_locks.push(DeadLock {
                name: files::name_of(&path),
                verb: holder.verb,
                pid: holder.pid,
                last_heard,
            });
        }
    }
    let labs = labs(home)?;
    for lab in &labs {
        let journal = Journal::new(home.lab(lab).journal(), "doctor");
        let newest = journal.read()?.into_iter().map(|record| record.at_ms).max();
        left.newest_ms = left.newest_ms.max(newest);
    }
    for folder in folders(home, &labs)? {
        left.half_written.extend(files::half_written(&folder)?);
    }
    left.half_written.extend(labs.iter().map(|lab| home.leaving(lab)).filter(|path| files::exists(path)));
    left.machines = machines(home, &fusion.library)?;
    for template in templates::list(home, fusion)?.into_iter().filter(templates::Template::is_unused) {
        left.templates.push(template.dir.key.clone());
        left.templates_bytes += template.bytes;
    }
    let resolvers = fusion.root.join(resolver::FOLDER);
    for path in if files::is_folder(&resolvers) { files::list(&resolvers)? } else { Vec::new() } {
        // Somebody else's may be one that we may not read.
        let ours = files::read_text(&path).ok().and_then(|text| Resolver::read(&text));
        if let Some(ours) = ours.filter(|ours| !files::exists(home.lab(&ours.lab).root())) {
            left.resolvers.push((path, ours.lab));
        }
    }
    Ok(left)
}

/// Puts away what costs nobody anything: names of dead holders in locks that are free, and files that nobody writes on any
/// more. Takes the lock of whatever it touches, and passes over what somebody works on.
pub fn mend(home: &Home) -> Result<()> {
    for path in files::list(&home.locks())? {
        if lock::trace(&path)?.is_some_and(|trace| !trace.held) {
            // Who takes a lock and lets go of it leaves an empty file; the file itself is never removed.
            let _ = lock::acquire(&path, &files::name_of(&path), "doctor");
        }
    }
    for lab in labs(home)? {
        let of_newer = Journal::new(home.lab(&lab).journal(), "doctor").check_version().is_err();
        if !of_newer && let Ok(_turn) = lock::acquire(&home.lab_lock(&lab), &lab, "doctor") {
            recovery::sweep(home, &lab, Vec::new())?;
        }
    }
    if let Some(folder) = recovery::folder_of_all(home) {
        files::sweep(&folder)?;
    }
    recovery::sweep_networks(home)?;
    Ok(())
}

/// Returns the names of the labs that have a folder, be it on its way out, and that nobody works on.
fn labs(home: &Home) -> Result<BTreeSet<String>> {
    let mut idle = BTreeSet::new();
    for lab in labs::folders(home)? {
        if lock::holder(&home.lab_lock(&lab))?.is_none() {
            idle.insert(lab);
        }
    }
    Ok(idle)
}

/// Returns the folders that a sweep looks at: those of these labs, and of the networks unless somebody works on them.
fn folders(home: &Home, labs: &BTreeSet<String>) -> Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = labs.iter().flat_map(|lab| recovery::folders_of_lab(home, lab)).collect();
    folders.extend(recovery::folder_of_all(home));
    if lock::holder(&home.network_lock())?.is_none() {
        folders.extend(recovery::folders_of_networks(home)?);
    }
    Ok(folders)
}

/// Returns the folders of machines whose making was cut short.
fn machines(home: &Home, library: &Path) -> Result<Vec<PathBuf>> {
    let mut machines = Vec::new();
    let below = if files::is_folder(library) { files::list(library)? } else { Vec::new() };
    for folder in below.into_iter().filter(|path| files::is_folder(path)) {
        let lab = files::name_of(&folder);
        if lock::holder(&home.lab_lock(&lab))?.is_none() {
            let is_left = |path: &PathBuf| {
                let node = path.file_stem().unwrap_or_default().to_string_lossy();
                paths::node_in_making(path).is_some() || is_leftover(path, &lab, &node)
            };
            machines.extend(files::list(&folder)?.into_iter().filter(is_left));
        }
    }
    Ok(machines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Bench, Machines};
    use crate::formats::resolver::Resolver;
    use crate::host::lock::Holder;

    fn killed(home: &Home, lock: &Path) {
        let dead = Holder { pid: 4711, boot: "an earlier boot".to_owned(), ..Holder::ourselves("up") };
        files::create_dir(&home.locks()).unwrap();
        files::write_atomic(lock, &serde_json::to_vec(&dead).unwrap(), files::PRIVATE_FILE).unwrap();
    }

    #[test]
    fn what_killed_runs_left_is_named_and_what_is_harmless_is_put_away() {
        let bench = Bench::new(Machines::default());
        let (home, fusion) = (&bench.engine.home, &bench.engine.fusion);
        let lab = bench.engine.lab.name.clone();
        killed(home, &home.lab_lock(&lab));
        let half = home.lab(&lab).root().join(".fusionlab-aB3dE6");
        bench.file(&half, "");
        let leaving = home.leaving("other");
        bench.file(&leaving.join("identity/token"), "half a lab");
        let making = fusion.library.join(&lab).join(".making-gateway1");
        bench.file(&making.join("disk.vmdk"), "half a disk");
        let gone = Resolver { lab: "gone".to_owned(), nameserver: std::net::Ipv4Addr::LOCALHOST };
        bench.file(&fusion.root.join(resolver::FOLDER).join("lab.internal"), &gone.render());
        bench.file(&fusion.root.join(resolver::FOLDER).join("other"), "nameserver 127.0.0.1\n");
        let left = look(home, fusion, 0).unwrap();
        let locks: Vec<_> = left.dead_locks.iter().map(|lock| (lock.name.as_str(), lock.pid)).collect();
        assert_eq!(locks, [(format!("lab-{lab}").as_str(), 4711)]);
        assert_eq!((&left.half_written, &left.machines), (&vec![half, leaving], &vec![making.clone()]));
        assert_eq!(left.resolvers.iter().map(|(_, lab)| lab.as_str()).collect::<Vec<_>>(), ["gone"]);
        mend(home).unwrap();
        let left = look(home, fusion, 0).unwrap();
        assert!(left.dead_locks.is_empty() && left.half_written.is_empty(), "{left:?}");
        assert_eq!(left.machines, [making], "only Fusion can take a clone from its parent");
    }

    #[test]
    fn a_lab_that_is_worked_on_is_left_alone() {
        let bench = Bench::new(Machines::default());
        let (home, lab) = (&bench.engine.home, &bench.engine.lab.name);
        let half = home.lab(lab).root().join(".fusionlab-aB3dE6");
        bench.file(&half, "");
        let _turn = lock::acquire(&home.lab_lock(lab), lab, "up").unwrap();
        mend(home).unwrap();
        assert!(files::exists(&half));
        assert_eq!(look(home, &bench.engine.fusion, 0).unwrap().half_written, Vec::<PathBuf>::new());
    }
}
