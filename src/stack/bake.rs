//! The template's making: its numbered steps, what they are told, and what they report.

use std::collections::BTreeMap;

use crate::formats::command::quote;
use crate::lab::Lab;
use crate::lab::names::{GUEST_ETC, GUEST_FACTS, GUEST_OPT};
use crate::stack::file::GuestFile;
use crate::stack::{cilium, ingress, node};

macro_rules! steps {
    ($($name:literal),+ $(,)?) => {
        /// The steps in order: file name, text.
        pub const STEPS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../cloud-init/bake/", $name)))),+];
    };
}

steps![
    "00-quiet.sh",
    "10-packages.sh",
    "20-system.sh",
    "30-containerd.sh",
    "40-kubernetes.sh",
    "50-helm.sh",
    "60-charts.sh",
    "70-images.sh",
    "80-services.sh",
    "90-versions.sh",
    "95-reset.sh",
];

/// What cloud-init starts: the program that runs the steps, as a service of its own that begins when cloud-init has ended
/// and whose output stands on the console, too.
pub const START: [&str; 8] = [
    "systemd-run",
    "--no-block",
    "--unit=fusionlab-bake",
    "--property=Type=oneshot",
    "--property=After=cloud-final.service",
    "--property=StandardOutput=journal+console",
    "--property=StandardError=journal+console",
    "/opt/fusionlab/bake/run.sh",
];
/// Form of [`Baked`] that this version understands.
const BAKED_VERSION: u32 = 2;
/// What every word of `run.sh` begins with, on the console and in [`VARIABLE`].
const MARK: &str = "fusionlab-bake: ";
/// The guest variable with the bake's last word, for where Fusion writes no serial console.
pub const VARIABLE: &str = "fusionlab.bake";

/// How far the bake is, by its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has not said a word.
    Silent,
    /// The name of the step that runs.
    Running(String),
    Done(Baked),
    /// The name of the step that failed.
    Failed(String),
}

/// What was baked, as the bake itself reads it off what is installed (`/opt/fusionlab/baked.json`).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Baked {
    /// Version of this form: 2.
    pub version: u32,
    /// Program → version by its own word, such as `kubeadm` → `v1.36.4`.
    pub programs: BTreeMap<String, String>,
    /// Debian package → version, of those that the bake asks for by name.
    pub packages: BTreeMap<String, String>,
}

impl Baked {
    /// Returns what differs from the lab's pinned versions, one sentence fragment each.
    pub fn differences(&self, lab: &Lab) -> Vec<String> {
        let versions = &lab.versions;
        let mut differences = Vec::new();
        if self.version != BAKED_VERSION {
            differences.push(format!("baked.json has version {}, not {BAKED_VERSION}", self.version));
        }
        for (program, wanted) in [
            ("kubeadm", &versions.kubernetes),
            ("kubelet", &versions.kubernetes),
            ("cilium", &versions.cilium),
            ("gateway_api", &versions.gateway_api),
            ("helm", &versions.helm),
        ] {
            let found = self.programs.get(program).map_or("", |found| plain(found));
            if found != wanted {
                differences.push(format!("{program} is {}, not {wanted}", named(found)));
            }
        }
        let containerd = self.programs.get("containerd").map_or("", |found| plain(found));
        if numbers(containerd) < numbers(&versions.containerd) {
            differences.push(format!(
                "containerd is {}, older than {}",
                named(containerd),
                versions.containerd
            ));
        }
        differences
    }
}

/// Returns everything that the template's seed writes: the steps, what they need, and files that every
/// clone would get anyway.
pub fn files(lab: &Lab) -> Vec<GuestFile> {
    let script = |name: &str, text: &str| GuestFile::new(format!("{GUEST_OPT}/bake/{name}"), 0o755, text);
    let mut files: Vec<_> = STEPS.iter().map(|(name, text)| script(name, text)).collect();
    files.push(script("run.sh", include_str!("../../cloud-init/bake/run.sh")));
    files.push(GuestFile::new(format!("{GUEST_ETC}/versions.env"), 0o644, versions_env(lab)));
    // The chart's values decide which images it needs.
    files.push(GuestFile::new(
        format!("{GUEST_OPT}/bake/cilium-values.yaml"),
        0o644,
        format!("{:#}\n", cilium::image_values()),
    ));
    files.push(GuestFile::new(GUEST_FACTS, 0o755, include_str!("../../cloud-init/guest/fusionlab-facts.sh")));
    files.push(datasource());
    files.extend(node::system_files());
    files
}

