//! `vmnet-cfgcli`, verb by verb.

use super::machine::{ADDRESS, MAC, Mac, path};
use crate::formats::networking::Document;
use crate::sim::{files, network};

impl Mac {
    /// Runs a verb given as one line of words.
    async fn cfgcli(&self, line: &str) -> (u8, String) {
        self.run("vmnet-cfgcli", &line.split(' ').collect::<Vec<_>>()).await
    }

    fn database(&self) -> Document {
        network::database(&self.places).unwrap()
    }
}

#[tokio::test]
async fn one_is_success_and_zero_is_failure() {
    let mac = Mac::new().await;
    for (line, status) in [
        ("getunusedvnet", 1),
        ("addadapter vmnet2", 1),
        ("addadapter vmnet2", 0),
        ("addadapter vmnet999", 0),
        ("servicestatus vmnet8 dhcp", 1),
        ("servicestatus vmnet8 nat", 1),
        ("servicestatus vmnet1 nat", 0),
        ("servicestatus vmnet2 dhcp", 0),
        ("servicestatus vmnet8 dns", 0),
        ("setsubnetaddr vmnet2 junk", 0),
        ("setdhcpusage vmnet2 maybe", 0),
        ("nonsense", 0),
    ] {
        assert_eq!(mac.cfgcli(line).await.0, status, "{line}");
    }
    assert_eq!(mac.cfgcli("nonsense").await.1, "Invalid command or wrong number of arguments\n");
    // These two succeed whatever comes of them (facts/fusion-networking.md §2.3).
    for line in ["disablehostonlyadap vmnet999", "updateadapterfromconfig vmnet999"] {
        assert_eq!(mac.cfgcli(line).await.0, 1, "{line}");
    }
}

#[tokio::test]
async fn a_network_is_made_as_nix_vmware_fusion_makes_it() {
    let mac = Mac::new().await;
    mac.run("vmnet-cli", &["--stop"]).await;
    for line in [
        "addadapter vmnet2",
        "setsubnetaddr vmnet2 10.10.0.0",
        "setsubnetmask vmnet2 255.255.255.0",
        "setdhcpusage vmnet2 yes",
        "setnatusage vmnet2 yes",
        "vnetcfgadd VNET_2_VIRTUAL_ADAPTER yes",
    ] {
        assert_eq!(mac.cfgcli(line).await, (1, String::new()), "{line}");
    }
    mac.run("vmnet-cli", &["--configure"]).await;
    let (_, said) = mac.run("vmnet-cli", &["--start"]).await;
    assert!(
        said.contains(
            "Started NAT service on vmnet2\nEnabled hostonly virtual adapter on vmnet2\nStarted DHCP"
        )
    );
    let before = files::read(&mac.places.networking()).unwrap();
    assert_eq!(mac.cfgcli("setsubnetaddr vmnet2 10.10.0.0").await.0, 1);
    assert_eq!(files::read(&mac.places.networking()).unwrap(), before, "the same answer again is no line");
    assert_eq!(mac.cfgcli("deletevnet vmnet2").await.0, 1);
    assert_eq!(mac.cfgcli("deletevnet vmnet2").await.0, 0);
    mac.run("vmnet-cli", &["--configure"]).await;
    assert!(!mac.places.vmnet(2).exists(), "its folder goes with it");
    let left = mac.database().vmnet(2);
    assert!(left.husk && left.uuid.is_some());
}

#[tokio::test]
async fn numbers_and_subnets_are_given_away_once() {
    let mac = Mac::new().await;
    assert_eq!(mac.cfgcli("getvmnetcount").await, (1, "256\n".to_owned()));
    assert_eq!(mac.cfgcli("getunusedvnet").await, (1, "vmnet: vmnet2\n".to_owned()));
    let free = "subnet: 172.16.2.0, mask: 255.255.255.0\n".to_owned();
    assert_eq!(mac.cfgcli("getunusedsubnet").await, (1, free.clone()));
    assert_eq!(mac.cfgcli("assignsubnet vmnet2").await, (1, free.clone()), "even networks are in 172.16");
    assert_eq!(mac.cfgcli("assignsubnet vmnet2").await, (1, free), "it has that one");
    assert_eq!(mac.cfgcli("getunusedvnet").await.1, "vmnet: vmnet3\n");
    assert_eq!(mac.cfgcli("getunusedsubnet").await.1, "subnet: 172.16.3.0, mask: 255.255.255.0\n");
    mac.cfgcli("addadapter vmnet3").await;
    assert_eq!(
        mac.database().vmnet(3).subnet,
        Some("192.168.3.0/24".parse().unwrap()),
        "odd ones in 192.168"
    );
}

