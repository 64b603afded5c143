//! QEMU's control protocol (QMP): one JSON value a line, orders to it and events from it.

use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// What a machine can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The power button is pressed.
    PowerButton,
    /// The processors stand still.
    Pause,
    Resume,
}

impl Order {
    fn command(self) -> &'static str {
        match self {
            Self::PowerButton => "system_powerdown",
            Self::Pause => "stop",
            Self::Resume => "cont",
        }
    }
}

/// What a machine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It starts again.
    Reset,
    /// It is off; QEMU ends by itself.
    Off,
    /// An order was refused, or QEMU says what it should not: the words.
    Complaint(String),
}

/// Sends orders until their sender is gone or QEMU is. Nothing may be said before the capabilities are settled.
///
/// # Errors
/// If QEMU reads no more: it has ended.
pub async fn order<W: AsyncWrite + Unpin>(
    mut to: W,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> io::Result<()> {
    say(&mut to, "qmp_capabilities").await?;
    while let Some(order) = orders.recv().await {
        say(&mut to, order.command()).await?;
    }
    // QEMU would take the end of its input for nothing special, but there is no need to find out.
    std::future::pending().await
}

async fn say<W: AsyncWrite + Unpin>(to: &mut W, command: &str) -> io::Result<()> {
    to.write_all(format!("{}\n", json!({ "execute": command })).as_bytes()).await?;
    to.flush().await
}

/// Waits for the next event; none when QEMU has ended.
pub async fn event<R: AsyncBufRead + Unpin>(from: &mut R) -> Option<Event> {
    let mut line = String::new();
    loop {
        line.clear();
        match from.read_line(&mut line).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        if let Some(event) = understood(&line) {
            return Some(event);
        }
    }
}

fn understood(line: &str) -> Option<Event> {
    let Ok(said) = serde_json::from_str::<Value>(line) else {
        return Some(Event::Complaint(format!("not understood: {}", line.trim())));
    };
    if let Some(error) = said.get("error") {
        let words = error.get("desc").and_then(Value::as_str).unwrap_or_default();
        return Some(Event::Complaint(words.to_owned()));
    }
    match said.get("event").and_then(Value::as_str)? {
        "RESET" => Some(Event::Reset),
        "SHUTDOWN" => Some(Event::Off),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_are_told_apart_and_answers_are_passed_over() {
        let said = concat!(
            "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}}, \"capabilities\": [\"oob\"]}}\r\n",
            "{\"return\": {}}\r\n",
            "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"RESET\", \"data\": {\"guest\": true}}\r\n",
            "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such thing\"}}\r\n",
            "{\"event\": \"POWERDOWN\"}\r\n{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true}}\r\n",
        );
        let mut from = said.as_bytes();
        assert_eq!(event(&mut from).await, Some(Event::Reset));
        assert_eq!(event(&mut from).await, Some(Event::Complaint("no such thing".into())));
        assert_eq!(event(&mut from).await, Some(Event::Off));
        assert_eq!(event(&mut from).await, None);
    }

    #[tokio::test]
    async fn orders_come_after_the_capabilities_and_in_their_order() {
        let (sender, orders) = mpsc::unbounded_channel();
        let (to, mut from) = tokio::io::duplex(1024);
        let writing = tokio::spawn(order(to, orders));
        for order in [Order::Pause, Order::Resume, Order::PowerButton] {
            sender.send(order).unwrap();
        }
        let mut lines = tokio::io::BufReader::new(&mut from).lines();
        for command in ["qmp_capabilities", "stop", "cont", "system_powerdown"] {
            let line = lines.next_line().await.unwrap().unwrap();
            assert_eq!(line, format!("{{\"execute\":\"{command}\"}}"));
        }
        writing.abort();
    }
}
