//! Machines are cloned in three ways; killed in the middle of one, the next command clears up and goes on.

use std::fs;
use std::path::PathBuf;

use crate::support::session::{Ended, Session};

/// System calls by which a clone comes about, once they concern its folder.
const CALLS: &str = "mkdir,openat,rename,renameat,renameat2,unlink,chmod,fsync,fdatasync";
/// A clone has fewer such calls than this; more means that the loop does not end.
const MOST_POINTS: u32 = 60;
/// A clone is made of more calls than this.
const FEWEST_POINTS: u32 = 6;
/// After so many points `up` brings the lab, after the others `destroy` takes it away, which is quicker.
const UP_EVERY: u32 = 7;
const NODE: &str = "k8s-master1";

fn lab(clone: &str) -> String {
    format!("version: 1\npreset: solo\nclone: {clone}\n")
}

/// A home with the template of a lab whose machines are gone again.
fn with_template(clone: &str) -> Session {
    let session = Session::new().file("fusionlab.yaml", lab(clone));
    session.clone().args(["template", "build", "--yes"]).run().exits(0);
    session.clone().args(["sim", "stop"]).run().exits(0);
    session
}

fn library(session: &Session) -> PathBuf {
    session.simulated_mac().join("Virtual Machines.localized/lab")
}

fn names_in(session: &Session) -> Vec<String> {
    let Ok(entries) = fs::read_dir(library(session)) else { return Vec::new() };
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// Runs `up` and kills it at the n-th call, in one thread, that concerns the folder in which the clone is made or ends.
fn killed_at(prepared: &Session, number: u32) -> (Session, Ended) {
    let session = prepared.copy();
    let (making, bundle) = (
        library(&session).join(format!(".making-{NODE}")),
        library(&session).join(format!("{NODE}.vmwarevm")),
    );
    let files = ["", ".fusionlab", ".fusionlab-unfinished", "disk.vmdk", "k8s-master1.vmx"];
    let paths = [making, bundle].into_iter().flat_map(|folder| files.map(|file| folder.join(file)));
    let log = session.work().join("strace.log");
    let mut tracer = ["strace", "-f", "-q", "-b", "execve", "-o"].map(Into::into).to_vec();
    tracer.push(log.into_os_string());
    for path in paths {
        // A path with a slash at its end is another one to strace.
        let path = path.to_string_lossy().trim_end_matches('/').to_owned();
        tracer.extend(["-P".into(), path.into()]);
    }
    let inject = format!("inject={CALLS}:signal=SIGKILL:when={number}");
    tracer.extend(["-e", &format!("trace={CALLS}"), "-e", &inject].map(Into::into));
    let ended = session.clone().under(tracer).args(["up", "--yes", "--quiet"]).run();
    (session, ended)
}

fn recovers(session: &Session, place: &str, up: bool) {
    if up {
        let again = session.clone().args(["up", "--yes"]).run();
        assert_eq!(again.status.code(), Some(0), "{place}:\n{}", again.shown());
        let mut names = names_in(session);
        names.sort();
        assert_eq!(
            names,
            ["gateway1.vmwarevm", "k8s-master1.vmwarevm"],
            "{place}: something was left beside"
        );
    }
    let destroyed = session.clone().args(["destroy", "--yes"]).run();
    assert_eq!(destroyed.status.code(), Some(0), "{place}:\n{}", destroyed.shown());
    assert!(!library(session).exists(), "{place}: left over: {:?}", names_in(session));
}

fn killed_everywhere(clone: &str) {
    if std::env::var_os("FUSIONLAB_TEST_TOOLS").is_none() {
        println!("skipped: FUSIONLAB_TEST_TOOLS is not set");
        return;
    }
    let prepared = with_template(clone);
    for number in 1..MOST_POINTS {
        let (session, ended) = killed_at(&prepared, number);
        let survived = ended.status.code() == Some(0);
        let place = format!("{clone}, killed at call {number}");
        recovers(&session, &place, number % UP_EVERY == 0);
        if survived {
            println!("{clone}: killed at {} calls, all recovered", number - 1);
            assert!(number > FEWEST_POINTS, "{clone}: {number} are too few to be true");
            return;
        }
    }
    panic!("{clone}: killed {MOST_POINTS} times and still not done");
}

#[test]
fn a_linked_clone_is_killed_at_each_step() {
    killed_everywhere("linked");
}

#[test]
fn a_copied_clone_is_killed_at_each_step() {
    killed_everywhere("cow");
}

/// Killed around the orders to Fusion, too: before and after the effect of each.
#[test]
fn whoever_dies_around_fusions_clone_leaves_no_half_machine() {
    for (clone, moment) in
        [("linked", "vmrun clone before"), ("linked", "vmrun clone after"), ("full", "vmrun clone after")]
    {
        let prepared = with_template(clone);
        let session = prepared;
        session.clone().args(["sim", "fault", "caller-dies", "--times", "1", "--on", moment]).run().exits(0);
        let ended = session.clone().args(["up", "--yes", "--quiet"]).run();
        assert_eq!(ended.status.code(), None, "it was to be killed:\n{}", ended.shown());
        recovers(&session, &format!("{clone}, {moment}"), clone == "full");
    }
}

/// Fusion's REST server makes a clone in a place of its own choice; what a kill leaves there is cleared away, too.
#[test]
fn whoever_dies_beside_the_rest_servers_clone_leaves_none() {
    let session = Session::new().file("fusionlab.yaml", lab("full") + "driver: rest\n");
    session.clone().args(["template", "build", "--yes"]).run().exits(0);
    let passing = library(&session).with_file_name(format!("fusionlab-making-lab-{NODE}.vmwarevm"));
    let mut up = session.clone().args(["up", "--yes", "--quiet"]).start();
    up.wait_until(|| passing.exists());
    up.signal("KILL");
    assert_eq!(up.wait().status.code(), None, "it was to be killed");
    recovers(&session, "rest", true);
    assert!(!passing.exists(), "{} is left", passing.display());
}

/// Independent disks have the size that the lab file gives each machine; a copy that is none of APFS says so.
#[test]
fn full_and_copied_clones_have_disks_of_their_own_size() {
    for clone in ["full", "cow"] {
        let text = lab(clone) + "gateways: {disk: 12GiB}\ncontrol_planes: {disk: 20GiB}\n";
        let session = Session::new().file("fusionlab.yaml", text);
        let up = session.clone().args(["up", "--yes"]).run().exits(0);
        assert_eq!(up.stderr.contains("cannot share blocks"), clone == "cow", "{}", up.shown());
        for (node, gib) in [("gateway1", 12), (NODE, 20)] {
            let disk = library(&session).join(format!("{node}.vmwarevm/disk.vmdk"));
            let info = session.clone().args(["image", "info", "--output", "json"]).arg(&disk).run().exits(0);
            assert_eq!(info.json()["virtual_size"], 1_073_741_824_u64 * gib, "{clone} {node}");
        }
    }
}
