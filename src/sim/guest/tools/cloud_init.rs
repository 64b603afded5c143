//! cloud-init: `status` and `clean`.

use serde_json::json;

use crate::sim::guest::cloud_init::OUTPUT;
use crate::sim::guest::pace;
use crate::sim::guest::shell::{Call, USAGE};

pub async fn run(call: &Call<'_>) -> i32 {
    match call.words()[..] {
        ["status", ref flags @ ..] => status(call, flags).await,
        ["clean", ..] if !call.root => call.fail(1, "cloud-init: You do not have permission to run clean").await,
        ["clean", ref flags @ ..] => clean(call, flags).await,
        ["--version"] => {
            call.say("/usr/bin/cloud-init 26.2").await;
            0
        }
        _ => call.fail(USAGE, "usage: cloud-init [-h] [--version] {init,modules,single,query,features,analyze,devel,collect-logs,clean,status,schema} ...").await,
    }
}

async fn status(call: &Call<'_>, flags: &[&str]) -> i32 {
    let json_form =
        matches!(flags, [.., "--format", "json"] | ["--format", "json", ..] | [.., "--format=json"]);
    let known = ["--format", "json", "--format=json", "--wait", "--long"];
    if let Some(unknown) = flags.iter().find(|flag| !known.contains(flag)) {
        return call.fail(USAGE, format!("cloud-init: error: unrecognized arguments: {unknown}")).await;
    }
    while flags.contains(&"--wait")
        && call.model.live(|live| matches!(live.cloud_init.status, "running" | "not run"))
    {
        call.model.look_again(pace::POLL).await;
    }
    let told = call.model.live(|live| live.cloud_init.clone());
    let degraded = !told.recoverable.is_empty();
    let extended = if degraded && told.status != "disabled" {
        format!("degraded {}", told.status)
    } else {
        told.status.to_owned()
    };
    if json_form {
        let answer = json!({
            "boot_status_code": if told.status == "disabled" { "disabled-by-generator" } else { "enabled-by-generator" },
            "datasource": told.datasource,
            "detail": told.datasource,
            "errors": told.errors,
            "extended_status": extended,
            "last_update": "",
            "recoverable_errors": told.recoverable,
            "stage": told.stage,
            "status": told.status,
        });
        call.say(format!("{answer:#}")).await;
    } else {
        call.say(format!("status: {}", told.status)).await;
    }
    match (told.status, degraded) {
        ("error", _) => 1,
        (_, true) => 2,
        _ => 0,
    }
}

/// Forgets the instance, so that the next boot is a first one (facts/vm-images-cloudinit.md §4.6).
pub async fn clean(call: &Call<'_>, flags: &[&str]) -> i32 {
    if let Some(unknown) =
        flags.iter().find(|flag| !["--logs", "--seed", "--machine-id", "--reboot"].contains(flag))
    {
        return call.fail(USAGE, format!("cloud-init: error: unrecognized arguments: {unknown}")).await;
    }
    let machine_id = flags.contains(&"--machine-id");
    call.model.change_disk(|disk| {
        disk.instance = None;
        if flags.contains(&"--logs") {
            disk.take(OUTPUT);
        }
        if machine_id {
            disk.put("/etc/machine-id", 0o444, "uninitialized\n");
        }
    });
    0
}
