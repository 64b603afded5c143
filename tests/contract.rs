//! What both drivers promise of `Hypervisor`, against the simulated Fusion with each of its faults on.
//!
//! One suite for `vmrun` and `vmrest`: a promise that only one of them could keep would be none.

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fusionlab::formats::mac::Mac;
use fusionlab::formats::seed_iso;
use fusionlab::formats::vmx::Vmx;
use fusionlab::host::fusion::verbs::Deadlines;
use fusionlab::host::fusion::vmrest::Vmrest;
use fusionlab::host::fusion::vmrun::Vmrun;
use fusionlab::host::fusion::{Fusion, discover, locks, vmx_file};
use fusionlab::host::{Clone, HostError, Hypervisor, Stop};
use fusionlab::sim::faults::{self, Fault};
use fusionlab::sim::install;
use fusionlab::sim::places::Places;

use crate::support::session::Session;

/// As often as it strikes.
const ALWAYS: Option<u32> = None;
const ONCE: Option<u32> = Some(1);
const TWICE: Option<u32> = Some(2);

const MAC: &str = "00:50:56:00:0c:01";
const SNAPSHOT: &str = "fusionlab";

/// Limits of the suite: plenty for what comes to an end.
const PLENTY: Duration = Duration::from_secs(20);
const DEADLINES: Deadlines = Deadlines {
    fusion_query: PLENTY,
    fusion_address: PLENTY,
    vm_start: PLENTY,
    vm_stop_soft: PLENTY,
    vm_stop_hard: PLENTY,
    vm_clone: PLENTY,
    vm_unlock: PLENTY,
};
/// Long enough for what works, and soon over for what hangs.
const SOON: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Vmrun,
    Vmrest,
}

/// A simulated Mac with one VM that is off, and a driver for it.
struct Bench {
    kind: Kind,
    driver: Box<dyn Hypervisor>,
    fusion: Fusion,
    vmx: PathBuf,
    session: Session,
}

impl Bench {
    async fn new(kind: Kind, deadlines: Deadlines) -> Self {
        let session = Session::new().args(["--sim-speed", "600", "sim", "start"]).run().exits(0).session;
        let fusion = discover::find(Some(&session.simulated_mac())).expect("it is laid out");
        let vmx = fusion.library.join("one.vmwarevm/one.vmx");
        std::fs::create_dir_all(vmx.parent().expect("a bundle")).expect("the library takes a folder");
        install::boot_disk(&vmx.with_file_name("disk.vmdk")).expect("a disk");
        std::fs::write(vmx.with_file_name("seed.iso"), seed()).expect("a seed");
        vmx_file::write(&vmx, &machine()).expect("a VMX");
        let vmrun = Vmrun::new(fusion.clone(), deadlines);
        let driver: Box<dyn Hypervisor> = match kind {
            Kind::Vmrun => Box::new(vmrun),
            Kind::Vmrest => {
                let home = session.fusionlab_home().join("rest");
                Box::new(Vmrest::start(vmrun, &home).await.expect("vmrest starts"))
            }
        };
        Self { kind, driver, fusion, vmx, session }
    }

    /// Plants a fault, of any VM.
    fn fault(&self, name: &str, times: Option<u32>) {
        let fault = Fault { name: name.to_owned(), target: None, times, after: 0 };
        faults::plant(&self.places(), fault).expect("the settings can be written");
    }

    fn no_fault(&self) {
        faults::clear(&self.places()).expect("the settings can be written");
    }

    fn places(&self) -> Places {
        Places::new(&self.fusion.root)
    }

    async fn runs(&self) -> bool {
        let running = self.driver.running().await.expect("a list");
        running.contains(&self.vmx.canonicalize().expect("the VMX is there"))
    }

    /// Starts the VM and waits for its tools, without which it can neither be asked nor shut down.
    async fn up(&self) {
        self.driver.start(&self.vmx).await.expect("it starts");
        let known = async { while self.address().await.is_none() {} };
        tokio::time::timeout(PLENTY, known).await.expect("the guest's tools come up");
    }

    async fn address(&self) -> Option<Ipv4Addr> {
        self.driver.address(&self.vmx, MAC.parse::<Mac>().expect("a MAC")).await.expect("an answer")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.fusion.library.join(format!("lab/{name}.vmwarevm/{name}.vmx"))
    }

    fn vmrun(&self, args: &[&str]) {
        let mut command = std::process::Command::new(self.fusion.program("vmrun"));
        let ended = command.args(["-T", "fusion"]).args(args).output().expect("vmrun runs");
        assert!(ended.status.success(), "{args:?}: {ended:?}");
    }
}

