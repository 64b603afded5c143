//! crictl: the container runtime's state and images, and its own configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::sim::guest::kube::kubelet;
use crate::sim::guest::shell::Call;
use crate::sim::guest::{Model, pace};

/// Where crictl keeps what `config --set` tells it.
const CONFIG: &str = "/etc/crictl.yaml";

pub async fn run(call: &Call<'_>) -> i32 {
    if let ["config", "--set", pairs @ ..] = &call.words()[..] {
        return set(call, pairs).await;
    }
    if !call.root || !call.model.live(|live| live.unit_active("containerd")) {
        let why = if call.root { "connect: no such file or directory" } else { "permission denied" };
        return call
            .fail(1, format!("validate service connection: dial unix /run/containerd/containerd.sock: {why}"))
            .await;
    }
    match call.words()[..] {
        ["info", ..] => {
            let network = call.model.disk(|disk| !disk.glob("/etc/cni/net.d", ".conflist").is_empty());
            let conditions = json!([
                { "type": "RuntimeReady", "status": true },
                { "type": "NetworkReady", "status": network },
            ]);
            call.say(format!("{:#}", json!({ "status": { "conditions": conditions } }))).await;
            0
        }
        ["pods", "-o", "json"] => {
            call.say(format!("{:#}", json!({ "items": pods(call.model) }))).await;
            0
        }
        ["ps", "-a", "--name", name, "-o", "json"] => {
            call.say(format!("{:#}", json!({ "containers": containers(call.model, name) }))).await;
            0
        }
        ["stop", id] => match id.strip_suffix(CONTAINER_ID).filter(|name| runs(call.model, name)) {
            Some(name) => {
                stop(call.model, name);
                call.say(id).await;
                0
            }
            None => call.fail(1, format!("E0101 StopContainer: container \"{id}\": not found")).await,
        },
        ["logs", "--tail", _, id] => {
            match id.strip_suffix(CONTAINER_ID).and_then(|name| last_words(call.model, name)) {
                Some(line) => {
                    call.complain(line).await;
                    0
                }
                None => {
                    call.fail(
                        1,
                        format!(
                            "E0101 ContainerStatus from runtime service failed: container \"{id}\": not found"
                        ),
                    )
                    .await
                }
            }
        }
        ["images", ..] => {
            for image in call.model.disk(|disk| disk.images.clone()) {
                call.say(image).await;
            }
            0
        }
        ["pull", image] => match pull(call, image).await {
            Ok(()) => {
                call.say(format!("Image is up to date for {image}")).await;
                0
            }
            Err(why) => call.fail(1, format!("E pulling image: {why}")).await,
        },
        _ => call.fail(1, "crictl: not part of the model guest").await,
    }
}

/// What the ids of the model's containers end with.
const CONTAINER_ID: &str = "-0a1b2c3d";

fn runs(model: &Model, name: &str) -> bool {
    model.live(|live| live.static_pods.contains(name))
}

/// Stops a static pod's container. A kubelet that runs starts another.
fn stop(model: &Arc<Model>, name: &str) {
    kubelet::end_static_pod(model, name);
    let held = Arc::clone(model);
    model.spawn(async move { kubelet::manifests_changed(&held).await });
}

/// Returns the static pods that the kubelet has found, whether they run or not: it reads them once it is configured.
fn static_pods(model: &Model) -> Vec<String> {
    let configured = model.disk(|disk| disk.file(kubelet::CONFIG).is_some());
    let manifests =
        if configured { model.disk(|disk| disk.glob(kubelet::MANIFESTS, ".yaml")) } else { Vec::new() };
    let name =
        |path: String| path.rsplit('/').next().unwrap_or_default().trim_end_matches(".yaml").to_owned();
    manifests.into_iter().map(name).collect()
}

/// Returns the pods of this machine: the static ones, and those that the cluster gave it.
fn pods(model: &Model) -> Vec<Value> {
    let node = kubelet::node_name(model);
    let pod = |namespace: &str, name: &str| json!({ "metadata": { "name": name, "namespace": namespace } });
    let own = static_pods(model).into_iter().map(|name| pod("kube-system", &format!("{name}-{node}")));
    let data = model.live(|live| live.cluster.clone()).map(|cluster| cluster.data());
    let given =
        data.iter().flat_map(|data| data.list("pods", None)).filter(|pod| pod["spec"]["nodeName"] == *node);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let given: Vec<Value> = given
        .map(|one| pod(&text(&one["metadata"]["namespace"]), &text(&one["metadata"]["name"])))
        .filter(|one| !one["metadata"]["name"].as_str().unwrap_or_default().ends_with(&format!("-{node}")))
        .collect();
    own.chain(given).collect()
}

fn containers(model: &Model, name: &str) -> Vec<Value> {
    let found = static_pods(model).into_iter().filter(|pod| pod.contains(name));
    let of = |pod: String| {
        let runs = model.live(|live| live.static_pods.contains(&pod));
        let state = if runs { "CONTAINER_RUNNING" } else { "CONTAINER_EXITED" };
        json!({
            "id": format!("{pod}{CONTAINER_ID}"),
            "metadata": { "name": pod, "attempt": 0 },
            "state": state,
            "createdAt": format!("{}000000", model.around.clock_ms()),
        })
    };
    found.map(of).collect()
}

/// Returns the end of a static pod's log.
fn last_words(model: &Model, name: &str) -> Option<String> {
    let runs = model.live(|live| live.static_pods.contains(name));
    static_pods(model).iter().any(|pod| pod == name).then(|| match (name, runs) {
        (_, true) => format!("I0101 {name} is running (model)"),
        (kubelet::API_SERVER, false) => {
            "F0101 command failed err=\"the model was told to end it: api-server-crashes\"".to_owned()
        }
        (_, false) => format!("F0101 {name} is not running (model)"),
    })
}

/// Fetches an image, unless it is there.
pub async fn pull(call: &Call<'_>, image: &str) -> Result<(), String> {
    let model = call.model;
    if !model.live(|live| live.unit_active("containerd")) {
        return Err("dial unix /run/containerd/containerd.sock: connect: connection refused".into());
    }
    if model.disk(|disk| disk.images.contains(image)) {
        return Ok(());
    }
    if !model.around.internet() {
        let host = image.split('/').next().unwrap_or_default();
        return Err(format!(
            "failed to do request: dial tcp: lookup {host}: Temporary failure in name resolution"
        ));
    }
    model.pass(pace::IMAGE_PULL).await;
    model.change_disk(|disk| disk.images.insert(image.to_owned()));
    model.sync();
    Ok(())
}

/// `crictl config --set key=value`, several by commas or as further words.
async fn set(call: &Call<'_>, pairs: &[&str]) -> i32 {
    if !call.root {
        return call.fail(1, format!("open {CONFIG}: permission denied")).await;
    }
    let mut lines: BTreeMap<String, String> = call.model.disk(|disk| {
        let text = disk.text(CONFIG).unwrap_or_default();
        let pair = |line: &str| line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned()));
        text.lines().filter_map(pair).collect()
    });
    for pair in pairs.iter().flat_map(|pair| pair.split(',')) {
        let Some((key, value)) = pair.split_once('=') else {
            return call.fail(1, format!("incorrectly specified option: {pair}")).await;
        };
        lines.insert(key.to_owned(), format!("\"{value}\""));
    }
    let text: String = lines.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
    call.model.change_disk(|disk| disk.put(CONFIG, 0o644, text));
    0
}
