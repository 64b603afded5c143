//! `arp -an` of macOS: who answers at which address of the home network. Everybody there was heard of already.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;

use super::Screen;
use super::netstat::{LAN_INTERFACE, ROUTER_MAC};
use super::system_profiler::{own_address, router};
use crate::formats::mac::Mac;
use crate::sim::control::{self, Reply, Request};
use crate::sim::places::Places;
use crate::sim::settings::Settings;

const USAGE: u8 = 1;
/// The simulated Mac's own card.
const OWN_MAC: Mac = Mac::new([0x80, 0xa9, 0x97, 0x0b, 0x1d, 0x2e]);

/// Prints the table.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    if args != ["-an"] {
        screen.error_line("usage: arp -an");
        return USAGE;
    }
    match neighbours(places).await {
        Ok(found) => {
            for (address, mac) in found {
                let own = if mac == OWN_MAC { " permanent" } else { "" };
                screen.line(&format!(
                    "? ({address}) at {} on {LAN_INTERFACE} ifscope{own} [ethernet]",
                    short(mac)
                ));
            }
            0
        }
        Err(error) => {
            screen.error_line(&format!("arp: {error}"));
            USAGE
        }
    }
}

/// Returns everybody on the home network: the router, the Mac, its neighbours, and machines that have power.
pub async fn neighbours(places: &Places) -> io::Result<BTreeMap<Ipv4Addr, Mac>> {
    let settings = Settings::load(places)?;
    let router_mac = ROUTER_MAC.parse().map_err(io::Error::other)?;
    let mut found =
        BTreeMap::from([(router(settings.lan), router_mac), (own_address(settings.lan), OWN_MAC)]);
    found.extend(settings.strangers.iter().map(|stranger| (stranger.address, stranger.mac)));
    if let Some(Reply::Running(running)) = control::ask(places, &Request::List).await? {
        for vmx in running {
            let Some(Reply::Vm(vm)) = control::ask(places, &Request::Inspect { vmx }).await? else {
                continue;
            };
            for (mac, addresses) in vm.cards {
                let here = addresses.into_iter().filter(|address| settings.lan.contains(address));
                found.extend(here.map(|address| (address, mac)));
            }
        }
    }
    Ok(found)
}

/// Returns a MAC address as macOS prints it: without leading zeros.
fn short(mac: Mac) -> String {
    mac.bytes().map(|byte| format!("{byte:x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::neighbours::of_mac;
    use crate::sim::settings::Stranger;

    #[tokio::test]
    async fn the_table_reads_as_a_macs_with_everybody_in_it() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path());
        let printer = Stranger {
            mac: "00:11:0a:03:00:07".parse().unwrap(),
            address: Ipv4Addr::new(192, 168, 68, 200),
            router_id: None,
        };
        Settings { strangers: vec![printer.clone()], ..Settings::default() }.save(&places).unwrap();
        let mut screen = Screen::default();
        assert_eq!(run(&places, &["-an".to_owned()], &mut screen).await, 0);
        assert!(screen.out.contains("? (192.168.68.200) at 0:11:a:3:0:7 on en0 ifscope [ethernet]\n"));
        assert!(
            screen.out.contains("? (192.168.68.20) at 80:a9:97:b:1d:2e on en0 ifscope permanent [ethernet]")
        );
        let read = of_mac(&screen.out);
        assert_eq!(read, neighbours(&places).await.unwrap(), "{}", screen.out);
        assert_eq!((read.len(), read.get(&printer.address)), (3, Some(&printer.mac)));
    }

    #[tokio::test]
    async fn another_question_is_refused_as_macos_refuses_it() {
        let root = tempfile::tempdir().unwrap();
        let mut screen = Screen::default();
        assert_eq!(run(&Places::new(root.path()), &["-a".to_owned()], &mut screen).await, USAGE);
        assert_eq!((screen.out.as_str(), screen.err.as_str()), ("", "usage: arp -an\n"));
    }
}
