//! ping: one echo request, answered or not.

use crate::sim::guest::shell::Call;
use crate::sim::guest::{network, pace};

pub async fn run(call: &Call<'_>) -> i32 {
    let (mut target, mut interface) = (None, None);
    let mut words = call.args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-n" | "-q" => {}
            "-c" | "-W" | "-w" => drop(words.next()),
            "-I" => interface = words.next().cloned(),
            flag if flag.starts_with('-') => {
                return call.fail(2, format!("ping: invalid option -- '{flag}'")).await;
            }
            name => target = Some(name.to_owned()),
        }
    }
    let Some(name) = target else {
        return call.fail(1, "ping: usage error: Destination address required").await;
    };
    let Some(address) = network::resolve(call.model, &name) else {
        return call.fail(2, format!("ping: {name}: Name or service not known")).await;
    };
    let answered = network::ping(call.model, address, interface.as_deref()).await;
    if !answered {
        call.model.pass(pace::PING_LOST).await;
    }
    let (received, loss) = if answered { (1, 0) } else { (0, 100) };
    call.print(format!("PING {name} ({address}) 56(84) bytes of data.\n\n--- {name} ping statistics ---\n"))
        .await;
    call.say(format!("1 packets transmitted, {received} received, {loss}% packet loss, time 0ms")).await;
    i32::from(!answered)
}
