//! The template's bake as the model does it: each numbered step has the effects of the commands that stand in it.

use std::collections::BTreeMap;

use serde_json::json;

use super::boot::HOST_KEY;
use super::kube::images;
use super::shell::Call;
use super::state::Disk;
use super::{Model, pace, tools};

/// The script that the seed's runcmd starts.
pub const RUN: &str = "/opt/fusionlab/bake/run.sh";
const STEPS: &str = "/opt/fusionlab/bake";
const ENVIRONMENT: &str = "/etc/fusionlab/versions.env";
const BAKED: &str = "/opt/fusionlab/baked.json";

/// What the distribution's archive holds (facts/kubernetes-cilium.md §2, facts/vm-images-cloudinit.md §3).
const DISTRIBUTION: &[(&str, &str)] = &[
    ("containerd", "2.2.1"),
    ("nginx", "1.24.0"),
    ("libnginx-mod-stream", "1.24.0"),
    ("keepalived", "2.2.8"),
    ("dnsmasq-base", "2.90"),
    ("chrony", "4.5"),
    ("open-vm-tools", "13.0.10"),
    ("conntrack", "1.4.8"),
    ("openssh-server", "9.6p1"),
    ("socat", "1.8.0"),
    ("ethtool", "6.7"),
    ("ipset", "7.19"),
    ("jq", "1.7.1"),
    ("iptables", "1.8.10"),
];
const KUBERNETES: [&str; 3] = ["kubeadm", "kubelet", "kubectl"];
/// Packages whose service starts when they are installed.
const SERVICES: [&str; 4] = ["containerd", "nginx", "keepalived", "chrony"];
const STREAM_MODULE: &str = "/etc/nginx/modules-enabled/50-mod-stream.conf";

/// Runs the steps in order, says on the console how it ended, and powers off.
pub async fn run(call: &Call<'_>) -> i32 {
    let model = call.model;
    if !call.root {
        return call.fail(1, "bake: root only").await;
    }
    let steps: Vec<String> =
        model.disk(|disk| disk.glob(STEPS, ".sh")).into_iter().filter(|path| is_step(path)).collect();
    let environment = environment(&model.disk(|disk| disk.text(ENVIRONMENT)).unwrap_or_default());
    for path in steps {
        let name = path.rsplit('/').next().unwrap_or_default();
        say(call, &format!("fusionlab-bake: step {name}")).await;
        if let Err(why) = step(model, &path, &environment).await {
            say(call, &why).await;
            say(call, &format!("fusionlab-bake: failed {name}")).await;
            power_off(call);
            return 1;
        }
    }
    let Some(baked) = model.disk(|disk| disk.text(BAKED)) else {
        say(call, &format!("cat: {BAKED}: No such file or directory")).await;
        return 1;
    };
    say(call, &format!("fusionlab-bake: done {}", baked.trim())).await;
    tools::cloud_init::clean(call, &["--logs", "--seed"]).await;
    power_off(call);
    0
}

fn power_off(call: &Call<'_>) {
    let model = call.model.arc();
    tokio::spawn(async move {
        crate::sim::seam::Machine::shut_down(&*model).await;
        model.around.powered_off();
    });
}

async fn say(call: &Call<'_>, line: &str) {
    call.model.around.console(line);
    call.say(line).await;
}

fn is_step(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().as_bytes();
    name.len() > 3 && name[0].is_ascii_digit() && name[1].is_ascii_digit() && name[2] == b'-'
}

/// Reads `KEY=value` lines, with or without quotes; a trailing `_VERSION` of a key does not matter.
fn environment(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    let key = |key: &str| key.trim().trim_end_matches("_VERSION").to_owned();
    pairs.map(|(name, value)| (key(name), value.trim().trim_matches(['\'', '"']).to_owned())).collect()
}

