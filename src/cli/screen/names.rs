//! The lab's names in a table, then who answers for them and whether this Mac asks there.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};

use super::plan;
use super::table::{Cell, Table};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::engine::error::EngineError;
use crate::formats::command::Command;
use crate::formats::dns::{Answer, Code};
use crate::host::resolver::{Change, Found};
use crate::lab::Lab;

/// Columns before the lines that change.
const INDENT: usize = 6;

/// What was seen of a lab's names.
pub struct Seen<'a> {
    pub lab: &'a Lab,
    pub simulated: bool,
    /// The file of the lab's domain in /etc/resolver.
    pub file: &'a Path,
    pub found: &'a Found,
    pub server: &'a Server,
    /// What has a Mac ask the lab, ready to be pasted.
    pub command: &'a str,
}

/// The lab's name server, asked for one name.
pub struct Server {
    pub address: Ipv4Addr,
    pub asked: String,
    /// None if it was not asked, since there is no lab.
    pub said: Option<Result<Answer, EngineError>>,
}

impl Server {
    /// Returns whether the answer is the lab's VIP, and what was said.
    fn judged(&self, vip: Ipv4Addr) -> (bool, String) {
        match &self.said {
            None => (false, "was not asked: the lab is not up".to_owned()),
            Some(Ok(Answer { code: Code::Good, addresses })) if addresses.as_slice() == [vip] => {
                (true, format!("answers: {} is {vip}", self.asked))
            }
            Some(Ok(Answer { code: Code::Good, addresses })) if addresses.is_empty() => {
                (false, format!("knows no address of {}", self.asked))
            }
            Some(Ok(Answer { code: Code::Good, addresses })) => {
                let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                (false, format!("says that {} is {}, not {vip}", self.asked, all.join(" and ")))
            }
            Some(Ok(Answer { code: Code::NoSuchName, .. })) => (false, format!("knows no {}", self.asked)),
            Some(Ok(Answer { code, .. })) => (false, format!("does not answer for {}: {code:?}", self.asked)),
            Some(Err(error)) => (false, format!("does not answer: {error}")),
        }
    }
}

/// Returns the names with their addresses and what they are for.
fn names(lab: &Lab) -> Vec<(String, Ipv4Addr, &'static str)> {
    let vip = lab.lan.vip;
    vec![
        (format!("*.{}", lab.cluster.domain), vip, "applications behind the Gateway"),
        (lab.cluster.api_name.clone(), vip, "the API server, as the certificate has it"),
    ]
}

/// Returns the table and what stands below it.
pub fn lines(seen: &Seen<'_>, pen: &Pen) -> Vec<String> {
    let mut table = Table::new(["NAME", "ADDRESS", "WHAT"]).leaving_out(["WHAT"]);
    for (name, address, what) in names(seen.lab) {
        table.row([Cell::plain(name), Cell::plain(address.to_string()), Cell::inked(Ink::Dim, what)]);
    }
    let mut lines = table.lines(pen);
    lines.push(String::new());
    let (good, said) = seen.server.judged(seen.lab.lan.vip);
    lines.extend(judged(good, &format!("the name server {}", seen.server.address), &said, pen));
    let (good, said) = resolver(seen);
    lines.extend(judged(good, &seen.file.display().to_string(), &said, pen));
    if !good {
        lines.push(String::new());
        lines.extend(otherwise(seen, pen));
    }
    lines
}

fn judged(good: bool, who: &str, said: &str, pen: &Pen) -> Vec<String> {
    let sign = if good { pen.paint(Ink::Good, pen.tick()) } else { pen.paint(Ink::Warn, "!") };
    words::marked(&sign, &format!("{who} {said}"), pen.prose_width().saturating_sub(2))
}

/// Returns whether this Mac asks the lab for its domain, and what was seen.
fn resolver(seen: &Seen<'_>) -> (bool, String) {
    let domain = &seen.lab.cluster.domain;
    match seen.found {
        Found::Ours(ours) if ours.lab == seen.lab.name && ours.nameserver == seen.server.address => {
            let who = if seen.simulated { "the simulated Mac asks" } else { "this Mac asks" };
            (true, format!("is the lab's: {who} it for every name below {domain}"))
        }
        Found::Ours(ours) if ours.lab == seen.lab.name => {
            (false, format!("asks {}, where the lab was once: write it anew", ours.nameserver))
        }
        Found::Ours(ours) => (false, format!("is that of the lab \"{}\"", ours.lab)),
        Found::Foreign(_) => (false, "is somebody else's, or was changed: it is left alone".to_owned()),
        Found::Nothing => (false, "is not there: no name of the lab's is found here".to_owned()),
    }
}

/// Returns the ways to the names, for a machine that does not ask the lab.
fn otherwise(seen: &Seen<'_>, pen: &Pen) -> Vec<String> {
    let (lab, asked) = (seen.lab, &seen.server.asked);
    let vip = lab.lan.vip;
    let port = lab.cluster.ports.http;
    let resolve = format!("curl --resolve {asked}:{port}:{vip} {}", url(asked, port));
    let ways = [
        ("on a Mac, for every name below the domain:", seen.command.to_owned()),
        ("anywhere, a line of /etc/hosts for each name:", format!("{vip} {asked}")),
        ("for one call:", resolve),
        (
            "for every machine at home, where the router can forward a domain:",
            format!("{} to {vip}", lab.cluster.domain),
        ),
    ];
    let mut lines = Vec::new();
    for (why, what) in ways {
        let text = words::wrap(why, pen.prose_width().saturating_sub(2));
        lines.extend(text.iter().map(|line| format!("  {line}")));
        lines.push(format!("    {}", pen.paint(Ink::Accent, &what)));
    }
    lines
}