/// cloud-init looks nowhere but on the seed, and does not look around for it.
pub(super) fn datasource() -> GuestFile {
    let text = "# Written by fusionlab.\ndatasource_list: [ NoCloud, None ]\n";
    GuestFile::new("/etc/cloud/cloud.cfg.d/99-fusionlab.cfg", 0o644, text)
}

/// Says whether no step comes after this one.
pub fn is_last(step: &str) -> bool {
    STEPS.last().is_some_and(|(last, _)| *last == step)
}

/// Reads the bake's last word off the serial console, or off [`VARIABLE`].
pub fn outcome(text: &str) -> Outcome {
    let words = text.lines().rev().filter_map(|line| line.split_once(MARK)).map(|(_, words)| words.trim());
    for words in words {
        match words.split_once(' ') {
            Some(("failed", step)) => return Outcome::Failed(step.to_owned()),
            Some(("step", step)) => return Outcome::Running(step.to_owned()),
            // A line that the power-off cut short is not the whole word.
            Some(("done", json)) => {
                if let Ok(baked) = serde_json::from_str(json) {
                    return Outcome::Done(baked);
                }
            }
            _ => {}
        }
    }
    Outcome::Silent
}

fn versions_env(lab: &Lab) -> String {
    let versions = &lab.versions;
    let minor: Vec<_> = versions.kubernetes.splitn(3, '.').take(2).collect();
    let minor = minor.join(".");
    let variables: [(&str, &str); 8] = [
        ("KUBERNETES", &versions.kubernetes),
        ("KUBERNETES_MINOR", &minor),
        ("CILIUM", &versions.cilium),
        ("GATEWAY_API", &versions.gateway_api),
        ("HELM", &versions.helm),
        ("CONTAINERD", &versions.containerd),
        ("PAUSE", &versions.pause),
        ("APPLICATION_IMAGE", ingress::APPLICATION_IMAGE),
    ];
    let lines = variables.map(|(name, value)| format!("{name}={}\n", quote(value)));
    format!("# Written by fusionlab: what the bake installs.\n{}", lines.concat())
}

fn plain(version: &str) -> &str {
    version.strip_prefix('v').unwrap_or(version)
}

fn named(version: &str) -> &str {
    if version.is_empty() { "absent" } else { version }
}

/// Reads `2.2.1-0ubuntu1` as 2, 2, 1, for comparing.
fn numbers(version: &str) -> Vec<u32> {
    let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
    version.split('.').take(3).map(|part| digits(part).parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::fixture;

    const LINE: &str = r#"fusionlab-bake: done {"version":2,"programs":{"kubeadm":"v1.36.4","kubelet":"v1.36.4","containerd":"2.2.1","cilium":"1.20.3","gateway_api":"1.6.1","helm":"v3.18.6"},"packages":{"nginx":"1.24.0-2ubuntu7.3"}}"#;

    #[test]
    fn the_last_marker_on_the_console_counts() {
        assert_eq!(outcome("[    0.0] Linux version\n"), Outcome::Silent);
        let cut = "fusionlab-bake: step 95-reset.sh\r\nfusionlab-bake: done {\"version\":2,";
        assert_eq!(outcome(cut), Outcome::Running("95-reset.sh".into()));
        let failed = "[  9.1] fusionlab-bake: failed 40-kubernetes.sh\r\n[  9.2] reboot: Power down";
        assert_eq!(outcome(failed), Outcome::Failed("40-kubernetes.sh".into()));
        let Outcome::Done(baked) = outcome(&format!("noise\r\n[ 9.9] {LINE}\r\npower down\r\n")) else {
            panic!("a whole bake was not seen");
        };
        assert!(baked.differences(&fixture::lab()).is_empty());
    }

    #[test]
    fn what_was_not_baked_as_pinned_is_said() {
        let mut lab = fixture::lab();
        let Outcome::Done(baked) = outcome(LINE) else { panic!("a whole bake was not seen") };
        lab.versions.cilium = "1.20.4".into();
        lab.versions.containerd = "2.10.0".into();
        assert_eq!(
            baked.differences(&lab),
            ["cilium is 1.20.3, not 1.20.4", "containerd is 2.2.1, older than 2.10.0"]
        );
    }

    #[test]
    fn every_step_is_listed_stops_at_its_first_failure_and_is_in_order() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cloud-init/bake");
        let mut found: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "run.sh")
            .collect();
        found.sort();
        let listed: Vec<_> = STEPS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(listed, found);
        for (name, text) in STEPS {
            assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -eu\n"), "{name}");
        }
    }

    #[test]
    fn the_steps_are_told_the_minor_whose_packages_they_need() {
        assert!(versions_env(&fixture::lab()).contains("\nKUBERNETES_MINOR=1.36\n"));
    }
}
