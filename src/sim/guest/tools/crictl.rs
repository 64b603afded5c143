//! crictl: the container runtime's state and images, and its own configuration.

use std::collections::BTreeMap;

use serde_json::json;

use crate::sim::guest::pace;
use crate::sim::guest::shell::Call;

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