/// Runs a promise's test for both drivers, each on a Mac of its own.
fn both<F: Future<Output = ()>>(deadlines: Deadlines, test: impl Fn(Bench) -> F + Sync) {
    std::thread::scope(|scope| {
        scope.spawn(|| with(Kind::Vmrun, deadlines, &test));
        with(Kind::Vmrest, deadlines, &test);
    });
}

/// Runs a test for vmrest alone: what it has and vmrun has not.
fn rest<F: Future<Output = ()>>(deadlines: Deadlines, test: impl Fn(Bench) -> F) {
    with(Kind::Vmrest, deadlines, &test);
}

fn with<F: Future<Output = ()>>(kind: Kind, deadlines: Deadlines, test: &impl Fn(Bench) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { test(Bench::new(kind, deadlines).await).await });
}

/// Returns what the guest is told: its card asks for an address.
fn seed() -> Vec<u8> {
    let network = format!(
        "version: 2\nethernets:\n  lan:\n    match: {{macaddress: \"{MAC}\"}}\n    dhcp4: true\n    \
         dhcp-identifier: mac\n"
    );
    let files = [
        ("meta-data", "instance-id: one\n".to_owned()),
        ("user-data", "#cloud-config\nusers: []\n".to_owned()),
        ("network-config", network),
    ];
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    seed_iso::write("cidata", &files)
}

fn machine() -> Vmx {
    let mut vmx = Vmx::new();
    for (key, value) in [
        ("config.version", "8"),
        ("virtualHW.version", "20"),
        ("displayName", "one"),
        ("guestOS", "arm-ubuntu-64"),
        ("firmware", "efi"),
        ("memsize", "1024"),
        ("numvcpus", "1"),
        ("pciBridge4.present", "TRUE"),
        ("pciBridge6.present", "TRUE"),
        ("nvme0.present", "TRUE"),
        ("nvme0.pciSlotNumber", "224"),
        ("nvme0:0.present", "TRUE"),
        ("nvme0:0.fileName", "disk.vmdk"),
        ("ethernet0.present", "TRUE"),
        ("ethernet0.virtualDev", "vmxnet3"),
        ("ethernet0.pciSlotNumber", "160"),
        ("ethernet0.connectionType", "nat"),
        ("ethernet0.addressType", "static"),
        ("ethernet0.address", MAC),
        ("sata0.present", "TRUE"),
        ("sata0.pciSlotNumber", "32"),
        ("sata0:1.present", "TRUE"),
        ("sata0:1.deviceType", "cdrom-image"),
        ("sata0:1.fileName", "seed.iso"),
        ("uuid.action", "create"),
    ] {
        vmx.set(key, value);
    }
    vmx
}

/// Returns what Fusion said, and the cause that its log gave.
fn refused(outcome: Result<(), HostError>) -> (String, Option<String>) {
    match outcome {
        Err(HostError::Fusion { message, cause, .. }) => (message, cause),
        other => panic!("expected Fusion's refusal, not {other:?}"),
    }
}

#[test]
fn power_is_what_the_list_says_and_a_stop_ends_with_free_files() {
    both(DEADLINES, async |bench| {
        let (driver, vmx) = (&bench.driver, &bench.vmx);
        assert!(!bench.runs().await);
        driver.stop(vmx, Stop::Soft).await.expect("what is off stays off");
        bench.up().await;
        driver.start(vmx).await.expect("what runs is left alone");
        assert!(bench.runs().await);
        assert!(!locks::of(vmx).expect("locks").is_empty());
        let edit = vmx_file::edit(driver.as_ref(), vmx, |vmx| vmx.set("memsize", "2048")).await;
        assert!(matches!(edit, Err(HostError::VmRuns { .. })), "{edit:?}");

        // By another spelling of its path, as /tmp is /private/tmp on a Mac.
        let link = bench.session.work().join("link");
        std::os::unix::fs::symlink(&bench.fusion.library, &link).expect("a link");
        let spelled = link.join("one.vmwarevm/one.vmx");
        driver.stop(&spelled, Stop::Soft).await.expect("its tools shut it down");
        assert!(!bench.runs().await);
        assert!(locks::of(vmx).expect("locks").is_empty(), "nobody writes any more");
        let config = vmx_file::read(vmx).expect("a VMX").expect("there");
        assert_eq!(config.get("cleanShutdown").as_deref(), Some("TRUE"));
        assert!(
            vmx_file::edit(driver.as_ref(), vmx, |vmx| vmx.set("memsize", "2048")).await.expect("an edit")
        );

        driver.start(&spelled).await.expect("it starts again");
        driver.stop(vmx, Stop::Hard).await.expect("the plug is pulled");
        assert!(!bench.runs().await);
    });
}

