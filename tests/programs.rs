//! Every file of the gateways and the cluster, given to what will read it: nginx, Keepalived, containerd, openssl, and,
//! where the program is not to be had, a schema written from the facts.
//!
//! The programs run in namespaces of their own, with cards of the gateways' names and our scripts in their places: that
//! takes root. Each is also given a spoilt file, so that its silence means something.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use fusionlab::engine::home::store;
use fusionlab::lab::catalogue::Arch;
use fusionlab::lab::paths::Home;
use fusionlab::lab::resolve::resolve;
use fusionlab::lab::{Lab, Role};
use fusionlab::stack::file::GuestFile;
use fusionlab::stack::identity::Identity;
use fusionlab::stack::{bake, gateway, ingress, keepalived, kubeadm, nginx, pki};
use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::json_schema::Schema;

/// Lab files that between them use every branch of the templates: each preset, and what changes a generated file.
const LABS: [(&str, &str); 9] = [
    ("ha", "version: 1\npreset: ha\n"),
    ("small", "version: 1\npreset: small\n"),
    ("solo", "version: 1\npreset: solo\n"),
    (
        "one gateway of a big lab",
        "version: 1\ngateways: {count: 1}\ncontrol_planes: {count: 5}\nworkers: {count: 9}\n",
    ),
    ("the PROXY protocol", "version: 1\nkubernetes: {proxy_protocol: true, api_names: [k8s.example.org]}\n"),
    (
        "other ports",
        "version: 1\nports: {http: 8080, https: 8443, http_node_port: 31080, https_node_port: 31443}\n",
    ),
    ("slow adverts", "version: 1\ngateways: {advert: 1, router_id: 77}\n"),
    ("control planes that take workloads", "version: 1\ncontrol_planes: {schedulable: true}\n"),
    (
        "other networks and names",
        "version: 1\nname: other\nlan: {subnet: 172.21.9.0/24, vip: 172.21.9.240}\ninternal: {vmnet: 3, subnet: 10.77.3.0/24}\n\
         kubernetes: {pods: 10.200.0.0/16, api_name: api.other.internal}\ndomain: apps.test\n",
    ),
];

/// A lab with all that is secret of it.
struct Made {
    name: &'static str,
    lab: Lab,
    identity: Identity,
}

fn labs() -> Vec<Made> {
    let folder = tempfile::tempdir().expect("a folder");
    let made = |(name, text): (&'static str, &str)| {
        let lab = resolve(Some(text), None, Arch::Arm64).unwrap_or_else(|bad| panic!("{name}: {bad:?}")).lab;
        let dir = Home(folder.path().to_owned()).lab(name);
        let identity = store::existing_or_made_up(&lab, &dir).expect("keys can be made");
        Made { name, lab, identity }
    };
    LABS.into_iter().map(made).collect()
}

/// Says whether a program can be asked here. With FUSIONLAB_TEST_TOOLS set, one that is missing fails the test.
pub fn present(program: &str, needs_root: bool) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().expect("sh runs");
    if !found.status.success() {
        assert!(std::env::var_os("FUSIONLAB_TEST_TOOLS").is_none(), "{program} is missing");
        println!("skipped: {program} is not installed");
        return false;
    }
    let root = Command::new("id").arg("-u").output().expect("id runs").stdout == b"0\n";
    if needs_root && !root {
        println!("skipped: a network and mounts of one's own take root");
    }
    root || !needs_root
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn write(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, content).expect("the folder takes a file");
    path.to_str().expect("the path is text").to_owned()
}

/// Runs a program in a network and mounts of its own: a gateway's two cards, our scripts in /usr/local/sbin. It is the
/// first process of its own space: Debian 12's Keepalived 2.2.7 takes a test for an orphan and ends itself
/// (acassen/keepalived#2587, mended in 2.2.8), which the kernel lets no first process do by accident.
fn on_a_gateway(scripts: &Path, line: &str) -> Output {
    let cards = "ip link set lo up; for card in ens160 ens192; do ip link add $card type veth peer name peer-$card; \
                 ip link set $card up; done";
    let script = format!("set -e; mount --bind {} /usr/local/sbin; {cards}; exec {line}", scripts.display());
    Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "sh", "-c", &script])
        .output()
        .expect("unshare runs")
}

