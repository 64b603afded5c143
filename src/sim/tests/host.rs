//! `netstat` and `pgrep` of the simulated Mac, and Fusion's window.

use super::machine::{MAC, Mac, path};
use crate::sim::settings::Settings;
use crate::sim::{faults, files, hazards, network};

async fn routes(mac: &Mac) -> String {
    let (status, table) = mac.run("netstat", &["-rn", "-f", "inet"]).await;
    assert_eq!(status, 0);
    table
}

/// Returns the table's line for a destination, its columns separated by one space.
fn line(table: &str, destination: &str) -> Option<String> {
    let found = table.lines().find(|line| line.split_whitespace().next() == Some(destination))?;
    Some(found.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn the_routes_are_printed_in_macos_columns() {
    let mac = Mac::new().await;
    let expected = "Routing tables\n\nInternet:\n\
        Destination        Gateway            Flags               Netif Expire\n\
        default            192.168.68.1       UGScg                 en0       \n\
        127                127.0.0.1          UCS                   lo0       \n\
        127.0.0.1          127.0.0.1          UH                    lo0       \n\
        169.254            link#14            UCS                   en0      !\n\
        192.168.68         link#14            UCS                   en0      !\n\
        192.168.68.1       38:94:ed:56:6f:8d  UHLWIir               en0   1187\n\
        224.0.0/4          link#14            UmCS                  en0      !\n\
        255.255.255.255/32 link#14            UCS                   en0      !\n";
    assert_eq!(routes(&mac).await, expected);
    assert_eq!(mac.run("netstat", &["-i"]).await.0, 64);
}

#[tokio::test]
async fn a_network_has_an_interface_only_while_a_vm_is_on_it() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    assert_eq!(line(&routes(&mac).await, "10.10/24"), None, "no VM runs yet");
    let vmx = mac.make_vm("master", MAC);
    mac.start(&vmx).await;
    assert_eq!(line(&routes(&mac).await, "10.10/24").as_deref(), Some("10.10/24 link#20 UC bridge100 !"));
    assert_eq!(line(&routes(&mac).await, "172.16.59/24"), None, "nobody is on vmnet1");
    hazards::seed(&mac.places, "subnet-routed").await.unwrap();
    assert_eq!(line(&routes(&mac).await, "10").as_deref(), Some("10 link#20 UCS utun4"));
    mac.vmrun(&["stop", path(&vmx), "hard"]).await;
    assert_eq!(line(&routes(&mac).await, "10.10/24"), None);
}

#[tokio::test]
async fn pgrep_tells_whether_fusions_window_is_open() {
    let mac = Mac::new().await;
    let ask = ["-x", "VMware Fusion"];
    assert_eq!(mac.run("pgrep", &ask).await, (1, String::new()));
    hazards::seed(&mac.places, "window-open").await.unwrap();
    let (status, pid) = mac.run("pgrep", &ask).await;
    assert_eq!(status, 0);
    assert!(pid.trim().parse::<u32>().is_ok_and(|pid| pid > 1) && pid.ends_with('\n'));
    assert_eq!(mac.run("pgrep", &["-x", "VMware"]).await.0, 1, "the whole name counts");
    assert_eq!(mac.run("pgrep", &["-x", "vmware-vmx"]).await.0, 1, "no VM runs");
    assert_eq!(mac.run("pgrep", &["VMware Fusion"]).await.0, 2);
}

#[tokio::test]
async fn an_open_window_applies_its_own_view_after_every_start() {
    let mac = Mac::new().await;
    hazards::seed(&mac.places, "window-open").await.unwrap();
    let before = files::read(&mac.places.networking()).unwrap();
    mac.make_vmnet2().await;
    assert_eq!(files::read(&mac.places.networking()).unwrap(), before);
    assert!(network::Networks::load(&mac.places).unwrap().running(2).is_none());
    assert_eq!(mac.run("vmnet-cli", &["--status"]).await.0, 0, "what it knows runs");
    Settings::update(&mac.places, |settings| settings.window_open = false).unwrap();
    mac.make_vmnet2().await;
    assert!(network::Networks::load(&mac.places).unwrap().running(2).is_some());
}

#[tokio::test]
async fn an_exit_status_can_say_the_opposite_of_what_was_done() {
    let mac = Mac::new().await;
    mac.plant(faults::NETWORK_EXIT_LIES, 3);
    let (status, said) = mac.run("vmnet-cli", &["--start"]).await;
    assert_eq!((status, said.lines().last()), (1, Some("Started all configured services on all networks")));
    assert_eq!(mac.run("vmnet-cfgcli", &["servicestop", "vmnet8", "dhcp"]).await.0, 0);
    assert_eq!(mac.run("vmnet-cfgcli", &["servicestatus", "vmnet8", "dhcp"]).await.0, 0, "it did stop");
    assert_eq!(mac.run("vmnet-cli", &["--status"]).await.0, 1, "a failure is still one");
    assert_eq!(mac.run("vmnet-cfgcli", &["servicestart", "vmnet8", "dhcp"]).await.0, 0, "the third lie");
    assert_eq!(mac.run("vmnet-cli", &["--status"]).await.0, 0);
}

#[tokio::test]
async fn a_status_can_tell_nothing() {
    let mac = Mac::new().await;
    mac.plant(faults::STATUS_SILENT, 1);
    assert_eq!(mac.run("vmnet-cli", &["--status"]).await, (0, String::new()));
    assert!(mac.run("vmnet-cli", &["--status"]).await.1.contains("DHCP service on vmnet8 is running\n"));
}