#[tokio::test]
async fn reservations_are_set_shown_and_cleared() {
    let mac = Mac::new().await;
    assert_eq!(mac.cfgcli(&format!("setdhcpmac2ip vmnet8 {MAC} 192.168.215.3")).await.0, 1);
    assert_eq!(mac.cfgcli("setdhcpmac2ip vmnet8 junk 192.168.215.4").await.0, 0);
    assert_eq!(mac.cfgcli(&format!("setdhcpmac2ip vmnet8 {MAC} 192.168.215")).await.0, 0);
    assert_eq!(
        mac.cfgcli(&format!("getdhcpmac2ip vmnet8 {MAC}")).await,
        (1, "IP: 192.168.215.3\n".to_owned())
    );
    assert_eq!(mac.cfgcli(&format!("getdhcpmac2ip vmnet1 {MAC}")).await, (0, String::new()));
    let (status, all) = mac.cfgcli("enumdhcpmac2ip vmnet8").await;
    assert_eq!((status, all), (1, format!("MAC: {MAC}, IP: 192.168.215.3\n")));
    assert_eq!(
        mac.cfgcli(&format!("setdhcpmac2ip vmnet8 {MAC}")).await.0,
        1,
        "without an address it is cleared"
    );
    assert_eq!(mac.cfgcli(&format!("setdhcpmac2ip vmnet8 {MAC}")).await.0, 0, "there is none to clear");
    assert_eq!(mac.cfgcli("enumdhcpmac2ip vmnet8").await, (1, String::new()));
    let text = files::read(&mac.places.networking()).unwrap().unwrap();
    assert!(text.ends_with(&format!("remove_dhcp_mac_to_ip 8 {MAC}\n")), "a journal: {text}");
}

#[tokio::test]
async fn forwards_are_set_shown_and_deleted() {
    let mac = Mac::new().await;
    assert_eq!(mac.cfgcli("setnatportfwd vmnet8 tcp 8080 192.168.215.3 80").await.0, 1);
    assert_eq!(mac.cfgcli("setnatportfwd vmnet8 udp 53 192.168.215.3 53").await.0, 1);
    for wrong in [
        "setnatportfwd vmnet8 sctp 1 192.168.215.3 1",
        "setnatportfwd vmnet8 tcp 1 192.168.215.3",
        "setnatportfwd vmnet8 tcp 0",
    ] {
        assert_eq!(mac.cfgcli(wrong).await.0, 0, "{wrong}");
    }
    let shown = (1, "IP: 192.168.215.3, Port: 80\n".to_owned());
    assert_eq!(mac.cfgcli("getnatportfwd vmnet8 tcp 8080").await, shown);
    assert_eq!(mac.cfgcli("getnatportfwd vmnet8 udp 8080").await.0, 0);
    let tcp = "tcp 8080: IP: 192.168.215.3, Port: 80\n";
    assert_eq!(mac.cfgcli("enumportfwd vmnet8 tcp").await, (1, tcp.to_owned()));
    let both = format!("{tcp}udp 53: IP: 192.168.215.3, Port: 53\n");
    assert_eq!(mac.cfgcli("enumportfwd vmnet8").await, (1, both));
    assert_eq!(mac.cfgcli("updatenatfromconfig vmnet8").await.0, 1);
    let conf = files::read(&mac.places.vmnet(8).join("nat.conf")).unwrap().unwrap();
    assert!(conf.contains("8080 = 192.168.215.3:80\n") && conf.contains("53 = 192.168.215.3:53\n"), "{conf}");
    assert_eq!(mac.cfgcli("setnatportfwd vmnet8 tcp 8080").await.0, 1, "without a guest it is deleted");
    assert_eq!(mac.cfgcli("getnatportfwd vmnet8 tcp 8080").await.0, 0);
    mac.cfgcli("updatenatfromconfig vmnet8").await;
    assert_eq!(mac.database().port_forwards(8).len(), 1, "the old nat.conf does not bring it back");
}

#[tokio::test]
async fn dhcp_takes_new_reservations_only_while_it_is_stopped() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    mac.cfgcli("setdhcpmac2ip vmnet2 00:50:56:00:00:09 10.10.0.9").await;
    assert_eq!(mac.cfgcli("updatedhcpfromconfig vmnet2").await.0, 0, "it runs");
    let conf = || files::read(&mac.places.vmnet(2).join("dhcpd.conf")).unwrap().unwrap();
    assert!(!conf().contains("10.10.0.9;"));
    assert_eq!(mac.cfgcli("servicestop vmnet2 dhcp").await.0, 1);
    assert_eq!(mac.cfgcli("servicestatus vmnet2 dhcp").await.0, 0);
    assert_eq!(mac.cfgcli("updatedhcpfromconfig vmnet2").await.0, 1);
    assert!(conf().contains("fixed-address 10.10.0.9;"));
    assert_eq!(mac.cfgcli("servicestart vmnet2 dhcp").await.0, 1);
    assert_eq!(mac.cfgcli("servicestatus vmnet2 dhcp").await.0, 1);
    for (line, status) in [
        ("servicestart vmnet1 nat", 0),
        ("servicestop vmnet1 nat", 1),
        ("servicestart vmnet5 dhcp", 0),
        ("updatedhcpfromconfig vmnet5", 0),
    ] {
        assert_eq!(mac.cfgcli(line).await.0, status, "{line}");
    }
}

