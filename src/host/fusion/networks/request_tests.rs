//! What root accepts of a request, and each thing that it refuses.

use std::os::unix::fs::symlink;

use super::*;
use crate::host::fusion::fake::Fake;
use crate::host::system;

const BEFORE: &str = "VERSION=1,0\nanswer VNET_8_NAT yes\n";
const NETWORK: &str = "answer VNET_2_DHCP yes\nanswer VNET_2_HOSTONLY_NETMASK 255.255.255.0\n\
answer VNET_2_HOSTONLY_SUBNET 10.10.0.0\nanswer VNET_2_NAT yes\nanswer VNET_2_VIRTUAL_ADAPTER yes\n\
add_dhcp_mac_to_ip 2 00:50:56:00:00:01 10.10.0.131\n";
const INFO: &str = r#"<plist version="1.0"><dict><key>CFBundleShortVersionString</key><string>13.6.3</string>
<key>CFBundleVersion</key><string>24585314</string></dict></plist>"#;

/// A Fusion that is root's own if we are root, and a request that is fine.
fn setup() -> (Fake, Request) {
    let fake = Fake::new();
    let fusion = fake.fusion();
    fake.program("vmnet-cli", "");
    fake.program("vmnet-cfgcli", "");
    fake.write(&fusion.app.join("Contents/Info.plist"), INFO);
    fake.write(&fusion.networking(), BEFORE);
    fake.write(&fusion.leases(8), "");
    let job = Job {
        new: Some(format!("{BEFORE}{NETWORK}").into_bytes()),
        before: Some(BEFORE.into()),
        rollback: Some(BEFORE.into()),
        resumed: None,
        may_stop: true,
        vmnet: 2,
        kind: ChangeKind::OfOneNetwork,
        limit: Duration::from_secs(60),
    };
    let request = Request::new(Ask::Apply, &fusion, &job);
    (fake, request)
}

/// Checks the parts of a request that do not depend on who owns what.
fn reason(request: &Request, kind: ChangeKind) -> Option<String> {
    request.understood(kind).err().map(|error| error.to_string())
}

fn encoded(text: &str) -> Option<String> {
    Some(BASE64_STANDARD.encode(text))
}

#[test]
fn a_request_as_we_make_it_is_accepted() {
    let (_fake, request) = setup();
    assert_eq!(reason(&request, ChangeKind::OfOneNetwork), None);
    assert_eq!(reason(&request, ChangeKind::WholeFile), None);
    if system::is_root() {
        let (_, job) = request.check(ChangeKind::OfOneNetwork).unwrap();
        assert_eq!((job.vmnet, job.resumed), (2, None));
    }
}

#[test]
fn each_rule_has_something_that_it_refuses() {
    type Spoil = fn(&Fake, &mut Request);
    let rules: [(&str, Spoil); 15] = [
        ("request of version 7", |_, request| request.version = 7),
        ("vmnet8 is Fusion's own", |_, request| request.vmnet = 8),
        ("vmnet0 is Fusion's own", |_, request| request.vmnet = 0),
        ("a limit of 0 s", |_, request| request.limit_seconds = 0),
        ("a limit of 86401 s", |_, request| request.limit_seconds = 86_401),
        ("is not the networking file", |_, request| request.target = "/etc/sudoers".into()),
        ("VMware Fusion was not found", |_, request| request.app = "/nonexistent.app".into()),
        ("changed by somebody else", |_, request| request.before = Some("00".repeat(32))),
        ("changed by somebody else", |_, request| request.before = None),
        ("is a link", |fake, request| {
            let real = fake.root().join("elsewhere");
            files::rename(&request.target, &real).unwrap();
            symlink(&real, &request.target).unwrap();
        }),
        ("the request: ", |_, request| request.new = Some("no base64!".to_owned())),
        ("the new networking file is not accepted", |_, request| {
            request.new = encoded(&format!("{BEFORE}answer VNET_3_NAT yes\n"));
        }),
        ("the new networking file is not accepted", |_, request| request.new = None),
        ("the new networking file is not accepted", |_, request| {
            request.new = encoded("root ALL=(ALL) NOPASSWD: ALL\n");
        }),
        ("the file to go back to is not accepted", |_, request| request.rollback = encoded("VERSION=1,0\n")),
    ];
    for (expected, spoil) in rules {
        let (fake, mut request) = setup();
        spoil(&fake, &mut request);
        let said =
            reason(&request, ChangeKind::OfOneNetwork).unwrap_or_else(|| panic!("accepted: {expected}"));
        assert!(said.contains(expected), "{said:?} lacks {expected:?}");
    }
}

