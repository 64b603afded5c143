//! Machines of the home's own on the LAN: a card with an address that the kernel answers for, and VRRP adverts.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Net, Plug, tools};
use crate::host::linux::netns;
use crate::sim::pace;
use crate::sim::seam::{Card, Segment};
use crate::sim::settings::Stranger;

/// What such a machine is called; no link of it is cut.
const NAME: &str = "stranger";
/// The card of a machine of the home's, in its own namespace.
const CARD: &str = "eth0";
/// Every VRRP router, and the protocol's number (RFC 5798 §5.1).
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 18), 0);
const VRRP: libc::c_int = 112;
const TTL: u32 = 255;
const INTERVAL: Duration = Duration::from_secs(1);

/// A machine of the home's; it goes with the networks.
pub struct Present {
    _plug: Plug,
    adverts: Option<JoinHandle<()>>,
}

impl Drop for Present {
    fn drop(&mut self) {
        if let Some(adverts) = &self.adverts {
            adverts.abort();
        }
    }
}

impl Net {
    /// Lets a machine of the home's be there.
    pub async fn stranger(&self, stranger: &Stranger) -> io::Result<Present> {
        let card = Card { mac: stranger.mac, segment: Segment::Lan, name: CARD.to_owned() };
        let plug = self.plug(NAME, &[card]).await?;
        let name = plug.namespace().file_name().map(|name| name.to_string_lossy().into_owned());
        let length = self.board.lan().0.prefix_len();
        let lines =
            [format!("address add {}/{length} dev {CARD}", stranger.address), format!("link set {CARD} up")];
        tools::ip(name.as_deref(), &lines).await?;
        let adverts = stranger.router_id.map(|id| advertise(&plug, stranger.address, id)).transpose()?;
        Ok(Present { _plug: plug, adverts })
    }
}

/// Sends an advert each second, as the master of a virtual router does.
fn advertise(plug: &Plug, from: Ipv4Addr, id: u8) -> io::Result<JoinHandle<()>> {
    let socket = netns::inside(plug.namespace(), || raw_socket(from))?;
    socket.set_multicast_ttl_v4(TTL)?;
    let advert = advert(from, id);
    Ok(tokio::spawn(async move {
        loop {
            // A LAN that takes nothing now may take the next one.
            let _ = socket.send_to(&advert, GROUP);
            pace::wait(INTERVAL).await;
        }
    }))
}

/// Returns a VRRPv3 advert of one address; nobody here looks at the sum.
fn advert(address: Ipv4Addr, id: u8) -> Vec<u8> {
    const VERSION_AND_TYPE: u8 = 0x31;
    const PRIORITY: u8 = 100;
    const CENTISECONDS: u8 = 100;
    let head = [VERSION_AND_TYPE, id, PRIORITY, 1, 0, CENTISECONDS, 0, 0];
    [&head[..], &address.octets()].concat()
}

/// Opens a socket that sends VRRP's packets from an address.
fn raw_socket(from: Ipv4Addr) -> io::Result<UdpSocket> {
    // SAFETY: socket takes numbers; the result is checked before it is owned.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, VRRP) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: the descriptor is open, and the call takes numbers.
    if unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a sockaddr_in of zeros is valid.
    let mut address: libc::sockaddr_in = unsafe { mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_addr.s_addr = u32::from(from).to_be();
    let length = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: the address lives for the call and has the length that is given.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if bound < 0 {
        return Err(io::Error::last_os_error());
    }
    // Its calls for sending and for the time to live are those of any datagram socket.
    Ok(UdpSocket::from(socket))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the probe is another program")]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::formats::mac::Mac;
    use crate::sim::linux::prefix::Prefix;
    use crate::sim::places::Places;

    /// What a gateway is given on standard input.
    const PROBE: &str = include_str!("../../../../cloud-init/guest/fusionlab-lan-probe.py");
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 68, 200);

    fn can_run() -> bool {
        // SAFETY: geteuid takes nothing and cannot fail.
        let is_root = unsafe { libc::geteuid() } == 0;
        let is_on = std::env::var("FUSIONLAB_TEST_TOOLS").is_ok_and(|value| value == "1") && is_root;
        if !is_on {
            eprintln!("skipped: it takes root and FUSIONLAB_TEST_TOOLS=1");
        }
        is_on
    }

    fn mac(last: u8) -> Mac {
        Mac::new([0, 0x50, 0x56, 0, 0x0c, last])
    }

    /// Runs the probe in a gateway's namespace for a second; returns its lines.
    fn heard(gateway: &Plug, own: &[Mac]) -> Vec<String> {
        let mut words =
            vec!["1".to_owned(), VIP.to_string(), "51".to_owned(), "ens160".to_owned(), "ens192".to_owned()];
        words.extend(own.iter().map(ToString::to_string));
        let name = gateway.namespace().file_name().unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec"]).arg(name).args(["python3", "-I", "-"]).args(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(PROBE.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_gateways_probe_hears_who_has_the_address_and_who_has_the_router_id() {
        if !can_run() {
            return;
        }
        let folder = tempfile::Builder::new().prefix("fl-strangers-").tempdir().unwrap();
        let places = Places::new(folder.path());
        let lan = "192.168.68.0/24".parse().unwrap();
        let net = Net::begin(Prefix::of(&places).unwrap(), &places, lan).await.unwrap();
        let card = |last, segment, name: &str| Card { mac: mac(last), segment, name: name.to_owned() };
        let cards = [card(1, Segment::Lan, "ens160"), card(2, Segment::Vmnet(2), "ens192")];
        let gateway = net.plug("gateway1", &cards).await.unwrap();
        let name = gateway.namespace().file_name().unwrap().to_string_lossy().into_owned();
        let up = ["link set ens160 up", "link set ens192 up"].map(str::to_owned);
        tools::ip(Some(&name), &up).await.unwrap();
        assert_eq!(heard(&gateway, &[]), ["done=1"], "nobody is there");

        let printer = Stranger { mac: mac(7), address: VIP, router_id: None };
        let router = Stranger { mac: mac(8), address: Ipv4Addr::new(192, 168, 68, 9), router_id: Some(51) };
        let other = Stranger { mac: mac(9), address: Ipv4Addr::new(192, 168, 68, 10), router_id: Some(52) };
        let mut present = Vec::new();
        for stranger in [&printer, &router, &other] {
            present.push(net.stranger(stranger).await.unwrap());
        }
        let mut lines = heard(&gateway, &[]);
        lines.sort();
        let expected = [
            format!("address={VIP} {}", mac(7)),
            "done=1".to_owned(),
            format!("router=ens160 51 192.168.68.9 {}", mac(8)),
        ];
        assert_eq!(lines, expected);
        assert_eq!(heard(&gateway, &[mac(7), mac(8)]), ["done=1"], "they are our own");
        drop(present);
        net.leave().await;
    }
}
