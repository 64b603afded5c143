//! `list`: every lab of this Mac, and the way to take one down whose lab file is gone.

use std::fs;

use serde_json::Value;

use crate::support::session::Session;

fn labs(session: &Session) -> Vec<Value> {
    let told = session.clone().args(["list", "--output", "json"]).run().exits(0).json();
    assert_eq!(told["schema"], "fusionlab.labs/1");
    told["labs"].as_array().expect("a list of labs").clone()
}

#[test]
fn an_empty_home_says_how_to_begin_and_stays_empty() {
    let session = Session::new();
    for words in [&["list"][..], &["ls"], &["--plain", "list"]] {
        let told = session.clone().args(words).run().exits(0);
        assert!(told.stdout.starts_with("no labs yet: fusionlab "), "{}", told.shown());
        assert!(told.stdout.trim_end().ends_with("init"), "{}", told.shown());
    }
    assert_eq!(labs(&session), Vec::<Value>::new());
    assert!(!session.fusionlab_home().join("sim").exists(), "nothing is laid out for a look");
}

#[test]
fn a_lab_whose_file_is_gone_is_listed_and_taken_down_by_its_name_alone() {
    let lab = "version: 1\nname: mine\npreset: solo\ninternal: {vmnet: 3}\n";
    let session = Session::new().file("fusionlab.yaml", lab);
    session.clone().args(["up", "--yes"]).run().exits(0);
    let file = session.work().join("fusionlab.yaml");
    let found = labs(&session);
    let [mine] = found.as_slice() else { panic!("one lab was expected: {found:#?}") };
    assert_eq!((&mine["lab"], &mine["preset"]), (&"mine".into(), &"solo".into()), "{mine:#}");
    assert_eq!((&mine["made"], &mine["running"]), (&2.into(), &2.into()), "{mine:#}");
    assert_eq!(mine["fusion"]["simulated"], true, "{mine:#}");
    assert_eq!((&mine["file_is"], &mine["last"]["verb"]), (&"there".into(), &"up".into()), "{mine:#}");
    assert_eq!(mine["at_work"], Value::Null);
    let text = session.clone().arg("ls").env("NO_COLOR", "1").run().exits(0).stdout;
    for part in ["mine", "solo", "2 of 2", "simulated", "up, ", "fusionlab.yaml"] {
        assert!(text.contains(part), "no {part:?}: {text}");
    }
    assert!(!text.contains("enough to take it down"), "{text}");

    fs::write(&file, "version: 1\nname: other\n").expect("the file is ours");
    assert_eq!(labs(&session)[0]["file_is"], "another-lab");
    fs::remove_file(&file).expect("the file is ours");
    let gone = session.clone().arg("list").run().exits(0).stdout;
    assert!(gone.contains("the lab file of mine is gone"), "{gone}");
    assert!(gone.contains("--lab mine.yaml destroy"), "{gone}");

    let written = gone.lines().find(|line| line.contains("printf")).expect("a command that writes it");
    let shell = std::process::Command::new("sh").args(["-c", written]).current_dir(session.work()).status();
    assert!(shell.expect("sh runs").success(), "{written}");
    session.clone().args(["--lab", "mine.yaml", "destroy", "--yes"]).run().exits(0);
    assert_eq!(labs(&session), Vec::<Value>::new(), "nothing of it is left");
    let networking = session.simulated_mac().join("Library/Preferences/VMware Fusion/networking");
    let networking = fs::read_to_string(networking).expect("there is a networking file");
    assert!(!networking.contains("VNET_3_"), "{networking}");
}

#[test]
fn from_a_folder_without_a_lab_file_a_lab_is_the_one_that_its_own_file_says() {
    let solo = "version: 1\npreset: solo\n";
    let session = Session::new().file("mine/fusionlab.yaml", solo).file("another.yaml", solo);
    let run = |words: &[&str], code| session.clone().args(words).run().exits(code);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    run(&["--lab", "mine/fusionlab.yaml", "up", "--yes"], 0);
    let here = run(&["plan", "--detailed-exitcode"], 0);
    assert!(
        words(&here.stderr).contains("no fusionlab.yaml is here: the lab lab was made from"),
        "{}",
        here.shown()
    );
    assert_eq!(run(&["status", "--output", "json"], 0).json()["nodes"].as_array().map(Vec::len), Some(2));
    let other = run(&["--lab", "another.yaml", "plan"], 0);
    assert!(words(&other.stderr).contains("was last made from"), "{}", other.shown());
    assert!(!run(&["--lab", "mine/fusionlab.yaml", "plan"], 0).stderr.contains("note:"));
    run(&["destroy", "--yes"], 0);
    let built_in = run(&["status", "--output", "json"], 0).json();
    assert_eq!(built_in["nodes"].as_array().map(Vec::len), Some(7), "its record went with it");
}

#[test]
fn machines_without_a_folder_in_the_home_are_a_lab_too() {
    let session = Session::new().file("fusionlab.yaml", "version: 1\nname: orphan\npreset: solo\n");
    session.clone().args(["up", "--yes"]).run().exits(0);
    fs::remove_dir_all(session.fusionlab_home().join("labs/orphan")).expect("the folder is ours");
    let found = labs(&session);
    let [orphan] = found.as_slice() else { panic!("one lab was expected: {found:#?}") };
    assert_eq!((&orphan["lab"], &orphan["running"]), (&"orphan".into(), &2.into()), "{orphan:#}");
    for unknown in ["file", "file_is", "preset", "wanted", "last", "folder"] {
        assert_eq!(orphan[unknown], Value::Null, "{unknown}: {orphan:#}");
    }
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn a_labs_name_behind_destroy_leads_to_its_file() {
    let refused = Session::new().args(["destroy", "mylab"]).run().exits(2);
    for part in ["takes no \"mylab\"", "fusionlab list", "--lab FILE destroy"] {
        assert!(refused.stderr.contains(part), "no {part:?}:\n{}", refused.shown());
    }
}
