//! A gateway's own files and services: nginx, Keepalived and the checks between them.

use crate::formats::command::Command;
use crate::lab::{Lab, Node};
use crate::stack::file::GuestFile;
use crate::stack::identity::Identity;
use crate::stack::{dns, keepalived, nginx};

/// The lab's authority, for checks that look at certificates from a gateway.
pub const LAB_CA: &str = "/etc/fusionlab/lab-ca.crt";

const CHECK_NGINX: &str = "/usr/local/sbin/fusionlab-check-nginx";
const CHECK_PATH: &str = "/usr/local/sbin/fusionlab-check-path";
const NGINX_RESTART: &str = "/etc/systemd/system/nginx.service.d/fusionlab.conf";
const SYSCTL: &str = "/etc/sysctl.d/90-fusionlab.conf";

/// Returns a gateway's files in the order in which they may be put in place: what a configuration
/// names comes before it.
pub fn files(lab: &Lab, identity: &Identity, node: &Node) -> Vec<GuestFile> {
    let mut files = vec![
        GuestFile::new(SYSCTL, 0o644, include_str!("../../cloud-init/guest/sysctl-gateway.conf")),
        GuestFile::new(CHECK_NGINX, 0o755, include_str!("../../cloud-init/guest/fusionlab-check-nginx.sh")),
        GuestFile::new(CHECK_PATH, 0o755, include_str!("../../cloud-init/guest/fusionlab-check-path.sh")),
        GuestFile::new(NGINX_RESTART, 0o644, include_str!("../../cloud-init/guest/nginx-restart.conf")),
        keepalived::restart(lab),
        GuestFile::new(LAB_CA, 0o644, identity.lab_ca.certificate.as_bytes()),
    ];
    files.extend(dns::files(lab, node));
    files.extend([nginx::config(lab), keepalived::config(lab, node)]);
    files
}

/// Returns the commands that make a gateway do what its changed files say; all may be run again.
pub fn activate(changed: &[&str]) -> Vec<Command> {
    let has = |path: &str| changed.contains(&path);
    let mut commands = Vec::new();
    if has(SYSCTL) {
        commands.push(systemctl(&["restart", "systemd-sysctl"]));
    }
    if [NGINX_RESTART, keepalived::RESTART, dns::UNIT_FILE].into_iter().any(has) {
        commands.push(systemctl(&["daemon-reload"]));
    }
    // One template serves every role, and a gateway runs no pods.
    commands.push(systemctl(&["disable", "--now", "kubelet", "containerd"]));
    commands.push(systemctl(&["enable", "--now", "nginx"]));
    if has(nginx::CONFIG) {
        commands.push(systemctl(&["reload-or-restart", "nginx"]));
    }
    commands.push(systemctl(&["enable", "--now", dns::UNIT]));
    // It reads its configuration at its start only.
    if has(dns::CONFIG) || has(dns::UNIT_FILE) {
        commands.push(systemctl(&["restart", dns::UNIT]));
    }
    commands.push(systemctl(&["enable", "--now", "keepalived"]));
    if has(keepalived::CONFIG) || has(CHECK_PATH) {
        commands.push(systemctl(&["reload-or-restart", "keepalived"]));
    }
    commands
}

/// Returns the command that tests a configuration before it replaces the one that works.
pub fn test(file: &GuestFile) -> Option<Command> {
    let staged = file.staged();
    let argv: &[&str] = match file.path.as_str() {
        nginx::CONFIG => &["nginx", "-t", "-q", "-c", &staged],
        keepalived::CONFIG => &["keepalived", "-t", "-f", &staged],
        dns::CONFIG => return Some(dns::test(&staged)),
        _ => return None,
    };
    Some(Command::new(argv.iter().copied()).as_root())
}

pub(super) fn systemctl(arguments: &[&str]) -> Command {
    Command::new(["systemctl"].iter().chain(arguments).copied()).as_root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    fn lines(commands: &[Command]) -> Vec<String> {
        commands.iter().map(|command| command.argv[3..].join(" ")).collect()
    }

    #[test]
    fn what_keepalived_runs_is_there_before_it() {
        let (lab, identity) = fixture::document();
        let files = files(&lab, &identity, lab.node("gateway1").unwrap());
        let config = String::from_utf8(files.last().unwrap().content.clone()).unwrap();
        for script in config.lines().filter_map(|line| line.trim().strip_prefix("script \"")) {
            let program = script.split([' ', '"']).next().unwrap();
            assert!(files.iter().any(|file| file.path == program && file.mode == 0o755), "{program}");
        }
    }

    #[test]
    fn only_what_changed_is_reloaded() {
        let nothing = [
            "disable --now kubelet containerd",
            "enable --now nginx",
            "enable --now fusionlab-dns",
            "enable --now keepalived",
        ];
        assert_eq!(lines(&activate(&[])), nothing);
        let changed = lines(&activate(&[nginx::CONFIG]));
        assert!(changed.contains(&"reload-or-restart nginx".to_owned()));
        assert!(!changed.contains(&"reload-or-restart keepalived".to_owned()));
    }

    #[test]
    fn configurations_are_tested_where_they_are_staged() {
        let (lab, identity) = fixture::document();
        let files = files(&lab, &identity, lab.node("gateway1").unwrap());
        let tests: Vec<_> = files.iter().filter_map(test).map(|command| command.shell_line()).collect();
        assert_eq!(
            tests,
            [
                "sudo -n dnsmasq --test --conf-file=/etc/fusionlab/dns.conf.fusionlab-new",
                "sudo -n nginx -t -q -c /etc/nginx/nginx.conf.fusionlab-new",
                "sudo -n keepalived -t -f /etc/keepalived/keepalived.conf.fusionlab-new"
            ]
        );
    }
}
