//! systemctl: units started, stopped, reloaded, enabled, asked.

use crate::sim::guest::live::UnitState;
use crate::sim::guest::shell::{Call, USAGE};
use crate::sim::guest::units;

/// `is-active` for a unit that is not.
const NOT_ACTIVE: i32 = 3;
/// A unit that does not exist.
const NO_UNIT: i32 = 5;
/// The option of `kill`, with its value.
const SIGNAL: &str = "--signal=";

pub async fn run(call: &Call<'_>) -> i32 {
    let (flags, words): (Vec<_>, Vec<_>) = call.words().into_iter().partition(|word| word.starts_with('-'));
    let known =
        |flag: &&&str| ["--now", "--quiet", "-q", "--no-block"].contains(*flag) || flag.starts_with(SIGNAL);
    if let Some(unknown) = flags.iter().find(|flag| !known(flag)) {
        return call.fail(USAGE, format!("systemctl: unrecognized option '{unknown}'")).await;
    }
    let (now, quiet) = (flags.contains(&"--now"), flags.contains(&"--quiet") || flags.contains(&"-q"));
    let [verb, names @ ..] = &words[..] else {
        return call.fail(1, "systemctl: the model guest lists nothing").await;
    };
    if matches!(*verb, "daemon-reload" | "reset-failed" | "daemon-reexec") {
        return if call.root { 0 } else { denied(call).await };
    }
    if names.is_empty() {
        return call.fail(1, "Too few arguments.").await;
    }
    let names: Vec<&str> = names.iter().map(|name| units::canonical(name)).collect();
    match *verb {
        "is-active" => is_active(call, &names, quiet).await,
        "is-enabled" => is_enabled(call, &names).await,
        "kill" if !call.root => denied(call).await,
        "kill" => kill(call, &flags, &names).await,
        "start" | "stop" | "restart" | "reload" | "reload-or-restart" | "enable" | "disable" | "mask"
        | "unmask" => {
            if !call.root {
                return denied(call).await;
            }
            change(call, verb, &names, now).await
        }
        other => call.fail(1, format!("Unknown command verb '{other}'.")).await,
    }
}

async fn kill(call: &Call<'_>, flags: &[&str], names: &[&str]) -> i32 {
    let signal = flags.iter().find_map(|flag| flag.strip_prefix(SIGNAL)).unwrap_or("SIGTERM");
    if !matches!(signal, "SIGKILL" | "KILL" | "9") {
        return call.fail(1, format!("systemctl: the model guest kills by SIGKILL only, not {signal}")).await;
    }
    for name in names {
        if !units::exists(call.model, name) {
            let why = format!("Failed to kill unit {name}.service: Unit {name}.service not loaded.");
            return call.fail(1, why).await;
        }
        if let Err(why) = units::kill(call.model, name) {
            return call.fail(1, format!("Failed to kill unit {name}.service: {why}")).await;
        }
    }
    0
}

async fn denied(call: &Call<'_>) -> i32 {
    call.fail(1, "Failed to connect to bus: Interactive authentication required.").await
}

async fn is_active(call: &Call<'_>, names: &[&str], quiet: bool) -> i32 {
    let states: Vec<UnitState> = names.iter().map(|name| call.model.live(|live| live.unit(name))).collect();
    for state in states.iter().filter(|_| !quiet) {
        call.say(state.word()).await;
    }
    if states.contains(&UnitState::Active) { 0 } else { NOT_ACTIVE }
}

async fn is_enabled(call: &Call<'_>, names: &[&str]) -> i32 {
    let mut any = false;
    for name in names {
        let enabled = call.model.disk(|disk| disk.enabled.contains(*name));
        any |= enabled;
        call.say(if enabled { "enabled" } else { "disabled" }).await;
    }
    i32::from(!any)
}

async fn change(call: &Call<'_>, verb: &str, names: &[&str], now: bool) -> i32 {
    let mut status = 0;
    for name in names {
        if !units::exists(call.model, name) {
            if verb == "mask" {
                continue;
            }
            let why = match verb {
                "enable" | "disable" => {
                    format!("Failed to {verb} unit: Unit file {name}.service does not exist.")
                }
                _ => format!("Failed to {verb} {name}.service: Unit {name}.service not found."),
            };
            call.complain(why).await;
            status = if matches!(verb, "enable" | "disable") { 1 } else { NO_UNIT };
            continue;
        }
        if let Err(why) = change_one(call, verb, name, now).await {
            call.complain(why).await;
            status = 1;
        }
    }
    status
}

async fn change_one(call: &Call<'_>, verb: &str, name: &str, now: bool) -> Result<(), String> {
    let model = call.model;
    let failed = |_: String| {
        format!(
            "Job for {name}.service failed because the control process exited with error code.\n\
             See \"systemctl status {name}.service\" and \"journalctl -xeu {name}.service\" for details."
        )
    };
    let active = || model.live(|live| live.unit_active(name));
    match verb {
        "enable" => {
            model.change_disk(|disk| disk.enabled.insert(name.to_owned()));
            if now {
                units::start(model, name).await.map_err(failed)?
            }
        }
        "disable" | "mask" => {
            model.change_disk(|disk| disk.enabled.remove(name));
            if now {
                units::stop(model, name).await
            }
        }
        "start" => units::start(model, name).await.map_err(failed)?,
        "stop" => units::stop(model, name).await,
        "reload" if !active() => return Err(format!("{name}.service is not active, cannot reload.")),
        "reload" => units::reload(model, name).await.map_err(failed)?,
        "reload-or-restart" if active() && matches!(name, "nginx" | "keepalived") => {
            units::reload(model, name).await.map_err(failed)?;
        }
        "restart" | "reload-or-restart" => {
            if matches!(name, "systemd-sysctl" | "systemd-modules-load") {
                units::apply_sysctl(model);
                let modules = model.disk(units::configured_modules);
                model.live(|live| live.modules = modules);
            }
            units::stop(model, name).await;
            units::start(model, name).await.map_err(failed)?;
        }
        _ => {}
    }
    Ok(())
}
