//! What a stand-in answers by itself: its version, and that it is simulated.

use std::path::Path;

use super::Called;
use super::look;

/// What stands wherever a version's form leaves room for a word of ours.
const SIMULATED: &str = "simulated-by-fusionlab";

/// Returns what a command prints that needs no world; none for every other.
pub fn answer(root: &Path, called: &Called) -> Option<String> {
    let words: Vec<&str> = called.args.iter().map(String::as_str).collect();
    let version =
        || called.version.clone().or_else(|| look::version(root, &called.program)).unwrap_or_default();
    let line = match (called.program.as_str(), &words[..]) {
        ("kubeadm", ["version", "-o" | "--output", "short"] | ["version", "-o=short" | "--output=short"]) => {
            version()
        }
        ("kubeadm", ["version"]) => {
            format!(
                "kubeadm version: &version.Info{{GitVersion:\"{}\", GitTreeState:\"{SIMULATED}\"}}",
                version()
            )
        }
        ("kubectl", ["version", "--client"]) => {
            format!("Client Version: {}\nKustomize Version: none ({SIMULATED})", version())
        }
        ("kubelet", ["--version"]) => format!("Kubernetes {}", version()),
        ("containerd", ["--version" | "-v"]) => {
            format!("containerd github.com/containerd/containerd/v2 {} {SIMULATED}", version())
        }
        ("containerd-shim-runc-v2", ["-v" | "--version"]) => {
            let version = look::version(root, "containerd").unwrap_or_default();
            format!("containerd-shim-runc-v2:\n  Version:  {version}\n  Revision: {SIMULATED}")
        }
        ("crictl", ["--version" | "-v"]) => format!("crictl version {} {SIMULATED}", version()),
        ("helm", ["version", "--template", template] | ["version", "--template", template, ..]) => {
            // Helm prints a template's text as it is, without a newline of its own.
            return Some(template.replace("{{.Version}}", &version()));
        }
        ("helm", ["version", "--short"]) => format!("{}+g{SIMULATED}", version()),
        ("helm", ["version"]) => {
            format!(
                "version.BuildInfo{{Version:\"{}\", GitCommit:\"\", GitTreeState:\"{SIMULATED}\"}}",
                version()
            )
        }
        _ => return None,
    };
    Some(format!("{line}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_dpkg_and_say_that_they_are_simulated() {
        let folder = tempfile::tempdir().unwrap();
        let status = "Package: kubeadm\nStatus: install ok installed\nVersion: 1.36.4-1.1\n\n\
                      Package: containerd\nStatus: install ok installed\nVersion: 2.2.1-1~bpo13+1\n\n";
        look::tests::put(folder.path(), "/var/lib/dpkg/status", status);
        let said = |program: &str, version: Option<&str>, line: &str| {
            let args = line.split(' ').map(str::to_owned).collect();
            let called = Called { program: program.into(), version: version.map(str::to_owned), args };
            answer(folder.path(), &called)
        };
        assert_eq!(said("kubeadm", None, "version -o short").as_deref(), Some("v1.36.4\n"));
        let containerd = said("containerd", None, "--version").unwrap();
        assert_eq!(containerd.split_whitespace().nth(2), Some("2.2.1"));
        assert!(containerd.contains("simulated"));
        let helm = said("helm", Some("v3.18.6"), "version --template {{.Version}}");
        assert_eq!(helm.as_deref(), Some("v3.18.6"));
        assert_eq!(said("kubeadm", None, "init"), None);
    }
}