#[test]
fn a_start_that_lies_or_dozes_is_seen_through() {
    both(DEADLINES, async |bench| {
        let (driver, vmx) = (&bench.driver, &bench.vmx);
        for (fault, times) in [
            (faults::START_LIES, ONCE),
            (faults::START_SILENT, TWICE),
            (faults::HOST_UNREACHABLE, TWICE),
            (faults::NOISE_LINES, ALWAYS),
            (faults::LIST_MISCOUNTS, TWICE),
        ] {
            bench.fault(fault, times);
            driver.start(vmx).await.unwrap_or_else(|error| panic!("{fault}: {error}"));
            assert!(bench.runs().await, "{fault}");
            driver.stop(vmx, Stop::Hard).await.unwrap_or_else(|error| panic!("{fault}: {error}"));
            bench.no_fault();
        }
    });
}

#[test]
fn a_start_that_fails_says_why() {
    both(DEADLINES, async |bench| {
        let (driver, vmx) = (&bench.driver, &bench.vmx);
        for (fault, said, why) in [
            (faults::START_CANCELED, "The operation was canceled", Some("/dev/vmmon")),
            (faults::START_UNKNOWN, "Unknown error", Some("policies are too old")),
            (faults::START_SILENT, "success was reported, but the VM does not run", None),
            (faults::HOST_UNREACHABLE, "Unable to connect to host", None),
            (faults::UNWRITABLE, "Cannot connect to the virtual machine", None),
        ] {
            bench.fault(fault, ALWAYS);
            let (message, cause) = refused(driver.start(vmx).await);
            assert!(message.contains(said), "{fault}: {message}");
            assert_eq!(cause.is_some(), why.is_some(), "{fault}: {cause:?} is of an older run");
            assert!(cause.unwrap_or_default().contains(why.unwrap_or_default()), "{fault}");
            assert!(!bench.runs().await, "{fault}");
            bench.no_fault();
        }
        bench.fault(faults::LIST_MISCOUNTS, ALWAYS);
        let list = driver.running().await.expect_err("a list that nobody can believe");
        assert!(list.to_string().contains("contradicts itself"), "{list}");
    });
}

#[test]
fn a_lock_that_another_left_is_explained_and_never_removed() {
    both(DEADLINES, async |bench| {
        bench.fault(faults::STALE_LOCK, ONCE);
        let error = bench.driver.start(&bench.vmx).await.expect_err("another Mac has it");
        let HostError::VmLocked { lock, .. } = &error else { panic!("{error}") };
        assert_eq!(lock.grip, locks::Grip::Left);
        assert!(error.to_string().contains("by process 99999999 (vmware-vmx) of machine uuid="), "{error}");
        assert!(lock.folder.is_dir());
        // Stopping what is off does not wait for it.
        bench.driver.stop(&bench.vmx, Stop::Soft).await.expect("it is off");
    });
}

#[test]
fn what_hangs_is_left_and_the_plug_pulled_as_often_as_it_takes() {
    let deadlines = Deadlines { vm_start: SOON, vm_stop_soft: SOON, vm_stop_hard: SOON, ..DEADLINES };
    both(deadlines, async |bench| {
        let (driver, vmx) = (&bench.driver, &bench.vmx);
        bench.fault(faults::START_HANGS, ONCE);
        let (message, _) = refused(driver.start(vmx).await);
        assert!(message.contains("within 2 s"), "{message}");
        assert!(!bench.runs().await);

        bench.up().await;
        bench.fault(faults::STOP_SOFT_HANGS, ONCE);
        let (message, _) = refused(driver.stop(vmx, Stop::Soft).await);
        assert!(message.contains("within 2 s"), "{message}");
        assert!(bench.runs().await);
        bench.fault(faults::STOP_HARD_HANGS, ONCE);
        bench.fault(faults::STOP_SILENT, ONCE);
        driver.stop(vmx, Stop::Hard).await.expect("the third try");
        assert!(!bench.runs().await);
    });
}

#[test]
fn a_guest_without_tools_refuses_the_soft_stop_at_once() {
    both(DEADLINES, async |bench| {
        bench.fault(faults::BOOT_HANGS, ONCE);
        bench.driver.start(&bench.vmx).await.expect("it has power");
        let (message, _) = refused(bench.driver.stop(&bench.vmx, Stop::Soft).await);
        assert!(message.contains("Tools are not running"), "{message}");
        assert!(bench.runs().await);
        bench.driver.stop(&bench.vmx, Stop::Hard).await.expect("the plug is pulled");
    });
}

