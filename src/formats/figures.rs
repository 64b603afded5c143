//! Figures in words and in JSON: counted things, and seconds.

use std::fmt::Display;
use std::time::Duration;

use serde::Serializer;

/// Returns `1 worker`, `2 workers`.
pub fn count(number: usize, noun: impl Display) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Returns seconds to the millisecond, as all our JSON has them.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Writes a duration as [`seconds`].
pub fn serialize_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(seconds(*duration))
}
