//! kubeadm: its verbs, its words, its exit statuses.

use super::crictl;
use super::kubeadm_files as files;
use crate::sim::guest::kube::config::Documents;
use crate::sim::guest::kube::init::{ADMIN, Init, create_token, wait_for_node};
use crate::sim::guest::kube::phases::{Ended, KILLED, done};
use crate::sim::guest::kube::preflight::{self, Role};
use crate::sim::guest::kube::{client, controllers, images, join};
use crate::sim::guest::pace;
use crate::sim::guest::shell::Call;

/// kubeadm's exit status when preflight checks fail.
const PREFLIGHT: i32 = 2;

pub async fn run(call: &Call<'_>) -> i32 {
    let words = call.words();
    let (file, words) = match take_flag(&words, "--config") {
        Ok(taken) => taken,
        Err(why) => return call.fail(1, why).await,
    };
    match (&words[..], file) {
        (["version", "-o", "short"], None) => {
            let version = call.model.disk(|disk| disk.packages.get("kubeadm").cloned()).unwrap_or_default();
            call.say(version).await;
            0
        }
        (["config", "validate"], Some(file)) => {
            match read(call, &file).and_then(|documents| documents.validate()) {
                Ok(()) => {
                    call.say("ok").await;
                    0
                }
                Err(why) => failed(call, &why).await,
            }
        }
        (["config", "images", verb @ ("list" | "pull"), rest @ ..], _) => {
            ended(call, images(call, verb, rest).await.map_err(Ended::Failed)).await
        }
        (["certs", "check-expiration"], _) => {
            let all = call.model.disk(|disk| disk.under("/etc/kubernetes/pki"));
            for path in all.iter().filter(|path| path.ends_with(".crt")) {
                call.say(path).await;
            }
            0
        }
        (["init" | "join" | "reset" | "token" | "certs", ..], _) if !call.root => {
            call.complain("[preflight] Some fatal errors occurred:\n\t[ERROR IsPrivilegedUser]: user is not running as root").await;
            call.fail(PREFLIGHT, "error: error execution phase preflight: preflight checks failed").await
        }
        (["certs", "renew", "all"], Some(file)) => {
            ended(call, files::renew(call, &file).await.map_err(Ended::Failed)).await
        }
        (["init", "phase", phase @ ("certs" | "control-plane" | "etcd"), part], Some(file)) => {
            ended(call, files::phase(call, phase, part, &file).await.map_err(Ended::Failed)).await
        }
        (["init"], Some(file)) => ended(call, init(call, &file).await).await,
        (["join"], Some(file)) => ended(call, join(call, &file).await).await,
        (["join", "phase", "control-plane-join", "mark-control-plane"], Some(file)) => {
            ended(call, mark(call, &file).await).await
        }
        (["init", "phase", phase @ ..], Some(file)) => {
            ended(call, init_phase(call, phase, &file).await.map_err(Ended::Failed)).await
        }
        (["reset", "--force" | "-f"], None) => reset(call).await,
        (["token", "create", rest @ ..], None) => {
            ended(call, token(call, rest).await.map_err(Ended::Failed)).await
        }
        ([], _) => call.fail(1, "kubeadm: a command is required").await,
        ([first, ..], _) => {
            call.fail(
                1,
                format!(
                    "error: unknown command, argument or flag for \"kubeadm {first}\": {}",
                    words.join(" ")
                ),
            )
            .await
        }
    }
}

/// Lists the images of a version of Kubernetes, or fetches those that are not there yet.
async fn images(call: &Call<'_>, verb: &str, words: &[&str]) -> Result<(), String> {
    let (version, words) = take_flag(words, "--kubernetes-version")?;
    if let Some(unknown) = words.first() {
        return Err(format!("unknown flag: {unknown}"));
    }
    let installed = || call.model.disk(|disk| disk.packages.get("kubeadm").cloned()).unwrap_or_default();
    let version = version.unwrap_or_else(installed);
    for image in images::kubernetes(version.trim_start_matches('v')) {
        if verb == "list" {
            call.say(image).await;
        } else {
            crictl::pull(call, &image)
                .await
                .map_err(|why| format!("failed to pull image \"{image}\": {why}"))?;
            call.say(format!("[config/images] Pulled {image}")).await;
        }
    }
    Ok(())
}

