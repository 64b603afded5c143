//! `image vmx`: what a VMX file says, and a change that leaves all else as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::session::Session;

const VMX: &str =
    ".encoding = \"UTF-8\"\r\n# by hand\r\ndisplayName = \"a |22b|22\"\r\nmemsize = \"4096\" # MiB\r\n";

#[test]
fn keys_are_shown_aligned_and_unescaped() {
    let session = Session::new().file("one.vmx", VMX);
    let shown = session.clone().args(["image", "vmx", "one.vmx"]).run().exits(0);
    assert_eq!(
        shown.stdout,
        "KEY          VALUE\n.encoding    UTF-8\ndisplayName  a \"b\"\nmemsize      4096\n"
    );
    let told = session.args(["image", "vmx", "one.vmx", "--output", "json"]).run().exits(0).json();
    assert_eq!(told["schema"], "fusionlab.vmx/1");
    assert_eq!((&told["values"]["displayName"], &told["encoding"]), (&"a \"b\"".into(), &"UTF-8".into()));
}

#[test]
fn a_change_is_shown_and_leaves_all_else() {
    let session = Session::new().file("one.vmx", VMX);
    let path = session.work().join("one.vmx");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("ours");
    let set = ["image", "vmx", "one.vmx", "--set", "memSize=8192", "--set", "annotation=x=\"y\""];
    let changed = session.clone().args(set).run().exits(0);
    let diff = "-memsize = \"4096\" # MiB\n+memsize = \"8192\" # MiB\n+annotation = \"x=|22y|22\"\n";
    assert!(changed.stdout.contains(diff), "{}", changed.stdout);
    assert!(changed.stderr.contains("its lock alone decides"), "{}", changed.stderr);
    let expected = VMX.replace("4096", "8192") + "annotation = \"x=|22y|22\"\r\n";
    assert_eq!(fs::read_to_string(&path).expect("there"), expected);
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
    let again = session.clone().args(set).run().exits(0);
    assert!(again.stdout.is_empty() && again.stderr.contains("nothing to change"));
}

#[test]
fn what_is_in_use_or_wrong_is_refused_and_stays() {
    let session = Session::new().file("one.vmx", VMX).file("bad.vmx", "a = \"1\nb = \"2\"\nB = \"3\"\n");
    let set = |name: &'static str, wish: &'static str| {
        session.clone().args(["image", "vmx", name, "--set", wish]).run()
    };
    let bad = set("bad.vmx", "a=1").exits(4);
    assert!(bad.stderr.contains("2 mistakes") && bad.stderr.contains("line 3, column 1"), "{}", bad.stderr);
    assert!(set("one.vmx", "a key=1").exits(2).stderr.contains("cannot be a key"));
    set("one.vmx", "memsize").exits(2);
    assert!(set("absent.vmx", "a=1").exits(4).stderr.contains("absent.vmx"));

    // Somebody who lives has it open: this test.
    let lock = format!("uuid=1 {}-0(VMware Fusion) 0 X M00001.lck lc=0", std::process::id());
    let session = session.clone().file("one.vmx.lck/M00001.lck", lock);
    let locked = session.args(["image", "vmx", "one.vmx", "--set", "memsize=8192"]).run().exits(6);
    assert!(locked.stderr.contains("(VMware Fusion)"), "{}", locked.stderr);
    let path = locked.session.work().join("one.vmx");
    assert_eq!(fs::read_to_string(path).expect("there"), VMX);
}
