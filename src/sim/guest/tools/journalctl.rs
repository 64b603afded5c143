//! journalctl: a unit's last lines.

use crate::sim::guest::shell::Call;
use crate::sim::guest::units;

pub async fn run(call: &Call<'_>) -> i32 {
    let (mut count, mut unit) = (1000, None);
    let mut words = call.args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--no-pager" | "-q" | "-b" => {}
            "-n" => count = words.next().and_then(|count| count.parse().ok()).unwrap_or(10),
            "-u" => unit = words.next().cloned(),
            other => return call.fail(1, format!("journalctl: unrecognized option '{other}'")).await,
        }
    }
    let Some(unit) = unit else {
        return call.fail(1, "journalctl: the model guest keeps a journal for each unit: -u").await;
    };
    if !call.root {
        return call.fail(1, "No journal files were opened due to insufficient permissions.").await;
    }
    let lines = call.model.live(|live| live.journal(units::canonical(&unit), count));
    if lines.is_empty() {
        call.say("-- No entries --").await;
    }
    for line in lines {
        call.say(line).await;
    }
    0
}
