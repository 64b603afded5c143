//! How long a certificate is valid, how that is told, and whether it is due to be made anew.

use crate::lab::limits::CERTIFICATE_RENEWAL;

/// From when until when a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Validity {
    pub begins: u64,
    pub ends: u64,
}

impl Validity {
    /// Says whether the certificate is renewed now: it ends soon, has ended, or was made under a clock that ran ahead and
    /// has not begun.
    pub fn is_due(&self, now: u64) -> bool {
        self.good_until(now) < now + CERTIFICATE_RENEWAL.as_secs()
    }

    /// Returns the time until which it can be relied on from now on: none, if it has not begun.
    pub fn good_until(&self, now: u64) -> u64 {
        if self.begins > now { 0 } else { self.ends }
    }

    /// Says when the certificate ends, or what else is the matter: `ends in 23 days`, `ended 2 h ago`, `begins in 3 days`.
    pub fn told(&self, now: u64) -> String {
        match (self.begins.checked_sub(now), self.ends.checked_sub(now)) {
            (Some(left), _) if left > 0 => format!("begins in {}", long(left)),
            (_, None | Some(0)) => format!("ended {} ago", long(now - self.ends)),
            (_, Some(left)) => format!("ends in {}", long(left)),
        }
    }

    /// As [`Self::told`], of several certificates: `end in 23 days`.
    pub fn told_of_several(&self, now: u64) -> String {
        self.told(now).replacen("ends ", "end ", 1).replacen("begins ", "begin ", 1)
    }
}

/// Returns a time in its largest fitting unit, to the nearest: `90 s`, `8 h`, `400 days`.
pub fn long(seconds: u64) -> String {
    const DAY: u64 = 24 * 3600;
    let nearest = |unit: u64| (seconds + unit / 2) / unit;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", nearest(60)),
        7200..=172_799 => format!("{} h", nearest(3600)),
        _ => format!("{} days", nearest(DAY)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;
    const NOW: u64 = 1_790_000_000;

    #[test]
    fn what_ends_within_thirty_days_is_due_and_what_has_not_begun() {
        let of = |begins: u64, ends: u64| {
            let validity = Validity { begins, ends };
            (validity.is_due(NOW), validity.told(NOW), validity.told_of_several(NOW))
        };
        let told = |due, one: &str, several: &str| (due, one.to_owned(), several.to_owned());
        assert_eq!(of(0, NOW + 31 * DAY), told(false, "ends in 31 days", "end in 31 days"));
        assert_eq!(of(NOW, NOW + 29 * DAY), told(true, "ends in 29 days", "end in 29 days"));
        assert_eq!(of(0, NOW - 3 * DAY), told(true, "ended 3 days ago", "ended 3 days ago"));
        assert_eq!(of(NOW + 3 * DAY, NOW + 400 * DAY), told(true, "begins in 3 days", "begin in 3 days"));
    }
}
