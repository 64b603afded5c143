//! `support`: what a helper needs in one file, whatever state the lab is in, and never a secret of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fusionlab::formats::tar::{Piece, Reader, TarError};

use crate::support::session::{Ended, Session};

const LAB: &str = "version: 1\npreset: solo\n";
/// The lines around a key in PEM's form begin with it.
const FRAME: &str = "-----";

/// A bundle's files, by their names below its folder.
type Files = BTreeMap<String, String>;

#[test]
fn a_helper_is_given_what_there_is_and_no_secret() {
    let session = Session::new().file("fusionlab.yaml", LAB).env("NO_COLOR", "1");
    where_there_is_no_lab(&session);
    session.clone().args(["up", "--yes"]).run().exits(0);
    of_a_whole_lab(&session);
    nothing_is_overwritten(&session);
    let planted = planted(&session);
    a_secret_as_it_is_is_taken_out(&session, &planted);
    a_secret_in_disguise_keeps_all_of_it_here(&session, &planted);
    of_a_lab_that_is_half_there(&session);
    of_a_lab_whose_keys_are_broken(&session, &planted);
    where_the_lab_file_is_wrong(&session);
}

fn support(session: &Session, out: &str, more: &[&str]) -> Ended {
    session.clone().args(["support", "--out", out]).args(more).run()
}

/// Returns what a bundle holds; it must lie in one folder, and be its owner's alone.
fn unpacked(session: &Session, out: &str) -> Files {
    let path = session.work().join(out);
    assert_eq!(fs::metadata(&path).expect("it was written").permissions().mode() & 0o777, 0o600);
    let mut archive = Vec::new();
    let packed = fs::File::open(path).expect("it can be read");
    flate2::read::GzDecoder::new(packed).read_to_end(&mut archive).expect("it is compressed");
    let (mut reader, mut found) = (Reader::default(), Vec::new());
    let taken = reader.take::<TarError>(&archive, &mut |piece| {
        match piece {
            Piece::Head(entry) => found.push((entry.name, Vec::new())),
            Piece::Content(bytes) => found.last_mut().expect("a head came").1.extend_from_slice(bytes),
            Piece::End => {}
        }
        Ok(())
    });
    taken.and_then(|()| reader.finish()).expect("it is a whole archive");
    let (folder, _) = found.remove(0);
    assert!(folder.starts_with("fusionlab-support-lab-") && folder.ends_with('/'), "{folder}");
    let inner = |name: String| name.strip_prefix(&folder).expect("it lies in the folder").to_owned();
    found
        .into_iter()
        .map(|(name, bytes)| (inner(name), String::from_utf8(bytes).expect("it is text")))
        .collect()
}

#[track_caller]
fn holds(files: &Files, name: &str, part: &str) {
    let text = files.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", files.keys()));
    assert!(text.contains(part), "{part:?} is not in {name}:\n{text}");
}

#[track_caller]
fn has(ended: &Ended, part: &str) {
    assert!(ended.shown().contains(part), "{part:?} is not in\n{}", ended.shown());
}

/// Returns the lines of the lab's secrets.
fn secrets(session: &Session) -> Vec<String> {
    let identity = session.fusionlab_home().join("labs/lab/identity");
    let files =
        fs::read_dir(identity).expect("the lab has keys").map(|entry| entry.expect("it is listed").path());
    let secret =
        files.filter(|path| path.extension().is_none_or(|ending| ending != "crt" && ending != "pub"));
    let texts: String = secret.map(|path| fs::read_to_string(path).expect("keys are text") + "\n").collect();
    let lines = texts.lines().filter(|line| line.len() >= 16 && !line.starts_with(FRAME));
    lines.map(str::to_owned).collect()
}

#[track_caller]
fn has_no_secret(session: &Session, files: &Files) {
    let secrets = secrets(session);
    assert!(secrets.len() > 20, "there are secrets to be looked for");
    for (name, text) in files {
        let leak = secrets.iter().find(|secret| text.contains(secret.as_str()));
        assert!(leak.is_none() && !text.contains("PRIVATE KEY"), "{name}:\n{text}");
    }
}

fn where_there_is_no_lab(session: &Session) {
    let ended = support(session, "absent.tar.gz", &[]).exits(0);
    assert_eq!(ended.stdout, "absent.tar.gz\n", "{}", ended.shown());
    has(&ended, "it was never made, or was destroyed");
    let files = unpacked(session, "absent.tar.gz");
    holds(&files, "about.json", env!("CARGO_PKG_VERSION"));
    holds(&files, "lab-file.yaml", "preset: solo");
    holds(&files, "doctor.txt", "VMware Fusion");
    holds(&files, "contents.txt", "lab/: there is no such lab");
}

