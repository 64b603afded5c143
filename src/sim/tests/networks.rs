//! `vmnet-cli` and `vmnet-cfgcli`.

use super::machine::{ADDRESS, DUID, MAC, Mac, NOBODY_ANSWERS, path};
use crate::sim::{faults, files, network};

#[tokio::test]
async fn the_network_tools_speak_as_fusions_do() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let before = files::read(&mac.places.networking()).unwrap().unwrap();
    assert!(
        before.contains("answer VNET_2_HOSTONLY_UUID ") && before.contains("answer VNET_2_DHCP_CFG_HASH ")
    );
    let (status, said) = mac.run("vmnet-cli", &["--status"]).await;
    assert_eq!(status, 0);
    assert!(said.contains("DHCP service on vmnet2 is running\n"));
    assert!(said.contains("Hostonly virtual adapter on vmnet2 is disabled\n"));
    let (_, said) = mac.run("vmnet-cli", &["--stop"]).await;
    let expected = "Stopped DHCP service on vmnet1\nStopped DHCP service on vmnet2\nStopped NAT service on \
                    vmnet2\nStopped DHCP service on vmnet8\nStopped NAT service on vmnet8\nStopped all \
                    configured services on all networks\n";
    assert_eq!(said, expected);
    assert_eq!(mac.run("vmnet-cli", &["--status"]).await.0, 1);
    mac.run("vmnet-cli", &["--configure"]).await;
    let (_, said) = mac.run("vmnet-cli", &["--start"]).await;
    assert!(said.starts_with("Enabled hostonly virtual adapter on vmnet1\nStarted DHCP service on vmnet1\n"));
    assert!(
        said.ends_with("Started DHCP service on vmnet8\nStarted all configured services on all networks\n")
    );
    let after = files::read(&mac.places.networking()).unwrap().unwrap();
    assert_eq!(before, after, "applying twice changes nothing");
    let conf = files::read(&mac.places.vmnet(2).join("dhcpd.conf")).unwrap().unwrap();
    assert!(conf.contains("fixed-address 10.10.0.131;"));
    let (_, table) = mac.vmrun(&["listHostNetworks"]).await;
    assert!(table.contains("2      vmnet2       nat          true         10.10.0.0        255.255.255.0\n"));
}

#[tokio::test]
async fn a_start_that_lies_is_seen_only_in_its_words() {
    let mac = Mac::new().await;
    mac.plant(faults::NETWORK_START_LIES, 1);
    let (status, said) = mac.run("vmnet-cli", &["--start"]).await;
    assert_eq!(status, 0);
    assert!(said.contains("Failed to start DHCP service on vmnet8\n"));
    assert!(said.ends_with("Failed to start some/all services\n"));
    let (_, said) = mac.run("vmnet-cli", &["--start"]).await;
    assert!(said.ends_with("Started all configured services on all networks\n"));
}

#[tokio::test]
async fn fusions_window_can_write_its_view_over_ours() {
    let mac = Mac::new().await;
    mac.plant(faults::UI_OVERWRITES, 1);
    mac.make_vmnet2().await;
    assert!(!files::read(&mac.places.networking()).unwrap().unwrap().contains("10.10.0.0"));
    assert!(network::Networks::load(&mac.places).unwrap().running(2).is_none());
}

/// Waits until a VM's address is known.
async fn address_of(mac: &Mac, vmx: &std::path::Path) -> String {
    mac.vmrun(&["getGuestIPAddress", path(vmx), "-wait"]).await.1.trim().to_owned()
}

#[tokio::test]
async fn strangers_are_served_from_the_low_end_of_the_pool_and_written_down() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    for (name, address) in
        [("a", "10.10.0.128"), ("b", "10.10.0.129"), ("c", "10.10.0.130"), ("d", "10.10.0.131")]
    {
        let vmx = mac.make_vm(name, &format!("00:50:56:00:01:0{name}"));
        mac.start(&vmx).await;
        assert_eq!(
            address_of(&mac, &vmx).await,
            address,
            "even one that is reserved for somebody who is away"
        );
    }
    let leases = crate::formats::dhcp::leases(&files::read(&mac.places.leases(2)).unwrap().unwrap());
    let names: Vec<_> = leases.iter().map(|lease| lease.hostname.clone().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert_eq!(leases[0].ends - leases[0].starts, 1800);
}

