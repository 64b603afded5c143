//! What the tests of other programs hold a reader of Fusion's files to, and what we answer.
//!
//! A row for every case that facts/fusion-networking.md §6 lists: HashiCorp's Vagrant utility (HU), Packer's plugin
//! (PK), nix-vmware-fusion (NX) and docker-machine's driver (DM). A row says what theirs does, what ours does, and
//! checks ours. The words after `=>` begin with "same" unless we differ on purpose or do not do the thing at all.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;

use fusionlab::formats::dhcp::{
    DhcpdConf, NatConf, NatFile, apple_leases, hosts, leases, nat_forwards, newest_valid, pool, subnets,
};
use fusionlab::formats::mac::Mac;
use fusionlab::formats::networking::{
    Conflict, Document, Ours, PortForward, Protocol, Wish, confined, restore,
};
use fusionlab::formats::routes;
use fusionlab::host::files;

const LIVE: &str = include_str!("../src/formats/networking/live.txt");
/// 2024-09-25 00:44:14.
const START: u64 = 1_727_225_054;
const A: &str = "00:50:56:00:0b:03";
const B: &str = "00:50:56:00:0b:04";

/// One case of another program's tests.
struct Case {
    suite: &'static str,
    name: &'static str,
    theirs: &'static str,
    ours: &'static str,
    check: fn(),
}

/// Rows as `"case": "theirs" => "ours" { check }`, by suite.
macro_rules! table {
    ($($suite:literal { $($name:literal: $theirs:literal => $ours:literal $check:block)* })*) => {
        &[$($(Case { suite: $suite, name: $name, theirs: $theirs, ours: $ours, check: || $check },)*)*]
    };
}

fn read(lines: &str) -> Document {
    Document::parse(format!("VERSION=1,0\n{lines}").as_bytes()).expect("a networking file")
}

fn live() -> Document {
    Document::parse(LIVE.as_bytes()).expect("a networking file")
}

fn text(document: &Document) -> String {
    String::from_utf8(document.render()).expect("text")
}

fn mac(text: &str) -> Mac {
    text.parse().expect("a MAC")
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 10, 0, last)
}

fn wish(vmnet: u8, reservations: &[(&str, u8)]) -> Wish {
    let reservations = reservations.iter().map(|(of, last)| (mac(of), ip(*last))).collect();
    Wish { vmnet, subnet: "10.10.0.0/24".parse().expect("a subnet"), reservations }
}

/// The file with a network of ours.
fn made(vmnet: u8, reservations: &[(&str, u8)]) -> Document {
    Document::new().ensure(&wish(vmnet, reservations), Ours::default()).expect("nothing is in the way")
}

fn conflicts(document: &Document, wish: &Wish) -> Vec<Conflict> {
    document.ensure(wish, Ours::default()).err().unwrap_or_default()
}

/// Why root would not append this line to a file with a network vmnet5 of ours.
fn refusal(line: &str) -> String {
    let (before, mut after) = (made(5, &[]), made(5, &[]));
    after.append(line);
    let refused = confined(Some(&before.render()), &after.render(), 5).err().unwrap_or_default();
    refused.iter().map(|refusal| format!("{refusal}\n")).collect()
}

fn lease(last: u8, of: &str, minute: u8, name: &str) -> String {
    format!(
        "lease 10.10.0.{last} {{\n\tstarts 3 2024/09/25 00:{minute}:14;\n\tends 3 2024/09/25 01:{minute}:14;\n\
         \thardware ethernet {of};\n\tclient-hostname \"{name}\";\n}}\n"
    )
}

fn found(text: &str, of: &str, minutes: u64) -> Option<u8> {
    newest_valid(&leases(text), mac(of), START + minutes * 60).map(|lease| lease.address.octets()[3])
}

const NAT: &str = "# NAT\n[host]\nip = 192.168.215.2/24\nopt = a=b c\n\n[incomingtcp]\n# ours\n2222 = 10.10.0.3:22 # web\n\
                   2200 = 10.10.0.4:22\n[incomingudp]\n53 = 10.10.0.3:53\n";

const ROUTES: &str = "Internet:\nDestination Gateway Flags Netif Expire\ndefault 192.168.68.1 UGScg en0\n\
                      10 10.8.0.1 UGSc utun4\n10.1/16 10.8.0.1 UGSc utun4\n172.16.59/24 link#25 UC bridge100 !\n";

const FORWARDED: &str = "add_nat_portfwd 8 tcp 2222 10.10.0.3 22 vagrant: /Users/me/my box\n";

