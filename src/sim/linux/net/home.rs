//! The home: the Mac's and the router's namespaces, the LAN between them, and what the router serves.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::PathBuf;

use super::addresses::{INTERNET, Lan, MAC_OF_ROUTER, MAC_ON_LAN};
use super::dhcpd::{Dhcpd, Order, Program};
use super::{Sockets, tools};
use crate::host::linux::netns;
use crate::sim::files;
use crate::sim::linux::prefix::{Prefix, namespace_path};
use crate::sim::places::Places;

/// The LAN's bridge in the Mac's namespace.
pub const LAN_BRIDGE: &str = "lan";
const DNS: u16 = 53;
const NTP: u16 = 123;
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// What no namespace takes over from this computer, which may forward and filter as it likes.
pub const PLAIN: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "0"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("bridge/bridge-nf-call-iptables", "0"),
    ("bridge/bridge-nf-call-ip6tables", "0"),
    ("bridge/bridge-nf-call-arptables", "0"),
];
/// What the Mac's, the router's and the NATs' have besides.
pub const INFRASTRUCTURE: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
    // Who does not answer ARP is known to be away after less than a second.
    ("ipv4/neigh/default/retrans_time_ms", "250"),
];

/// Makes both namespaces and the LAN.
pub async fn make(prefix: &Prefix, lan: Lan) -> io::Result<()> {
    let (mac, router) = (prefix.mac(), prefix.lan());
    tools::ip(None, &[format!("netns add {mac}"), format!("netns add {router}")]).await?;
    for namespace in [&mac, &router] {
        tools::set(namespace, PLAIN)?;
        tools::set(namespace, INFRASTRUCTURE)?;
    }
    let length = lan.0.prefix_len();
    let (on_lan, gateway) = (lan.mac(), lan.router());
    let lines = [
        "link set lo up".to_owned(),
        bridge(LAN_BRIDGE, MAC_ON_LAN),
        format!("link set {LAN_BRIDGE} up"),
        format!("address add {on_lan}/{length} dev {LAN_BRIDGE}"),
        format!("link add router type veth peer name lan0 address {MAC_OF_ROUTER} netns {router}"),
        format!("link set router master {LAN_BRIDGE} up"),
        format!("route add default via {gateway}"),
    ];
    tools::ip(Some(&mac), &lines).await?;
    let lines = [
        "link set lo up".to_owned(),
        format!("address add {INTERNET}/32 dev lo"),
        "link set lan0 up".to_owned(),
        format!("address add {gateway}/{length} dev lan0"),
        "route add unreachable default".to_owned(),
    ];
    tools::ip(Some(&router), &lines).await?;
    tools::nft(&mac, MACS_RULES.to_owned()).await?;
    tools::nft(&router, routers_rules()).await
}

/// Returns the line that makes a bridge which forwards from the first moment and keeps its MAC, whoever is plugged in.
pub fn bridge(name: &str, mac: &str) -> String {
    format!("link add {name} address {mac} type bridge forward_delay 0 mcast_snooping 0")
}

/// The Mac lets pass what NAT sends, under its own address, and the answers. Nothing else crosses it.
const MACS_RULES: &str = r#"
table ip mac {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "nat*" oifname "lan" accept
    }
    chain leaving {
        type nat hook postrouting priority srcnat;
        ip saddr 169.254.0.0/16 oifname "lan" masquerade
    }
}
"#;

/// Whoever is asked for names or the time out there, the internet's one address answers.
fn routers_rules() -> String {
    format!(
        r"
table ip router {{
    chain arriving {{
        type nat hook prerouting priority dstnat;
        udp dport {{ {DNS}, {NTP} }} dnat to {INTERNET}
    }}
}}
"
    )
}

/// Listens at a port of the internet's address.
pub fn listener(prefix: &Prefix, port: u16) -> io::Result<TcpListener> {
    netns::inside(&namespace_path(&prefix.lan()), || TcpListener::bind(SocketAddrV4::new(INTERNET, port)))
}

/// Opens the internet's sockets.
pub fn sockets(prefix: &Prefix) -> io::Result<Sockets> {
    netns::inside(&namespace_path(&prefix.lan()), || {
        let at = |port| SocketAddrV4::new(INTERNET, port);
        Ok(Sockets {
            dns: UdpSocket::bind(at(DNS))?,
            ntp: UdpSocket::bind(at(NTP))?,
            http: TcpListener::bind(at(HTTP))?,
            https: TcpListener::bind(at(HTTPS))?,
        })
    })
}

/// Starts the router's DHCP server; a card keeps its address from one world to the next.
pub async fn serve_dhcp(program: &Program, prefix: &Prefix, places: &Places, lan: Lan) -> io::Result<Dhcpd> {
    let conf = folder(places).join("router-dhcpd.conf");
    let content = routers_conf(lan);
    files::write(&conf, &content)?;
    let order = Order {
        namespace: prefix.lan(),
        interface: "lan0".to_owned(),
        conf,
        content,
        leases: places.root().join("var/db/home-router.leases"),
        log: folder(places).join("router-dhcpd.log"),
    };
    Dhcpd::start(program, order).await
}

fn routers_conf(lan: Lan) -> String {
    let (first, last): (Ipv4Addr, Ipv4Addr) = lan.pool();
    let (router, net) = (lan.router(), lan.0);
    format!(
        "authoritative;\ndefault-lease-time 86400;\nmax-lease-time 86400;\n\
         subnet {} netmask {} {{\n\trange {first} {last};\n\toption routers {router};\n\
         \toption domain-name-servers {router};\n}}\n",
        net.network(),
        net.netmask()
    )
}

/// Returns the folder of the networks' own files.
pub fn folder(places: &Places) -> PathBuf {
    places.run().join("net")
}

/// Puts a copy of the DHCP server beside those files, and makes the control group for it. Where AppArmor confines the
/// original, that may read and write only the computer's own files.
#[expect(clippy::disallowed_methods, reason = "the copy is a program, which sim::files makes none of")]
pub fn dhcpd(prefix: &Prefix, places: &Places) -> io::Result<Program> {
    let (original, copy) = (tools::program("dhcpd")?, folder(places).join("dhcpd"));
    files::make_folder(&folder(places))?;
    // A program that still runs cannot be written to.
    files::remove(&copy)?;
    std::fs::copy(&original, &copy).map_err(|error| {
        io::Error::new(error.kind(), format!("copy {} to {}: {error}", original.display(), copy.display()))
    })?;
    let cgroup = prefix.cgroup()?.join("net");
    files::make_folder(&cgroup)?;
    Ok(Program { path: copy, cgroup })
}
