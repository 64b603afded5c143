//! Every hazard: what the simulated Mac is like with it, and that it comes about once.

use super::machine::Mac;
use crate::formats::networking::Document;
use crate::host::HostError;
use crate::host::fusion::discover;
use crate::sim::hazards::{TABLE, seed};
use crate::sim::places::Places;
use crate::sim::settings::Settings;
use crate::sim::{faults, files, network};

fn networking(places: &Places) -> Vec<u8> {
    files::read_bytes(&places.networking()).unwrap()
}

fn document(places: &Places) -> Document {
    Document::parse(&networking(places)).unwrap()
}

/// Returns all that a hazard can change.
fn state(places: &Places) -> (Vec<u8>, Option<String>, Settings, network::Networks) {
    let nat_conf = files::read(&places.vmnet(8).join("nat.conf")).unwrap();
    let networks = network::Networks::load(places).unwrap();
    (networking(places), nat_conf, Settings::load(places).unwrap(), networks)
}

#[tokio::test]
async fn each_hazard_comes_about_once() {
    for hazard in TABLE.iter().filter(|hazard| hazard.name != "stranger-runs") {
        let mac = Mac::new().await;
        let before = state(&mac.places);
        seed(&mac.places, hazard.name).await.unwrap();
        let once = state(&mac.places);
        assert_ne!(once, before, "{}", hazard.name);
        seed(&mac.places, hazard.name).await.unwrap();
        assert_eq!(state(&mac.places), once, "{}", hazard.name);
    }
    assert!(seed(&Mac::new().await.places, "nonsense").await.is_err());
}

#[tokio::test]
async fn vmnet2_can_be_taken_in_every_way() {
    let mac = Mac::new().await;
    seed(&mac.places, "vmnet2-bridged").await.unwrap();
    let vmnet = document(&mac.places).vmnet(2);
    assert!(vmnet.bridged_to.as_deref() == Some("en0") && !vmnet.exists && !vmnet.husk);

    let mac = Mac::new().await;
    seed(&mac.places, "husk").await.unwrap();
    let vmnet = document(&mac.places).vmnet(2);
    assert!(vmnet.husk && vmnet.uuid.is_some());

    let mac = Mac::new().await;
    seed(&mac.places, "vmnet2-taken").await.unwrap();
    let running = network::Networks::load(&mac.places).unwrap();
    assert_eq!(running.running(2).unwrap().subnet, "172.16.2.0/24".parse().unwrap());

    let mac = Mac::new().await;
    seed(&mac.places, "reserved-by-another").await.unwrap();
    let reservations = document(&mac.places).reservations(2);
    assert_eq!(reservations.len(), 1);
    assert_eq!(reservations[0].1.to_string(), "10.10.0.131");
    let conf = files::read(&mac.places.vmnet(2).join("dhcpd.conf")).unwrap().unwrap();
    assert!(conf.contains("fixed-address 10.10.0.131;"), "{conf}");
}

