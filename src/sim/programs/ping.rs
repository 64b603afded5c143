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

#[cfg(test)]
mod tests {
    use super::*;

    async fn pinged(words: &[&str]) -> (u8, Screen) {
        let root = tempfile::tempdir().unwrap();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut screen = Screen::default();
        let status = run(&Places::new(root.path()), &words, &mut screen).await;
        (status, screen)
    }

    #[tokio::test]
    async fn who_is_there_answers_and_nobody_answers_elsewhere() {
        let (status, screen) = pinged(&["-c", "1", "-t", "1", "192.168.68.1"]).await;
        assert_eq!(status, 0, "{screen:?}");
        assert!(screen.out.contains("64 bytes from 192.168.68.1: icmp_seq=0"), "{screen:?}");
        assert!(screen.out.ends_with("1 packets transmitted, 1 packets received, 0.0% packet loss\n"));
        let (status, screen) = pinged(&["-c", "1", "-t", "1", "192.168.68.77"]).await;
        assert_eq!(status, SILENCE, "{screen:?}");
        assert!(screen.out.ends_with("1 packets transmitted, 0 packets received, 100.0% packet loss\n"));
        assert!(!screen.out.contains("bytes from"), "{screen:?}");
    }

    #[tokio::test]
    async fn only_one_question_of_a_second_is_understood() {
        for words in
            [&["-c", "2", "-t", "1", "192.168.68.1"][..], &["192.168.68.1"], &["-c", "1", "-t", "1", "x"]]
        {
            let (status, screen) = pinged(words).await;
            assert_eq!((status, screen.out.as_str()), (USAGE, ""), "{words:?}");
        }
    }
}