/// Puts the gateway's programs into a folder, as they are in a gateway.
fn gateway_scripts(made: &Made, folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let node = made.lab.gateways().next().expect("a lab has a gateway");
    let programs =
        gateway::files(&made.lab, &made.identity, node).into_iter().filter(|file| file.mode == 0o755);
    for program in programs {
        let name = program.path.rsplit('/').next().expect("a path has a name").to_owned();
        let path = write(folder, &name, &program.content);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    // Keepalived runs scripts only from folders that nobody else can write to.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn nginx_takes_every_configuration_and_refuses_a_spoilt_one() {
    if !present("nginx", true) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for made in labs() {
        let config = nginx::config(&made.lab);
        let good = write(folder.path(), "nginx.conf", &config.content);
        let output = on_a_gateway(folder.path(), &format!("nginx -t -q -c {good}"));
        assert!(output.status.success() && said(&output).is_empty(), "{}: {}", made.name, said(&output));
        let spoilt = text(&config).replace("proxy_pass k8s_api;", "proxy_pass k8s_apis nowhere;");
        let bad = write(folder.path(), "bad.conf", spoilt.as_bytes());
        let output = on_a_gateway(folder.path(), &format!("nginx -t -q -c {bad}"));
        assert!(!output.status.success(), "{}: a spoilt file passes", made.name);
    }
}

#[test]
fn keepalived_takes_every_configuration_and_refuses_a_spoilt_one() {
    if !present("keepalived", true) {
        return;
    }
    for made in labs() {
        let folder = tempfile::tempdir().expect("a folder");
        gateway_scripts(&made, folder.path());
        for node in made.lab.gateways() {
            let config = keepalived::config(&made.lab, node);
            let good = write(folder.path(), "keepalived.conf", &config.content);
            let output = on_a_gateway(folder.path(), &format!("keepalived -t -f {good}"));
            let what = format!("{}, {}: {}", made.name, node.name, said(&output));
            assert!(output.status.success(), "{what}");
            assert!(!said(&output).to_lowercase().contains("warning"), "{what}");
            let spoilt = text(&config).replace("virtual_router_id", "virtual_router");
            let bad = write(folder.path(), "bad.conf", spoilt.as_bytes());
            let output = on_a_gateway(folder.path(), &format!("keepalived -t -f {bad}"));
            assert!(!output.status.success(), "a spoilt file passes: {}", said(&output));
        }
    }
}

/// Runs the bake's own step on the containerd that is installed, and returns its file's folder.
fn baked_containerd(lab: &Lab) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_str().expect("the path is text").to_owned();
    let step = bake::files(lab).into_iter().find(|file| file.path.ends_with("/30-containerd.sh"));
    let script = text(&step.expect("the bake configures containerd"))
        .replace("/etc/fusionlab/", &format!("{place}/"))
        .replace("/etc/containerd", &place);
    // Which version a Kubernetes wants is another matter than how each is configured.
    let versions =
        format!("CONTAINERD=1.0.0\nKUBERNETES={}\nPAUSE={}\n", lab.versions.kubernetes, lab.versions.pause);
    write(folder.path(), "versions.env", versions.as_bytes());
    let script = write(folder.path(), "30-containerd.sh", script.as_bytes());
    let line = format!("systemctl() {{ :; }}; . {script}");
    let output = Command::new("sh").args(["-c", &line]).output().expect("sh runs");
    assert!(output.status.success(), "{}", said(&output));
    folder
}

