//! Power: what Fusion checks, what it leaves behind, and what goes wrong.

use super::machine::{ADDRESS, MAC, Mac, NOBODY_ANSWERS, path};
use crate::formats::vmx::Vmx;
use crate::sim::{faults, files};
use std::time::Duration;

#[tokio::test]
async fn power_on_refuses_what_fusion_refuses_and_the_log_says_why() {
    let mac = Mac::new().await;
    let vmx = mac.make_vm("master", MAC);
    let good = files::read(&vmx).unwrap().unwrap();
    let canceled = (255, "Error: The operation was canceled\n".to_owned());
    let log = vmx.with_file_name("vmware.log");
    // The network is in no file yet.
    assert_eq!(mac.vmrun(&["start", path(&vmx), "nogui"]).await, canceled);
    assert!(files::read(&log).unwrap().unwrap().contains("virtual network '/dev/vmnet2'"));
    mac.make_vmnet2().await;
    for (key, value, cause) in [
        ("ethernet0.address", "00:0c:29:00:00:01", "not an allowed static Ethernet address"),
        ("pciBridge4.present", "FALSE", "No PCIe slot available for Ethernet0"),
        ("memsize", "32768", "Not enough physical memory"),
        ("memsize", "4097", "not a multiple of 4"),
        ("guestOS", "ubuntu-arm", "not supported"),
        ("firmware", "bios", "requires EFI"),
        ("nvme0:0.fileName", "gone.vmdk", "Cannot open the disk"),
        ("virtualHW.version", "99", "hardware version 99"),
    ] {
        files::remove(&log).unwrap();
        let mut config = Vmx::parse(&good).unwrap();
        config.set(key, value);
        files::write(&vmx, config.render()).unwrap();
        // pciBridge6 must not stand in for pciBridge4.
        if key == "pciBridge4.present" {
            config.set("pciBridge6.present", "FALSE");
            files::write(&vmx, config.render()).unwrap();
        }
        let _ = files::remove(&vmx.with_file_name("console.log"));
        assert_eq!(mac.vmrun(&["start", path(&vmx), "nogui"]).await, canceled, "{key}");
        let said = files::read(&log).unwrap().unwrap();
        assert!(said.contains(cause) && said.contains("Msg_Post: Error"), "{key}: {said}");
        assert!(!vmx.with_extension("vmx.lck").exists(), "{key}");
    }
    let unreadable = format!(
        "Error: Cannot open VM: {}, Cannot read the virtual machine configuration file\n",
        vmx.display()
    );
    for text in [format!("{good}MEMSIZE = \"4096\"\n"), good.replace("config.version", "config.versio")] {
        files::write(&vmx, text).unwrap();
        assert_eq!(mac.vmrun(&["start", path(&vmx), "nogui"]).await, (255, unreadable.clone()));
    }
}

#[tokio::test]
async fn two_running_vms_cannot_share_a_mac() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let (one, two) = (mac.make_vm("one", MAC), mac.make_vm("two", MAC));
    mac.start(&one).await;
    assert_eq!(mac.vmrun(&["start", path(&two), "nogui"]).await.0, 255);
    assert!(files::read(&two.with_file_name("vmware.log")).unwrap().unwrap().contains(MAC));
}

#[tokio::test]
async fn locks_of_a_world_that_is_gone_hold_nothing() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    let lock = vmx.with_extension("vmx.lck");
    files::write(&lock.join("M1.lck"), "1").unwrap();
    mac.start(&vmx).await;
    mac.vmrun(&["stop", path(&vmx), "hard"]).await;
    mac.until(|| !lock.exists()).await;
    files::write(&lock.join("M1.lck"), "1").unwrap();
    assert_eq!(mac.vmrun(&["deleteVM", path(&vmx)]).await, (0, String::new()));
    assert!(!vmx.parent().unwrap().exists());
}

#[tokio::test]
async fn a_guest_can_power_itself_off() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.start(&vmx).await;
    mac.until_reachable().await;
    assert!(mac.ssh("poweroff", b"").await.is_err(), "the connection goes with the power");
    assert_eq!(mac.vmrun(&["list"]).await.1, "Total running VMs: 0\n");
}

