//! The simulated Fusion from outside: its programs, its files and its guests, with a machine of the tests' own.

mod cfgcli;
mod hazards;
mod host;
mod links;
mod machine;
mod networks;
mod power;
mod rest;

use crate::formats::command::Command;
use crate::formats::vmx::Vmx;
use crate::host::dial::Dial;
use crate::host::fusion::discover;
use crate::host::ssh::SshShell;
use crate::host::{GuestShell, GuestTarget, HostError};
use crate::sim::{disk, faults, files, install, serve};
use machine::{ADDRESS, ECHO_PORT, MAC, Mac, NOBODY_ANSWERS, path};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_vm_boots_leases_its_reservation_and_answers_ssh() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    assert_eq!(mac.vmrun(&["list"]).await, (0, "Total running VMs: 0\n".to_owned()));
    assert_eq!(mac.dial(ADDRESS, 22).await.err(), Some(NOBODY_ANSWERS));
    mac.start(&vmx).await;
    mac.until_reachable().await;
    let listed = mac.vmrun(&["list"]).await.1;
    assert_eq!(listed, format!("Total running VMs: 1\n{}\n", vmx.display()));
    assert_eq!(mac.vmrun(&["getGuestIPAddress", path(&vmx), "-wait"]).await, (0, format!("{ADDRESS}\n")));
    let spoken = mac.ssh("id", b"hello").await.unwrap();
    assert_eq!(spoken, ("fusionlab:id:hello:0".to_owned(), "warning".to_owned(), 3));
    assert_eq!(mac.dial(ADDRESS, 9).await.err(), Some(5), "refused");
    mac.plant(faults::LOCAL_NETWORK_DENIED, 1);
    assert_eq!(mac.dial(ADDRESS, 22).await.err(), Some(4), "macOS finds no way to what it keeps us from");
    let mut echo = mac.dial(ADDRESS, ECHO_PORT).await.unwrap();
    echo.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    echo.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
    let leases = files::read(&mac.places.leases(2)).unwrap().unwrap();
    assert_eq!(leases, "", "a reserved address never enters the leases file");
    let console = files::read(&vmx.with_file_name("console.log")).unwrap().unwrap();
    assert_eq!(console, "booting\r\n");
}

#[tokio::test]
async fn a_linked_clone_hangs_on_the_snapshot_and_carries_the_baked_state() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let template = mac.make_vm("template", "00:50:56:00:00:02");
    mac.start(&template).await;
    mac.until(|| !files::read(&template.with_file_name("console.log")).unwrap().unwrap().is_empty()).await;
    mac.vmrun(&["getGuestIPAddress", path(&template), "-wait"]).await;
    mac.vmrun(&["stop", path(&template), "soft"]).await;
    mac.until(|| !template.with_extension("vmx.lck").exists()).await;
    assert_eq!(mac.vmrun(&["snapshot", path(&template), "fusionlab"]).await, (0, String::new()));
    let twice = mac.vmrun(&["snapshot", path(&template), "fusionlab"]).await;
    assert_eq!(twice, (255, "Error: The snapshot already exists\n".to_owned()));
    let listed = mac.vmrun(&["listSnapshots", path(&template)]).await.1;
    assert_eq!(listed, "Total snapshots: 1\nfusionlab\n");
    let clone = mac.places.library().join("lab/master.vmwarevm/master.vmx");
    let args = ["clone", path(&template), path(&clone), "linked", "-snapshot=fusionlab", "-cloneName=master"];
    assert_eq!(mac.vmrun(&args).await, (0, String::new()));
    assert_eq!(mac.vmrun(&args).await, (255, "Error: The file already exists\n".to_owned()));
    let child = clone.with_file_name("disk-cl1.vmdk");
    assert_eq!(disk::chain(&child).unwrap(), [child.clone(), template.with_file_name("disk.vmdk")]);
    let dictionary = files::read(&clone.with_extension("vmsd")).unwrap().unwrap();
    assert!(dictionary.contains("cloneOf0"));
    let mut config = Vmx::parse(files::read(&clone).unwrap().unwrap()).unwrap();
    assert_eq!(
        config.get("ethernet0.address").as_deref(),
        Some("00:50:56:00:00:02"),
        "a static MAC is copied"
    );
    assert_eq!(config.get("uuid.bios"), None);
    config.set("ethernet0.address", MAC);
    files::write(&clone, config.render()).unwrap();
    let held = mac.vmrun(&["deleteSnapshot", path(&template), "fusionlab"]).await;
    assert_eq!(held, (255, "Error: The file is already in use\n".to_owned()));
    mac.start(&clone).await;
    mac.until_reachable().await;
    assert!(mac.ssh("x", b"").await.unwrap().0.ends_with(":1"), "the template had booted once");
    mac.vmrun(&["stop", path(&clone), "hard"]).await;
    mac.until(|| !clone.with_extension("vmx.lck").exists()).await;
    assert_eq!(mac.vmrun(&["deleteVM", path(&clone)]).await, (0, String::new()));
    assert_eq!(mac.vmrun(&["deleteSnapshot", path(&template), "fusionlab"]).await, (0, String::new()));
    assert_eq!(disk::chain(&template.with_file_name("disk.vmdk")).unwrap().len(), 1);
}