#[test]
fn a_snapshot_is_one_and_clones_hang_on_it() {
    both(DEADLINES, async |bench| {
        let (driver, vmx) = (&bench.driver, &bench.vmx);
        bench.fault(faults::SNAPSHOT_EXISTS, ONCE);
        driver.snapshot(vmx, SNAPSHOT).await.expect("it was taken, whatever was said");
        driver.snapshot(vmx, SNAPSHOT).await.expect("once is enough");
        bench.fault(faults::NOISE_LINES, ONCE);
        assert_eq!(driver.snapshots(vmx).await.expect("a list"), [SNAPSHOT]);

        for how in [Clone::Linked, Clone::Full] {
            let clone = bench.beside(&format!("{how:?}"));
            // A folder with our marks in it may be there.
            std::fs::create_dir_all(clone.parent().expect("a bundle")).expect("a folder");
            bench.fault(faults::PARENT_BUSY, TWICE);
            driver.clone_vm(vmx, &clone, how, SNAPSHOT, "copy").await.expect("it waits for its turn");
            let disks = std::fs::read_dir(clone.parent().expect("a bundle")).expect("a folder");
            let is_disk =
                |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|name| name == "vmdk");
            assert!(disks.flatten().any(|entry| is_disk(&entry)), "{how:?}");
            let twice = driver.clone_vm(vmx, &clone, how, SNAPSHOT, "copy").await;
            assert_eq!(refused(twice).0, "a VM already exists there");
            driver.start(&clone).await.expect("the clone runs");
            driver.stop(&clone, Stop::Hard).await.expect("and stops");
            driver.delete(&clone).await.expect("and goes");
            assert!(!clone.exists(), "{how:?}");
        }
    });
}

#[test]
fn a_clone_that_fails_says_why_and_is_none() {
    both(DEADLINES, async |bench| {
        let (driver, vmx) = (&bench.driver, &bench.vmx);
        driver.snapshot(vmx, SNAPSHOT).await.expect("a snapshot");
        for how in [Clone::Linked, Clone::Full] {
            for (fault, said, why) in [
                (faults::CLONE_CANCELED, "The operation was canceled", Some("Insufficient system resources")),
                (faults::DISK_FULL, "not enough space", None),
            ] {
                let clone = bench.beside("none");
                bench.fault(fault, ONCE);
                let (message, cause) = refused(driver.clone_vm(vmx, &clone, how, SNAPSHOT, "none").await);
                assert!(message.contains(said), "{fault}: {message}");
                assert!(cause.unwrap_or_default().contains(why.unwrap_or_default()), "{fault}");
                assert!(!clone.exists(), "{fault}");
            }
        }
        driver.start(vmx).await.expect("it starts");
        let clone = driver.clone_vm(vmx, &bench.beside("none"), Clone::Linked, SNAPSHOT, "none").await;
        assert!(refused(clone).0.contains("should not be powered on"));
        driver.stop(vmx, Stop::Hard).await.expect("the plug is pulled");
    });
}

#[test]
fn deletion_is_what_is_gone() {
    both(DEADLINES, async |bench| {
        let (driver, vmx) = (&bench.driver, &bench.vmx);
        driver.start(vmx).await.expect("it starts");
        let (message, _) = refused(driver.delete(vmx).await);
        assert!(message.contains("already running"), "{message}");
        assert!(vmx.exists());
        driver.stop(vmx, Stop::Hard).await.expect("the plug is pulled");
        bench.fault(faults::DELETE_SILENT, TWICE);
        driver.delete(vmx).await.expect("the third try");
        assert!(!vmx.exists());
        driver.delete(vmx).await.expect("what is gone is gone");
    });
}

#[test]
fn an_address_is_one_that_the_card_can_have_or_none() {
    both(Deadlines { fusion_address: SOON, ..DEADLINES }, async |bench| {
        assert_eq!(bench.address().await, None, "it is off");
        bench.up().await;
        let known = bench.address().await.expect("the guest has one");
        bench.fault(faults::NOISE_LINES, ONCE);
        assert_eq!(bench.address().await, Some(known));
        bench.fault(faults::ADDRESS_DENIED, ONCE);
        assert_eq!(bench.address().await, Some(known), "denied at first, and known to who waits");
        if bench.kind == Kind::Vmrun {
            for fault in [faults::UNKNOWN_ADDRESS, faults::WRONG_ADDRESS] {
                bench.fault(fault, ONCE);
                assert_eq!(bench.address().await, None, "{fault}");
            }
            bench.fault(faults::ADDRESS_DENIED, ONCE);
            bench.fault(faults::ADDRESS_HANGS, ONCE);
            assert_eq!(bench.address().await, None, "who hangs does not know");
        }
        let other: Mac = "00:50:56:00:0c:02".parse().expect("a MAC");
        if bench.kind == Kind::Vmrest {
            assert_eq!(bench.driver.address(&bench.vmx, other).await.expect("an answer"), None);
        }
        bench.driver.stop(&bench.vmx, Stop::Hard).await.expect("the plug is pulled");
    });
}