#[tokio::test]
async fn a_suspended_vm_is_not_listed_and_resumes_where_it_was() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.start(&vmx).await;
    mac.until_reachable().await;
    mac.vmrun(&["suspend", path(&vmx)]).await;
    assert_eq!(mac.vmrun(&["list"]).await.1, "Total running VMs: 0\n");
    assert!(vmx.with_extension("vmss").exists());
    assert_eq!(mac.dial(ADDRESS, 22).await.err(), Some(NOBODY_ANSWERS));
    mac.start(&vmx).await;
    assert!(!vmx.with_extension("vmss").exists());
    assert!(mac.ssh("x", b"").await.unwrap().0.ends_with(":0"), "it has not booted again");
}

#[tokio::test]
async fn faults_of_vmrun_are_those_that_peers_report() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.plant(faults::START_SILENT, 1);
    mac.start(&vmx).await;
    mac.plant(faults::NOISE_LINES, 1);
    let (_, listed) = mac.vmrun(&["list"]).await;
    assert!(listed.contains("ServiceImpl_Opener: PID") && listed.ends_with("Total running VMs: 0\n"));
    mac.plant(faults::START_LIES, 1);
    let lied = mac.vmrun(&["start", path(&vmx), "nogui"]).await;
    assert_eq!(lied, (255, "Error: Cannot connect to the virtual machine\n".to_owned()));
    assert!(mac.vmrun(&["list"]).await.1.starts_with("Total running VMs: 1\n"));
    mac.until_reachable().await;
    mac.plant(faults::WRONG_ADDRESS, 1);
    assert_eq!(mac.vmrun(&["getGuestIPAddress", path(&vmx)]).await.1, "172.17.0.1\n");
    mac.plant(faults::SSH_DROPS, 1);
    assert!(mac.ssh("sleep", b"").await.is_err(), "the connection breaks");
    assert!(mac.ssh("x", b"").await.is_ok(), "and the guest is still there");
    mac.plant(faults::STOP_SOFT_HANGS, 1);
    let soft = ["stop", path(&vmx), "soft"];
    let stuck = mac.vmrun(&soft);
    assert!(tokio::time::timeout(Duration::from_millis(50), stuck).await.is_err());
    mac.vmrun(&["stop", path(&vmx), "hard"]).await;
    assert_eq!(mac.vmrun(&["list"]).await.1, "Total running VMs: 0\n");
    mac.plant(faults::CLONE_CANCELED, 1);
    let clone = mac.places.library().join("copy/copy.vmx");
    mac.until(|| !vmx.with_extension("vmx.lck").exists()).await;
    let (status, said) = mac.vmrun(&["clone", path(&vmx), path(&clone), "full"]).await;
    assert_eq!((status, said.as_str()), (255, "Error: The operation was canceled\n"));
    assert!(files::read(&vmx.with_file_name("vmware.log")).unwrap().unwrap().contains("Msg_Post: Error"));
    mac.plant(faults::STALE_LOCK, 1);
    files::remove(&vmx.with_file_name("console.log")).unwrap();
    let held = mac.vmrun(&["start", path(&vmx), "nogui"]).await;
    assert_eq!(held, (255, "Error: The file is already in use\n".to_owned()));
}

#[tokio::test]
async fn a_stopped_vm_keeps_its_disk_and_lets_go_of_its_files() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    let lock = vmx.with_extension("vmx.lck");
    for (boots, how) in ["soft", "hard"].into_iter().enumerate() {
        mac.start(&vmx).await;
        assert!(lock.is_dir());
        mac.until_reachable().await;
        let again = mac.vmrun(&["deleteVM", path(&vmx)]).await;
        let running = "Error: The virtual machine should not be powered on. It is already running.\n";
        assert_eq!(again, (255, running.to_owned()));
        assert!(mac.ssh("x", b"").await.unwrap().0.ends_with(&format!(":{boots}")));
        assert_eq!(mac.vmrun(&["stop", path(&vmx), how]).await, (0, String::new()));
        mac.until(|| !lock.exists()).await;
        assert_eq!(mac.dial(ADDRESS, 22).await.err(), Some(NOBODY_ANSWERS));
        files::remove(&vmx.with_file_name("console.log")).unwrap();
    }
    let config = Vmx::parse(files::read(&vmx).unwrap().unwrap()).unwrap();
    assert_eq!(config.get("cleanShutdown").as_deref(), Some("TRUE"));
    assert!(config.get("uuid.bios").is_some_and(|uuid| uuid.starts_with("56 4d ")));
    let off = mac.vmrun(&["stop", path(&vmx), "hard"]).await;
    assert_eq!(off, (255, format!("Error: The virtual machine is not powered on: {}\n", vmx.display())));
    assert_eq!(mac.vmrun(&["deleteVM", path(&vmx)]).await, (0, String::new()));
    assert!(!vmx.exists());
}