#[tokio::test]
async fn an_idle_world_leaves_and_nothing_of_it_is_left() {
    let mut mac = Mac::new().await;
    mac.make_vmnet2().await;
    let status = install::status(mac.folder.path()).await.unwrap();
    assert!(status.installed && status.dial.is_some() && status.running.is_empty());
    tokio::time::timeout(Duration::from_secs(20), &mut mac.world).await.unwrap().unwrap().unwrap();
    assert!(!mac.places.socket().exists());
    assert_eq!(files::read(&mac.places.dial_file()).unwrap().as_deref(), Some(serve::NOWHERE));
    assert_eq!(install::status(mac.folder.path()).await.unwrap().pid, None);
}

#[tokio::test]
async fn wiping_ends_the_world_and_leaves_nothing() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.start(&vmx).await;
    install::wipe(mac.folder.path()).await.unwrap();
    assert!(!mac.folder.path().exists());
}

#[tokio::test]
async fn people_get_a_shell() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.start(&vmx).await;
    mac.until_reachable().await;
    let (shown, status) = mac.type_in(b"iq\x7fd\r\rexit\r").await.unwrap();
    assert!(shown.starts_with("This machine is simulated"), "{shown:?}");
    assert!(shown.contains("fusionlab@master:~$ iq\x08 \x08d\r\nfusionlab:id::0"), "{shown:?}");
    assert_eq!(status, 3, "the last command's");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_products_own_ssh_reaches_a_guest_through_the_dial_file() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.start(&vmx).await;
    mac.until_reachable().await;
    let fusion = discover::find(Some(mac.folder.path())).unwrap();
    assert!(fusion.simulated);
    let dial = Arc::new(move || Dial::of(&fusion));
    let shell = SshShell::new(dial, Duration::from_secs(10));
    let target = mac.target();
    let command = Command::new(["cat", "/a b"]).with_input(vec![b'x'; 1 << 20]);
    let output = shell.run(&target, &command, Duration::from_secs(20), None).await.unwrap();
    assert_eq!((output.status, output.stderr.as_slice()), (Some(3), &b"warning"[..]));
    assert_eq!(output.stdout.len(), "fusionlab:cat '/a b'::0".len() + (1 << 20));
    let stranger = GuestTarget { host_key: "ssh-ed25519 AAAA".to_owned(), ..target };
    let refused = shell.run(&stranger, &command, Duration::from_secs(20), None).await;
    assert!(matches!(refused, Err(HostError::HostKey { .. })), "{refused:?}");
}