async fn step(model: &Model, path: &str, environment: &BTreeMap<String, String>) -> Result<(), String> {
    let (text, mode) =
        model.disk(|disk| (disk.text(path).unwrap_or_default(), disk.file(path).map_or(0, |file| file.mode)));
    if mode & 0o111 == 0 {
        return Err(format!("{path}: Permission denied"));
    }
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let fetches =
        ["curl ", "apt-get install", "images pull", "crictl pull"].iter().any(|word| code.contains(word));
    if fetches {
        if !model.around.internet() {
            return Err("Temporary failure resolving 'archive.ubuntu.com'".into());
        }
        model.pass(pace::BAKE_STEP).await;
    }
    model.change_disk(|disk| Step { code: &code, environment }.apply(disk))?;
    model.saved().map_err(|error| format!("dpkg: error: failed to write: {error}"))
}

/// One step's script and what it was told.
struct Step<'a> {
    code: &'a str,
    environment: &'a BTreeMap<String, String>,
}

impl Step<'_> {
    fn told(&self, name: &str) -> Result<&str, String> {
        self.environment.get(name).map(String::as_str).ok_or_else(|| format!("{name}: parameter not set"))
    }

    fn says(&self, word: &str) -> bool {
        self.code.contains(word)
    }

    fn apply(&self, disk: &mut Disk) -> Result<(), String> {
        if self.says("apt-get install") {
            self.install(disk)?;
        }
        if self.says("get.helm.sh") {
            disk.packages.insert("helm".into(), format!("v{}", self.told("HELM")?));
        }
        if self.says("helm.cilium.io") {
            let version = self.told("CILIUM")?;
            disk.put(&format!("/opt/fusionlab/charts/cilium-{version}.tgz"), 0o644, images::chart(version));
        }
        if self.says("standard-install.yaml") && self.says("curl") {
            let text = images::gateway_api(self.told("GATEWAY_API")?);
            disk.put("/opt/fusionlab/gateway-api/standard-install.yaml", 0o644, text);
        }
        if self.says("containerd config default") {
            self.configure_containerd(disk)?;
        }
        self.pull(disk)?;
        self.enable(disk);
        if self.says("baked.json") {
            self.record(disk)?;
        }
        if self.says("/etc/machine-id") {
            reset(disk);
        }
        Ok(())
    }

    fn install(&self, disk: &mut Disk) -> Result<(), String> {
        let named: Vec<&str> =
            self.code.split(|char: char| char.is_whitespace() || "\"'\\".contains(char)).collect();
        for (package, version) in DISTRIBUTION.iter().filter(|(package, _)| named.contains(package)) {
            disk.packages.insert((*package).to_owned(), (*version).to_owned());
            if SERVICES.contains(package) {
                disk.enabled.insert((*package).to_owned());
            }
        }
        for package in KUBERNETES
            .iter()
            .filter(|package| named.iter().any(|word| word.starts_with(&format!("{package}="))))
        {
            disk.packages.insert((*package).to_owned(), format!("v{}", self.told("KUBERNETES")?));
        }
        if named.contains(&"cri-tools") {
            disk.packages.insert("cri-tools".into(), self.told("KUBERNETES")?.to_owned());
        }
        if disk.packages.contains_key("libnginx-mod-stream") {
            disk.put(STREAM_MODULE, 0o644, "load_module modules/ngx_stream_module.so;\n");
        }
        if disk.packages.contains_key("nginx") && disk.file("/etc/nginx/nginx.conf").is_none() {
            disk.put(
                "/etc/nginx/nginx.conf",
                0o644,
                "include /etc/nginx/modules-enabled/*.conf;\nevents {}\n",
            );
        }
        Ok(())
    }

    fn configure_containerd(&self, disk: &mut Disk) -> Result<(), String> {
        let installed = disk.packages.get("containerd").ok_or("containerd: command not found")?;
        let wanted = self.told("CONTAINERD")?;
        if numbers(installed) < numbers(wanted) {
            return Err(format!("containerd {installed} is older than {wanted}"));
        }
        let pause = self.told("PAUSE")?;
        let text = tools::system::containerd_defaults(&format!("registry.k8s.io/pause:{pause}"), true);
        disk.put("/etc/containerd/config.toml", 0o644, text);
        Ok(())
    }

    fn pull(&self, disk: &mut Disk) -> Result<(), String> {
        if self.says("kubeadm config images pull") {
            disk.packages.get("kubeadm").ok_or("kubeadm: command not found")?;
            disk.images.extend(images::kubernetes(self.told("KUBERNETES")?));
        }
        if self.says("pause:$PAUSE\"") || self.says("pause:${PAUSE}") {
            disk.images.insert(format!("registry.k8s.io/pause:{}", self.told("PAUSE")?));
        }
        if self.says("$APPLICATION_IMAGE") {
            disk.images.insert(self.told("APPLICATION_IMAGE")?.to_owned());
        }
        if self.says("helm template cilium") {
            disk.packages.get("helm").ok_or("helm: command not found")?;
            disk.images.extend(images::cilium(self.told("CILIUM")?));
        }
        Ok(())
    }

    fn enable(&self, disk: &mut Disk) {
        for line in self.code.lines().map(str::trim) {
            let Some(rest) = line.strip_prefix("systemctl ") else { continue };
            let mut words = rest.split_whitespace().filter(|word| !word.starts_with('-'));
            let verb = words.next().unwrap_or_default();
            for unit in words.map(super::units::canonical) {
                match verb {
                    "enable" => drop(disk.enabled.insert(unit.to_owned())),
                    "disable" | "mask" => drop(disk.enabled.remove(unit)),
                    _ => {}
                }
            }
        }
    }

    fn record(&self, disk: &mut Disk) -> Result<(), String> {
        let version = |program: &str| {
            disk.packages.get(program).cloned().ok_or_else(|| format!("{program}: command not found"))
        };
        let chart = disk.glob("/opt/fusionlab/charts", ".tgz");
        let chart = chart.first().and_then(|path| path.trim_end_matches(".tgz").rsplit_once("/cilium-"));
        let baked = json!({
            "version": 2,
            "programs": {
                "kubeadm": version("kubeadm")?,
                "kubelet": version("kubelet")?,
                "containerd": version("containerd")?,
                "cilium": chart.map(|(_, version)| version).ok_or("helm: no chart")?,
                "gateway_api": self.told("GATEWAY_API")?,
                "helm": version("helm")?,
                "nginx": version("nginx")?,
                "keepalived": version("keepalived")?,
            },
            "packages": disk.packages,
        });
        disk.put(BAKED, 0o644, format!("{baked}\n"));
        Ok(())
    }
}

