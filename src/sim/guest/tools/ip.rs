//! ip: addresses, routes, and links up or down.

use crate::sim::guest::network::{addresses, set_link};
use crate::sim::guest::routing;
use crate::sim::guest::shell::Call;

pub async fn run(call: &Call<'_>) -> i32 {
    let changes = |word: &&str| ["add", "del", "replace"].contains(word);
    if !call.root && call.words().iter().any(changes) {
        return call.fail(2, "RTNETLINK answers: Operation not permitted").await;
    }
    let words: Vec<_> =
        call.words().into_iter().filter(|word| !["-4", "-o", "-br", "-brief"].contains(word)).collect();
    match words[..] {
        ["addr" | "address" | "a", verb @ ("add" | "del"), net, "dev", device] => {
            changed(call, routing::change_address(call.model, verb == "add", net, device)).await
        }
        ["addr" | "address" | "a", ..] => {
            for (index, held) in (2..).zip(addresses(call.model)) {
                call.say(format!(
                    "{index}: {}    inet {}/{} scope global {}",
                    held.interface, held.address, held.prefix, held.interface
                ))
                .await;
            }
            0
        }
        ["route" | "r", verb @ ("add" | "del" | "replace"), ref route @ ..] => {
            changed(call, routing::change_route(call.model, verb != "del", route)).await
        }
        ["route" | "r", ref filter @ ..] => {
            let lines = match filter {
                [] | ["show"] => routing::all(call.model),
                ["show", "default"] => routing::defaults(call.model),
                _ => {
                    return call.fail(255, "ip: the model guest shows all routes, or the default ones").await;
                }
            };
            for line in lines {
                call.say(line).await;
            }
            0
        }
        ["link" | "l", "set", "dev", name, word @ ("up" | "down")]
        | ["link" | "l", "set", name, word @ ("up" | "down")] => {
            if !call.root {
                return call.fail(2, "RTNETLINK answers: Operation not permitted").await;
            }
            if set_link(call.model, name, word == "up") {
                return 0;
            }
            call.fail(1, format!("Cannot find device \"{name}\"")).await
        }
        _ => call.fail(255, "Object is unknown, try \"ip help\".").await,
    }
}

/// Ends a change.
async fn changed(call: &Call<'_>, outcome: Result<(), String>) -> i32 {
    match outcome {
        Ok(()) => 0,
        Err(why) => call.fail(2, why).await,
    }
}