#[test]
fn containerd_reads_what_the_bake_makes_of_its_own_defaults() {
    if !present("containerd", false) {
        return;
    }
    let made = labs().remove(0);
    let folder = baked_containerd(&made.lab);
    let config = folder.path().join("config.toml");
    let dump = Command::new("containerd").arg("--config").arg(&config).args(["config", "dump"]).output();
    let dump = dump.expect("containerd runs");
    assert!(dump.status.success(), "{}", said(&dump));
    let dumped = String::from_utf8_lossy(&dump.stdout).into_owned();
    let major = Command::new("containerd").arg("--version").output().expect("containerd runs");
    let is_first = said(&major).contains("containerd 1.") || said(&major).contains(" v1.");
    println!("{}", said(&major).trim());
    let image = format!("registry.k8s.io/pause:{}", made.lab.versions.pause);
    let key = if is_first { "sandbox_image" } else { "sandbox" };
    let line = |key: &str| {
        dumped.lines().find(|line| line.trim().starts_with(&format!("{key} = "))).map(str::to_owned)
    };
    assert!(line(key).is_some_and(|line| line.contains(&image)), "{key} is {image}:\n{dumped}");
    assert!(line("SystemdCgroup").is_some_and(|line| line.ends_with("true")), "{dumped}");
    let spoilt = fs::read_to_string(&config)
        .expect("it was made")
        .replace("SystemdCgroup = true", "SystemdCgroup = = true");
    let bad = write(folder.path(), "bad.toml", spoilt.as_bytes());
    let output =
        Command::new("containerd").args(["--config", &bad, "config", "dump"]).output().expect("it runs");
    assert!(!output.status.success(), "a spoilt file passes");
}

/// Lets openssl verify a certificate against the authority in a file.
fn verified(folder: &Path, authority: &str, leaf: &str) -> Output {
    let leaf = write(folder, "leaf.crt", leaf.as_bytes());
    Command::new("openssl").args(["verify", "-CAfile", authority, &leaf]).output().expect("it runs")
}

#[test]
fn openssl_finds_the_same_hash_of_the_authority_and_believes_its_certificates() {
    if !present("openssl", false) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let made = labs().remove(0);
    let identity = &made.identity;
    let ca = write(folder.path(), "ca.crt", identity.cluster_ca.certificate.as_bytes());
    let line = format!(
        "openssl x509 -in {ca} -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r"
    );
    let output = Command::new("sh").args(["-c", &line]).output().expect("sh runs");
    let hash = said(&output).split_whitespace().next().unwrap_or_default().to_owned();
    assert_eq!(identity.ca_hash(), format!("sha256:{hash}"), "what joining nodes pin");
    for (authority, leaf) in
        [(&identity.cluster_ca, &identity.admin), (&identity.lab_ca, &identity.lab_server)]
    {
        let ca = write(folder.path(), "authority.crt", authority.certificate.as_bytes());
        let output = verified(folder.path(), &ca, &leaf.certificate);
        assert!(output.status.success(), "{}", said(&output));
    }
    // A key that openssl loads, and of the curve that kubeadm is told.
    let key = write(folder.path(), "ca.key", identity.cluster_ca.key.expose_secret().as_bytes());
    let output =
        Command::new("openssl").args(["pkey", "-in", &key, "-noout", "-text"]).output().expect("it runs");
    assert!(said(&output).contains("prime256v1"), "{}", said(&output));
    // A guest whose clock is late by an hour believes it still (kubeadm's own are backdated by five minutes).
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let hour_ago = hour_ago.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs().to_string();
    let output = Command::new("openssl").args(["verify", "-attime", &hour_ago, "-CAfile", &ca, &ca]).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    let of_certificate = pki::public_key_hash(&identity.cluster_ca.certificate).expect("it can be read");
    assert_eq!(of_certificate, identity.ca_hash());
}