/// Takes `--config F` or `--config=F` out of the words.
fn take_flag<'a>(words: &[&'a str], flag: &str) -> Result<(Option<String>, Vec<&'a str>), String> {
    let (mut value, mut rest, mut left) = (None, Vec::new(), words.iter());
    while let Some(word) = left.next() {
        if *word == flag {
            value = Some((*left.next().ok_or_else(|| format!("flag needs an argument: {flag}"))?).to_owned());
        } else if let Some(text) = word.strip_prefix(&format!("{flag}=")) {
            value = Some(text.to_owned());
        } else {
            rest.push(*word);
        }
    }
    Ok((value, rest))
}

pub(super) fn read(call: &Call<'_>, path: &str) -> Result<Documents, String> {
    let text = call.model.disk(|disk| disk.text(path));
    let text = text.ok_or_else(|| {
        format!("unable to read config from \"{path}\": open {path}: no such file or directory")
    })?;
    let documents = Documents::read(&text)?;
    documents.validate()?;
    Ok(documents)
}

async fn failed(call: &Call<'_>, why: &str) -> i32 {
    let status = if why.contains("preflight checks failed") { PREFLIGHT } else { 1 };
    call.complain(format!("error: {why}")).await;
    call.fail(status, "To see the stack trace of this error execute with --v=5 or higher").await
}

async fn ended(call: &Call<'_>, outcome: Result<(), Ended>) -> i32 {
    match outcome {
        Ok(()) => 0,
        Err(Ended::Failed(why)) => failed(call, &why).await,
        Err(Ended::Killed) => KILLED,
    }
}

async fn check(call: &Call<'_>, role: Role, version: Option<&str>, ignored: &[String]) -> Result<(), String> {
    call.say("[preflight] Running pre-flight checks").await;
    let found = preflight::errors(call.model, role, version);
    let ignore = |name: &str| ignored.iter().any(|one| one == "all" || one.eq_ignore_ascii_case(name));
    let (ignored, fatal): (Vec<_>, Vec<_>) = found.into_iter().partition(|(name, _)| ignore(name));
    for (name, why) in ignored {
        call.complain(format!("\t[WARNING {name}]: {why}")).await;
    }
    if fatal.is_empty() {
        return Ok(());
    }
    call.complain("[preflight] Some fatal errors occurred:").await;
    for (name, why) in fatal {
        call.complain(format!("\t[ERROR {name}]: {why}")).await;
    }
    call.complain("[preflight] If you know what you are doing, you can make a check non-fatal with `--ignore-preflight-errors=...`").await;
    Err("error execution phase preflight: preflight checks failed".into())
}

async fn init(call: &Call<'_>, path: &str) -> Result<(), Ended> {
    let model = call.model;
    let documents = read(call, path)?;
    let init = Init::new(model, &documents)?;
    let version = init.node.cluster.kubernetes_version.as_deref();
    call.say(format!("[init] Using Kubernetes version: {}", version.unwrap_or("stable-1"))).await;
    check(call, Role::Init, version, &init.init.node_registration.ignore_preflight_errors).await?;
    if let Some((host, _)) = init
        .node
        .cluster
        .control_plane_endpoint
        .as_deref()
        .and_then(crate::sim::guest::kube::config::split_endpoint)
        && crate::sim::guest::network::resolve(model, host).is_none()
    {
        return Err(format!("error execution phase preflight: lookup {host}: no such host").into());
    }
    call.say("[certs] Using certificateDir folder \"/etc/kubernetes/pki\"").await;
    model.pass(pace::KUBEADM_CERTS).await;
    init.prepare(model)?;
    call.say("[control-plane] Creating static Pod manifests in \"/etc/kubernetes/manifests\"").await;
    done(model, "control-plane").await?;
    call.say("[kubelet-start] Starting the kubelet").await;
    init.start(model).await.map_err(|why| format!("error execution phase kubelet-start: {why}"))?;
    done(model, "kubelet-start").await?;
    if model.around.fault("kubeadm-init-fails") {
        return Err(
            "error execution phase wait-control-plane: could not initialize a Kubernetes cluster".into()
        );
    }
    let cluster = wait_for_node(model)
        .await
        .map_err(|why| format!("error execution phase wait-control-plane: {why}"))?;
    call.say("[control-plane-check] kube-apiserver is healthy").await;
    done(model, "wait-control-plane").await?;
    model.pass(pace::KUBEADM_UPLOAD).await;
    call.say("[upload-config] Storing the configuration used in ConfigMap \"kubeadm-config\" in the \"kube-system\" Namespace").await;
    init.upload_config(&cluster, model)?;
    controllers::settle(&cluster);
    cluster.sync();
    done(model, "upload-config").await?;
    call.say(format!("[mark-control-plane] Marking the node {} as control-plane", init.node.name)).await;
    init.mark_control_plane(&cluster)?;
    cluster.sync();
    done(model, "mark-control-plane").await?;
    call.say("[bootstrap-token] Configuring bootstrap tokens, cluster-info ConfigMap, RBAC Roles").await;
    init.bootstrap_token(&cluster, model)?;
    cluster.sync();
    done(model, "bootstrap-token").await?;
    init.coredns(&cluster, model)?;
    call.say("[addons] Applied essential addon: CoreDNS").await;
    if init.kube_proxy(&cluster, model)? {
        call.say("[addons] Applied essential addon: kube-proxy").await;
    }
    cluster.sync();
    call.say("\nYour Kubernetes control-plane has initialized successfully!").await;
    // kubeadm tells its secret to whoever reads along.
    if let Some(token) = init.tokens().next() {
        call.say(format!("  kubeadm join --token {token}")).await;
    }
    Ok(())
}

