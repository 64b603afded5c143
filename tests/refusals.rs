//! What stands in the way is said all at once, with what to do, and nothing is changed.

use std::fs;

use crate::support::session::Session;

#[test]
fn four_problems_are_one_report() {
    let lab = "\
version: 2
lan:
  subnet: 192.168.68.0/99
  vipp: 192.168.68.200
nodes:
  k8s-master1: {address: 10.10.0.77}
  k8s-worker1: {address: 10.10.0.77}
";
    let session = Session::new().file("fusionlab.yaml", lab);
    let ended = session.clone().args(["up", "--yes"]).run().exits(3);
    for place in ["fusionlab.yaml:1:10", "fusionlab.yaml:3:11", "fusionlab.yaml:4:3", "fusionlab.yaml:7:26"] {
        assert!(ended.stderr.contains(place), "the report lacks {place}:\n{}", ended.stderr);
    }
    assert!(ended.stderr.contains("4 errors"), "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean"), "{}", ended.stderr);
    assert!(!session.fusionlab_home().join("labs").exists(), "nothing was made");
}

#[test]
fn a_vmnet2_of_someone_else_is_left_to_them() {
    let session = Session::new();
    session.clone().args(["sim", "start"]).run().exits(0);
    let networking = session.simulated_mac().join("Library/Preferences/VMware Fusion/networking");
    let mut text = fs::read_to_string(&networking).expect("it can be read");
    text.push_str("answer VNET_2_DHCP yes\nanswer VNET_2_HOSTONLY_NETMASK 255.255.255.0\nanswer VNET_2_HOSTONLY_SUBNET 172.20.0.0\n");
    fs::write(&networking, &text).expect("it can be written");
    let ended = session.clone().args(["up", "--yes"]).run().exits(7);
    for part in ["vmnet2", "172.20.0.0/24", "vmnet: 3"] {
        assert!(ended.stderr.contains(part), "the report lacks {part:?}:\n{}", ended.stderr);
    }
    assert_eq!(fs::read_to_string(&networking).expect("it can be read"), text);
    assert!(!session.simulated_mac().join("Virtual Machines.localized/lab").exists());
}

