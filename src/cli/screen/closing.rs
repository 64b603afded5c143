//! The last lines of `up` and `destroy`: what stands, where it is, and what to type next.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::table::labelled;
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::formats::command::quote;
use crate::formats::figures;
use crate::lab::Lab;

/// What the closing block of `up` tells besides the lab.
#[derive(Clone, Debug)]
pub struct Ready {
    pub took: Duration,
    /// Steps that changed something.
    pub changed: usize,
    /// Path of the kubeconfig, as the user would type it.
    pub kubeconfig: String,
    pub simulated: bool,
    /// What the machines of a simulation are.
    pub guests: String,
    /// Checks of the proof that passed; none if it was not asked for.
    pub checks: Option<usize>,
    /// What the user has to say again so that other verbs find this lab, such as `--sim`; empty if nothing.
    pub flags: String,
}

/// Returns the closing block of `up`.
pub fn ready(lab: &Lab, ready: &Ready, pen: &Pen) -> Vec<String> {
    let took = words::duration(ready.took);
    let head = if ready.changed == 0 {
        format!("{} is up already; nothing had to be done ({took})", lab.name)
    } else {
        format!("{} is up after {took}", lab.name)
    };
    let rest = if ready.simulated { format!("simulated: {}", ready.guests) } else { String::new() };
    let mut pairs = vec![
        ("VIP", lab.lan.vip.to_string()),
        ("API", url("https", lab.lan.vip, lab.cluster.ports.api)),
        ("HTTP", url("http", lab.lan.vip, lab.cluster.ports.http)),
        ("HTTPS", url("https", lab.lan.vip, lab.cluster.ports.https)),
        ("names", format!("*.{} at {}", lab.cluster.domain, lab.lan.vip)),
        ("kubeconfig", ready.kubeconfig.clone()),
    ];
    if let Some(checks) = ready.checks {
        pairs.push(("proof", words::count(checks, "check") + " passed"));
    }
    let mut lines = headed(&head, &rest, pen);
    lines.push(String::new());
    lines.extend(labelled(pairs, pen).into_iter().map(|line| format!("  {line}")));
    lines.push(String::new());
    lines.extend(next(&ready.flags, &ready.kubeconfig, ready.simulated, pen));
    lines
}

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
pub const SCHEMA: &str = "fusionlab.up/1";

/// Returns the JSON form of the closing block of `up`.
pub fn json(lab: &Lab, ready: &Ready, kubeconfig: &Path) -> Value {
    json!({
        "schema": SCHEMA,
        "lab": lab.name,
        "simulated": ready.simulated,
        "took": figures::seconds(ready.took),
        "changed": ready.changed,
        "checks_passed": ready.checks,
        "vip": lab.lan.vip,
        "api": url("https", lab.lan.vip, lab.cluster.ports.api),
        "http": url("http", lab.lan.vip, lab.cluster.ports.http),
        "https": url("https", lab.lan.vip, lab.cluster.ports.https),
        "domain": lab.cluster.domain,
        "kubeconfig": kubeconfig,
    })
}

/// Returns the closing line of `destroy`.
pub fn gone(lab: &str, took: Duration, pen: &Pen) -> Vec<String> {
    let head = format!("{lab} is gone after {}", words::duration(took));
    headed(&head, "what is not the lab's was left as it was", pen)
}

/// Returns a head with a tick, and what goes with it on the same line if there is room, else below.
pub(super) fn headed(head: &str, rest: &str, pen: &Pen) -> Vec<String> {
    let head = format!("{} {}", pen.paint(Ink::Good, pen.tick()), pen.paint(Ink::Strong, head));
    if rest.is_empty() {
        return vec![head];
    }
    let joined = format!("{head}; {rest}");
    if console::measure_text_width(&joined) <= pen.width {
        vec![joined]
    } else {
        vec![head, format!("  {rest}")]
    }
}

fn url(scheme: &str, address: std::net::Ipv4Addr, port: u16) -> String {
    match (scheme, port) {
        ("http", 80) | ("https", 443) => format!("{scheme}://{address}"),
        _ => format!("{scheme}://{address}:{port}"),
    }
}

fn next(flags: &str, kubeconfig: &str, simulated: bool, pen: &Pen) -> Vec<String> {
    let own = |verb: &str| format!("fusionlab{flags} {verb}", flags = spaced(flags));
    let mut commands = vec![
        (own("verify"), "walk a packet's way, hop by hop"),
        (own("status"), "what stands"),
        (own("destroy"), "take it all down"),
    ];
    // A simulated VIP is reached through the simulation only, so kubectl on this Mac would find nobody.
    if !simulated {
        commands.insert(0, (format!("KUBECONFIG={} kubectl get nodes", shell_path(kubeconfig)), "use it"));
    }
    let width = commands.iter().map(|(command, _)| console::measure_text_width(command)).max().unwrap_or(0);
    let longest = commands.iter().map(|(_, what)| what.len()).max().unwrap_or(0);
    let roomy = 2 + width + 2 + longest <= pen.width;
    commands
        .into_iter()
        .map(|(command, what)| {
            if !roomy {
                return format!("  {}", pen.paint(Ink::Accent, &command));
            }
            let space = " ".repeat(width - console::measure_text_width(&command) + 2);
            format!("  {}{space}{}", pen.paint(Ink::Accent, &command), pen.paint(Ink::Dim, what))
        })
        .collect()
}

/// Quotes a path for a shell, leaving a leading `~/` to be expanded.
fn shell_path(path: &str) -> String {
    match path.strip_prefix("~/") {
        Some(rest) => format!("~/{}", quote(rest)),
        None => quote(path),
    }
}

fn spaced(flags: &str) -> String {
    if flags.is_empty() { String::new() } else { format!(" {flags}") }
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::lab;
    use super::*;

    fn closing(simulated: bool, changed: usize) -> String {
        let closing = Ready {
            took: Duration::from_millis(38_400),
            changed,
            kubeconfig: "~/.fusionlab/labs/lab/kubeconfig".into(),
            simulated,
            guests: "no virtual machine runs".to_owned(),
            checks: Some(31),
            flags: if simulated { "--sim".into() } else { String::new() },
        };
        ready(&lab(), &closing, &Pen::plain(80)).join("\n")
    }

    #[test]
    fn it_tells_where_everything_is_and_what_to_type() {
        let text = closing(false, 60);
        let start = "✓ lab is up after 38 s\n\n  \
                     VIP         192.168.68.200\n  \
                     API         https://192.168.68.200:6443\n  \
                     HTTP        http://192.168.68.200\n  \
                     HTTPS       https://192.168.68.200\n";
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains("KUBECONFIG=~/.fusionlab/labs/lab/kubeconfig kubectl get nodes"), "{text}");
        assert!(text.contains("\n  proof       31 checks passed\n"), "{text}");
    }

    #[test]
    fn a_simulated_lab_says_so_and_offers_no_kubectl() {
        let text = closing(true, 0);
        assert!(text.contains("up already") && text.contains("simulated: no virtual machine runs"), "{text}");
        assert!(!text.contains("kubectl") && text.contains("fusionlab --sim verify"), "{text}");
    }
}
