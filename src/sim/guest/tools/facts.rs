//! fusionlab-facts: the model's own reading of the script that the seed installs.

use sha2::{Digest, Sha256};

use crate::sim::guest::boot::product_uuid;
use crate::sim::guest::kube::aging;
use crate::sim::guest::network::addresses;
use crate::sim::guest::shell::Call;
use crate::sim::guest::units;

/// Where the seed installs the script; without it there is no such command.
pub const PATH: &str = "/usr/local/sbin/fusionlab-facts";

const UNITS: [&str; 7] = ["containerd", "kubelet", "nginx", "keepalived", "fusionlab-dns", "chrony", "ssh"];
/// Where the host says that it renews certificates, and what the facts call that.
const MARKS: [(&str, &str); 2] = [
    ("/etc/kubernetes/fusionlab/renewing", "renewing"),
    ("/etc/kubernetes/fusionlab/renewing-kubelet", "renewing-kubelet"),
];
const CONFIGS: [&str; 3] = ["kubelet.conf", "bootstrap-kubelet.conf", "admin.conf"];

pub async fn run(call: &Call<'_>) -> i32 {
    let model = call.model;
    if !call.root {
        return call
            .fail(1, "head: cannot open '/sys/class/dmi/id/product_uuid' for reading: Permission denied")
            .await;
    }
    let mut lines = Vec::new();
    let mut put = |key: &str, value: &str| lines.push(format!("{key}={value}\n"));
    model.live(|live| {
        put("hostname", &live.hostname);
        put("boot_id", &live.boot_id);
    });
    put("machine_id", model.disk(|disk| disk.text("/etc/machine-id")).unwrap_or_default().trim());
    put("product_uuid", &product_uuid(model));
    put("cloud_init", model.live(|live| live.cloud_init.status));
    let ahead = model.live(|live| live.clock_ahead_ms);
    put("clock_ms", &model.around.clock_ms().saturating_add_signed(ahead).to_string());
    for held in addresses(model) {
        put("address", &format!("{} {}", held.interface, held.address));
    }
    for unit in UNITS {
        put("unit", &format!("{unit} {}", model.live(|live| live.unit(unit).word())));
        let enabled = match model.disk(|disk| disk.enabled.contains(unit)) {
            _ if !units::exists(model, unit) => "not-found",
            true => "enabled",
            false => "disabled",
        };
        put("enabled", &format!("{unit} {enabled}"));
    }
    model.disk(|disk| {
        for path in &call.args {
            if let Some(file) = disk.file(path) {
                put("file", &format!("{} {path}", hex::encode(Sha256::digest(file.content.as_slice()))));
            }
        }
        for program in ["kubeadm", "kubelet", "containerd", "nginx", "keepalived"] {
            if let Some(version) = disk.packages.get(program) {
                put("version", &format!("{program} {version}"));
            }
        }
        for chart in disk.glob("/opt/fusionlab/charts", ".tgz") {
            if let Some((_, version)) = chart.trim_end_matches(".tgz").rsplit_once("/cilium-") {
                put("version", &format!("cilium-chart {version}"));
            }
        }
        for name in CONFIGS.iter().filter(|name| disk.file(&format!("/etc/kubernetes/{name}")).is_some()) {
            put("kubernetes", name);
        }
        if disk.etcd.is_some() {
            put("kubernetes", "etcd-member");
        }
        for path in disk.glob("/etc/kubernetes/manifests", ".yaml") {
            let name = path.trim_start_matches("/etc/kubernetes/manifests/").trim_end_matches(".yaml");
            put("kubernetes", &format!("manifest-{name}"));
        }
        for (_, name) in MARKS.iter().filter(|(mark, _)| disk.file(mark).is_some()) {
            put("kubernetes", name);
        }
        for (path, begins, ends) in aging::validities(disk) {
            put("certificate", &format!("{begins} {ends} {path}"));
        }
        for name in aging::api_names(disk) {
            put("api_name", &name);
        }
    });
    call.print(lines.concat()).await;
    0
}
