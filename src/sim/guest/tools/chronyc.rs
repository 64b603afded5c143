//! chronyc: `tracking` and `waitsync`.

use crate::sim::guest::pace;
use crate::sim::guest::shell::Call;

const INTERVAL_SECONDS: u32 = 10;

pub async fn run(call: &Call<'_>) -> i32 {
    if !call.model.live(|live| live.unit_active("chrony")) {
        return call.fail(1, "506 Cannot talk to daemon").await;
    }
    let synced = || call.model.live(|live| live.clock_synced);
    let words = call.words();
    let words = if words.first() == Some(&"-n") { &words[1..] } else { &words[..] };
    match words {
        ["tracking"] => {
            let (reference, leap) = if synced() {
                ("0A0A0002 (10.10.0.2)", "Normal")
            } else {
                ("00000000 ()", "Not synchronised")
            };
            call.say(format!("Reference ID    : {reference}")).await;
            call.say(format!("Stratum         : {}", if synced() { 3 } else { 0 })).await;
            call.say("System time     : 0.000012000 seconds fast of NTP time").await;
            call.say(format!("Leap status     : {leap}")).await;
            0
        }
        ["waitsync", tries, ..] => {
            let Ok(tries) = tries.parse::<u32>() else {
                return call.fail(1, "Invalid syntax for waitsync command").await;
            };
            for attempt in 1..=tries.saturating_mul(INTERVAL_SECONDS) {
                if synced() {
                    call.say(format!(
                        "try: {}, refid: 0A0A0002, correction: 0.000012000, skew: 0.010",
                        attempt.div_ceil(INTERVAL_SECONDS)
                    ))
                    .await;
                    return 0;
                }
                call.model.look_again(pace::POLL).await;
            }
            1
        }
        _ => call.fail(1, "Unrecognized command").await,
    }
}