const CASES: &[Case] = table! {
"HU networking_file" {
    "LoadSuccess": "loads a file that has no VERSION line" => "refused with line and reason: such a file is not Fusion's" {
        let refusal = Document::parse(b"answer VNET_1_DHCP yes\n").unwrap_err();
        assert_eq!(refusal.line, 1);
    }
    "LoadMultipleDevices": "five devices, the number taken from the last character" => "all, two-digit numbers too" {
        assert_eq!(live().vmnets().iter().map(|vmnet| vmnet.number).collect::<Vec<_>>(), [1, 2, 3, 8, 10]);
    }
    "AddBasicDevice": "the free slot is vmnet2, even if a bridge has it" => "a bridge counts: the next free one" {
        assert_eq!(Document::new().model().free_vmnet(), Some(2));
        assert_eq!(read("add_bridge_mapping en0 2\n").model().free_vmnet(), Some(3));
    }
    "AddDeviceWithNetmask": "a mask alone is ignored" => "same: without a subnet there is no network" {
        assert!(!read("answer VNET_2_HOSTONLY_NETMASK 255.255.255.0\n").vmnet(2).exists);
    }
    "AddDeviceWithNetmaskSubnetIp": "mask and subnet are taken" => "same" {
        assert_eq!(made(2, &[]).vmnet(2).subnet, "10.10.0.0/24".parse().ok());
    }
    "RemoveDevice": "drops the device" => "same, and the file is as before it was made" {
        assert_eq!(text(&made(2, &[(A, 3)]).without(2, true, &[])), "VERSION=1,0\n");
    }
    "GetDevice": "finds it by name" => "same, by number" { assert!(live().vmnet(8).nat); }
    "FailedGetDevice": "nil" => "same: a network that does not exist" { assert!(!live().vmnet(77).exists); }
    "ReloadFile": "discards what is not saved" => "same: an edit makes a new value, the old one stands" {
        let before = live();
        before.ensure(&wish(5, &[]), Ours::default()).unwrap();
        assert_eq!(before, live());
    }
    "BasicPortFwd": "add and remove lines" => "same" {
        let document = read(&format!("{FORWARDED}add_nat_portfwd 8 udp 53 10.10.0.3 53\nremove_nat_portfwd 8 udp 53\n"));
        assert_eq!(document.port_forwards(8).len(), 1);
    }
    "AddPortFwd": "adds, and sets enabled" => "we add none; one that is there is read and kept" {
        let document = read(FORWARDED).ensure(&wish(5, &[]), Ours::default()).unwrap();
        assert_eq!(document.port_forwards(8)[0].host_port, 2222);
        assert!(text(&document).contains(FORWARDED));
    }
    "MergePortFwd": "description taken from its own copy" => "the line's own tail, which may hold spaces" {
        assert_eq!(read(FORWARDED).port_forwards(8)[0].description, "vagrant: /Users/me/my box");
    }
    "MergePortFwdNotEnabled": "description not merged" => "nothing is enabled or not: the last line counts" {
        assert_eq!(read(&format!("{FORWARDED}add_nat_portfwd 8 tcp 2222 10.10.0.3 22\n")).port_forwards(8)[0].description, "");
    }
    "RemovePortFwd": "removes it" => "we remove none; a remove line is honoured" {
        assert!(read(&format!("{FORWARDED}remove_nat_portfwd 8 tcp 2222\n")).port_forwards(8).is_empty());
    }
    "ReusePortFwd": "the same object twice is an error" => "root takes no forward from us at all" {
        assert!(refusal(FORWARDED.trim_end()).contains("not about vmnet5"));
        assert!(refusal("add_nat_portfwd 5 tcp 1 10.10.0.3 1").contains("neither an answer nor a reservation"));
    }
    "NewDeviceSave": "writes five keys in random order, drops all others" => "five keys in order, all others stay" {
        let saved = text(&live().ensure(&wish(5, &[]), Ours::default()).unwrap());
        assert!(saved.starts_with(LIVE));
        assert_eq!(saved.lines().count(), LIVE.lines().count() + 5);
    }
    "AddPortFwdSave": "the line stands in the file" => "same, with its tail" { assert_eq!(text(&read(FORWARDED)), format!("VERSION=1,0\n{FORWARDED}")); }
    "RemovePortFwdSave": "writes remove_ with five operands" => "such a line is read: three of them say which" {
        assert!(read(&format!("{FORWARDED}{}", FORWARDED.replace("add", "remove"))).port_forwards(8).is_empty());
    }
    "PermissionsSave": "0644" => "same" {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("networking");
        files::write_atomic(&path, LIVE.as_bytes(), 0o644).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        assert_eq!(files::read(&path).unwrap(), LIVE.as_bytes());
    }
    "AddDhcpReservation": "exact text, but no newline after it" => "a whole line" {
        assert!(text(&made(2, &[(A, 3)])).ends_with("\nadd_dhcp_mac_to_ip 2 00:50:56:00:0b:03 10.10.0.3\n"));
    }
    "AddExisting": "the same MAC on the vmnet is replaced" => "if it was ours; somebody else's is a conflict" {
        let ours = Ours { vmnet: true, reservations: vec![(mac(A), ip(3))] };
        assert_eq!(made(2, &[(A, 3)]).ensure(&wish(2, &[(A, 9)]), ours).unwrap().reservations(2), [(mac(A), ip(9))]);
        assert!(matches!(conflicts(&made(2, &[(A, 3)]), &wish(2, &[(A, 9)]))[..], [Conflict::MacReserved { .. }]));
    }
    "AddMultiple": "five reservations; two saved ones are glued into one line" => "five lines; a glued line is kept and told" {
        let five: Vec<_> = [A, B, "00:50:56:00:0b:05", "00:50:56:00:0b:06", "00:50:56:00:0b:07"].into_iter().zip(3..).collect();
        assert_eq!(made(2, &five).reservations(2).len(), 5);
        let glued = read(&format!("add_dhcp_mac_to_ip 8 {A} 10.10.0.3add_dhcp_mac_to_ip 8 {B} 10.10.0.4\n"));
        assert!(glued.reservations(8).is_empty() && glued.remarks()[0].text.contains("glued"));
    }
    "NoneLookup": "no reservations, none found" => "same" { assert!(made(2, &[]).reservations(2).is_empty()); }
    "NoMatchLookup": "another MAC, none found" => "same" { assert!(made(2, &[(A, 3)]).reservations(2).iter().all(|(of, _)| *of != mac(B))); }
    "Lookup": "found by MAC" => "same" { assert!(made(2, &[(A, 3)]).reservations(2).contains(&(mac(A), ip(3)))); }
    "CasingLookup": "upper or lower case" => "same; the line keeps its case" {
        let line = "add_dhcp_mac_to_ip 8 12:34:56:78:9A:AB 10.10.0.3\n";
        assert_eq!(read(line).reservations(8), [(mac("12:34:56:78:9a:ab"), ip(3))]);
        assert!(text(&read(line)).ends_with(line));
    }
}
"HU dhcp_lease_file" {
    "LoadFailure": "a missing file is an error" => "a network without DHCP has none: no file, no leases" {
        assert_eq!(files::read_if_exists(std::path::Path::new("/nonexistent/leases")).unwrap(), None);
        assert!(leases("").is_empty());
    }
    "LoadSuccess": "all blocks" => "same" { assert_eq!(leases(&(lease(131, A, 44, "a") + &lease(132, B, 44, "b"))).len(), 2); }
    "LoadNonactive": "future and expired ones are dropped on loading" => "same, when one is looked up" {
        let log = lease(131, A, 44, "a");
        assert_eq!([found(&log, A, 0), found(&log, A, 60)], [Some(131), None]);
        assert_eq!(found(&lease(131, A, 50, "a"), A, 0), None);
    }
    "LookupFailure": "none" => "same" { assert_eq!(found(&lease(131, A, 44, "a"), B, 1), None); }
    "LookupSuccess": "the address" => "same" { assert_eq!(found(&lease(131, A, 44, "a"), A, 1), Some(131)); }
    "PartialLookup": "a block without a hostname" => "same" {
        let log = lease(131, A, 44, "a").replace("\tclient-hostname \"a\";\n", "");
        assert_eq!((found(&log, A, 1), leases(&log)[0].hostname.clone()), (Some(131), None));
    }
    "MacosLookupSuccess": "Apple's file, bytes without leading zeros" => "same" {
        let found = apple_leases("{\n\tname=a\n\tip_address=10.10.0.3\n\thw_address=1,0:50:56:0:b:3\n\tlease=0x7fffffff\n}\n");
        assert_eq!(newest_valid(&found, mac(A), START).map(|lease| lease.address), Some(ip(3)));
    }
    "MacosLookupFailure": "none" => "same" { assert_eq!(newest_valid(&apple_leases("{\n\tname=a\n}\n"), mac(A), START), None); }
    "LookupMultipleEntry": "the newest start wins" => "same, if it is valid now" {
        assert_eq!(found(&(lease(132, A, 50, "a") + &lease(131, A, 44, "a")), A, 7), Some(132));
    }
    "LookupMultipleEntryDifferentHostname": "the MAC is rejected" => "the newest wins: cloud-init renames a guest" {
        assert_eq!(found(&(lease(131, A, 44, "ubuntu") + &lease(132, A, 50, "k8s")), A, 7), Some(132));
    }
}
"HU nat_file" {
    "load failure": "a missing file is an error" => "no file, no forwards" { assert!(nat_forwards("").is_empty()); }
    "load success": "loads" => "same" { assert_eq!(NatFile::parse(NAT).problems(), []); }
    "section count": "all" => "same" { assert_eq!(NatFile::parse(NAT).sections().count(), 3); }
    "section names": "in order" => "same" { assert_eq!(NatFile::parse(NAT).sections().collect::<Vec<_>>(), ["host", "incomingtcp", "incomingudp"]); }
    "save": "writes what it read" => "Fusion writes it, we read only; what the simulated Fusion writes is read back" {
        let conf = NatConf { vmnet: 2, subnet: wish(2, &[]).subnet, udp_timeout: None, forwards: &nat_forwards(NAT) };
        assert_eq!(nat_forwards(&conf.render()), nat_forwards(NAT));
    }
    "save modified": "writes the change" => "a change is made in the networking file, from which Fusion derives this one" {
        let conf = |udp_timeout| NatConf { vmnet: 2, subnet: wish(2, &[]).subnet, udp_timeout, forwards: &[] }.render();
        assert_eq!(NatFile::parse(&conf(Some(30))).get("udp", "timeout"), Some("30"));
        assert_eq!(NatFile::parse(&conf(None)).get("udp", "timeout"), Some("60"));
    }
    "get section": "found" => "same" { assert!(NatFile::parse(NAT).get("host", "ip").is_some()); }
    "get unknown section": "error" => "none" { assert_eq!(NatFile::parse(NAT).get("nowhere", "ip"), None); }
    "entries of section 1": "value with spaces and =" => "same; Windows' prefix length is passed over" {
        assert_eq!(NatFile::parse(NAT).get("host", "opt"), Some("a=b c"));
        assert_eq!(NatFile::parse(NAT).address(), Some(Ipv4Addr::new(192, 168, 215, 2)));
    }
    "entries of section 2": "comments within a section" => "same; a trailing one describes the forward" {
        let forwards = nat_forwards(NAT);
        assert_eq!((forwards.len(), forwards[0].description.as_str()), (3, "web"));
    }
    "delete entry": "gone" => "we delete none; a forward that is not there is not read" { assert_eq!(nat_forwards(&NAT.replace("2222 = 10.10.0.3:22 # web\n", "")).len(), 2); }
    "delete by index": "gone" => "as above: order is the file's" { assert_eq!(nat_forwards(NAT)[1].host_port, 2200); }
    "delete not found": "error" => "none" { assert_eq!(NatFile::parse(NAT).get("incomingtcp", "9"), None); }
    "delete under bounds": "error" => "no index is asked for; an entry above all sections is told" { assert_eq!(NatFile::parse("a = b\n").problems()[0].line, 1); }
    "delete over bounds": "error" => "no index is asked for; a cut off last line is told" { assert_eq!(NatFile::parse("[incomingtcp]\n22").problems()[0].line, 2); }
    "match valid": "an entry matches" => "same: it forwards" { assert_eq!(nat_forwards(NAT)[0].guest, ip(3)); }
    "match invalid": "it does not" => "told, with what it breaks (hashicorp/vagrant#1994)" {
        let problems = NatFile::parse("[incomingtcp]\n2222 = :22\n").problems();
        assert!(problems[0].reason.contains("do not start"), "{problems:?}");
    }
}
"HU settings/nat" {
    "load missing": "creates an empty copy of all forwards" => "we keep no copy: the networking file is the truth" { assert!(Document::new().port_forwards(8).is_empty()); }
    "load existing": "its own copy" => "what the file says" { assert_eq!(live().port_forwards(8).len(), 1); }
    "add": "stored" => "we add none: what others add is there at once" { assert_eq!(read(FORWARDED).port_forwards(8).len(), 1); }
    "add, conflict allowed": "replaces" => "same on one network: the last line counts" {
        assert_eq!(read(&(FORWARDED.to_owned() + &FORWARDED.replace("0.3 22", "0.4 22"))).port_forwards(8)[0].guest, ip(4));
    }
    "add, conflict refused": "error" => "two networks that want one host port are told" {
        let told = read(&(FORWARDED.to_owned() + &FORWARDED.replace(" 8 ", " 9 "))).remarks();
        assert!(told.iter().any(|remark| remark.text.contains("host port 2222")), "{told:?}");
    }
    "remove": "gone from the copy, comes back from nat.conf" => "both files are read, so a stale one is seen" {
        assert!(Document::new().port_forwards(8).is_empty() && !nat_forwards(NAT).is_empty());
    }
    "remove fuzzy": "matches by a part of the forward" => "exact: another protocol is another forward" {
        assert_eq!(read(&format!("{FORWARDED}remove_nat_portfwd 8 udp 2222\n")).port_forwards(8).len(), 1);
    }
    "clear": "all gone" => "ours are all gone, forwards of others are not" {
        let mut document = made(5, &[(A, 3)]);
        document.append(FORWARDED.trim_end());
        let left = document.without(5, true, &[]);
        assert!(left.answers(5).is_empty() && left.port_forwards(8).len() == 1);
    }
    "save": "JSON beside the networking file" => "nothing is written into this file but directives" { assert!(text(&made(5, &[])).lines().skip(1).all(|line| line.starts_with("answer "))); }
    "reload": "same after reading" => "same" { assert_eq!(read(&text(&read(FORWARDED))[12..]), read(FORWARDED)); }
    "multi-add": "all stored" => "by protocol and port" {
        let all: Vec<PortForward> = read(&(FORWARDED.to_owned() + &FORWARDED.replace("tcp", "udp"))).port_forwards(8);
        assert_eq!(all.iter().map(|forward| forward.protocol).collect::<Vec<_>>(), [Protocol::Tcp, Protocol::Udp]);
    }
}
"HU routing_table" {
    "one interface": "one" => "same" { assert_eq!(routes::parse(&ROUTES[..ROUTES.find("10 ").unwrap()]).len(), 1); }
    "many interfaces": "all" => "same" { assert_eq!(routes::parse(ROUTES).len(), 4); }
    "invalid": "error" => "rows that are no routes are passed over" { assert_eq!(routes::parse("nonsense\n300/8 x UG en0\n"), []); }
    "many addresses": "several of one interface" => "same" { assert_eq!(routes::parse(ROUTES).iter().filter(|route| route.interface == "utun4").count(), 2); }
    "by name": "found" => "same" { assert_eq!(routes::parse(ROUTES)[3].interface, "bridge100"); }
    "device match": "the interface that holds an address" => "same: the most exact destination" {
        let best = routes::parse(ROUTES).into_iter().filter(|route| route.destination.contains(&Ipv4Addr::new(10, 1, 2, 3)));
        assert_eq!(best.max_by_key(|route| route.destination.prefix_len()).unwrap().destination.prefix_len(), 16);
    }
}
"HU base_mac_to_ip_spec" {
    "unset": "nothing is called" => "same: no reservation, no line" { assert!(!text(&made(2, &[])).contains("add_dhcp")); }
    "valid": "reserves on the chosen device" => "same" { assert_eq!(made(7, &[(A, 3)]).reservations(7).len(), 1); }
    "missing device": "error" => "the network is made" { assert!(made(7, &[]).vmnet(7).exists); }
    "outside the subnet": "error" => "same" { assert!(refusal(&format!("add_dhcp_mac_to_ip 5 {A} 10.10.1.3")).contains("not in 10.10.0.0/24")); }
    ".1": "error, but .0 and .2 pass" => "error, and for .0, .2 and the broadcast" {
        for last in [0, 1, 2, 255] { assert!(!refusal(&format!("add_dhcp_mac_to_ip 5 {A} 10.10.0.{last}")).is_empty()); }
    }
    "in the DHCP half": "error" => "the lab's lint judges it; the file may say so, and the pool is known" {
        assert_eq!(refusal(&format!("add_dhcp_mac_to_ip 5 {A} 10.10.0.131")), "");
        assert_eq!(pool(wish(5, &[]).subnet), (ip(128), ip(254)));
    }
}
"HU network_spec" {
    "bridged with an address": "is static" => "a bridge is no network of ours: vmnet2 is taken" {
        assert!(matches!(conflicts(&read("add_bridge_mapping en0 2\n"), &wish(2, &[]))[..], [Conflict::VmnetBridged { .. }]));
    }
    "IPv6 host-only": "rejected" => "same: a subnet is IPv4" {
        assert!(refusal("answer VNET_5_HOSTONLY_SUBNET fd00::").contains("cannot be"));
        assert_eq!(read("answer VNET_5_HOSTONLY_SUBNET fd00::\n").vmnet(5).subnet, None);
    }
}
"HU check_existing_network_spec" {
    "verify_vmnet on": "an existing network is checked" => "same, always: what it lacks is named" {
        let lacking = read(&text(&made(2, &[]))[12..].replace("NAT yes", "NAT no"));
        assert!(matches!(&conflicts(&lacking, &wish(2, &[]))[..], [Conflict::VmnetLacks { missing, .. }] if missing[..] == ["NAT"]));
    }
    "verify_vmnet off": "used unchecked" => "there is no such switch; one that lacks nothing is used as it is" {
        assert_eq!(made(2, &[]).ensure(&wish(2, &[]), Ours::default()), Ok(made(2, &[])));
    }
}
"PK driver_parser" {
    "Uncomment": "eight forms of # comments" => "same: whole-line, trailing, within statements" {
        for text in ["# a\nhost x{hardware ethernet 0:50:56:0:b:3;fixed-address 10.10.0.3;}", "host # a\nx # b\n{ hardware # c\nethernet 0:50:56:0:b:3; # d;\nfixed-address 10.10.0.3 # e }\n; } # f"] {
            assert_eq!(hosts(text).len(), 1, "{text}");
        }
        assert!(hosts("# host x{hardware ethernet 0:50:56:0:b:3;fixed-address 10.10.0.3;}").is_empty());
    }
    "TokenizeDhcp": "tabs and quotes" => "same" {
        assert_eq!(hosts("host\t\"a b\"\t{hardware\tethernet 0:50:56:0:b:3;option x \"; }\";fixed-address 10.10.0.3;}")[0].name, "a b");
    }
    "DhcpParameters": "end by ; or {" => "same" { assert_eq!(subnets("allow x;subnet 10.10.0.0 netmask 255.255.255.0{range 10.10.0.9;}")[0].pools, [(ip(9), ip(9))]); }
    "DhcpConfigParse": "nested groups, unterminated tail" => "same" {
        assert_eq!(hosts("group { group { host a { hardware ethernet 0:50:56:0:b:3; fixed-address 10.10.0.3").len(), 1);
    }
    "ReadDhcpConfig": "global, subnet and host with inherited options" => "what addresses follow from: subnets with pools, and hosts" {
        let conf = DhcpdConf { vmnet: 2, subnet: wish(2, &[]).subnet, nat: true, reservations: &[(mac(A), ip(3))], written_at: START }.render(None);
        assert_eq!(subnets(&conf)[0].pools, [(ip(128), ip(254))]);
        assert_eq!(hosts(&conf).iter().map(|host| host.address).collect::<Vec<_>>(), [ip(1), ip(3)]);
    }
    "TokenizeNetworkMap": "netmap.conf" => "Workstation's file, not Fusion's; quotes and = are words like others" { assert_eq!(hosts("a.b = \"host x {\" ; attribute == \""), []); }
    "ReadNetworkMap": "device and name of each vmnet" => "a network's name is its DISPLAY_NAME" { assert_eq!(live().answers(10)["DISPLAY_NAME"], "vSphere"); }
    "ConsumeUntilSentinel": "up to the ;" => "same" { assert_eq!(leases(&lease(131, A, 44, "a;b"))[0].hostname.as_deref(), Some("a;b")); }
    "FilterCharacters": "line breaks are filtered out, also between words" => "only where a statement makes no sense with them" {
        assert_eq!(leases(&lease(131, A, 44, "a").replace("hardware ethernet", "hard\r\nware\n ethernet").replace("{\n", "{")).len(), 1);
        assert_eq!(leases(&lease(131, A, 44, "a").replace("hardware ethernet", "hardware\nethernet")).len(), 1);
    }
    "ConsumeOpenClosePair": "nested, unbalanced" => "same: an inner group's statements are not the outer's" {
        assert_eq!(leases(&lease(131, A, 44, "a").replace("{\n", "{ on x { on y { abandoned; } }\n")).len(), 1);
        assert_eq!(hosts("} } host a { hardware ethernet 0:50:56:0:b:3; fixed-address 10.10.0.3; }").len(), 1);
    }
    "Combinators": "comments, breaks and sentinels together" => "same" {
        assert_eq!(leases(&lease(131, A, 44, "a").replace(";\n", "; # ignore;\r\n").replace("}\n", " };;;;;;")).len(), 1);
    }
    "DhcpdLeaseBytesDecoder": "rejects \"\", 000000, 000:00 and a trailing colon; takes one byte" => "same, and takes six only" {
        for text in ["", "000000", "000:00", "00:00:", "11", "00:50:56:00:0b:03:"] { assert!(text.parse::<Mac>().is_err(), "{text}"); }
        assert_eq!("00:0d:0e:0a:0d:00".parse(), Ok(Mac::new([0, 13, 14, 10, 13, 0])));
    }
    "ReadDhcpdLeaseEntry": "four bytes, breaks in words, weekday 57005, unknown items" => "same, but four bytes are no MAC" {
        assert!(leases(&lease(131, "00:11:22:33", 44, "a")).is_empty());
        let odd = "  \n\t lease 10.10.0.254{ hardware\n   ethernet 00:50:5\r6:00:0b:03;uid 00:1\n1:22:3\r3:44;\n starts 57005 2024/09/25 00:44:14;ends 57005 2024/09/26 00:44:14;\tunknown item1; unknown item2;  }     ";
        assert_eq!(found(odd, A, 0), Some(254));
    }
    "ReadDhcpdLeases": "one address with two uids, tabs" => "both blocks are read; of two MACs the later holder has the address" {
        let log = lease(131, A, 44, "a") + &lease(131, B, 50, "b");
        assert_eq!((leases(&log).len(), found(&log, A, 7), found(&log, B, 7)), (2, None, Some(131)));
    }
    "ReadAppleDhcpdLeaseEntry": "unpadded bytes, an extra field, no lease, no name" => "same; without a lease it never ends" {
        let found = apple_leases("{\n\t\tip_address=10.10.0.4\n\t\thw_address=1,0:50:56:0:b:3\n\t\tfake=field\n\t}");
        assert_eq!((found[0].mac, found[0].ends, found[0].hostname.clone()), (mac(A), u64::MAX, None));
    }
    "ReadAppleDhcpdLeases": "several, keys in any order" => "same; = within a value" {
        let found = apple_leases("{\n\thw_address=1,0:50:56:0:b:3\n\tip_address=10.10.0.3\n\tname=a=b}\n}\n{\n\tname=c\n\tip_address=10.10.0.3\n\thw_address=1,0:50:56:0:b:4\n}\n");
        assert_eq!((found.len(), found[0].hostname.as_deref()), (2, Some("a=b}")));
    }
    "TokenizeNetworkingConfig": "repeated LF and CR, no last newline" => "same" {
        let document = read("\n\n\nanswer   VNET_1_NAT\tyes\r\r\r\r\n\n   answer VNET_1_DHCP yes");
        assert!(document.vmnet(1).nat && document.vmnet(1).dhcp);
    }
    "SplitNetworkingConfig": "leading and trailing blanks" => "same; all are kept" {
        let file = b"\n\n \nVERSION=1,0\n\n\nanswer VNET_1_NAT yes   \n\n\n";
        let document = Document::parse(file).unwrap();
        assert!(document.vmnet(1).nat && document.render() == file);
    }
    "ParseNetworkingConfigVersion": "4,2 is read (but another place refuses it); 1=2; 3,4,5; a,b are not" => "1,0 alone is" {
        for version in ["4,2", "1=2", "3,4,5", "a,b"] { assert_eq!(Document::parse(format!("VERSION={version}\n").as_bytes()).unwrap_err().line, 1); }
    }
    "ParseNetworkingConfigEntries": "one of each directive, numbers such as 57005" => "same; a number above 255 is kept and not taken for a network" {
        let lines = format!("answer VNET_99_ANYTHING option\nremove_answer VNET_123_ALSOANYTHING\nadd_nat_portfwd 24 udp 42 10.10.0.3 24\nremove_nat_portfwd 42 tcp 2502\nadd_dhcp_mac_to_ip 57 {A} 10.10.0.3\nremove_dhcp_mac_to_ip 58 {A}\nadd_bridge_mapping string 51\nremove_bridge_mapping string\nadd_nat_prefix 5 /24\nremove_nat_prefix 5 /31\n");
        assert_eq!(read(&lines).remarks(), [], "every directive is known");
        assert_eq!(read(&lines).vmnets().iter().map(|vmnet| vmnet.number).collect::<Vec<_>>(), [5, 24, 57, 99]);
        let beyond = read("answer VNET_999_X y\nadd_dhcp_mac_to_ip 57005 00:0d:0e:0a:0d:00 127.0.0.2\n");
        assert!(beyond.vmnets().is_empty() && beyond.remarks().len() == 2);
    }
    "ReadNetworingConfig": "vmnets 1 and 8; forwards of 8 under index 7; a description loses the line" => "under 8, descriptions and all" {
        assert_eq!(live().answers(8)["HOSTONLY_SUBNET"], "192.168.215.0");
        assert_eq!((live().port_forwards(8).len(), live().port_forwards(7).len()), (1, 0));
    }
}
"NX plan.rs" {
    "missing net": "plans all six actions" => "five answers are appended; Fusion does the rest on configure" { assert_eq!(text(&made(2, &[])).lines().count(), 6); }
    "deleted husk": "counts as missing" => "same; its UUID is reused" {
        let document = live().ensure(&wish(3, &[]), Ours::default()).unwrap();
        assert!(live().vmnet(3).husk && document.vmnet(3).exists);
        assert_eq!(document.vmnet(3).uuid, live().vmnet(3).uuid);
    }
    "only changed keys": "are planned" => "same: one line changes" {
        let off = text(&made(2, &[])).replace("NAT yes", "NAT no");
        let ours = Ours { vmnet: true, reservations: Vec::new() };
        let on = text(&read(&off[12..]).ensure(&wish(2, &[]), ours).unwrap());
        assert_eq!(on.lines().zip(off.lines()).filter(|(new, old)| new != old).count(), 1);
    }
    "omitted key": "equals no" => "same" { assert!(!live().vmnet(1).nat); }
    "host address": "rejected as a subnet" => "same" { assert!(refusal("answer VNET_5_HOSTONLY_SUBNET 10.10.0.1").contains("not the first address")); }
    "undeclared managed net": "removed" => "destroy removes it, to the byte" {
        let made = live().ensure(&wish(5, &[(A, 3)]), Ours::default()).unwrap();
        assert_eq!(restore(&made.render(), Some(LIVE.as_bytes()), 5, true, &[(mac(A), ip(3))]), LIVE.as_bytes());
    }
    "undeclared unmanaged net": "untouched" => "same" { assert!(text(&live().ensure(&wish(5, &[]), Ours::default()).unwrap()).starts_with(LIVE)); }
    "vmnet0": "rejected" => "same, and 1 and 8" {
        for vmnet in [0, 1, 8] { assert!(confined(None, LIVE.as_bytes(), vmnet).is_err() && !conflicts(&live(), &wish(vmnet, &[])).is_empty()); }
    }
    "vmnet01": "rejected" => "same: no vmnet is written so" { assert!(read("answer VNET_01_HOSTONLY_SUBNET 10.10.0.0\n").vmnets().is_empty()); }
}
"NX network.rs" {
    "add": "the net is there" => "same" { assert!(made(9, &[]).vmnet(9).exists); }
    "update": "the net is as wished" => "same" {
        let wider = Wish { subnet: "10.10.0.0/25".parse().unwrap(), ..wish(9, &[]) };
        let ours = Ours { vmnet: true, reservations: Vec::new() };
        assert_eq!(made(9, &[]).ensure(&wider, ours).unwrap().vmnet(9).subnet, Some(wider.subnet));
    }
    "re-apply": "bytes equal" => "same" {
        let ours = Ours { vmnet: true, reservations: vec![(mac(A), ip(3))] };
        assert_eq!(made(9, &[(A, 3)]).ensure(&wish(9, &[(A, 3)]), ours).unwrap().render(), made(9, &[(A, 3)]).render());
    }
    "remove": "gone" => "same" { assert!(made(9, &[]).without(9, true, &[]).vmnets().is_empty()); }
    "other nets": "answers unchanged" => "same" { assert_eq!(live().ensure(&wish(9, &[]), Ours::default()).unwrap().answers(8), live().answers(8)); }
    "vmnetN folder": "gone after configure" => "Fusion's own doing; nothing in the file holds it" { assert!(!text(&made(9, &[(A, 3)]).without(9, true, &[])).contains('9')); }
    "hash": "not compared" => "same: Fusion's new digest is no change to undo" {
        let now = text(&live().ensure(&wish(9, &[]), Ours::default()).unwrap()) + "answer VNET_8_DHCP_CFG_HASH 00AB0000000000000000000000000000000000AA\n";
        assert_eq!(restore(now.as_bytes(), Some(LIVE.as_bytes()), 9, true, &[]), LIVE.as_bytes());
    }
}
"DM" {
    "no parsing tests": "looks into dhcpd.conf before the leases; the latest end wins" => "reservations first too; the newest valid start wins" {
        assert_eq!(hosts("host a { hardware ethernet 00:50:56:00:0B:03; fixed-address 10.10.0.3; }")[0].mac, mac(A));
        let log = lease(132, A, 50, "a").replace("01:50", "00:59") + &lease(131, A, 44, "a");
        assert_eq!(found(&log, A, 7), Some(132));
    }
}
};

#[test]
fn every_case_of_the_peers_has_our_answer() {
    let mut failed = Vec::new();
    for case in CASES {
        let Case { suite, name, theirs, ours, check } = case;
        if std::panic::catch_unwind(check).is_err() {
            failed.push(format!("{suite}: {name}: theirs: {theirs}; ours: {ours}"));
        }
    }
    println!("{} cases of {} suites", CASES.len(), {
        let mut suites: Vec<_> = CASES.iter().map(|case| case.suite).collect();
        suites.dedup();
        suites.len()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
