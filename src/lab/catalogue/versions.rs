//! Versions of what is installed, and the rules of which go together.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::CATALOGUE;
use crate::lab::problem::Severity;

/// Pinned versions, without a leading `v`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Versions {
    pub kubernetes: String,
    pub cilium: String,
    pub gateway_api: String,
    pub helm: String,
    /// The least containerd that serves this Kubernetes.
    pub containerd: String,
    /// The sandbox image's tag that this Kubernetes wants.
    pub pause: String,
}

impl Versions {
    /// Says whether `kubeadm init` needs the endpoint that it makes itself (facts/kubernetes-cilium.md §1.5).
    pub fn init_needs_the_endpoint(&self) -> bool {
        CATALOGUE.init_through_endpoint.iter().any(|versions| versions.allows(&self.kubernetes))
    }

    /// Returns the version of one component.
    pub fn of(&self, component: Component) -> &str {
        match component {
            Component::Kubernetes => &self.kubernetes,
            Component::Cilium => &self.cilium,
            Component::GatewayApi => &self.gateway_api,
            Component::Helm => &self.helm,
            Component::Containerd => &self.containerd,
        }
    }
}

/// Returns the set of versions that a lab gets if its file says nothing.
pub fn versions() -> Versions {
    let set = &CATALOGUE.versions;
    Versions {
        kubernetes: set.kubernetes.clone(),
        cilium: set.cilium.clone(),
        gateway_api: set.gateway_api.clone(),
        helm: set.helm.clone(),
        containerd: set.containerd.clone(),
        pause: pause(&set.kubernetes).to_owned(),
    }
}

/// Returns the tag of the sandbox image that a Kubernetes wants.
pub fn pause(kubernetes: &str) -> &'static str {
    CATALOGUE
        .pause
        .iter()
        .find(|row| row.kubernetes.allows(kubernetes))
        .map(|row| row.tag.as_str())
        .expect("the catalogue's pause rows cover every version: a test holds that")
}

/// Returns the rules of the catalogue that a set of versions breaks.
pub fn broken_rules(versions: &Versions) -> impl Iterator<Item = &'static VersionRule> {
    CATALOGUE
        .rules
        .iter()
        .filter(move |rule| rule.when.iter().all(|(&component, needs)| needs.allows(versions.of(component))))
}

/// One row of the compatibility table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionRule {
    /// The rule fires when all of these hold.
    pub when: BTreeMap<Component, Requirement>,
    pub severity: Severity,
    pub reason: String,
    pub help: String,
}

/// Something that has a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    Kubernetes,
    Cilium,
    GatewayApi,
    Helm,
    Containerd,
}

impl Component {
    /// Returns its name in prose.
    pub fn title(self) -> &'static str {
        match self {
            Self::Kubernetes => "Kubernetes",
            Self::Cilium => "Cilium",
            Self::GatewayApi => "Gateway API",
            Self::Helm => "Helm",
            Self::Containerd => "containerd",
        }
    }

    /// Returns its key in the lab file.
    pub fn key(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes.version",
            Self::Cilium => "kubernetes.cilium",
            Self::GatewayApi => "kubernetes.gateway_api",
            Self::Helm => "kubernetes.helm",
            Self::Containerd => "kubernetes.containerd",
        }
    }
}

/// A version `major.minor.patch`, with an optional pre-release part that sorts before the release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    numbers: [u32; 3],
    is_release: bool,
    pre_release: String,
}

/// Why a text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a whole version: three numbers, such as 1.36.4")]
pub struct BadVersion(pub String);

impl FromStr for Version {
    type Err = BadVersion;

    /// Reads `1.36.4`, `v1.36.4` and `1.21.0-pre.2`.
    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.to_owned());
        let bare = text.strip_prefix('v').unwrap_or(text);
        let (numbers, pre_release) = bare.split_once('-').unwrap_or((bare, ""));
        let is_release = !bare.contains('-');
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
        if !is_release && (pre_release.is_empty() || !pre_release.bytes().all(is_word)) {
            return Err(bad());
        }
        let mut parts = numbers.split('.');
        let mut number = || {
            let part =
                parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(bad)?;
            part.parse().map_err(|_| bad())
        };
        let numbers = [number()?, number()?, number()?];
        if parts.next().is_some() {
            return Err(bad());
        }
        Ok(Self { numbers, is_release, pre_release: pre_release.to_owned() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if self.is_release { Ok(()) } else { write!(f, "-{}", self.pre_release) }
    }
}

