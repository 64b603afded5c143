//! ip: addresses and routes, read only.

use crate::sim::guest::network::addresses;
use crate::sim::guest::shell::Call;

pub async fn run(call: &Call<'_>) -> i32 {
    let words: Vec<_> =
        call.words().into_iter().filter(|word| !["-4", "-o", "-br", "-brief"].contains(word)).collect();
    match words[..] {
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
        ["route" | "r", ..] => {
            for interface in call.model.live(|live| live.interfaces.clone()) {
                if let Some(router) = interface.router {
                    call.say(format!("default via {router} dev {}", interface.name)).await;
                }
            }
            0
        }
        _ => call.fail(255, "Object is unknown, try \"ip help\".").await,
    }
}
