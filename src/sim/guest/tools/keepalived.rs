//! keepalived: `-t` tests a configuration.

use crate::sim::guest::keepalived::Keepalived;
use crate::sim::guest::shell::Call;
use crate::sim::guest::units;

/// keepalived's exit status for a bad configuration (facts/test-bench.md §6 point 7).
const BAD_CONFIGURATION: i32 = 5;

pub async fn run(call: &Call<'_>) -> i32 {
    let path = match call.words()[..] {
        ["-t", "-f", path] | ["-f", path, "-t"] => path,
        ["-t"] => "/etc/keepalived/keepalived.conf",
        ["--version" | "-v"] => {
            let version =
                call.model.disk(|disk| disk.packages.get("keepalived").cloned()).unwrap_or_default();
            call.complain(format!("Keepalived v{version}")).await;
            return 0;
        }
        _ => return call.fail(1, "Usage: keepalived [OPTION...]").await,
    };
    if !call.root {
        return call
            .fail(BAD_CONFIGURATION, format!("Unable to open configuration file '{path}': Permission denied"))
            .await;
    }
    let interfaces = units::interfaces(call.model);
    match call.model.disk(|disk| Keepalived::read(disk, path, &interfaces)) {
        Ok(_) => 0,
        Err(problems) => call.fail(BAD_CONFIGURATION, problems.join("\n")).await,
    }
}