fn url(name: &str, port: u16) -> String {
    if port == 80 { format!("http://{name}/") } else { format!("http://{name}:{port}/") }
}

/// Returns what is said before the file is changed.
pub fn announcement(file: &Path, change: &Change, command: Option<&[OsString]>, pen: &Pen) -> Vec<String> {
    let (what, sign, text) = match change {
        Change::Write(resolver) => ("written", '+', resolver.render()),
        Change::Remove { .. } => ("removed", '-', String::new()),
    };
    let root = if command.is_some() { "One step needs root: " } else { "" };
    let width = pen.prose_width().saturating_sub(2);
    let what = format!("{root}{} is {what}.", file.display());
    let mut lines = words::marked(&pen.paint(Ink::Warn, "!"), &what, width);
    lines.extend(text.lines().map(|line| plan::changed(&format!("{sign}{line}"), INDENT, pen)));
    if let Some(command) = command {
        let how = "The command is this one; it checks all of it again before it makes it so:";
        lines.extend(words::wrap(how, width).iter().map(|line| format!("  {line}")));
        let words = command.iter().map(|word| word.to_string_lossy().into_owned());
        lines.push(format!("    {}", pen.paint(Ink::Accent, &Command::new(words).shell_line())));
    }
    lines.push(String::new());
    lines
}

/// Returns the JSON form, without its schema.
pub fn json(seen: &Seen<'_>) -> Value {
    let names: Vec<Value> = names(seen.lab)
        .into_iter()
        .map(|(name, address, what)| json!({ "name": name, "address": address, "what": what }))
        .collect();
    let (answers, said) = seen.server.judged(seen.lab.lan.vip);
    let (state, nameserver) = match seen.found {
        Found::Nothing => ("absent", None),
        Found::Ours(ours) if ours.lab == seen.lab.name => ("ours", Some(ours.nameserver)),
        Found::Ours(ours) => ("another-lab", Some(ours.nameserver)),
        Found::Foreign(_) => ("foreign", None),
    };
    json!({
        "lab": seen.lab.name,
        "simulated": seen.simulated,
        "domain": seen.lab.cluster.domain,
        "names": names,
        "server": { "address": seen.server.address, "asked": seen.server.asked, "answers": answers, "said": said },
        "resolver": { "file": seen.file, "state": state, "nameserver": nameserver, "used": resolver(seen).0 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::resolver::Resolver;
    use crate::lab::resolve;

    fn text(found: &Found, code: Code, addresses: &[Ipv4Addr], width: usize) -> String {
        let lab = resolve::resolve(None, None, crate::lab::catalogue::Arch::Arm64).unwrap().lab;
        let said = Some(Ok(Answer { code, addresses: addresses.to_vec() }));
        let server = Server { address: lab.internal.vip, asked: "echo.lab.test".to_owned(), said };
        let file = Path::new("/etc/resolver/lab.test");
        let seen = Seen {
            lab: &lab,
            simulated: false,
            file,
            found,
            server: &server,
            command: "fusionlab names --resolver",
        };
        lines(&seen, &Pen::plain(width)).join("\n")
    }

    #[test]
    fn who_answers_and_who_is_asked_are_told_apart() {
        let vip = Ipv4Addr::new(192, 168, 68, 200);
        let ours = Found::Ours(Resolver { lab: "lab".to_owned(), nameserver: Ipv4Addr::new(10, 10, 0, 10) });
        let shown = text(&ours, Code::Good, &[vip], 80);
        assert!(shown.contains("*.lab.test            192.168.68.200  applications"), "{shown}");
        assert!(
            shown.contains("✓ the name server 10.10.0.10 answers: echo.lab.test is 192.168.68.200"),
            "{shown}"
        );
        assert!(
            shown.contains("✓ /etc/resolver/lab.test is the lab's") && !shown.contains("curl"),
            "{shown}"
        );
        let shown = text(&Found::Nothing, Code::Refused, &[], 60);
        assert!(shown.contains("! the name server 10.10.0.10 does not answer for"), "{shown}");
        assert!(shown.contains("fusionlab names --resolver") && shown.contains("curl --resolve"), "{shown}");
        assert!(text(&Found::Nothing, Code::Good, &[Ipv4Addr::LOCALHOST], 80).contains("says that"));
    }

    #[test]
    fn the_file_and_the_command_are_shown_before_anything_is_done() {
        let change =
            Change::Write(Resolver { lab: "lab".to_owned(), nameserver: Ipv4Addr::new(10, 10, 0, 10) });
        let command = ["/usr/bin/sudo", "/opt/fusion lab"].map(OsString::from);
        let file = Path::new("/etc/resolver/lab.test");
        let said = announcement(file, &change, Some(&command), &Pen::plain(100)).join("\n");
        assert!(said.starts_with("! One step needs root: /etc/resolver/lab.test is written.\n"), "{said}");
        assert!(said.contains("+nameserver 10.10.0.10\n") && said.contains("'/opt/fusion lab'"), "{said}");
        let said =
            announcement(file, &Change::Remove { lab: "lab".to_owned() }, None, &Pen::plain(100)).join("\n");
        assert_eq!(said, "! /etc/resolver/lab.test is removed.\n");
    }
}
