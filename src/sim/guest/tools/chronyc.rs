//! chronyc: `tracking`, `waitsync`, `burst` and `makestep`.

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
            let interval = words.get(4).map_or(Some(INTERVAL_SECONDS), |seconds| seconds.parse().ok());
            let (Ok(tries), Some(interval)) = (tries.parse::<u32>(), interval) else {
                return call.fail(1, "Invalid syntax for waitsync command").await;
            };
            for attempt in 1..=tries.saturating_mul(interval) {
                if synced() {
                    call.say(format!(
                        "try: {}, refid: 0A0A0002, correction: 0.000012000, skew: 0.010",
                        attempt.div_ceil(interval.max(1))
                    ))
                    .await;
                    return 0;
                }
                call.model.look_again(pace::POLL).await;
            }
            1
        }
        ["burst" | "makestep", ..] if !call.root => call.fail(1, "501 Not authorised").await,
        ["burst", _] => {
            call.say("200 OK").await;
            0
        }
        ["makestep"] => {
            call.model.live(|live| live.clock_ahead_ms = 0);
            call.say("200 OK").await;
            0
        }
        _ => call.fail(1, "Unrecognized command").await,
    }
}
