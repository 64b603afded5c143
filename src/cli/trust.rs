//! `fusionlab trust`: where the lab's authority is, and how programs are told to believe it. Nothing is run.

use clap::Args;
use serde_json::{Value, json};

use super::calls;
use super::context::{Context, Warnings};
use super::error::{Failure, Kind, Report, Success};
use super::quoted;
use super::terminal::{Ink, Pen};
use super::words;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.trust/1";

/// Say how to trust the lab's certificates
///
/// The applications' certificates for https://*.<domain> are signed by an authority of the lab's own. This prints where
/// it is and the commands that make each program believe it, with those that take it back. It runs none of them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab trust                  the commands for each program
  fusionlab trust --output json    the same for scripts")]
pub struct TrustArgs {}

/// Columns of the labels.
const LABEL: usize = "authority".len();

/// One way to have a program believe the authority.
struct Way {
    who: &'static str,
    /// What there is to know before.
    note: &'static str,
    commands: Vec<String>,
    undo: Vec<String>,
}

pub async fn run(_args: TrustArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let path = context.home.lab(&lab.name).lab_ca();
    let Some(certificate) = calls::read_text(&path)? else {
        return Err(Report::new(
            "authority-missing",
            Kind::HostCheck,
            format!("{} has no authority yet", lab.name),
        )
        .at(path.display().to_string())
        .because("`up` makes the lab's keys and certificates before anything else")
        .run("fusionlab up")
        .into());
    };
    let name = calls::authority_name(&lab.name);
    let fingerprint = calls::fingerprint(&certificate).unwrap_or_default();
    let confined = calls::confined_to(&certificate);
    let ways = ways(&quoted(&path), &name, &lab.name, &lab.cluster.domain);
    if context.json() {
        let ways: Vec<Value> = ways
            .iter()
            .map(
                |way| json!({ "who": way.who, "note": way.note, "commands": way.commands, "undo": way.undo }),
            )
            .collect();
        context.print_json(&json!({
            "schema": SCHEMA,
            "lab": lab.name,
            "certificate": path,
            "name": name,
            "sha256": fingerprint,
            "confined": confined.is_some(),
            "ways": ways,
        }))?;
        return Ok(Success::Done);
    }
    let pen = &context.terminal.out;
    // None is broken into lines, so that it can be copied.
    let labelled = [("authority", &name), ("file", &context.shown(&path)), ("SHA-256", &fingerprint)];
    let mut lines: Vec<String> = labelled
        .iter()
        .map(|(label, text)| format!("{}  {text}", pen.paint(Ink::Dim, &format!("{label:<LABEL$}"))))
        .collect();
    lines.push(String::new());
    lines.extend(words::wrap(&warning(confined.as_deref()), pen.prose_width()));
    lines.extend(ways.iter().flat_map(|way| shown(way, pen)));
    context.print(lines)?;
    Ok(Success::Done)
}

/// Returns what there is to know before; `confined` is the domain for which alone the authority signs, if there is one.
fn warning(confined: Option<&str>) -> String {
    let whom = match confined {
        Some(domain) => format!(
            "Whoever trusts this authority believes it for {domain} and names below it, and for no other site."
        ),
        None => "Whoever trusts this authority believes every certificate that it signs, for any site: it was made by \
                 an older fusionlab."
            .to_owned(),
    };
    format!(
        "{whom} Its key lies in the lab's `identity` folder, readable by you alone, and goes with `fusionlab destroy`; \
         the trust does not, so take it back first. Nothing here is run for you."
    )
}

fn shown(way: &Way, pen: &Pen) -> Vec<String> {
    let mut lines = vec![String::new(), pen.paint(Ink::Strong, way.who)];
    lines.extend(
        words::wrap(way.note, pen.prose_width().saturating_sub(2)).iter().map(|line| format!("  {line}")),
    );
    let command = |command: &String| format!("    {}", pen.paint(Ink::Accent, command));
    lines.extend(way.commands.iter().map(command));
    if !way.undo.is_empty() {
        lines.push("  and back:".to_owned());
        lines.extend(way.undo.iter().map(command));
    }
    lines
}

/// Returns the ways; `file` is the certificate's path, quoted for a shell.
fn ways(file: &str, name: &str, lab: &str, domain: &str) -> Vec<Way> {
    let common = super::quoted(std::path::Path::new(name));
    let installed = format!("/usr/local/share/ca-certificates/fusionlab-{lab}.crt");
    let owned = |commands: &[String]| commands.to_vec();
    vec![
        Way {
            who: "One call",
            note: "curl, and whatever takes a file of authorities; nothing is changed.",
            commands: owned(&[format!("curl --cacert {file} https://echo.{domain}/")]),
            undo: Vec::new(),
        },
        Way {
            who: "macOS: Safari, Chrome, curl of the system",
            note: "The Keychain of this user; macOS asks for the password.",
            commands: owned(&[format!(
                "security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db {file}"
            )]),
            undo: owned(&[
                format!("security remove-trusted-cert {file}"),
                format!("security delete-certificate -c {common} ~/Library/Keychains/login.keychain-db"),
            ]),
        },
        Way {
            who: "Firefox",
            note: "It believes the Keychain's authorities where `security.enterprise_roots.enabled` is true in about:config. \
                   Else: Settings, Privacy & Security, Certificates, View Certificates, Authorities, Import; Delete or Distrust \
                   takes it back.",
            commands: Vec::new(),
            undo: Vec::new(),
        },
        Way {
            who: "Linux: Debian and Ubuntu",
            note: "The whole system; Firefox and Chrome keep their own lists there.",
            commands: owned(&[
                format!("sudo install -m 0644 {file} {installed}"),
                "sudo update-ca-certificates".to_owned(),
            ]),
            undo: owned(&[format!("sudo rm {installed}"), "sudo update-ca-certificates --fresh".to_owned()]),
        },
        Way {
            who: "Linux: Fedora, Arch",
            note: "The whole system, by p11-kit.",
            commands: owned(&[format!("sudo trust anchor {file}")]),
            undo: owned(&[format!("sudo trust anchor --remove {file}")]),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_that_changes_something_says_the_way_back() {
        for way in ways("'/x y/lab-ca.crt'", "fusionlab lab", "lab", "lab.test") {
            let text = shown(&way, &Pen::plain(80)).join("\n");
            let changes = way.commands.iter().any(|command| !command.starts_with("curl"));
            assert_eq!(changes, !way.undo.is_empty(), "{text}");
            assert!(text.lines().all(|line| !line.ends_with(' ')), "{text}");
        }
    }
}
