//! Kinds of objects: the built-in ones, and those that definitions add.

use serde_json::Value;

use super::data::Data;

/// One kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub plural: String,
    pub kind: String,
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    pub namespaced: bool,
}

const CORE: &str = "";
const RBAC: &str = "rbac.authorization.k8s.io";
pub const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// plural, kind, short name, group, version, namespaced.
const BUILT_IN: &[(&str, &str, &str, &str, &str, bool)] = &[
    ("nodes", "Node", "no", CORE, "v1", false),
    ("pods", "Pod", "po", CORE, "v1", true),
    ("services", "Service", "svc", CORE, "v1", true),
    ("configmaps", "ConfigMap", "cm", CORE, "v1", true),
    ("secrets", "Secret", "", CORE, "v1", true),
    ("namespaces", "Namespace", "ns", CORE, "v1", false),
    ("serviceaccounts", "ServiceAccount", "sa", CORE, "v1", true),
    ("events", "Event", "ev", CORE, "v1", true),
    ("endpointslices", "EndpointSlice", "", "discovery.k8s.io", "v1", true),
    ("deployments", "Deployment", "deploy", "apps", "v1", true),
    ("daemonsets", "DaemonSet", "ds", "apps", "v1", true),
    ("customresourcedefinitions", "CustomResourceDefinition", "crd", "apiextensions.k8s.io", "v1", false),
    ("clusterroles", "ClusterRole", "", RBAC, "v1", false),
    ("clusterrolebindings", "ClusterRoleBinding", "", RBAC, "v1", false),
    ("roles", "Role", "", RBAC, "v1", true),
    ("rolebindings", "RoleBinding", "", RBAC, "v1", true),
    ("networkpolicies", "NetworkPolicy", "netpol", "networking.k8s.io", "v1", true),
    (
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        "",
        "admissionregistration.k8s.io",
        "v1",
        false,
    ),
    (
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        "",
        "admissionregistration.k8s.io",
        "v1",
        false,
    ),
];

impl Resource {
    /// Returns the key's first part in etcd: `pods`, `gateways.gateway.networking.k8s.io`.
    pub fn id(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Returns the name as kubectl prints it: `deployment.apps/echo`.
    pub fn display(&self, name: &str) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() { format!("{kind}/{name}") } else { format!("{kind}.{}/{name}", self.group) }
    }
}

fn built_in(entry: &(&str, &str, &str, &str, &str, bool)) -> Resource {
    let &(plural, kind, _, group, version, namespaced) = entry;
    Resource {
        plural: plural.into(),
        kind: kind.into(),
        group: group.into(),
        version: version.into(),
        namespaced,
    }
}

/// Reads a definition as the kinds it adds, one for each served version.
fn defined(definition: &Value) -> Vec<Resource> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let served =
        spec["versions"].as_array().into_iter().flatten().filter(|version| version["served"] != false);
    served
        .map(|version| Resource {
            plural: text(&spec["names"]["plural"]),
            kind: text(&spec["names"]["kind"]),
            group: text(&spec["group"]),
            version: text(&version["name"]),
            namespaced: spec["scope"] == "Namespaced",
        })
        .collect()
}

/// Goes through every kind the API server serves.
pub fn all(data: &Data) -> impl Iterator<Item = Resource> {
    let definitions = data.list(DEFINITIONS, None).into_iter().flat_map(defined);
    BUILT_IN.iter().map(built_in).chain(definitions)
}

/// Finds a kind by a word that kubectl takes: plural, singular, short name, or `plural.group`.
pub fn by_word(data: &Data, word: &str) -> Option<Resource> {
    let word = word.to_lowercase();
    let short = BUILT_IN.iter().find(|entry| !entry.2.is_empty() && entry.2 == word).map(built_in);
    short.or_else(|| {
        let names =
            |one: &Resource| one.plural == word || one.kind.to_lowercase() == word || one.id() == word;
        all(data).find(names)
    })
}

/// Finds the kind of a manifest.
pub fn by_manifest(data: &Data, api_version: &str, kind: &str) -> Option<Resource> {
    all(data).find(|one| one.kind == kind && one.api_version() == api_version)
}
