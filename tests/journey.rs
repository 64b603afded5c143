//! The way of a user's packet: through the LAN's VIP to the application and the API, also when a gateway fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fusionlab::formats::command::Command;
use fusionlab::host::dial::Dial;
use fusionlab::host::http::{HttpAnswer, Probe, Tls, probe};
use fusionlab::host::ssh::SshShell;
use fusionlab::host::{self, GuestShell, GuestTarget, Output};
use serde_json::Value;

use crate::support::session::Session;

/// Both gateways of the document, and one machine of each other kind.
const LAB: &str = "version: 1\npreset: small\ngateways: {count: 2}\n";
const VIP: [u8; 4] = [192, 168, 68, 200];
const ECHO: &str = "echo.lab.test";
const LIMIT: Duration = Duration::from_secs(20);

/// A lab that is up, seen from its user's chair.
pub struct User {
    session: Session,
    runtime: tokio::runtime::Runtime,
}

impl User {
    pub fn new(session: Session) -> Self {
        Self { session, runtime: tokio::runtime::Runtime::new().expect("a runtime starts") }
    }

    fn lab(&self, name: &str) -> PathBuf {
        self.session.fusionlab_home().join("labs/lab").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.lab(name)).expect("the file is there and text")
    }

    /// The way to the guests: on a Mac it is the network, here a proxy.
    fn dial(&self) -> Dial {
        let file = self.session.simulated_mac().join("var/run/fusionlab-dial");
        let text = fs::read_to_string(file).expect("the simulation says where it listens");
        Dial::parse(text.trim()).expect("it is a way to dial")
    }

    /// Asks the LAN's VIP, as a browser or kubectl would.
    fn get(&self, port: u16, host: &str, path: &str, authority: Option<&str>) -> host::Result<HttpAnswer> {
        let tls = authority.map(|file| Tls { server_name: host.to_owned(), ca_pem: self.text(file) });
        let request = Probe {
            address: VIP.into(),
            port,
            tls,
            host_header: host.to_owned(),
            path: path.to_owned(),
            limit: LIMIT,
        };
        self.runtime.block_on(probe(&self.dial(), &request))
    }

    /// Asks the test application; returns what it says of itself.
    fn echo(&self) -> host::Result<Value> {
        let answer = self.get(443, ECHO, "/hello", Some("lab-ca.crt"))?;
        assert_eq!(answer.status, 200);
        assert!(answer.certificate_names.iter().flatten().any(|name| name == "*.lab.test"), "{answer:?}");
        Ok(serde_json::from_slice(&answer.body).expect("it answers in JSON"))
    }

    /// Runs a command as root in a guest.
    pub fn run(&self, node: &str, address: [u8; 4], argv: &[&str]) -> Output {
        let dial = self.dial();
        let shell = SshShell::new(Arc::new(move || Ok(dial)), LIMIT);
        let target = GuestTarget {
            node: node.to_owned(),
            address: address.into(),
            user: "fusionlab".to_owned(),
            host_key: self.text(&format!("identity/host-{node}.pub")).trim().to_owned(),
            identity: self.lab("identity/id_ed25519"),
        };
        let command = Command::new(argv.iter().copied()).as_root();
        let output =
            self.runtime.block_on(shell.run(&target, &command, LIMIT, None)).expect("the guest answers");
        assert!(output.success(), "{argv:?} on {node}: {output:?}");
        output
    }

    fn holders(&self) -> Vec<String> {
        let status = self.session.clone().args(["status", "--output", "json"]).run().exits(0).json();
        let vips = status["vips"].as_array().expect("a list of VIPs");
        let holders: Vec<String> = vips
            .iter()
            .flat_map(|vip| vip["holders"].as_array().expect("a list of holders"))
            .map(|holder| holder.as_str().expect("a name").to_owned())
            .collect();
        assert_eq!(vips.len(), 2);
        holders
    }

    #[track_caller]
    fn wait_until(&self, what: &str, seen: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !seen(self) {
            assert!(began.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        }
    }
}

#[test]
fn a_packet_arrives_whatever_gateway_holds_the_vip() {
    let session = Session::new().file("fusionlab.yaml", LAB);
    let up = session.clone().args(["up", "--yes"]).run().exits(0);
    let user = User::new(session);

    the_users_way_in_is_open(&user);
    what_render_shows_is_in_place(&user);
    nothing_secret_was_told(&user, &format!("{}{}", up.stdout, up.stderr));
    the_other_gateway_takes_over(&user);
    up_mends_the_gateway_that_failed(&user);

    user.session.args(["destroy", "--yes"]).run().exits(0);
}