#[tokio::test]
async fn stopping_one_service_leaves_the_others_and_the_guests_alone() {
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    mac.start(&vmx).await;
    mac.until_reachable().await;
    let others =
        |status: &str| status.lines().filter(|line| !line.contains("DHCP service on vmnet2")).count();
    let before = mac.run("vmnet-cli", &["--status"]).await.1;
    mac.cfgcli("servicestop vmnet2 dhcp").await;
    let (status, now) = mac.run("vmnet-cli", &["--status"]).await;
    assert!(status == 1 && now.contains("DHCP service on vmnet2 is not running\n"), "{now}");
    assert_eq!(others(&before), others(&now));
    assert_eq!(now.matches("is not running").count(), 1, "{now}");
    assert!(mac.dial(ADDRESS, 22).await.is_ok(), "the guest goes on");
    assert_eq!(mac.vmrun(&["getGuestIPAddress", path(&vmx)]).await.0, 0);
    mac.cfgcli("servicestart vmnet2 dhcp").await;
    assert_eq!(mac.run("vmnet-cli", &["--status"]).await, (0, before));
}

#[tokio::test]
async fn free_form_keys_have_two_syntaxes() {
    let mac = Mac::new().await;
    assert_eq!(mac.cfgcli("vnetcfgadd VNET_8_COLOUR green").await.0, 1);
    assert_eq!(mac.cfgcli("vnetcfgget vmnet8 colour").await, (1, "green\n".to_owned()));
    assert_eq!(mac.cfgcli("vnetcfgadd vmnet8 colour:light:blue").await.0, 1);
    assert_eq!(mac.cfgcli("vnetcfgget VNET_8_COLOUR").await, (1, "light:blue\n".to_owned()));
    assert_eq!(mac.cfgcli("vnetcfgremove vmnet8 colour").await.0, 1);
    assert_eq!(mac.cfgcli("vnetcfgget vmnet8 colour").await, (0, String::new()));
    assert_eq!(mac.cfgcli("vnetcfgadd vmnet8 colour").await.0, 0);
    assert_eq!(mac.database().answers(8).get("COLOUR"), None);
}

#[tokio::test]
async fn usage_adapters_and_bridges_are_told() {
    let mac = Mac::new().await;
    assert_eq!(mac.cfgcli("getnatusage vmnet8").await, (1, "yes\n".to_owned()));
    assert_eq!(mac.cfgcli("getnatusage vmnet1").await, (0, String::new()));
    assert_eq!(mac.cfgcli("getdhcpusage vmnet1").await, (1, "yes\n".to_owned()));
    assert_eq!(mac.cfgcli("setdhcpusage vmnet1 no").await.0, 1);
    assert_eq!(mac.cfgcli("getdhcpusage vmnet1").await, (1, "no\n".to_owned()));
    for (verb, adapter) in [("disablehostonlyadap", false), ("enablehostonlyadap", true)] {
        assert_eq!(mac.cfgcli(&format!("{verb} vmnet1")).await.0, 1);
        assert_eq!(mac.cfgcli("updateadapterfromconfig vmnet1").await.0, 1);
        assert_eq!(network::Networks::load(&mac.places).unwrap().configured()[&1].adapter, adapter, "{verb}");
    }
    assert_eq!(mac.cfgcli("gethostadapterlist").await, (1, String::new()));
    crate::sim::hazards::seed(&mac.places, "vmnet2-bridged").await.unwrap();
    assert_eq!(mac.cfgcli("gethostadapterlist").await, (1, "vmnet2: en0\n".to_owned()));
    assert_eq!(mac.cfgcli("getdefaultbridge").await, (1, "-1\n".to_owned()));
    assert_eq!(mac.cfgcli("setdefaultbridge 2").await.0, 1);
    assert_eq!(mac.cfgcli("setdefaultbridge en0").await.0, 0);
    assert_eq!(mac.cfgcli("getdefaultbridge").await, (1, "2\n".to_owned()));
    assert_eq!(mac.cfgcli("setloglevel 50").await.0, 1);
    assert_eq!(mac.cfgcli("getloglevel").await, (1, "30\n".to_owned()), "a level does not outlast its call");
}

#[tokio::test]
async fn the_database_goes_out_and_in_whole() {
    let mac = Mac::new().await;
    let original = files::read_bytes(&mac.places.networking()).unwrap();
    let copy = mac.folder.path().join("copy");
    assert_eq!(mac.cfgcli(&format!("exportconfig {}", path(&copy))).await.0, 1);
    assert_eq!(files::read_bytes(&copy).unwrap(), original);
    assert_eq!(mac.cfgcli("createdb").await.0, 1);
    assert_eq!(mac.database().vmnets(), [], "the old database is gone");
    assert_eq!(mac.cfgcli("importconfig /nowhere").await.0, 0);
    assert_eq!(mac.cfgcli(&format!("importconfig {}", path(&copy))).await.0, 1);
    assert_eq!(files::read_bytes(&mac.places.networking()).unwrap(), original);
    files::write(&copy, "junk").unwrap();
    assert_eq!(mac.cfgcli(&format!("importconfig {}", path(&copy))).await.0, 0);
    assert_eq!(files::read_bytes(&mac.places.networking()).unwrap(), original);
}
