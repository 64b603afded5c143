//! The stand-ins' Debian packages: which files, links, units and scripts each holds.

use super::PROGRAM;

/// One Debian package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub name: &'static str,
    /// Debian's version, such as `1.36.4-1.1`.
    pub version: String,
    /// The control file's `Depends`, as a list.
    pub depends: Vec<&'static str>,
    /// The control file's first line of `Description`; it says that the program is simulated.
    pub description: String,
    /// Absolute path and what stands there. All belong to root.
    pub files: Vec<(String, Entry)>,
    /// Scripts of the package itself: `postinst`, `prerm`, `postrm`; mode 0755.
    pub scripts: Vec<(&'static str, String)>,
}

/// What stands at one path of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    File {
        mode: u32,
        content: String,
    },
    /// A symbolic link to an absolute path.
    Link(String),
}

/// Which versions the packages stand in for, without a `v`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    pub kubernetes: String,
    pub containerd: String,
}

/// Docker's name for its package of containerd.
pub const CONTAINERD_IO: &str = "containerd.io";

/// Returns every package: those of pkgs.k8s.io, then containerd.
pub fn all(versions: &Versions) -> Vec<Package> {
    let mut all = kubernetes(&versions.kubernetes);
    all.push(containerd(&versions.containerd));
    all
}

/// Returns the packages that pkgs.k8s.io has of one version: kubeadm, kubelet, kubectl, cri-tools, kubernetes-cni.
pub fn kubernetes(version: &str) -> Vec<Package> {
    let minor = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
    let package = |name, version: String, depends: &[&'static str], programs: &[&str]| Package {
        name,
        description: format!("Kubernetes' {name} {version}, simulated by fusionlab"),
        version: format!("{version}{K8S_REVISION}"),
        depends: depends.to_vec(),
        files: programs.iter().map(|program| link(program)).collect(),
        scripts: Vec::new(),
    };
    let own = || version.to_owned();
    let mut kubelet = package(
        "kubelet",
        own(),
        &["iptables", "kubernetes-cni", "iproute2", "mount", "util-linux"],
        &["kubelet"],
    );
    kubelet.files.extend([
        file("/usr/lib/systemd/system/kubelet.service", KUBELET_SERVICE),
        file("/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", KUBELET_DROP_IN),
    ]);
    kubelet.scripts = unit_scripts("kubelet");
    let mut cni = package("kubernetes-cni", CNI_VERSION.to_owned(), &[], &[]);
    cni.files
        .push(file("/opt/cni/bin/README", "The plugins are simulated by fusionlab: nothing calls them.\n"));
    vec![
        package("kubeadm", own(), &["kubelet", "kubectl", "kubernetes-cni", "cri-tools"], &["kubeadm"]),
        kubelet,
        package("kubectl", own(), &[], &["kubectl"]),
        package("cri-tools", format!("{minor}.0"), &[], &["crictl"]),
        cni,
    ]
}

/// Returns Docker's containerd of one version, which is a package of another name.
pub fn containerd_io(version: &str) -> Package {
    Package { name: CONTAINERD_IO, ..containerd(version) }
}

/// Returns Debian's containerd of one version.
pub fn containerd(version: &str) -> Package {
    let mut files: Vec<_> =
        ["containerd", "containerd-shim-runc-v2"].iter().map(|program| link(program)).collect();
    files.push(file("/usr/lib/systemd/system/containerd.service", CONTAINERD_SERVICE));
    Package {
        name: "containerd",
        version: format!("{version}-1"),
        depends: Vec::new(),
        description: format!("containerd {version}, simulated by fusionlab"),
        files,
        scripts: unit_scripts("containerd"),
    }
}

/// Returns helm's program, as it lies in get.helm.sh's archives: a file of its own, mode 0755, that knows its version.
pub fn helm(version: &str) -> String {
    format!("#!{PROGRAM} @helm v{version}\n")
}

/// Returns links that belong to no package: the image itself has them. It stands before open-vm-tools' own.
pub fn image_links() -> Vec<(String, Entry)> {
    vec![("/usr/local/bin/vmware-rpctool".to_owned(), Entry::Link(PROGRAM.to_owned()))]
}

fn link(program: &str) -> (String, Entry) {
    (format!("/usr/bin/{program}"), Entry::Link(PROGRAM.to_owned()))
}

fn file(path: &str, content: &str) -> (String, Entry) {
    (path.to_owned(), Entry::File { mode: 0o644, content: content.to_owned() })
}

/// Returns what a package with a unit does about it: enabled and started when it comes, stopped when it goes. In a
/// folder that is no running system, systemd's helpers do nothing but enable.
fn unit_scripts(unit: &str) -> Vec<(&'static str, String)> {
    let postinst = format!(
        "#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n    systemctl enable {unit}.service >/dev/null 2>&1 || true\n    \
         if [ -d /run/systemd/system ]; then\n        systemctl daemon-reload || true\n        \
         systemctl restart {unit}.service || true\n    fi\nfi\n"
    );
    let prerm = format!(
        "#!/bin/sh\nset -e\nif [ -d /run/systemd/system ] && [ \"$1\" = remove ]; then\n    \
         systemctl stop {unit}.service || true\nfi\n"
    );
    let postrm =
        "#!/bin/sh\nset -e\nif [ -d /run/systemd/system ]; then\n    systemctl daemon-reload || true\nfi\n";
    vec![("postinst", postinst), ("prerm", prerm), ("postrm", postrm.to_owned())]
}

/// What pkgs.k8s.io appends to an upstream version.
const K8S_REVISION: &str = "-1.1";
const CNI_VERSION: &str = "1.8.0";

/// The kubelet's unit: it starts again whatever it ended with, ten seconds later.
const KUBELET_SERVICE: &str = "\
[Unit]
Description=kubelet: The Kubernetes Node Agent (simulated by fusionlab)
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
";

/// What kubeadm adds: where its kubeconfig files, configuration and flags stand.
const KUBELET_DROP_IN: &str = "\
[Service]
Environment=\"KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf\"
Environment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
";

/// containerd's unit: its end does not end the pods.
const CONTAINERD_SERVICE: &str = "\
[Unit]
Description=containerd container runtime (simulated by fusionlab)
Documentation=https://containerd.io
After=network.target local-fs.target dbus.service

[Service]
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/bin/containerd
Type=notify
Delegate=yes
KillMode=process
Restart=always
RestartSec=5
LimitNOFILE=1048576

[Install]
WantedBy=multi-user.target
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_but_helm_is_in_one_package() {
        let all = all(&Versions { kubernetes: "1.36.4".into(), containerd: "2.2.1".into() });
        let links: Vec<_> = all
            .iter()
            .flat_map(|package| &package.files)
            .filter(|(_, entry)| matches!(entry, Entry::Link(_)))
            .map(|(path, _)| path.rsplit('/').next().unwrap())
            .collect();
        for name in super::super::NAMES.iter().filter(|name| !["helm", "vmware-rpctool"].contains(name)) {
            assert_eq!(links.iter().filter(|link| link == &name).count(), 1, "{name}");
        }
        let versions: Vec<_> = all.iter().map(|package| (package.name, package.version.as_str())).collect();
        assert!(
            versions.contains(&("kubeadm", "1.36.4-1.1")) && versions.contains(&("containerd", "2.2.1-1"))
        );
        assert!(versions.contains(&("cri-tools", "1.36.0-1.1")), "{versions:?}");
    }
}