async fn init_phase(call: &Call<'_>, phase: &[&str], path: &str) -> Result<(), String> {
    let model = call.model;
    let documents = read(call, path)?;
    let init = Init::new(model, &documents)?;
    let config = client::kubeconfig(model, ADMIN)?;
    let cluster = client::cluster(model, &config).await?;
    match phase {
        ["upload-config", "all" | "kubeadm"] => {
            init.upload_config(&cluster, model)?;
            controllers::settle(&cluster);
        }
        ["mark-control-plane"] => init.mark_control_plane(&cluster)?,
        ["bootstrap-token"] => init.bootstrap_token(&cluster, model)?,
        ["kubelet-finalize", "all"] | ["upload-certs", ..] => {}
        ["addon", "coredns"] => init.coredns(&cluster, model)?,
        ["addon", "kube-proxy"] => drop(init.kube_proxy(&cluster, model)?),
        other => return Err(format!("invalid subcommand \"{}\"", other.join(" "))),
    }
    cluster.sync();
    call.say(format!("[{}] done", phase.join(" "))).await;
    Ok(())
}

async fn join(call: &Call<'_>, path: &str) -> Result<(), Ended> {
    let model = call.model;
    let documents = read(call, path)?;
    let join = documents.join.as_ref().ok_or("no JoinConfiguration found in the file")?;
    let role = if join.control_plane.is_some() { Role::JoinControlPlane } else { Role::JoinWorker };
    check(call, role, None, &join.node_registration.ignore_preflight_errors).await?;
    let found =
        join::discover(model, join).await.map_err(|why| format!("error execution phase preflight: {why}"))?;
    call.say("[preflight] Reading configuration from the \"kubeadm-config\" ConfigMap in namespace \"kube-system\"...").await;
    match role {
        Role::JoinControlPlane => join::control_plane(model, join, &found).await?,
        _ => join::worker(model, join, &found).await?,
    }
    found.cluster.sync();
    call.say("\nThis node has joined the cluster.").await;
    Ok(())
}

/// Marks a control plane that joined already, by its own file.
async fn mark(call: &Call<'_>, path: &str) -> Result<(), Ended> {
    let documents = read(call, path)?;
    let join = documents.join.as_ref().ok_or("no JoinConfiguration found in the file")?;
    let found = join::discover(call.model, join).await?;
    found.mark(join, call.model)?;
    found.cluster.sync();
    call.say("[mark-control-plane] Marking the node as control-plane").await;
    Ok(())
}

async fn reset(call: &Call<'_>) -> i32 {
    call.say("[reset] Stopping the kubelet service").await;
    for warning in join::reset(call.model).await {
        call.complain(warning).await;
    }
    call.say("The reset process does not perform cleanup of CNI plugin configuration, network filtering rules and kubeconfig files.").await;
    0
}

async fn token(call: &Call<'_>, words: &[&str]) -> Result<(), String> {
    let (ttl, words) = take_flag(words, "--ttl")?;
    let (kubeconfig, words) = take_flag(&words, "--kubeconfig")?;
    let [token] = words[..] else { return Err("kubeadm token create: one token is wanted".into()) };
    let config = client::kubeconfig(call.model, kubeconfig.as_deref().unwrap_or(ADMIN))?;
    let cluster = client::cluster(call.model, &config).await?;
    create_token(&cluster, call.model, token, ttl.as_deref().unwrap_or("24h0m0s"))?;
    cluster.sync();
    call.say(token).await;
    Ok(())
}