#[tokio::test]
async fn a_client_is_given_its_last_address_again() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let (one, two) = (mac.make_vm("one", "00:50:56:00:01:01"), mac.make_vm("two", "00:50:56:00:01:02"));
    mac.start(&one).await;
    assert_eq!(address_of(&mac, &one).await, "10.10.0.128");
    mac.start(&two).await;
    mac.vmrun(&["stop", path(&one), "hard"]).await;
    mac.until(|| !one.with_extension("vmx.lck").exists()).await;
    files::remove(&one.with_file_name("console.log")).unwrap();
    mac.start(&one).await;
    assert_eq!(address_of(&mac, &one).await, "10.10.0.128");
}

#[tokio::test]
async fn a_stopped_network_carries_nothing() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.start(&vmx).await;
    mac.until_reachable().await;
    mac.run("vmnet-cli", &["--stop"]).await;
    assert_eq!(mac.dial(ADDRESS, 22).await.err(), Some(NOBODY_ANSWERS));
    mac.run("vmnet-cli", &["--start"]).await;
    assert!(mac.dial(ADDRESS, 22).await.is_ok());
}

#[tokio::test]
async fn a_reservation_waits_for_the_next_start_of_the_dhcp_service() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let other = "00:50:56:00:01:09";
    mac.run("vmnet-cfgcli", &["setdhcpmac2ip", "vmnet2", other, "10.10.0.77"]).await;
    mac.run("vmnet-cli", &["--configure"]).await;
    let vmx = mac.make_vm("other", other);
    mac.start(&vmx).await;
    assert_eq!(address_of(&mac, &vmx).await, "10.10.0.128");
    mac.vmrun(&["stop", path(&vmx), "hard"]).await;
    mac.until(|| !vmx.with_extension("vmx.lck").exists()).await;
    files::remove(&vmx.with_file_name("console.log")).unwrap();
    mac.run("vmnet-cli", &["--start"]).await;
    mac.start(&vmx).await;
    assert_eq!(address_of(&mac, &vmx).await, "10.10.0.77");
}

/// Returns the leases file of vmnet2, a line without spaces at its ends after another.
fn leases_of(mac: &Mac) -> Vec<String> {
    let text = files::read(&mac.places.leases(2)).unwrap().unwrap();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

#[tokio::test]
async fn a_lease_is_short_at_first_then_long_and_ends_when_it_is_returned() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("one", "00:50:56:00:01:01");
    let lengths = || {
        let leases = crate::formats::dhcp::leases(&files::read(&mac.places.leases(2)).unwrap().unwrap());
        leases.iter().map(|lease| lease.ends - lease.starts).collect::<Vec<_>>()
    };
    for expected in [&[1800][..], &[1800, 7200]] {
        mac.start(&vmx).await;
        assert_eq!(address_of(&mac, &vmx).await, "10.10.0.128");
        assert_eq!(lengths(), expected);
        mac.vmrun(&["stop", path(&vmx), "hard"]).await;
        mac.until(|| !vmx.with_extension("vmx.lck").exists()).await;
        files::remove(&vmx.with_file_name("console.log")).unwrap();
    }
    mac.start(&vmx).await;
    address_of(&mac, &vmx).await;
    mac.vmrun(&["stop", path(&vmx), "soft"]).await;
    assert_eq!(lengths(), [1800, 7200, 7200, 0]);
}

#[tokio::test]
async fn configuring_can_lose_the_leases_of_every_network() {
    let mac = Mac::new().await;
    let block = "lease 192.168.215.128 {\n}\n";
    files::write(&mac.places.leases(8), block).unwrap();
    mac.run("vmnet-cli", &["--configure"]).await;
    assert_eq!(files::read(&mac.places.leases(8)).unwrap().unwrap(), block, "as a rule it keeps them");
    mac.plant(faults::LEASES_LOST, 1);
    mac.run("vmnet-cli", &["--configure"]).await;
    assert_eq!(files::read(&mac.places.leases(8)).unwrap().unwrap(), "");
}

#[tokio::test]
async fn a_client_is_written_down_as_it_identifies_itself() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    for (name, hardware) in
        [("duid", "00:50:56:00:01:01"), ("plain", "00:50:56:00:01:02"), ("duid-reserved", MAC)]
    {
        let vmx = mac.make_vm(name, hardware);
        mac.start(&vmx).await;
        address_of(&mac, &vmx).await;
    }
    let leases = leases_of(&mac);
    let uids: Vec<_> = leases.iter().filter(|line| line.starts_with("uid ")).cloned().collect();
    assert_eq!(
        uids,
        [format!("uid {DUID};"), "uid 01:00:50:56:00:01:02;".to_owned()],
        "a reserved one is not there"
    );
}