fn of_a_whole_lab(session: &Session) {
    let ended = support(session, "whole.tar.gz", &[]).exits(0);
    has(&ended, "the guests' logs");
    assert!(!ended.shown().contains("Not in it"), "{}", ended.shown());
    let files = unpacked(session, "whole.tar.gz");
    holds(&files, "plan.txt", "Nothing to do");
    holds(&files, "status.txt", "gateway1");
    holds(&files, "status.json", "\"schema\"");
    holds(&files, "lab/journal.jsonl", "\"vm.clone/gateway1\"");
    holds(&files, "fusion/networking", "VNET_2");
    holds(&files, "machines/gateway1/gateway1.vmx", "fusionlab");
    holds(&files, "machines/gateway1/console.log", "login:");
    holds(&files, "guests/gateway1.log", "nginx: Started nginx.service.");
    assert!(
        files.keys().any(|name| name.starts_with("runs/") && name.ends_with("/events.jsonl")),
        "{files:?}"
    );
    assert!(files.keys().any(|name| name.starts_with("runs/") && name.ends_with(".log")), "{files:?}");
    assert!(
        !files.keys().any(|name| name.contains("identity") || name.ends_with("/kubeconfig")),
        "{files:?}"
    );
    has_no_secret(session, &files);
    let json = support(session, "json.tar.gz", &["--output", "json", "--without", "guests"]).exits(0).json();
    assert_eq!((&json["schema"], &json["lab"]), (&"fusionlab.support/1".into(), &"lab".into()));
    assert_eq!((&json["file"], &json["simulated"]), (&"json.tar.gz".into(), &true.into()));
    let size = fs::metadata(session.work().join("json.tar.gz")).expect("it was written").len();
    assert_eq!(json["bytes"], size);
    assert_eq!(json["missing"][0]["what"], "guests");
    let listed: Vec<_> =
        json["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    let held = unpacked(session, "json.tar.gz");
    assert!(
        held.keys().all(|name| listed.contains(&name.as_str())) && held.len() == listed.len(),
        "{listed:?}"
    );
    assert!(!listed.iter().any(|name| name.starts_with("guests/")), "{listed:?}");
}

fn nothing_is_overwritten(session: &Session) {
    let session = session.clone().file("mine.tar.gz", "mine");
    has(&support(&session, "mine.tar.gz", &[]).exits(2), "file-exists");
    assert_eq!(fs::read_to_string(session.work().join("mine.tar.gz")).unwrap(), "mine");
    let ended = session.clone().args(["support", "--quiet"]).run().exits(0);
    let name = ended.stdout.trim_end();
    assert!(name.starts_with("fusionlab-support-lab-") && name.ends_with(".tar.gz"), "{name}");
    assert_eq!(ended.stderr, "");
    unpacked(&session, name);
}

/// Returns a file among those that the last run printed.
fn planted(session: &Session) -> PathBuf {
    let runs = session.fusionlab_home().join("labs/lab/logs");
    let mut runs: Vec<_> = fs::read_dir(runs).unwrap().map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    runs.pop().expect("there was a run").join("planted.log")
}

fn key(session: &Session) -> String {
    fs::read_to_string(session.fusionlab_home().join("labs/lab/identity/ca.key")).unwrap()
}

fn inside(path: &Path) -> String {
    let run = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    format!("runs/{run}/planted.log")
}

fn a_secret_as_it_is_is_taken_out(session: &Session, planted: &Path) {
    fs::write(planted, format!("before\n{}after\n", key(session))).unwrap();
    support(session, "planted.tar.gz", &[]).exits(0);
    let files = unpacked(session, "planted.tar.gz");
    holds(&files, &inside(planted), "before\n");
    holds(&files, &inside(planted), "after\n");
    has_no_secret(session, &files);
}

fn a_secret_in_disguise_keeps_all_of_it_here(session: &Session, planted: &Path) {
    let body: String = key(session).lines().filter(|line| !line.starts_with(FRAME)).collect();
    let broken: Vec<_> = body.as_bytes().chunks(20).map(|line| String::from_utf8_lossy(line)).collect();
    fs::write(planted, broken.join("\n")).unwrap();
    let ended = support(session, "leak.tar.gz", &[]).exits(1);
    has(&ended, "secret-left");
    has(&ended, "/planted.log has ca.key in it");
    assert!(!session.work().join("leak.tar.gz").exists(), "nothing is written");
    assert!(!ended.shown().contains(&*broken[0]), "the secret is not shown, either");
    support(session, "without.tar.gz", &["--without", &inside(planted)]).exits(0);
    let files = unpacked(session, "without.tar.gz");
    assert!(!files.contains_key(&inside(planted)));
    fs::remove_file(planted).unwrap();
}

fn of_a_lab_that_is_half_there(session: &Session) {
    session.clone().args(["exec", "k8s-master1", "--", "sudo", "poweroff"]).run();
    let out = |look: usize| format!("half{look}.tar.gz");
    // Each look is a whole run of the program, until the machine is off.
    let look = (0..100)
        .find(|look| support(session, &out(*look), &[]).exits(0).stderr.contains("k8s-master1 is off"));
    let files = unpacked(session, &out(look.expect("it is off in the end")));
    holds(&files, "contents.txt", "guests/k8s-master1.log: k8s-master1 is off");
    holds(&files, "machines/k8s-master1/console.log", "Power down");
    holds(&files, "guests/gateway1.log", "nginx");
    holds(&files, "plan.txt", "k8s-master1");
}

fn of_a_lab_whose_keys_are_broken(session: &Session, planted: &Path) {
    fs::write(planted, key(session)).unwrap();
    let certificate = session.fusionlab_home().join("labs/lab/identity/ca.crt");
    fs::remove_file(&certificate).unwrap();
    let ended = support(session, "broken.tar.gz", &[]).exits(0);
    has(&ended, "ca.crt");
    let files = unpacked(session, "broken.tar.gz");
    holds(&files, "lab/journal.jsonl", "\"vm.clone/gateway1\"");
    holds(&files, "machines/gateway1/console.log", "login:");
    has_no_secret(session, &files);
}

fn where_the_lab_file_is_wrong(session: &Session) {
    let session = session.clone().file("fusionlab.yaml", "version: 1\npreset: vast\n");
    let ended = support(&session, "wrong.tar.gz", &[]).exits(0);
    has(&ended, "the lab file is not valid");
    let files = unpacked(&session, "wrong.tar.gz");
    holds(&files, "lab-file.yaml", "preset: vast");
    holds(&files, "lab-file-problems.txt", "vast");
    holds(&files, "lab/journal.jsonl", "vm.clone");
    let missing = session.clone().args(["--lab", "nowhere.yaml", "support"]).run().exits(3);
    has(&missing, "lab-file-missing");
}
