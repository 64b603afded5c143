//! Small programs of the base system that seeds and the bake use.

use crate::sim::guest::shell::{Call, USAGE};
use crate::sim::guest::units;

/// What a kube-proxy leaves in the NAT table, the part of it that anyone looks for.
const PROXY_RULES: &str = "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]\n\
    -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y\nCOMMIT\n";

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
        ("sysctl", ["-w", assignment]) => match assignment.split_once('=') {
            Some((name, value)) => {
                call.model.live(|live| live.sysctl.insert(name.to_owned(), value.to_owned()));
                0
            }
            None => call.fail(1, format!("sysctl: \"{assignment}\" must be of the form name=value")).await,
        },
        ("date", ["-s", moment]) => set_clock(call, moment).await,
        ("resolvectl", ["dns", device, servers @ ..]) => set_resolvers(call, device, servers).await,
        ("iptables-save", []) => {
            call.print(if call.model.live(|live| live.proxy_rules) { PROXY_RULES } else { "" }).await;
            0
        }
        ("iptables-restore", []) => {
            let rules = String::from_utf8_lossy(&call.input).contains("KUBE-");
            call.model.live(|live| live.proxy_rules = rules);
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

/// Sets the clock to a moment in seconds since 1970, as `@1700000000`.
async fn set_clock(call: &Call<'_>, moment: &str) -> i32 {
    let Some(seconds) = moment.strip_prefix('@').and_then(|text| text.parse::<i64>().ok()) else {
        return call.fail(1, format!("date: invalid date '{moment}'")).await;
    };
    let now = call.model.around.clock_ms().cast_signed();
    call.model.live(|live| live.clock_ahead_ms = seconds * 1000 - now);
    0
}

async fn set_resolvers(call: &Call<'_>, device: &str, servers: &[&str]) -> i32 {
    let Ok(servers) = servers.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>() else {
        return call.fail(1, "Failed to parse DNS server address").await;
    };
    let known = call.model.live(|live| {
        let interface = live.interfaces.iter_mut().find(|one| one.name == device);
        interface.map(|interface| interface.dns = servers).is_some()
    });
    if known {
        0
    } else {
        call.fail(1, format!("Failed to resolve interface \"{device}\": No such device")).await
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