#[test]
fn a_guests_variable_is_read_by_its_name() {
    both(DEADLINES, async |bench| {
        let (driver, vmx) = (&bench.driver, &bench.vmx);
        let path = vmx.to_str().expect("a plain path");
        assert_eq!(driver.variable(vmx, "baked").await.expect("an answer"), None);
        bench.vmrun(&["writeVariable", path, "guestVar", "baked", "a=1"]);
        bench.fault(faults::NOISE_LINES, ONCE);
        assert_eq!(driver.variable(vmx, "baked").await.expect("an answer").as_deref(), Some("a=1"));
        let absent = driver.variable(Path::new("/nonexistent/one.vmx"), "baked").await;
        assert!(absent.expect_err("no VM").to_string().contains("cannot be found"));
    });
}

#[test]
fn a_rest_server_that_is_busy_or_slow_is_asked_again() {
    rest(Deadlines { fusion_query: SOON, ..DEADLINES }, async |bench| {
        let (driver, vmx) = (&bench.driver, &bench.vmx);
        bench.fault(faults::REST_HANGS, ONCE);
        assert!(!bench.runs().await);
        bench.fault(faults::REST_LOCKED, TWICE);
        driver.start(vmx).await.expect("locked for a moment");
        driver.stop(vmx, Stop::Hard).await.expect("the plug is pulled");
        bench.fault(faults::REST_LOCKED, TWICE);
        driver.snapshot(vmx, SNAPSHOT).await.expect("a snapshot");
        driver.clone_vm(vmx, &bench.beside("two"), Clone::Full, SNAPSHOT, "two").await.expect("a turn");

        bench.fault(faults::REST_LOCKED, ALWAYS);
        let (message, _) = refused(driver.start(vmx).await);
        assert_eq!(message, "The virtual machine has been locked");
        bench.no_fault();
        bench.fault(faults::REST_BREAKS, ONCE);
        let error = driver.running().await.expect_err("its own trouble").to_string();
        assert_eq!(error, "vmrest GET /vms: 500 Internal server error");
    });
}

#[test]
fn a_rest_server_that_forgot_our_password_is_replaced_once() {
    rest(DEADLINES, async |bench| {
        let home = bench.session.fusionlab_home().join("rest");
        let servers = || std::fs::read_dir(&home).expect("its folder").count();
        bench.fault(faults::REST_DENIED, ONCE);
        assert!(!bench.runs().await);
        assert_eq!(servers(), 1, "the old one is gone with its folder");
        bench.fault(faults::REST_DENIED, ALWAYS);
        let error = bench.driver.running().await.expect_err("it never lets us in").to_string();
        assert_eq!(error, "vmrest GET /vms: 401 Authentication failed");
        bench.no_fault();
        drop(bench.driver);
        assert_eq!(std::fs::read_dir(&home).expect("its folder").count(), 0, "nothing is left of it");
    });
}

#[test]
fn the_rest_server_of_a_run_that_was_killed_is_ended_by_the_next() {
    let session = Session::new().file("fusionlab.yaml", "version: 1\npreset: small\ndriver: rest\n");
    let home = session.fusionlab_home().join("rest");
    let served = || {
        let folders = std::fs::read_dir(&home).into_iter().flatten().flatten();
        let records = folders.filter_map(|folder| std::fs::read(folder.path().join("server.json")).ok());
        records.filter_map(|text| serde_json::from_slice::<serde_json::Value>(&text).ok()).next()
    };
    let mut killed = session.clone().args(["up", "--yes", "--sim"]).start();
    killed.wait_until(|| served().is_some());
    killed.signal("KILL");
    killed.wait();
    let pid = served().expect("its record stays")["pid"].as_u64().expect("a number");
    let lives = || session.processes().iter().any(|process| u64::from(process.id) == pid);
    assert!(lives(), "nobody ended it");
    session.clone().args(["status", "--sim"]).run();
    assert!(!lives() && served().is_none(), "the next run did, and took its folder away");
}