fn the_users_way_in_is_open(user: &User) {
    let https = user.echo().expect("the application answers");
    assert_eq!((https["host"].as_str(), https["path"].as_str()), (Some(ECHO), Some("/hello")));
    assert_eq!(https["node"], "k8s-worker1", "the only machine that takes pods");
    let http = user.get(80, ECHO, "/", None).expect("HTTP is forwarded too");
    assert_eq!(http.status, 200);
    // The API server's certificate holds the VIP, and it is the cluster's own: TLS is passed through.
    let api = user.get(6443, "192.168.68.200", "/version", Some("identity/ca.crt")).expect("the API answers");
    assert_eq!(api.status, 200);
    let version: Value = serde_json::from_slice(&api.body).expect("it answers in JSON");
    assert_eq!(version["gitVersion"], "v1.36.4");
    let stranger = user.get(443, ECHO, "/", Some("identity/ca.crt"));
    assert!(stranger.is_err(), "the application is not of the cluster's authority: {stranger:?}");
}

fn what_render_shows_is_in_place(user: &User) {
    user.session.clone().args(["render", "--out", "out"]).run().exits(0);
    for (node, address, path) in [
        ("gateway1", [10, 10, 0, 11], "/etc/nginx/nginx.conf"),
        ("gateway2", [10, 10, 0, 12], "/etc/nginx/nginx.conf"),
        ("k8s-worker1", [10, 10, 0, 141], "/etc/hosts"),
    ] {
        let rendered = fs::read(user.session.work().join(format!("out/nodes/{node}/root{path}")));
        let there = user.run(node, address, &["cat", path]).stdout;
        assert_eq!(
            String::from_utf8_lossy(&there),
            String::from_utf8_lossy(&rendered.expect("it was rendered")),
            "{path} on {node}"
        );
    }
}

/// Keys and tokens are in the lab's identity and in the kubeconfig, both for their owner alone, and nowhere else.
fn nothing_secret_was_told(user: &User, said: &str) {
    let secrets = secrets(&user.lab("identity"));
    assert!(secrets.len() > 8, "only {} secrets", secrets.len());
    let mut looked_at: BTreeMap<PathBuf, String> = files_below(&user.lab(""))
        .into_iter()
        .chain(files_below(&user.session.work().join("out")))
        .filter(|path| !path.starts_with(user.lab("identity")) && *path != user.lab("kubeconfig"))
        .map(|path| (path.clone(), String::from_utf8_lossy(&fs::read(&path).expect("readable")).into_owned()))
        .collect();
    assert!(looked_at.contains_key(&user.lab("journal.jsonl")), "{:?}", looked_at.keys());
    looked_at.insert("what up said".into(), said.to_owned());
    for (path, text) in &looked_at {
        let leaks: Vec<_> = secrets.iter().filter(|(_, secret)| text.contains(secret.as_str())).collect();
        assert!(leaks.is_empty(), "{} holds {leaks:?}", path.display());
    }
    for path in files_below(&user.session.simulated_mac().join("Virtual Machines.localized")) {
        if path.ends_with("seed.iso") {
            assert_eq!(mode(&path), 0o600, "a seed holds a host key: {}", path.display());
        }
    }
}

