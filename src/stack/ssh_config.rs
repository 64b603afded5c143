//! The lab's files for the user's own ssh: who its guests are, by which key one logs in, and which keys they must show.
//!
//! The form is ssh_config(5)'s. Nothing stands under `Host *`, so that a user may include the file in their own.

use std::path::Path;

use crate::formats::openssh;
use crate::lab::{Lab, names};

use super::identity::Identity;

/// Where ssh finds what the configuration names.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The private key.
    pub key: &'a Path,
    pub known_hosts: &'a Path,
}

/// Returns the configuration. `proxy` is a shell's line that carries the connection to ssh's `%h`, where there is no
/// straight way.
pub fn config(lab: &Lab, places: Places<'_>, proxy: Option<&str>) -> String {
    let mut text = format!(
        "# The machines of the lab \"{}\". fusionlab writes this file anew and `fusionlab destroy` removes it.\n\n",
        lab.name
    );
    for node in &lab.nodes {
        text += &format!("Host {}\n    HostName {}\n", node.name, node.address());
    }
    let all: Vec<&str> = lab.nodes.iter().map(|node| node.name.as_str()).collect();
    text += &format!("\nHost {}\n    User {}\n", all.join(" "), names::GUEST_USER);
    text += &format!("    IdentityFile {}\n    IdentitiesOnly yes\n", path(places.key));
    text += &format!("    UserKnownHostsFile {}\n", path(places.known_hosts));
    text += "    GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    HostKeyAlgorithms ssh-ed25519\n";
    if let Some(proxy) = proxy {
        text += &format!("    ProxyCommand {proxy}\n");
    }
    text
}

/// Returns the guests' own keys, by name and by address.
pub fn known_hosts(lab: &Lab, identity: &Identity) -> String {
    let line = |node: &crate::lab::Node| {
        let key = identity.host(&node.name)?;
        let names = format!("{},{}", node.name, node.address());
        Some(openssh::known_hosts_line(&names, &key.public_line) + "\n")
    };
    lab.nodes.iter().filter_map(line).collect()
}

/// Returns text that stands in ssh_config as it is: ssh reads `%` as the beginning of something else.
pub fn plain(text: &str) -> String {
    text.replace('%', "%%")
}

fn path(path: &Path) -> String {
    format!("\"{}\"", plain(&path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn each_machine_has_its_address_and_its_key_and_nothing_is_said_of_others() {
        let (lab, identity) = fixture::document();
        let places = Places { key: Path::new("/a b/100%/key"), known_hosts: Path::new("/known") };
        let text = config(&lab, places, None);
        assert!(text.contains("Host k8s-master1\n    HostName 10.10.0.131\n"), "{text}");
        assert!(text.contains("IdentityFile \"/a b/100%%/key\"") && !text.contains("ProxyCommand"), "{text}");
        assert!(!text.contains("Host *"), "a file that is included must not rule other hosts");
        assert!(config(&lab, places, Some("way %h")).ends_with("ProxyCommand way %h\n"));
        let known = known_hosts(&lab, &identity);
        assert_eq!(known.lines().count(), lab.nodes.len());
        assert!(known.lines().all(|line| line.split(' ').nth(1) == Some("ssh-ed25519")), "{known}");
    }
}
