//! crictl: `info` and `images`, the quick look at the container runtime.

use serde_json::json;

use crate::sim::guest::shell::Call;

pub async fn run(call: &Call<'_>) -> i32 {
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
        _ => call.fail(1, "crictl: not part of the model guest").await,
    }
}
