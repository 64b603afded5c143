//! `template build`, `list` and `prune` on the simulated Fusion; killed at any point, the next run goes on.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fusionlab::lab::catalogue::Arch;
use fusionlab::lab::resolve::resolve;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::fake_fusion::FakeFusion;
use crate::fusion_argv::{VMNET_CLI, VMRUN, baked, tiny_image};
use crate::support::session::{Ended, Session};

/// A lab of the smallest size.
const SOLO: &str = "version: 1\npreset: solo\n";

fn solo() -> Session {
    Session::new().file("fusionlab.yaml", SOLO)
}

fn build(session: &Session) -> Ended {
    session.clone().args(["template", "build", "--yes"]).run()
}

fn list(session: &Session) -> Vec<Value> {
    let list = session.clone().args(["template", "list", "--output", "json"]).run().exits(0).json();
    list["templates"].as_array().expect("a list of templates").clone()
}

/// Returns every file and folder below a folder, by its path from there.
fn tree(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            found.insert(path.strip_prefix(folder).expect("it lies below").display().to_string());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

fn manifest(session: &Session) -> Value {
    let templates = session.fusionlab_home().join("templates");
    let folder = fs::read_dir(templates).expect("there are templates").next().expect("there is one");
    let text = fs::read(folder.expect("an entry").path().join("template.json")).expect("it has a manifest");
    serde_json::from_slice(&text).expect("a manifest is JSON")
}

#[test]
fn a_template_is_made_alone_and_up_finds_it() {
    let session = solo();
    let built = build(&session).exits(0);
    assert!(built.stderr.contains("the template is ready after"), "{built:?}");
    assert!(!session.fusionlab_home().join("labs").exists(), "no lab was begun");
    let again = build(&session).exits(0);
    assert!(again.stderr.contains("nothing had to be done"), "{again:?}");
    let up = session.clone().args(["up", "--yes"]).run().exits(0);
    assert!(!up.stderr.contains("template.bake"), "{up:?}");
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn the_manifest_says_what_the_template_is_made_of() {
    let session = solo();
    let built = session.clone().args(["template", "build", "--yes", "--output", "json"]).run().exits(0);
    let last: Value = serde_json::from_str(built.stdout.lines().last().expect("a last line")).expect("JSON");
    let (line, manifest) = (&last["template"], manifest(&session));
    assert_eq!((&manifest["version"], &manifest["stage"]), (&1.into(), &"frozen".into()));
    assert_eq!(manifest["fusionlab"], env!("CARGO_PKG_VERSION"));
    for key in ["url", "digest", "bytes", "arch"] {
        assert!(!manifest["image"][key].is_null(), "{key}: {manifest:#}");
    }
    assert_eq!(manifest["disk"]["cid"].as_str().map(str::len), Some(8));
    assert_eq!(line["image_digest"], manifest["image"]["digest"]);
    assert_eq!(line["programs"]["kubeadm"], manifest["baked"]["programs"]["kubeadm"]);
    assert!(line["packages"]["containerd"].is_string(), "{line:#}");
}

#[test]
fn a_finished_template_is_no_machine_any_more() {
    use std::os::unix::fs::PermissionsExt;
    let session = solo();
    build(&session).exits(0);
    let key = manifest(&session)["key"].as_str().expect("a key").to_owned();
    let bundle = session.fusionlab_home().join("templates").join(key).join("template.vmwarevm");
    let vmx = fs::read_to_string(bundle.join("template.vmx")).expect("it has a VMX");
    for gone in ["uuid.bios", "uuid.location", "ethernet0", "sata0:1", "seed.iso"] {
        assert!(!vmx.contains(gone), "{gone} is left:\n{vmx}");
    }
    let names = tree(&bundle);
    assert!(!names.iter().any(|name| name.ends_with("seed.iso") || name.ends_with(".nvram")), "{names:?}");
    let mode = fs::metadata(bundle.join("disk.vmdk")).expect("it has a disk").permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
}

#[test]
fn a_template_is_made_anew_only_while_no_machine_hangs_on_it() {
    let session = solo();
    session.clone().args(["up", "--yes"]).run().exits(0);
    let before = manifest(&session);
    let refused = session.clone().args(["template", "build", "--rebuild", "--yes"]).run().exits(6);
    for part in ["gateway1", "k8s-master1", "hang on the template"] {
        assert!(refused.stderr.contains(part), "{part} is not said: {refused:?}");
    }
    assert_eq!(manifest(&session), before);
    session.clone().args(["verify"]).run().exits(0);
    session.clone().args(["destroy", "--yes"]).run().exits(0);
    let asks = session.clone().args(["template", "build", "--rebuild"]).run().exits(2);
    assert!(asks.stderr.contains("--yes") && asks.stderr.contains("remove the template"), "{asks:?}");
    session.clone().args(["template", "build", "--rebuild", "--yes"]).run().exits(0);
    assert_eq!(manifest(&session)["key"], before["key"]);
    assert_ne!(manifest(&session)["disk"]["cid"], before["disk"]["cid"], "it is another disk");
}

#[test]
fn machines_with_disks_of_their_own_do_not_keep_a_template() {
    let session = Session::new().file("fusionlab.yaml", format!("{SOLO}clone: full\n"));
    session.clone().args(["up", "--yes"]).run().exits(0);
    let line = &list(&session)[0];
    assert_eq!((&line["used_by"][0], &line["hanging"]), (&"lab".into(), &Value::Array(Vec::new())));
    let pruned = session.clone().args(["template", "prune", "--yes"]).run().exits(0);
    assert!(pruned.stderr.contains("nothing to remove"), "its lab may want another machine: {pruned:?}");
    session.clone().args(["template", "build", "--rebuild", "--yes"]).run().exits(0);
    session.clone().args(["verify"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn what_no_lab_uses_is_pruned_after_a_question() {
    let session = solo();
    build(&session).exits(0);
    let asks = session.clone().args(["template", "prune"]).run().exits(2);
    assert!(asks.stderr.contains("would be given back"), "{asks:?}");
    assert_eq!(list(&session).len(), 1, "nothing was removed");
    let part = session.fusionlab_home().join("cache/images/url-0123.part");
    fs::write(&part, "half an image").expect("the cache takes a file");
    let pruned =
        session.clone().args(["template", "prune", "--yes", "--output", "json"]).run().exits(0).json();
    assert_eq!((pruned["templates"].as_array().map(Vec::len), &pruned["downloads"]), (Some(1), &1.into()));
    assert!(pruned["freed"].as_u64() > Some(0) && !part.exists());
    assert!(list(&session).is_empty());
    let none = session.args(["template", "prune"]).run().exits(0);
    assert!(none.stderr.contains("nothing to remove"), "{none:?}");
}

/// A moment at which fusionlab is killed: its name, and how it is seen from outside.
type Moment = (&'static str, fn(&Session) -> bool);

#[test]
fn nothing_is_pruned_while_a_vm_may_lie_where_nobody_can_look() {
    let session = solo();
    build(&session).exits(0);
    // What Fusion's window knows.
    let inventory = session.simulated_mac().join("Library/Application Support/VMware Fusion/vmInventory");
    fs::create_dir_all(inventory.parent().expect("it lies in a folder")).expect("the folder can be made");
    let away = "/Volumes/a disk that is away/one.vmwarevm/one.vmx";
    fs::write(&inventory, format!("vmlist1.config = \"{away}\"\n")).expect("the file can be written");
    let refused = session.clone().args(["template", "prune", "--yes"]).run().exits(6);
    let words = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("explain vms-unseen") && words.contains(away), "{words}");
    assert_eq!(list(&session).len(), 1);
    fs::remove_file(&inventory).expect("the file is there");
    session.clone().args(["template", "prune", "--yes"]).run().exits(0);
    assert_eq!(list(&session).len(), 0);
}

fn journal_has(session: &Session, step: &str) -> bool {
    let journal =
        fs::read_to_string(session.fusionlab_home().join("runs/lab/journal.jsonl")).unwrap_or_default();
    journal.contains(&format!("\"step\":\"{step}\",\"state\":\"started\""))
}

/// Says whether a file of the template's holds some words.
fn holds(session: &Session, file: &str, words: &str) -> bool {
    let templates = session.fusionlab_home().join("templates");
    let folders = fs::read_dir(templates).into_iter().flatten().flatten();
    let mut texts = folders.filter_map(|folder| fs::read_to_string(folder.path().join(file)).ok());
    texts.any(|text| text.contains(words))
}

const CONSOLE: &str = "template.vmwarevm/console.log";

const MOMENTS: [Moment; 9] = [
    ("download", |session| journal_has(session, "image.fetch")),
    ("conversion", |session| journal_has(session, "image.convert")),
    ("the disk is written", |session| holds(session, "template.json", "\"written\"")),
    ("power-on", |session| holds(session, "template.json", "\"baking\"")),
    ("the first bake step", |session| holds(session, CONSOLE, "fusionlab-bake: step 00")),
    ("a bake step", |session| holds(session, CONSOLE, "fusionlab-bake: step 60")),
    ("the bake's last word", |session| holds(session, CONSOLE, "fusionlab-bake: done")),
    ("the bake's end", |session| holds(session, "template.json", "\"baked\"")),
    ("freeze", |session| journal_has(session, "template.freeze")),
];

/// Returns what is in fusionlab's home and the library, but for the records of runs and the simulation's own.
fn left(session: &Session) -> BTreeSet<String> {
    let is_record =
        |path: &String| ["sim", "runs/lab/logs", "labs"].iter().any(|begin| path.starts_with(begin));
    let mut all = tree(&session.fusionlab_home());
    all.retain(|path| !is_record(path));
    let library = session.simulated_mac().join("Virtual Machines.localized");
    all.extend(tree(&library).into_iter().map(|path| format!("library/{path}")));
    all
}

/// Runs a build and kills it at a moment; says whether that came before its end.
fn killed_at(session: &Session, seen: fn(&Session) -> bool) -> bool {
    let mut running = session.clone().args(["template", "build", "--yes"]).start();
    running.wait_until(|| seen(session));
    running.signal("KILL");
    running.wait().status.code().is_none()
}

#[test]
fn killed_at_any_moment_the_next_build_comes_to_the_same() {
    let undisturbed = solo();
    build(&undisturbed).exits(0);
    let expected = left(&undisturbed);
    for (moment, seen) in MOMENTS {
        let session = solo();
        assert!(killed_at(&session, seen), "it was over before it was killed at: {moment}");
        let again = build(&session).exits(0);
        let now = left(&session);
        let differences: Vec<&String> = expected.symmetric_difference(&now).collect();
        assert!(differences.is_empty(), "killed at {moment}: {differences:#?}\n{again:?}");
        session.clone().args(["template", "build", "--yes"]).run().exits(0);
    }
}

#[test]
fn killed_again_and_again_up_comes_to_a_lab_all_the_same() {
    let session = solo();
    for (_, seen) in &MOMENTS[1..] {
        killed_at(&session, *seen);
    }
    session.clone().args(["up", "--yes"]).run().exits(0);
    session.clone().args(["verify"]).run().exits(0);
    assert_eq!(list(&session).len(), 1);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn what_a_killed_build_left_is_pruned_with_its_machine() {
    let session = solo();
    assert!(killed_at(&session, |session| holds(session, CONSOLE, "fusionlab-bake: step 10")));
    let line = &list(&session)[0];
    assert_eq!(line["finished"], false);
    let pruned =
        session.clone().args(["template", "prune", "--yes", "--output", "json"]).run().exits(0).json();
    assert_eq!(pruned["templates"][0]["key"], line["key"]);
    assert!(list(&session).is_empty());
    let status = session.clone().args(["sim", "status", "--output", "json"]).run().exits(0).json();
    assert_eq!(status["running"], Value::Array(Vec::new()), "its machine is off: {status:#}");
    build(&session).exits(0);
}

#[test]
fn a_template_that_a_run_works_on_is_not_pruned() {
    let session = solo();
    let mut running = session.clone().args(["template", "build", "--yes"]).start();
    running.wait_until(|| holds(&session, "template.json", "\"baking\""));
    let refused = session.clone().args(["template", "prune", "--yes"]).run().exits(5);
    assert!(refused.stderr.contains("template build"), "{refused:?}");
    running.wait().exits(0);
}

#[test]
fn two_labs_of_one_template_make_it_once() {
    let session = solo().file("other.yaml", "version: 1\npreset: solo\nname: other\n");
    let one = session.clone().args(["template", "build", "--yes"]).start();
    let two = session.clone().args(["--lab", "other.yaml", "template", "build", "--yes"]).start();
    let (one, two) = (one.wait().exits(0), two.wait().exits(0));
    let baked = [&one, &two].iter().filter(|ended| ended.stderr.contains("fusionlab-bake: step")).count();
    assert_eq!((baked, list(&session).len()), (1, 1), "{one:?}{two:?}");
}

/// Where Fusion writes no serial console, the template's machine is heard by a guest variable.
#[test]
fn a_bake_is_heard_without_a_console() {
    let session = Session::new().file("disk.img", tiny_image());
    let (path, digest) = (session.work().join("disk.img"), hex::encode(Sha256::digest(tiny_image())));
    let image = format!("{{url: \"file://{}\", digest: \"{digest}\"}}", path.display());
    let lab = format!("version: 1\npreset: solo\nimage: {image}\n");
    let versions = resolve(Some(&lab), None, Arch::Arm64).expect("the lab file is valid").lab.versions;
    let session = session.file("fusionlab.yaml", lab);
    // It is on until it was heard.
    let word = format!(
        "echo '{}'; touch \"$root/var/heard\"",
        ["fusionlab-bake: done ", &baked(&versions)].concat()
    );
    let variable =
        format!("readVariable) [ \"$3 $4\" = \"guestVar fusionlab.bake\" ] && {{ {word}; }} ;;\nsnapshot)");
    let mut vmrun = VMRUN.to_owned();
    for (from, to) in [
        ("echo \"[   42.0] fusionlab-bake: done BAKED\" >\"${vmx%/*}/console.log\"", ":"),
        ("rm -f \"$on/template\"", "[ ! -e \"$root/var/heard\" ] || rm -f \"$on/template\""),
        ("snapshot)", &variable),
    ] {
        assert!(vmrun.contains(from), "{from}");
        vmrun = vmrun.replace(from, to);
    }
    let fusion = FakeFusion::new("13.6.3").program("vmrun", &vmrun).program("vmnet-cli", VMNET_CLI);
    let build =
        session.clone().args(["template", "build", "--yes", "--fusion"]).arg(fusion.root()).run().exits(0);
    assert!(!build.stderr.contains("nothing was heard"), "{build:?}");
    assert_eq!(manifest(&session)["baked"]["programs"]["kubelet"], format!("v{}", versions.kubernetes));
}