#[test]
fn a_vm_of_someone_else_in_a_nodes_place_is_left_to_them() {
    let session = Session::new();
    session.clone().args(["sim", "start"]).run().exits(0);
    let bundle = session.simulated_mac().join("Virtual Machines.localized/lab/gateway1.vmwarevm");
    fs::create_dir_all(&bundle).expect("the library takes a folder");
    fs::write(bundle.join("gateway1.vmx"), "config.version = \"8\"\n").expect("it can be written");
    let ended = session.clone().args(["up", "--yes"]).run();
    assert!(!ended.status.success());
    assert!(ended.stderr.contains("gateway1.vmx"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(&bundle).expect("it stays").count(), 1);
}

#[test]
fn a_question_that_nobody_can_answer_is_a_usage_error() {
    Session::new().args(["destroy"]).run().exits(0);
    let ended = Session::new().args(["up"]).run().exits(2);
    assert!(ended.stderr.contains("--yes"), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_understood_is_an_error_like_every_other() {
    let session = Session::new();
    let peers = session.clone().args(["ps"]).run().exits(2);
    assert!(peers.stderr.contains("here it is:\n          fusionlab status"), "{}", peers.shown());
    let ended = session.clone().args(["stauts", "--output", "json"]).run().exits(2);
    let told = ended.json();
    assert_eq!(told["schema"], "fusionlab.error/1");
    assert_eq!(told["error"]["id"], "usage");
    assert_eq!(told["error"]["exit_code"], 2);
    assert_eq!(told["error"]["fix"][1]["run"], "fusionlab status");
    assert_eq!(ended.stderr, "");
    let both = session.args(["exec", "--all", "gateway1", "--", "true"]).run().exits(2);
    assert!(both.stderr.contains("takes --all or MACHINE, not both"), "{}", both.shown());
}

#[test]
fn without_a_verb_the_help_is_the_same_whatever_the_environment_says() {
    let bare = |session: Session| session.run().exits(2).stderr;
    let help = bare(Session::new());
    assert!(help.contains("Usage: fusionlab [OPTIONS] <VERB>"), "{help}");
    for (name, value) in
        [("FUSIONLAB_LAB", "b.yaml"), ("FUSIONLAB_PLAIN", "1"), ("FUSIONLAB_IMAGE_MIRROR", "http://x")]
    {
        assert_eq!(bare(Session::new().env(name, value)), help, "{name}");
    }
    let networks = bare(Session::new().env("FUSIONLAB_LAB", "b.yaml").arg("network"));
    assert!(networks.contains("Usage: fusionlab network [OPTIONS] <VERB>"), "{networks}");
}

#[test]
fn a_lab_file_that_cannot_be_read_ends_alike_whatever_the_reason() {
    let session = Session::new().file("latin.yaml", b"name: z\xfcrich\n").file("folder/x", "");
    for file in ["latin.yaml", "folder", "latin.yaml/x"] {
        let ended = session.clone().args(["plan", "--lab", file]).run().exits(3);
        assert!(ended.stderr.contains("lab-file-unreadable"), "{}", ended.shown());
    }
    let missing = session.args(["plan", "--lab", "missing.yaml"]).run().exits(3);
    assert!(missing.stderr.contains("lab-file-missing"), "{}", missing.shown());
}

#[test]
fn a_lab_file_that_is_missing_is_looked_for_and_whoever_named_it_is_told() {
    let session = Session::new().file("labs/office.yaml", "version: 1\n");
    let by_option = session.clone().args(["plan", "--lab", "labs/offise.yml"]).run().exits(3).stderr;
    assert!(
        by_option.contains("--lab names it") && by_option.contains("did you mean labs/office.yaml?"),
        "{by_option}"
    );
    assert!(by_option.contains("fusionlab init --out labs/offise.yml"), "{by_option}");
    let by_variable = session.clone().env("FUSIONLAB_LAB", "attic.yaml").arg("plan").run().exits(3).stderr;
    assert!(by_variable.contains("FUSIONLAB_LAB in the environment names it"), "{by_variable}");
    assert!(!by_variable.contains("did you mean"), "{by_variable}");
}

#[test]
fn a_value_may_stand_behind_a_blank_where_nothing_else_can() {
    let session = Session::new();
    session.clone().args(["sim", "sleep", "5m"]).run().exits(0);
    let ended = session.clone().args(["destroy", "--yes", "--sim", "--wait", "5m"]).run().exits(0);
    assert!(ended.stderr.contains("nothing had to be done"), "{}", ended.shown());
    let refused = session.clone().args(["drill", "--wait", "5m"]).run().exits(2);
    assert!(refused.stderr.contains("--wait=5m"), "{}", refused.shown());
    let wrong = session.clone().args(["status", "--watch", "soon"]).run().exits(2);
    assert!(wrong.stderr.contains("30s, 10m, 2h, 7d"), "{}", wrong.shown());
}

#[test]
fn a_drill_on_a_misspelt_machine_is_told_as_by_every_verb() {
    let session = Session::new();
    let told = |words: &[&str]| session.clone().args(words).run().exits(2).stderr;
    let drill = told(&["drill", "--on", "gatewya1", "--yes"]);
    assert!(drill.contains("did you mean gateway1?"), "{drill}");
    assert_eq!(drill, told(&["ssh", "gatewya1"]));
}

#[test]
fn no_form_that_a_verb_does_not_have_is_advised_as_a_command() {
    let session = Session::new();
    for words in [["status", "--output", "junit"].as_slice(), &["verify", "--list", "--output", "junit"]] {
        let told = session.clone().args(words).run().exits(2).stderr;
        assert!(told.contains("fusionlab verify --"), "{told}");
        assert!(!told.lines().any(|line| line.trim() == "--output json"), "{told}");
    }
}