#[tokio::test]
async fn the_file_can_be_written_by_anybody() {
    let mac = Mac::new().await;
    for name in
        ["two-digit-vnets", "unknown-keys", "empty-value", "descriptions", "glued", "comments", "crlf"]
    {
        seed(&mac.places, name).await.unwrap();
    }
    seed(&mac.places, "no-last-newline").await.unwrap();
    let text = String::from_utf8(networking(&mac.places)).unwrap();
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert!(text.starts_with("VERSION=1,0\r\n# ") && !text.ends_with('\n'));
    for part in [
        "VNET_8_NAT yes # never",
        "VNET_1_DISPLAY_NAME \r\n",
        "DHCP_PARAM_ROUTERS",
        "add_link_quality",
        "21add_",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let document = document(&mac.places);
    assert_eq!(document.vmnet(10).subnet, Some("172.16.10.0/24".parse().unwrap()));
    assert_eq!(document.vmnet(20).subnet, Some("172.16.20.0/25".parse().unwrap()));
    assert_eq!(document.port_forwards(8)[0].description, "vagrant: /Users/me/my boxes/web");
    assert_eq!(document.reservations(8), [], "two on one line are none");
    for (verb, said) in [("--stop", "Stopped all"), ("--configure", ""), ("--start", "Started all")] {
        let (status, output) = mac.run("vmnet-cli", &[verb]).await;
        assert!(
            status == 0 && output.lines().last().unwrap_or_default().starts_with(said),
            "{verb}: {output}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_none_is_not_applied() {
    for name in ["binary", "wrong-version"] {
        let mac = Mac::new().await;
        seed(&mac.places, name).await.unwrap();
        let before = networking(&mac.places);
        assert!(Document::parse(&before).is_err(), "{name}");
        assert_eq!(mac.run("vmnet-cli", &["--configure"]).await.0, 1, "{name}");
        assert!(seed(&mac.places, "husk").await.is_err(), "{name}");
        assert_eq!(networking(&mac.places), before, "{name}");
    }
}

#[tokio::test]
async fn a_stale_forward_comes_back_unless_it_was_removed_in_so_many_words() {
    let mac = Mac::new().await;
    seed(&mac.places, "stale-nat-forwards").await.unwrap();
    assert_eq!(document(&mac.places).port_forwards(8), []);
    mac.run("vmnet-cli", &["--configure"]).await;
    assert_eq!(document(&mac.places).port_forwards(8)[0].host_port, 2222);

    let without = String::from_utf8(networking(&mac.places)).unwrap();
    let without: String =
        without.lines().filter(|line| !line.contains("portfwd")).map(|line| format!("{line}\n")).collect();
    files::write(&mac.places.networking(), &without).unwrap();
    mac.run("vmnet-cli", &["--configure"]).await;
    assert_eq!(document(&mac.places).port_forwards(8).len(), 1, "a line that is merely gone comes back");

    assert_eq!(mac.run("vmnet-cfgcli", &["setnatportfwd", "vmnet8", "tcp", "2222"]).await.0, 1);
    mac.run("vmnet-cli", &["--configure"]).await;
    assert_eq!(document(&mac.places).port_forwards(8), []);
    let nat_conf = files::read(&mac.places.vmnet(8).join("nat.conf")).unwrap().unwrap();
    assert!(!nat_conf.contains("2222"), "{nat_conf}");
}

#[tokio::test]
async fn a_strangers_vm_runs_on_vmnet8() {
    let mac = Mac::new().await;
    seed(&mac.places, "stranger-runs").await.unwrap();
    seed(&mac.places, "stranger-runs").await.unwrap();
    let (_, listed) = mac.vmrun(&["list"]).await;
    assert!(listed.starts_with("Total running VMs: 1\n"), "{listed}");
    let (_, table) = mac.run("netstat", &["-rn", "-f", "inet"]).await;
    let bridged: Vec<_> = table.lines().filter(|line| line.contains("bridge100")).collect();
    assert!(matches!(bridged[..], [line] if line.starts_with("192.168.215 ")), "{table}");
    assert_eq!(mac.run("pgrep", &["-x", "vmware-vmx"]).await.0, 0);
}

#[tokio::test]
async fn an_old_fusion_says_so_and_has_apples_networks() {
    let mac = Mac::new().await;
    seed(&mac.places, "old-fusion").await.unwrap();
    let found = discover::find(Some(mac.places.root()));
    assert!(matches!(&found, Err(HostError::OldFusion { version, .. }) if version == "12.1.2"), "{found:?}");
    let nat_conf = files::read(&mac.places.vmnet(8).join("nat.conf")).unwrap().unwrap();
    assert!(nat_conf.contains("\nip = 192.168.215.1\nlastDhcpAddress = 192.168.215.127\n"), "{nat_conf}");
}

#[tokio::test]
async fn a_compacted_database_leaves_the_old_one_beside_it() {
    let mac = Mac::new().await;
    seed(&mac.places, "descriptions").await.unwrap();
    seed(&mac.places, "comments").await.unwrap();
    let before = networking(&mac.places);
    mac.plant(faults::COMPACTS, 1);
    mac.run("vmnet-cli", &["--configure"]).await;
    let after = networking(&mac.places);
    let text = String::from_utf8_lossy(&after);
    assert!(
        !text.contains('#') && text.ends_with("add_nat_portfwd 8 udp 5353 192.168.215.30 53\n"),
        "{text}"
    );
    assert_eq!(files::read_bytes(&mac.places.preferences().join("networking.bak.0")).unwrap(), before);
    assert_eq!(Document::parse(&before).unwrap().vmnets(), Document::parse(&after).unwrap().vmnets());
    mac.run("vmnet-cli", &["--configure"]).await;
    assert_eq!(networking(&mac.places), after);
}

#[tokio::test]
async fn a_service_does_not_start_with_a_file_that_is_wrong() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let dhcpd_conf = mac.places.vmnet(2).join("dhcpd.conf");
    let good = files::read(&dhcpd_conf).unwrap().unwrap();
    files::write(&dhcpd_conf, good.replace("range 10.10.0.128", "range 10.11.0.128")).unwrap();
    let nat_conf = mac.places.vmnet(8).join("nat.conf");
    let forward =
        files::read(&nat_conf).unwrap().unwrap().replace("[incomingtcp]\n", "[incomingtcp]\n2222 = :22\n");
    files::write(&nat_conf, forward).unwrap();
    let (status, said) = mac.run("vmnet-cli", &["--start"]).await;
    assert_eq!(status, 0);
    for line in [
        "Failed to start DHCP service on vmnet2\n",
        "Failed to start NAT service on vmnet8\n",
        "Started DHCP service on vmnet8\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(said.ends_with("Failed to start some/all services\n"), "{said}");
    assert_eq!(mac.run("vmnet-cfgcli", &["servicestart", "vmnet2", "dhcp"]).await.0, 0);
    mac.run("vmnet-cli", &["--configure"]).await;
    let (_, said) = mac.run("vmnet-cli", &["--start"]).await;
    assert!(said.contains("Started DHCP service on vmnet2\n"), "the managed section is made anew");
    assert!(said.contains("Failed to start NAT service on vmnet8\n"), "the stale forward is not: {said}");
}