/// Bounds on a version: `>=` and `<`, separated by blanks, all of which must hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Requirement {
    from: Option<Version>,
    below: Option<Version>,
}

impl Requirement {
    /// Says whether a version lies within the bounds; a text that is no version does not.
    pub fn allows(&self, version: &str) -> bool {
        version.parse().is_ok_and(|version: Version| {
            self.from.as_ref().is_none_or(|from| *from <= version)
                && self.below.as_ref().is_none_or(|below| version < *below)
        })
    }
}

impl TryFrom<String> for Requirement {
    type Error = BadVersion;

    fn try_from(text: String) -> Result<Self, BadVersion> {
        let mut requirement = Self { from: None, below: None };
        for bound in text.split_whitespace() {
            if let Some(version) = bound.strip_prefix(">=") {
                requirement.from = Some(version.parse()?);
            } else if let Some(version) = bound.strip_prefix('<') {
                requirement.below = Some(version.parse()?);
            } else {
                return Err(BadVersion(bound.to_owned()));
            }
        }
        Ok(requirement)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionSet {
    kubernetes: String,
    cilium: String,
    gateway_api: String,
    helm: String,
    containerd: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseRow {
    kubernetes: Requirement,
    tag: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_versions_break_no_rule() {
        assert_eq!(broken_rules(&versions()).collect::<Vec<_>>(), Vec::<&VersionRule>::new());
        assert_eq!(versions().pause, "3.10.2");
    }

    #[test]
    fn known_bad_pairs_are_found() {
        let broken = |change: fn(&mut Versions)| {
            let mut set = versions();
            change(&mut set);
            broken_rules(&set).map(|rule| rule.severity).collect::<Vec<_>>()
        };
        assert_eq!(broken(|set| set.gateway_api = "1.6.0".into()), [Severity::Error]);
        assert_eq!(broken(|set| set.containerd = "1.7.28".into()), [Severity::Error]);
        assert_eq!(broken(|set| set.kubernetes = "1.36.0".into()), [Severity::Warning]);
        assert_eq!(broken(|set| set.kubernetes = "1.35.4".into()), [Severity::Warning]);
        assert_eq!(broken(|set| set.kubernetes = "1.35.9".into()), []);
        assert_eq!(broken(|set| set.kubernetes = "1.37.1".into()), [Severity::Warning]);
        assert_eq!(broken(|set| set.cilium = "1.20.0".into()), [Severity::Warning]);
        assert_eq!(broken(|set| set.cilium = "1.20.2".into()), []);
    }

    #[test]
    fn only_versions_with_the_regression_need_the_gateways_for_init() {
        let needs = |kubernetes: &str| {
            Versions { kubernetes: kubernetes.into(), ..versions() }.init_needs_the_endpoint()
        };
        assert_eq!(["1.35.4", "1.36.0"].map(needs), [true; 2]);
        assert_eq!(["1.33.2", "1.35.5", "1.36.1", &versions().kubernetes].map(needs), [false; 4]);
    }

    #[test]
    fn pause_is_known_for_every_kubernetes() {
        for (kubernetes, tag) in
            [("1.37.1", "3.10.2"), ("1.36.0", "3.10.2"), ("1.35.9", "3.10.1"), ("1.33.2", "3.10")]
        {
            assert_eq!(pause(kubernetes), tag);
        }
        for minor in 0..60 {
            assert!(!pause(&format!("1.{minor}.0")).is_empty());
        }
        assert_eq!(pause("1.36.0-rc.1"), "3.10.1", "a pre-release sorts before its release");
    }

    #[test]
    fn versions_sort_by_number_and_pre_releases_come_first() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("1.9.0") < version("1.10.0"));
        assert!(version("1.21.0-pre.2") < version("v1.21.0"));
        assert_eq!(version("v1.21.0-pre.2").to_string(), "1.21.0-pre.2");
        for text in
            ["", "1", "1.36", "1.36.x", "1.36.4.1", "1.36.4-", "1.36.+4", "banana", "vv1.2.3", "1.2.3-a/b"]
        {
            assert_eq!(text.parse::<Version>(), Err(BadVersion(text.to_owned())));
        }
    }
}
