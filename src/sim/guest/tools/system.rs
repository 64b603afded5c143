//! Small programs of the base system that seeds and the bake use.

use crate::sim::guest::shell::{Call, USAGE};
use crate::sim::guest::units;

pub async fn run(call: &mut Call<'_>, program: &str) -> i32 {
    match program {
        "hostname" => {
            call.say(call.model.hostname()).await;
            return 0;
        }
        "id" => {
            call.say(if call.root {
                "uid=0(root) gid=0(root) groups=0(root)"
            } else {
                "uid=1000 gid=1000 groups=1000"
            })
            .await;
            return 0;
        }
        _ => {}
    }
    if !call.root {
        return call.fail(1, format!("{program}: Operation not permitted")).await;
    }
    match (program, &call.words()[..]) {
        ("sysctl", ["--system" | "-p", ..]) => {
            units::apply_sysctl(call.model);
            0
        }
        ("modprobe", modules) => {
            let modules: Vec<_> = modules.iter().map(|module| (*module).to_owned()).collect();
            call.model.live(|live| live.modules.extend(modules));
            0
        }
        ("swapoff", _) | ("netplan", ["generate"]) => 0,
        ("poweroff", _) => {
            let model = call.model.arc();
            tokio::spawn(async move {
                crate::sim::seam::Machine::shut_down(&*model).await;
                model.around.powered_off();
            });
            0
        }
        _ => call.fail(USAGE, format!("{program}: not part of the model guest")).await,
    }
}

/// Returns containerd's default configuration, as far as anyone edits or reads it: version 3, of containerd 2.
pub fn containerd_defaults(sandbox: &str, systemd_cgroup: bool) -> String {
    format!(
        "version = 3\nroot = '/var/lib/containerd'\nstate = '/run/containerd'\n\n[plugins]\n  \
         [plugins.'io.containerd.cri.v1.images']\n    [plugins.'io.containerd.cri.v1.images'.pinned_images]\n      \
         sandbox = '{sandbox}'\n\n  [plugins.'io.containerd.cri.v1.runtime']\n    \
         [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n      \
         SystemdCgroup = {systemd_cgroup}\n"
    )
}

/// `kubelet --version`, `containerd --version`, `containerd config default`.
pub async fn version(call: &Call<'_>, program: &str) -> i32 {
    let version = call.model.disk(|disk| disk.packages.get(program).cloned()).unwrap_or_default();
    match (program, &call.words()[..]) {
        ("kubelet", ["--version"]) => call.say(format!("Kubernetes {version}")).await,
        ("containerd", ["config", "default"]) => {
            call.print(containerd_defaults("registry.k8s.io/pause:3.10.1", false)).await;
        }
        ("containerd", ["--version"]) => {
            call.say(format!("containerd github.com/containerd/containerd/v2 {version}")).await
        }
        _ => return call.fail(USAGE, format!("{program}: the model guest starts it by systemd only")).await,
    }
    0
}
