//! `ping -c 1 -t 1 ADDRESS` of macOS, into the home network alone. Nobody is waited for.

use std::net::Ipv4Addr;

use super::Screen;
use super::arp;
use crate::sim::places::Places;

/// Exit statuses of macOS's ping: nobody answered, wrong arguments.
const SILENCE: u8 = 2;
const USAGE: u8 = 64;

/// Says whether somebody answers.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let ["-c", "1", "-t", "1", address] = words[..] else { return usage(screen) };
    let Ok(address) = address.parse::<Ipv4Addr>() else { return usage(screen) };
    screen.line(&format!("PING {address} ({address}): 56 data bytes"));
    let answers = arp::neighbours(places).await.is_ok_and(|found| found.contains_key(&address));
    if answers {
        screen.line(&format!("64 bytes from {address}: icmp_seq=0 ttl=64 time=1.204 ms"));
    }
    let (received, loss) = if answers { (1, "0.0") } else { (0, "100.0") };
    screen.line(&format!("\n--- {address} ping statistics ---"));
    screen.line(&format!("1 packets transmitted, {received} packets received, {loss}% packet loss"));
    if answers { 0 } else { SILENCE }
}

fn usage(screen: &mut Screen) -> u8 {
    screen.error_line("usage: ping -c 1 -t 1 host");
    USAGE
}
