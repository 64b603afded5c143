//! Sizes as people type them.

/// What a number may be followed by, with how many bytes it stands for.
const UNITS: [(&str, u32); 5] = [("", 0), ("K", 10), ("M", 20), ("G", 30), ("T", 40)];

/// Reads `40G`, `40GiB`, `512M`, or plain bytes; units are of 1024.
///
/// # Errors
/// In words for whoever typed it.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let letter = unit.strip_suffix("IB").unwrap_or(&unit);
    let shift = UNITS.iter().find(|(name, _)| *name == letter && (unit == letter || !letter.is_empty()));
    let (Some((_, shift)), Ok(number)) = (shift, number.parse::<u64>()) else {
        return Err("a size is a number of bytes, or one with K, M, G or T: 40G, 40GiB, 512M".to_owned());
    };
    number.checked_mul(1 << shift).ok_or_else(|| "that is more than any disk can have".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_type_them() {
        for text in ["40G", "40GiB", "40g", "40 GiB", "40960M", "42949672960"] {
            assert_eq!(parse(text), Ok(40 << 30), "{text}");
        }
        for text in ["", "G", "-1", "4.5G", "40GB", "40X", "40iB", "0x10", "99999999T"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
