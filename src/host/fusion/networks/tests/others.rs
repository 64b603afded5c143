//! What others do meanwhile: they write in the file at any moment, run machines, fill the disk. Nothing of theirs is lost.
#![expect(clippy::disallowed_methods, reason = "the programs run for real while the disk is full")]

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::host::dial::Stream;
use crate::host::process::Options;
use crate::host::stand_in::{Computer, Doing, Effect, Refused, stand_in};

/// What somebody writes, be it Fusion's window.
const THEIRS: &str = "# a word of theirs\nanswer VNET_8_NAT_PARAM_UDP_TIMEOUT 45\n";

impl World {
    /// Lets somebody write at the end of the file when the programs were called so often.
    fn others_write(&self, call: usize) {
        self.fake.write(&self.fake.root().join("theirs"), THEIRS);
        self.fake.write(&self.fake.root().join("when"), &call.to_string());
    }

    fn have_others_written(&self) -> bool {
        !files::exists(&self.fake.root().join("when"))
    }
}

/// Makes a change while somebody writes at one moment; says whether it came to that moment.
async fn spares(before: &str, new: &str, fault: &str, call: usize) -> bool {
    let world = World::new(before);
    if before.contains("VNET_2") {
        world.derive();
    }
    world.fault(fault);
    world.others_write(call);
    let ended = world.apply(new).await;
    if !world.have_others_written() {
        return false;
    }
    let text = world.text();
    let at = format!("{fault}, {call}: {ended:?}\n{:?}\n{text}", world.fake.orders(&[]));
    assert!(THEIRS.lines().all(|line| text.lines().any(|there| there == line)), "{at}");
    assert!(BEFORE.lines().all(|line| text.lines().any(|there| there == line)), "{at}");
    let says = |file: &str| {
        let (file, now) =
            (Document::parse(file.as_bytes()).unwrap(), Document::parse(text.as_bytes()).unwrap());
        let answers = |document: &Document| {
            let mut answers = document.answers(2);
            answers.remove("DHCP_CFG_HASH");
            answers
        };
        answers(&file) == answers(&now) && file.reservations(2) == now.reservations(2)
    };
    match ended {
        Ok(_) => assert!(says(new), "{at}"),
        Err(HostError::Network { after, .. }) => {
            assert!((after != Aftermath::Unsettled || fault.starts_with("cfgcli")) && says(before), "{at}");
        }
        Err(error) => panic!("{error}: {at}"),
    }
    if world.networks.unfinished().unwrap().is_some() {
        // Its DHCP server does not run alone; the next change lets all follow what stands there.
        assert!(fault.starts_with("cfgcli"), "{at}");
        world.apply(&text).await.unwrap();
    }
    let expected: &[&str] =
        if text.contains("VNET_2") { &["2 DHCP", "2 NAT", "8 DHCP"] } else { &["8 DHCP"] };
    assert_eq!(world.running(), expected, "{at}");
    assert!(world.is_clean(), "{at}");
    true
}

#[tokio::test]
async fn whatever_somebody_writes_at_any_moment_stays() {
    let (more, comment) = (format!("{}{RESERVATION}", made()), format!("{}# mine\n", made()));
    let made = made();
    let mut moments = Vec::new();
    for (before, new, fault) in [
        (BEFORE, &*made, ""),
        (BEFORE, &made, "nonat"),
        (BEFORE, &made, "refuse"),
        (&made, BEFORE, ""),
        (&made, &more, ""),
        (&made, &more, "cfgcli-servicestart"),
        (&made, &more, "cfgcli-lies"),
        (&made, &comment, ""),
    ] {
        let mut call = 1;
        while spares(before, new, fault, call).await {
            call += 1;
        }
        moments.push(call - 1);
    }
    println!("moments tried: {moments:?}");
    assert!(moments.iter().sum::<usize>() > 50, "{moments:?}");
}

#[tokio::test]
async fn what_somebody_writes_while_a_change_fails_is_told() {
    let world = World::new(BEFORE);
    world.fault("nonat");
    world.others_write(5);
    let HostError::Network { reason, after, .. } = world.apply(&made()).await.unwrap_err() else {
        panic!("it does not work");
    };
    assert_eq!(after, Aftermath::AsBefore);
    assert!(reason.contains("only our own lines were taken back"), "{reason}");
    let text = world.text();
    assert!(text.contains("UDP_TIMEOUT 45") && !text.contains("VNET_2"), "{text}");
}

#[tokio::test]
async fn a_whole_file_that_does_not_work_stays_if_somebody_wrote_in_it() {
    let world = World::new(BEFORE);
    world.fault("nonat");
    world.others_write(5);
    let change = Change { kind: ChangeKind::WholeFile, ..world.change(&made()) };
    let error = world.networks.apply(&change).await.unwrap_err();
    let HostError::Network { reason, after: Aftermath::Unsettled, .. } = error else { panic!("{error}") };
    assert!(reason.contains("it stays as it is"), "{reason}");
    assert!(world.text().contains("UDP_TIMEOUT 45") && world.networks.unfinished().unwrap().is_some());
}