#[test]
fn openssl_believes_the_labs_authority_for_the_labs_names_alone() {
    if !present("openssl", false) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let made = labs().remove(0);
    let (authority, domain) = (&made.identity.lab_ca, &made.lab.cluster.domain);
    let ca = write(folder.path(), "authority.crt", authority.certificate.as_bytes());
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let words_about = |name: &str| {
        let names = [name.to_owned()];
        let subject = pki::Subject { common_name: "a server", organisation: None, names: &names };
        let leaf = pki::issue(authority, &subject, now).expect("it signs whatever it is asked to");
        said(&verified(folder.path(), &ca, &leaf.certificate))
    };
    for name in [domain.clone(), format!("*.{domain}"), format!("deep.echo.{domain}")] {
        let words = words_about(&name);
        assert!(words.contains("leaf.crt: OK"), "{name}: {words}");
    }
    for name in ["bank.example", "*.example", "10.10.0.10", "fd00::1"] {
        let words = words_about(name);
        let why = ["permitted subtree violation", "excluded subtree violation"];
        assert!(why.iter().any(|why| words.contains(why)), "{name}: {words}");
    }
}

fn text(file: &GuestFile) -> String {
    String::from_utf8(file.content.clone()).expect("it is text")
}

fn documents(file: &GuestFile) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(file)).expect("it is YAML")
}

#[test]
fn every_kubeadm_file_has_only_fields_that_kubeadm_knows() {
    let schema = Schema::read(include_str!("data/schema/kubeadm-v1beta4.json"));
    let mut seen = 0;
    for made in labs() {
        for node in made.lab.members() {
            let files = kubeadm::files(&made.lab, &made.identity, node);
            for file in files.iter().filter(|file| file.path.ends_with(".yaml")) {
                for document in documents(file) {
                    let problems = schema.problems(&document);
                    assert!(problems.is_empty(), "{}, {} {}: {problems:#?}", made.name, node.name, file.path);
                    seen += 1;
                }
            }
            assert_eq!(
                files.iter().any(|file| file.path == kubeadm::CONFIG),
                node.role == Role::ControlPlane
            );
        }
    }
    assert!(seen > LABS.len(), "{seen}");
    let made = labs().remove(0);
    let join = kubeadm::files(&made.lab, &made.identity, made.lab.first_control_plane());
    let join = join.iter().find(|file| file.path == kubeadm::JOIN_CONFIG).expect("each member can join");
    let mut spoilt = documents(join).remove(0);
    spoilt["nodeRegistration"]["kubeletExtraArgs"] = serde_json::json!({ "node-ip": "10.10.0.131" });
    spoilt["discovery"]["bootstrapToken"]["caCertHashes"] = serde_json::json!([]);
    spoilt["featureGates"] = serde_json::json!({});
    assert_eq!(
        schema.problems(&spoilt).len(),
        3,
        "v1beta3's maps, no hash, an unknown field: {:#?}",
        schema.problems(&spoilt)
    );
}

#[test]
fn every_manifest_of_the_way_in_has_only_fields_of_its_definition() {
    let schema = Schema::read(include_str!("data/schema/gateway-api-v1.json"));
    for made in labs() {
        let ours = |document: &&Value| {
            let version = document["apiVersion"].as_str().unwrap_or_default();
            version.starts_with("gateway.networking.k8s.io/") || version.starts_with("cilium.io/")
        };
        let manifests = ingress::manifests(&made.lab, &made.identity);
        let judged: Vec<&Value> = manifests.iter().filter(ours).collect();
        assert!(judged.len() >= 4, "{}: a class, its configuration, a Gateway, routes", made.name);
        for document in &judged {
            let problems = schema.problems(document);
            assert!(problems.is_empty(), "{}, {}: {problems:#?}", made.name, document["kind"]);
        }
        let gateway = judged.iter().find(|document| document["kind"] == "Gateway").expect("there is one");
        let mut spoilt = (*gateway).clone();
        spoilt["spec"]["infrastructure"]["parametersRef"] = serde_json::json!({ "group": "cilium.io" });
        spoilt["spec"]["listeners"][0]["nodePort"] = 30080.into();
        assert_eq!(
            schema.problems(&spoilt).len(),
            2,
            "what Cilium rejects (facts §4.4): {:#?}",
            schema.problems(&spoilt)
        );
    }
}