#[test]
fn putting_a_backup_back_may_change_every_network_but_not_spoil_the_file() {
    let (_fake, mut request) = setup();
    for new in ["VERSION=1,0\n", "VERSION=1,0\nanswer VNET_3_HOSTONLY_SUBNET 172.16.3.0\n"] {
        request.new = encoded(new);
        assert_eq!(reason(&request, ChangeKind::WholeFile), None);
        assert!(reason(&request, ChangeKind::OfOneNetwork).is_some(), "{new}");
    }
    for new in ["VERSION=2,0\n", "VERSION=1,0\nsomething else\n", "VERSION=1,0\n\0", ""] {
        request.new = encoded(new);
        assert!(reason(&request, ChangeKind::WholeFile).is_some(), "{new:?}");
    }
}

#[test]
fn programs_and_folders_that_others_could_change_are_not_trusted() {
    type Spoil = fn(&Fake) -> PathBuf;
    let spoils: [Spoil; 7] = [
        |fake| fake.fusion().program("vmnet-cli"),
        |fake| fake.fusion().program("vmnet-cfgcli"),
        |fake| {
            fake.program("vmnet-natd", "");
            fake.fusion().program("vmnet-natd")
        },
        |fake| fake.root().join("Applications"),
        |fake| fake.fusion().app.join("Contents/Library"),
        |fake| fake.fusion().preferences(),
        |fake| fake.fusion().lease_folder(),
    ];
    for spoil in spoils {
        let (fake, request) = setup();
        let path = spoil(&fake);
        files::set_mode(&path, 0o775).unwrap();
        let HostError::Untrusted { path: named, mode, .. } =
            request.check(ChangeKind::OfOneNetwork).unwrap_err()
        else {
            panic!("{} is trusted", path.display());
        };
        if system::is_root() {
            assert_eq!((named, mode), (path, 0o775));
        }
        assert!(!distrust(&fake.fusion()).is_empty());
    }
    if system::is_root() {
        let (fake, request) = setup();
        std::os::unix::fs::chown(fake.fusion().preferences(), Some(65_534), None).unwrap();
        let error = request.check(ChangeKind::OfOneNetwork).unwrap_err();
        assert!(matches!(error, HostError::Untrusted { user: 65_534, .. }), "{error}");

        let (fake, request) = setup();
        let (preferences, moved) = (fake.fusion().preferences(), fake.root().join("moved"));
        files::rename(&preferences, &moved).unwrap();
        symlink(&moved, &preferences).unwrap();
        let error = request.check(ChangeKind::OfOneNetwork).unwrap_err().to_string();
        assert!(error.contains("through a link"), "{error}");
    }
}

#[test]
fn a_request_file_is_read_once_and_only_if_nobody_else_could_have_written_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("request.json");
    let (_fake, request) = setup();
    let text = serde_json::to_vec(&request).unwrap();
    let us = Some(system::user_id());
    let said = |asker| Request::read(&path, asker).unwrap_err().to_string();

    files::write_atomic(&path, &text, files::PRIVATE_FILE).unwrap();
    assert_eq!(Request::read(&path, us).unwrap().vmnet, 2);
    files::set_mode(&path, 0o620).unwrap();
    assert!(said(us).contains("others may write to it (mode 0620)"), "{}", said(us));
    files::set_mode(&path, files::PRIVATE_FILE).unwrap();
    if system::is_root() {
        std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
        assert!(said(Some(501)).contains("it belongs to user 4711"), "{}", said(Some(501)));
        assert!(said(None).contains("who did not call sudo"));
        Request::read(&path, Some(4711)).unwrap();
    } else {
        assert!(said(Some(0)).contains("who did not call sudo"));
    }

    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(Request::read(&link, us), Err(HostError::File { action: "open", .. })));
    assert!(Request::read(folder.path(), us).unwrap_err().to_string().contains("a request is a file"));

    let mut long = text.clone();
    long.resize(5 << 20, b' ');
    files::write_atomic(&path, &long, files::PRIVATE_FILE).unwrap();
    assert!(said(us).contains("longer than 4194304 bytes"));
    files::write_atomic(&path, br#"{"version":1,"shell":"sh"}"#, files::PRIVATE_FILE).unwrap();
    assert!(said(us).contains("unknown field"), "{}", said(us));
}