/// Returns what is secret in each private file: its name, and a line of it that no other text has by chance.
fn secrets(identity: &Path) -> Vec<(String, String)> {
    let mut secrets = Vec::new();
    for path in files_below(identity) {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("it is text");
        let is_public = name.ends_with(".crt") || name.ends_with(".pub");
        assert_eq!(text.contains("PRIVATE KEY") || name == "token", !is_public, "{name}");
        assert_eq!(mode(&path), if is_public { 0o644 } else { 0o600 }, "{name}");
        if !is_public {
            // The last line of the body: the first ones of OpenSSH's keys are the same in all of them.
            let mut body = text.lines().filter(|line| !line.starts_with("-----"));
            secrets.push((name, body.next_back().expect("not empty").to_owned()));
        }
    }
    secrets
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn the_other_gateway_takes_over(user: &User) {
    let [holder, same] = user.holders().try_into().expect("each VIP has one holder");
    assert_eq!(holder, same, "both VIPs are at one gateway");
    let (address, other) = match holder.as_str() {
        "gateway1" => ([10, 10, 0, 11], "gateway2"),
        _ => ([10, 10, 0, 12], "gateway1"),
    };
    user.run(&holder, address, &["systemctl", "stop", "keepalived"]);
    user.wait_until("the other gateway holds both VIPs", |user| user.holders() == [other, other]);
    user.wait_until("the application answers again", |user| user.echo().is_ok());
    let api = user.get(6443, "192.168.68.200", "/readyz", Some("identity/ca.crt"));
    assert_eq!(api.expect("the API answers through the other gateway").status, 200);
}

fn up_mends_the_gateway_that_failed(user: &User) {
    let plan = user.session.clone().args(["plan", "--output", "json"]).run().exits(0).json();
    let steps = plan["steps"].as_array().expect("a list of steps");
    let first = &steps[0];
    assert!(first["id"].as_str().is_some_and(|id| id.starts_with("gateway.configure/")), "{first}");
    assert_eq!(first["why"], "keepalived is inactive");
    let machine = steps.iter().find(|step| step["id"].as_str().is_some_and(|id| id.starts_with("vm.")));
    assert_eq!(machine, None, "no machine is touched for it");
    user.session.clone().args(["up", "--yes"]).run().exits(0);
    user.session.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
}

/// Every path that is rendered for the document's lab, machines with the same files together.
#[test]
fn what_is_rendered_for_the_documents_lab() {
    let session = Session::new().args(["render", "--out", "out"]);
    let ended = session.run().exits(0);
    let mut shown = String::new();
    let mut nodes: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    let mut files_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in ended.stdout.lines() {
        let path = path.strip_prefix("out/").expect("it lies in the folder that was named");
        match path.strip_prefix("nodes/").and_then(|rest| rest.split_once('/')) {
            None => shown.push_str(&format!("{path}\n")),
            Some((node, file)) => {
                files_of.entry(node.to_owned()).or_default().push(file.replace(node, "NODE"));
            }
        }
    }
    for (node, files) in files_of {
        nodes.entry(files).or_default().push(node);
    }
    let mut groups: Vec<_> = nodes.into_iter().map(|(files, nodes)| (nodes, files)).collect();
    groups.sort();
    for (nodes, files) in groups {
        shown.push_str(&format!("{}:\n", nodes.join(" ")));
        files.iter().for_each(|file| shown.push_str(&format!("  {file}\n")));
    }
    insta::assert_snapshot!(shown, @r"
    host/kubeconfig
    host/networking.diff
    host/networking
    template/template.vmx
    template/seed/meta-data
    template/seed/network-config
    template/seed/user-data
    cluster/cilium-values.yaml
    cluster/ingress.yaml
    networking.md
    topology.svg
    gateway1 gateway2:
      NODE.vmx
      seed/meta-data
      seed/network-config
      seed/user-data
      root/etc/hosts
      root/etc/chrony/chrony.conf
      root/etc/sysctl.d/90-fusionlab.conf
      root/usr/local/sbin/fusionlab-check-nginx
      root/usr/local/sbin/fusionlab-check-path
      root/etc/systemd/system/nginx.service.d/fusionlab.conf
      root/etc/systemd/system/keepalived.service.d/fusionlab.conf
      root/etc/fusionlab/lab-ca.crt
      root/etc/systemd/system/fusionlab-dns.service
      root/etc/fusionlab/dns.conf
      root/etc/nginx/nginx.conf
      root/etc/keepalived/keepalived.conf
    k8s-master1 k8s-master2 k8s-master3:
      NODE.vmx
      seed/meta-data
      seed/network-config
      seed/user-data
      root/etc/hosts
      root/etc/chrony/chrony.conf
      root/etc/modules-load.d/fusionlab.conf
      root/etc/sysctl.d/90-fusionlab.conf
      root/etc/systemd/networkd.conf.d/fusionlab.conf
      root/etc/kubernetes/pki/ca.crt
      root/etc/kubernetes/pki/ca.key
      root/etc/kubernetes/pki/front-proxy-ca.crt
      root/etc/kubernetes/pki/front-proxy-ca.key
      root/etc/kubernetes/pki/etcd/ca.crt
      root/etc/kubernetes/pki/etcd/ca.key
      root/etc/kubernetes/pki/sa.pub
      root/etc/kubernetes/pki/sa.key
      root/usr/local/sbin/fusionlab-kubeadm
      root/etc/kubernetes/fusionlab/join.yaml
      root/etc/kubernetes/fusionlab/kubeadm.yaml
    k8s-worker1 k8s-worker2:
      NODE.vmx
      seed/meta-data
      seed/network-config
      seed/user-data
      root/etc/hosts
      root/etc/chrony/chrony.conf
      root/etc/modules-load.d/fusionlab.conf
      root/etc/sysctl.d/90-fusionlab.conf
      root/etc/systemd/networkd.conf.d/fusionlab.conf
      root/usr/local/sbin/fusionlab-kubeadm
      root/etc/kubernetes/fusionlab/join.yaml
    ");
}