#[tokio::test]
async fn what_somebody_writes_while_the_networks_stop_stays() {
    let world = World::new(BEFORE);
    world.fault("meanwhile");
    let ended = world.apply(&made()).await;
    assert!(matches!(ended, Err(HostError::Network { after: Aftermath::AsBefore, .. })), "{ended:?}");
    assert!(world.text().contains("wonders\n") && !world.text().contains("VNET_2"), "{}", world.text());
    assert_eq!((world.running(), world.is_clean()), (vec!["8 DHCP".to_owned()], true));
}

#[tokio::test]
async fn a_file_that_somebody_else_changed_is_not_touched() {
    let world = World::new(BEFORE);
    let change = Change { expect_before: Some(b"VERSION=1,0\n".to_vec()), ..world.change(&made()) };
    let error = world.networks.apply(&change).await.unwrap_err();
    assert!(matches!(error, HostError::Network { after: Aftermath::Untouched, .. }), "{error}");
    assert!(world.orders().is_empty() && world.is_clean() && world.networks.backups().unwrap().is_empty());
}

#[tokio::test]
async fn one_dhcp_server_in_doubt_stops_nobody_elses_network() {
    let new = format!("{}{RESERVATION}", made());
    for (fault, is_restored) in
        [("cfgcli-servicestop", true), ("cfgcli-updatedhcpfromconfig", true), ("cfgcli-lies", false)]
    {
        let world = World::new(&made());
        world.derive();
        world.fault(fault);
        let outcome = world.networks.apply(&world.change(&new)).await.unwrap();
        let Outcome::MustStop { after, .. } = outcome else { panic!("{fault}: {outcome:?}") };
        assert_eq!(after == Aftermath::AsBefore, is_restored, "{fault}: {:?}", world.orders());
        assert_eq!(world.text(), made(), "{fault}");
        assert!(!world.orders().iter().any(|order| order == "--stop"), "{fault}: {:?}", world.orders());
        assert_eq!(world.networks.unfinished().unwrap().is_none(), is_restored, "{fault}");
    }
}

#[tokio::test]
async fn networks_that_may_not_stop_are_not_touched() {
    let world = World::new(BEFORE);
    let change = Change { may_stop: false, ..world.change(&made()) };
    let outcome = world.networks.apply(&change).await.unwrap();
    assert!(matches!(outcome, Outcome::MustStop { after: Aftermath::Untouched, .. }), "{outcome:?}");
    assert!(world.orders().is_empty() && world.is_clean() && world.networks.backups().unwrap().is_empty());
    assert_eq!(world.text(), BEFORE);
}

/// A computer whose disk is full once the networking file was replaced so often.
struct FullDisk {
    file: PathBuf,
    /// Where the programs are, whatever they are called by.
    programs: PathBuf,
    left: AtomicUsize,
}

impl Computer for FullDisk {
    fn now_ms(&self) -> u64 {
        0
    }

    fn before(&self, effect: Effect<'_>) -> Result<(), Refused> {
        let full = || Err(Refused { torn_after: 0, error: io::ErrorKind::StorageFull.into() });
        match effect {
            Effect::Create(path) if path == self.file && self.left.load(Ordering::Relaxed) == 0 => full(),
            Effect::Create(path) if path == self.file => {
                self.left.fetch_sub(1, Ordering::Relaxed);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn run(&self, program: PathBuf, args: Vec<OsString>, _: &Options) -> Doing<io::Result<Finished>> {
        let program = self.programs.join(program.file_name().unwrap());
        Box::pin(async move {
            let output = tokio::process::Command::new(program).args(args).output().await?;
            Ok(Finished { status: output.status, stdout: output.stdout, stderr: output.stderr })
        })
    }

    fn connect(&self, _: std::net::SocketAddrV4) -> Doing<io::Result<Stream>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn is_dead(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_full_disk_leaves_nobody_without_a_network() {
    for (replaced, is_restored) in [(0, true), (1, false)] {
        let world = World::new(BEFORE);
        world.fault("nonat");
        let fusion = world.fake.fusion();
        let (file, programs) = (fusion.networking(), fusion.program(""));
        let computer = FullDisk { file, programs, left: AtomicUsize::new(replaced) };
        let standing = stand_in(Arc::new(computer));
        let error = world.apply(&made()).await.unwrap_err();
        drop(standing);
        let HostError::Network { reason, after, .. } = error else { panic!("{error}") };
        assert_eq!(after == Aftermath::AsBefore, is_restored, "{reason}");
        assert!(world.running().contains(&"8 DHCP".to_owned()), "{replaced}: {reason}");
        world.fault("");
        let file = if is_restored { made() } else { BEFORE.to_owned() };
        world.apply(&file).await.unwrap();
        assert!(world.is_clean() && world.text().starts_with(&file));
    }
}

#[test]
fn a_lease_file_that_cannot_be_put_back_does_not_keep_the_others_from_it() {
    let fake = Fake::new();
    let (first, second) = (fake.fusion().leases(1), fake.fusion().leases(8));
    for path in [&first, &second] {
        fake.write(path, "lease 172.16.8.130 {\n}\n");
    }
    let leases = lease_files::LeaseFiles::read(&fake.fusion()).unwrap();
    let remove = |path: &Path| files::remove_file(path).unwrap();
    remove(&first);
    remove(&second);
    files::create_dir(&first).unwrap();
    assert!(leases.put_back().is_err(), "a folder is in its place");
    assert!(files::read_text(&second).unwrap().contains("172.16.8.130"));
}
