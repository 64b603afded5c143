//! vmware-rpctool: the guest's variables, by which it tells the host something.

use crate::sim::guest::shell::Call;

pub async fn run(call: &Call<'_>) -> i32 {
    // The words are one argument, as the tool wants them, or several.
    let line = call.args.join(" ");
    let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
    match (verb, rest.strip_prefix("guestinfo.")) {
        ("info-set", Some(pair)) => {
            let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
            match call.model.around.set_variable(name, value) {
                Ok(()) => 0,
                Err(error) => call.fail(1, format!("Failed to set the variable: {error}")).await,
            }
        }
        ("info-get", Some(name)) => match call.model.around.variable(name) {
            Some(value) => {
                call.say(value).await;
                0
            }
            None => call.fail(1, "No value found").await,
        },
        _ => call.fail(1, "Unknown command").await,
    }
}