/// Takes away what made this machine one (facts/vm-images-cloudinit.md §4.6).
fn reset(disk: &mut Disk) {
    disk.put("/etc/machine-id", 0o444, "");
    disk.remove(HOST_KEY);
    disk.remove("/etc/hostname");
    disk.remove("/var/lib/kubelet");
    disk.remove("/etc/kubernetes");
    disk.netplan = None;
}

fn numbers(version: &str) -> Vec<u32> {
    version.trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(disk: &mut Disk, code: &str) -> Result<(), String> {
        let environment =
            environment("# told\nKUBERNETES=1.36.4\nCONTAINERD_VERSION='2.2.0'\nPAUSE=3.10.2\n");
        Step { code, environment: &environment }.apply(disk)
    }

    #[test]
    fn only_what_a_step_names_is_installed() {
        let mut disk = Disk::read(None).unwrap();
        apply(
            &mut disk,
            "apt-get install -q -y nginx libnginx-mod-stream \\\n    \"kubeadm=$KUBERNETES-*\"\n",
        )
        .unwrap();
        assert_eq!(disk.packages["kubeadm"], "v1.36.4");
        assert!(disk.packages.contains_key("nginx") && !disk.packages.contains_key("keepalived"));
        assert!(apply(&mut disk, "kubectl >/opt/fusionlab/baked.json").unwrap_err().contains("kubelet"));
    }

    #[test]
    fn a_step_that_was_not_told_its_version_fails() {
        let mut disk = Disk::read(None).unwrap();
        assert_eq!(apply(&mut disk, "curl https://get.helm.sh/x").unwrap_err(), "HELM: parameter not set");
    }
}
