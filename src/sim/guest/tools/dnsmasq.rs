//! dnsmasq: `--test` tests a configuration.

use crate::sim::guest::dnsmasq::Dnsmasq;
use crate::sim::guest::shell::Call;

/// dnsmasq's exit status for a bad configuration.
const BAD_CONFIGURATION: i32 = 1;

pub async fn run(call: &Call<'_>) -> i32 {
    let words = call.words();
    let path = match words[..] {
        ["--version"] => {
            let version =
                call.model.disk(|disk| disk.packages.get("dnsmasq-base").cloned()).unwrap_or_default();
            call.say(format!("Dnsmasq version {version}  Copyright (c) 2000-2024 Simon Kelley")).await;
            return 0;
        }
        ["--test", word] | [word, "--test"] => word.strip_prefix("--conf-file="),
        _ => None,
    };
    let Some(path) = path else {
        return call.fail(BAD_CONFIGURATION, "dnsmasq: the model guest starts dnsmasq by systemd only").await;
    };
    match call.model.disk(|disk| Dnsmasq::read(disk, path)) {
        Ok(_) => {
            call.complain("dnsmasq: syntax check OK.").await;
            0
        }
        Err(why) => call.fail(BAD_CONFIGURATION, format!("dnsmasq: {why}")).await,
    }
}
