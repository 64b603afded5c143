//! A lab that was made with `--preset` is meant by every verb as it was made, until it is destroyed.

use serde_json::Value;

use crate::support::session::Session;

fn machines(session: &Session) -> usize {
    let status = session.clone().args(["status", "--output", "json"]).run().exits(0).json();
    status["nodes"].as_array().expect("a list of machines").len()
}

fn steps(session: &Session, words: &[&str]) -> usize {
    let plan = session.clone().arg("plan").args(words).args(["--output", "json"]).run().exits(0).json();
    plan["steps"].as_array().expect("a list of steps").len()
}

#[test]
fn a_lab_made_with_a_preset_stays_of_that_size_until_it_is_destroyed() {
    let session = Session::new();
    let record = session.fusionlab_home().join("labs/lab/made-from.json");
    assert!(steps(&session, &["--preset", "solo"]) > 0);
    assert!(!record.exists(), "a plan writes nothing");
    assert_eq!(machines(&session), 7, "and is not remembered");

    session.clone().args(["up", "--yes", "--preset", "solo"]).run().exits(0);
    let made: Value =
        serde_json::from_slice(&std::fs::read(&record).expect("it is remembered")).expect("JSON");
    assert_eq!((&made["preset"], &made["file"]), (&"solo".into(), &Value::Null), "{made:#}");
    assert_eq!(machines(&session), 2);
    assert_eq!(steps(&session, &[]), 0, "there is nothing to do");
    let again = session.clone().args(["up", "--yes"]).run().exits(0);
    assert!(again.stderr.contains("nothing had to be done"), "{}", again.shown());
    let verified = session.clone().args(["verify", "--output", "json"]).run().exits(0).json();
    assert_eq!(verified["passed"], true, "{verified:#}");

    assert!(steps(&session, &["--preset", "small"]) > 0, "another size is growth");
    let sized = session.file("fusionlab.yaml", "version: 1\npreset: small\n");
    assert_eq!(machines(&sized), 3, "what the lab file says comes before");
    let unsized_ = sized.file("fusionlab.yaml", "version: 1\n");
    assert_eq!((machines(&unsized_), steps(&unsized_, &[])), (2, 0), "one that says nothing does not");
    unsized_.clone().args(["up", "--yes"]).run().exits(0);
    let made: Value = serde_json::from_slice(&std::fs::read(&record).expect("it stays")).expect("JSON");
    let file = made["file"].as_str().expect("where the lab file is");
    assert!(file.ends_with("/fusionlab.yaml") && made["preset"] == "solo", "{made:#}");

    unsized_.clone().args(["destroy", "--yes"]).run().exits(0);
    assert!(!record.exists());
    assert_eq!(machines(&unsized_), 7, "it is forgotten with the lab");
}

#[test]
fn a_size_that_cannot_be_read_is_told_by_who_makes_and_keeps_nobody_from_destroying() {
    let session = Session::new();
    let record = session.fusionlab_home().join("labs/lab/made-from.json");
    std::fs::create_dir_all(record.parent().expect("it lies in a folder")).expect("the home takes it");
    std::fs::write(&record, "{ half").expect("the folder takes it");
    let refused = session.clone().args(["up", "--yes"]).run();
    assert_ne!(refused.status.code(), Some(0));
    assert!(refused.stderr.contains("made-from.json"), "{}", refused.shown());
    assert_eq!(machines(&session), 7);
    session.clone().args(["destroy", "--yes"]).run().exits(0);
    assert!(!record.exists());
}

#[test]
fn the_advised_command_means_the_same_size() {
    let session = Session::new();
    session.clone().args(["sim", "hazard", "window-open"]).run().exits(0);
    let refused = session.clone().args(["plan", "--preset", "solo"]).run();
    assert_ne!(refused.status.code(), Some(0), "{}", refused.shown());
    for line in refused.stderr.lines().filter(|line| line.contains("fusionlab up")) {
        assert!(line.contains("--preset solo"), "{}", refused.shown());
    }
}
