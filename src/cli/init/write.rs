//! The lab file with the answers in it, and the command that writes the same again.

use super::answers::Answers;
use super::check;
use super::defaults;
use super::told::list;
use crate::formats::command::quote;
use crate::lab::presets;
use crate::lab::spec::edit;

/// Returns the file: every key with its meaning, the answers live.
pub fn file(answers: &Answers) -> String {
    let lan = &answers.lan;
    let (subnet, router, vip) = (lan.subnet.to_string(), lan.router.to_string(), answers.vip.to_string());
    let dns = format!("[{}]", lan.dns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    let (vmnet, internal) = (answers.internal.0.to_string(), answers.internal.1.to_string());
    let lines: Vec<String> = answers.keys.iter().map(|key| format!("{:?}", key.line)).collect();
    let keys = format!("[{}]", lines.join(", "));
    let mut set = vec![
        ("name", answers.name.as_str()),
        ("lan.subnet", &subnet),
        ("lan.router", &router),
        ("lan.dns", &dns),
        ("lan.vip", &vip),
        ("internal.vmnet", &vmnet),
        ("internal.subnet", &internal),
        ("domain", &answers.domain),
        ("ssh.authorized_keys", &keys),
    ];
    if let Some(interface) = &lan.interface {
        set.push(("lan.interface", interface));
    }
    let mut text = presets::commented_file_with(answers.preset, &set);
    // The last one first: each goes to the beginning of its section.
    for (index, address) in answers.gateways.iter().enumerate().rev() {
        let key = format!("nodes.gateway{}.lan_address", index + 1);
        text = edit::set(&text, &key, &address.to_string()).expect("our own file has a section for machines");
    }
    text
}

/// Returns the command that writes the same file without a question, in parts that stay together: each option with its
/// value. `options` are those of every verb.
pub fn command(answers: &Answers, options: &str, out: Option<&str>) -> Vec<String> {
    let lan = &answers.lan;
    let program = if options.is_empty() { "fusionlab".to_owned() } else { format!("fusionlab {options}") };
    let mut parts = vec![format!("{program} init")];
    let mut say = |option: &str, value: &str| parts.push(format!("{option} {}", quote(value)));
    say("--preset", &answers.preset.to_string());
    say("--lan", &lan.subnet.to_string());
    say("--router", &lan.router.to_string());
    say("--dns", &list(&lan.dns));
    if let Some(interface) = &lan.interface {
        say("--interface", interface);
    }
    say("--vip", &answers.vip.to_string());
    say("--gateways", &list(&answers.gateways));
    say("--vmnet", &answers.internal.0.to_string());
    say("--internal", &answers.internal.1.to_string());
    if answers.keys.is_empty() {
        say("--ssh-key", check::NONE);
    }
    for key in &answers.keys {
        // The shell itself puts the home folder in the place of `~`.
        match key.file.strip_prefix("~/") {
            Some(rest) => parts.push(format!("--ssh-key ~/{}", quote(rest))),
            None => parts.push(format!("--ssh-key {}", quote(&key.file))),
        }
    }
    let mut say = |option: &str, value: &str| parts.push(format!("{option} {}", quote(value)));
    if answers.domain != defaults::DOMAIN {
        say("--domain", &answers.domain);
    }
    say("--name", &answers.name);
    if let Some(out) = out {
        say("--out", out);
    }
    parts.push("--yes".to_owned());
    parts
}
