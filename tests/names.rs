//! The lab's names: the name server on the gateways, the Mac's way to it, and what is said of trust.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::session::Session;

const SOLO: &str = "version: 1\npreset: solo\n";

struct User {
    session: Session,
}

impl User {
    fn names(&self, flags: &[&str]) -> Value {
        self.session.clone().args(["names", "--output", "json"]).args(flags).run().exits(0).json()
    }

    fn resolver(&self) -> PathBuf {
        self.session.simulated_mac().join("etc/resolver/lab.test")
    }
}

#[test]
fn the_labs_names_are_answered_and_the_mac_asks_for_them_until_destroy() {
    let user = User { session: Session::new().file("fusionlab.yaml", SOLO) };
    user.session.clone().arg("trust").run().exits(4);
    let before = user.names(&[]);
    assert_eq!(before["server"]["said"], "was not asked: the lab is not up", "{before:#}");
    assert_eq!(
        (&before["server"]["answers"], &before["resolver"]["state"]),
        (&false.into(), &"absent".into())
    );
    let refused =
        user.session.clone().args(["names", "--resolver", "--yes", "--output", "json"]).run().exits(8);
    assert_eq!(refused.json()["error"]["id"], "lab-not-up");
    assert!(!user.resolver().exists() && !user.session.fusionlab_home().join("labs").exists());
    user.session.clone().args(["up", "--yes"]).run().exits(0);
    gateways_answer(&user);
    a_file_of_somebody_elses_stays(&user);
    the_mac_asks(&user);
    trust_is_explained(&user);

    let plan = user.session.clone().args(["plan", "--destroy"]).run().exits(0).stdout;
    assert!(plan.contains("etc/resolver/lab.test"), "what destroy removes is shown:\n{plan}");
    user.session.clone().args(["destroy", "--yes"]).run().exits(0);
    assert!(!user.session.simulated_mac().join("etc/resolver").exists(), "the Mac is as it was");
}

#[test]
fn a_lab_that_is_up_takes_another_domain() {
    let user = User { session: Session::new().file("fusionlab.yaml", SOLO) };
    let run = |words: &[&str]| user.session.clone().args(words).run().exits(0);
    let authority = || fs::read_to_string(user.session.fusionlab_home().join("labs/lab/lab-ca.crt"));
    run(&["up", "--yes"]);
    run(&["names", "--resolver", "--yes"]);
    let before = authority().expect("it is there");
    let _ = user.session.clone().file("fusionlab.yaml", format!("{SOLO}domain: apps.test\n"));

    let plan = run(&["plan", "--output", "json"]).json();
    let steps: Vec<&str> =
        plan["steps"].as_array().expect("a list").iter().filter_map(|step| step["id"].as_str()).collect();
    for step in ["identity.create", "gateway.configure/gateway1", "ingress.configure"] {
        assert!(steps.contains(&step), "{step} is not in {steps:?}");
    }
    assert!(!steps.iter().any(|step| step.starts_with("vm.")), "machines go on: {steps:?}");
    // It proves the lab when it is done: names, certificates and routes of the new domain.
    run(&["up", "--yes"]);
    run(&["plan", "--detailed-exitcode"]);
    assert_ne!(authority().expect("it is there"), before, "it may not sign for the new domain");
    assert_eq!(user.names(&[])["server"]["said"], "answers: echo.apps.test is 192.168.68.200");

    let written = run(&["names", "--resolver", "--yes"]);
    assert!(written.stderr.contains("etc/resolver/lab.test"), "both are shown:\n{}", written.stderr);
    assert!(!user.resolver().exists() && user.resolver().with_file_name("apps.test").exists());
    run(&["destroy", "--yes"]);
    assert!(!user.session.simulated_mac().join("etc/resolver").exists(), "the Mac is as it was");
}

fn gateways_answer(user: &User) {
    let names = user.names(&[]);
    assert_eq!(names["server"]["said"], "answers: echo.lab.test is 192.168.68.200", "{names:#}");
    let listed: Vec<&str> =
        names["names"].as_array().expect("a list").iter().filter_map(|name| name["name"].as_str()).collect();
    assert_eq!(listed, ["*.lab.test", "k8s-api.lab.internal"]);
    let shown = user.session.clone().arg("names").run().exits(0).stdout;
    assert!(shown.contains("fusionlab names --resolver") && shown.contains("curl --resolve"), "{shown}");
}

fn a_file_of_somebody_elses_stays(user: &User) {
    fs::create_dir_all(user.resolver().parent().expect("a folder")).expect("the simulated Mac takes it");
    fs::write(user.resolver(), "nameserver 127.0.0.1\nport 5353\n").expect("the folder is there");
    let refused =
        user.session.clone().args(["names", "--resolver", "--yes", "--output", "json"]).run().exits(4);
    assert_eq!(refused.json()["error"]["id"], "resolver-taken");
    assert_eq!(user.names(&["--no-resolver", "--yes"])["resolver"]["state"], "foreign");
    assert_eq!(fs::read_to_string(user.resolver()).expect("it stays"), "nameserver 127.0.0.1\nport 5353\n");
    fs::remove_file(user.resolver()).expect("it is there");
}

fn the_mac_asks(user: &User) {
    user.session.clone().args(["names", "--resolver"]).run().exits(2);
    assert!(!user.resolver().exists(), "nobody could be asked, so nothing was done");
    let written = user.session.clone().args(["names", "--resolver", "--yes"]).run().exits(0);
    assert!(written.stderr.contains("+nameserver 10.10.0.10"), "it is shown first:\n{}", written.stderr);
    assert!(written.stdout.contains("is the lab's"), "{}", written.stdout);
    let text = fs::read_to_string(user.resolver()).expect("it was written");
    assert!(
        text.starts_with("# Written by fusionlab") && text.ends_with("\nnameserver 10.10.0.10\n"),
        "{text}"
    );
    let again = user.session.clone().args(["names", "--resolver"]).run().exits(0);
    assert!(!again.stderr.contains('+'), "there is nothing to be asked: {}", again.stderr);
    assert_eq!(user.names(&["--no-resolver", "--yes"])["resolver"]["state"], "absent");
    assert_eq!(user.names(&["--resolver", "--yes"])["resolver"]["used"], true);
}

fn trust_is_explained(user: &User) {
    let told = user.session.clone().args(["trust", "--output", "json"]).run().exits(0).json();
    let certificate = told["certificate"].as_str().expect("a path");
    assert!(fs::read_to_string(certificate).expect("it is there").contains("BEGIN CERTIFICATE"));
    assert_eq!(told["sha256"].as_str().map(|text| text.split(':').count()), Some(32), "{told:#}");
    assert_eq!(told["confined"], true, "{told:#}");
    let shown = user.session.clone().arg("trust").run().exits(0).stdout;
    for part in [
        "for no other site",
        "security add-trusted-cert",
        "remove-trusted-cert",
        "update-ca-certificates",
        "Firefox",
        "curl --cacert",
    ] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
}
