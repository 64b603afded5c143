//! Small pieces of language: plurals, durations, sizes, wrapped text.

use std::time::Duration;

pub use crate::formats::figures::count;

/// Returns `a`, `a or b`, `a, b or c`; `or` is the last conjunction.
pub fn either(all: &[String], or: &str) -> String {
    match all {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {or} {last}", first.join(", ")),
    }
}

/// Returns a duration as one reads it: `12 ms`, `1.2 s`, `48 s`, `3 min 20 s`, `1 h 05 min`.
pub fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = (millis + 500) / 1000;
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..9_950 => format!("{:.1} s", duration.as_secs_f64()),
        9_950..59_500 => format!("{seconds} s"),
        59_500..3_599_500 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Returns a running stopwatch in whole seconds: `0:07`, `3:20`, `1:05:00`. Its width seldom changes.
pub fn stopwatch(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..3_600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

/// Returns a time that stands still in the same few columns: `0.4 s`, `48.1 s`, `3:20`.
pub fn lap(duration: Duration) -> String {
    let tenths = duration.as_millis() / 100;
    if tenths < 600 { format!("{}.{} s", tenths / 10, tenths % 10) } else { stopwatch(duration) }
}

/// Returns a size in binary units: `512 B`, `1.5 KiB`, `598.2 MiB`, `12 GiB`.
pub fn bytes(bytes: u64) -> String {
    const STEP: f64 = 1024.0;
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut size = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].iter().peekable();
    while let Some(unit) = units.next() {
        if size < STEP || units.peek().is_none() {
            let digits = usize::from(*unit != "B" && size < 1000.0);
            let number = format!("{size:.digits$}");
            return format!("{} {unit}", number.strip_suffix(".0").unwrap_or(&number));
        }
        size /= STEP;
    }
    unreachable!("the last unit returns")
}

/// Returns a part of a size, with the unit once if it is the same: `231.4 of 598.2 MiB`, `512 KiB of 1.5 GiB`.
pub fn bytes_of(done: u64, total: u64) -> String {
    let (done, total) = (bytes(done), bytes(total));
    match (done.split_once(' '), total.split_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same => format!("{number} of {total}"),
        _ => format!("{done} of {total}"),
    }
}

/// Breaks text into lines of at most so many columns, between words; a longer word stands alone, and so does a path, which may
/// have blanks in it. A figure stays with its unit. A line's own indentation stays, so that YAML in advice can be copied.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let indent = &paragraph[..paragraph.len() - paragraph.trim_start().len()];
        let mut line = String::new();
        for word in unbroken(paragraph) {
            let grown = console::measure_text_width(&line) + 1 + console::measure_text_width(&word);
            if !line.is_empty() && grown > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push_str(if line.is_empty() { indent } else { " " });
            line.push_str(&word);
        }
        lines.push(line);
    }
    lines
}

/// Returns wrapped text behind a mark of one column; what does not fit goes on below its first word.
pub fn marked(mark: &str, text: &str, width: usize) -> Vec<String> {
    let begin = |index| if index == 0 { mark } else { " " };
    wrap(text, width).iter().enumerate().map(|(index, line)| format!("{} {line}", begin(index))).collect()
}

/// Returns text that is wrapped with the words that it begins with; these are shown as they are painted, and what does not
/// fit is indented.
pub fn headed(head: &str, painted: &str, text: &str, width: usize) -> Vec<String> {
    let lines = wrap(&format!("{head} {text}"), width);
    let shown = lines.iter().enumerate().map(|(index, line)| match line.strip_prefix(head) {
        Some(rest) if index == 0 => format!("{painted}{rest}"),
        _ => format!("  {line}"),
    });
    shown.collect()
}

/// Returns what no line may be broken within: words, figures with their units, paths.
fn unbroken(paragraph: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for word in paragraph.split_whitespace() {
        match parts.last_mut() {
            Some(before) if belong_together(before, word) => {
                before.push(' ');
                before.push_str(word);
            }
            _ => parts.push(word.to_owned()),
        }
    }
    parts
}

fn belong_together(before: &str, word: &str) -> bool {
    const UNITS: [&str; 9] = ["ms", "s", "min", "h", "B", "KiB", "MiB", "GiB", "TiB"];
    // Colours are put on word by word.
    let (before, word) = (console::strip_ansi_codes(before), console::strip_ansi_codes(word));
    let figure = before.trim_start_matches('(');
    let is_figure = figure.starts_with(|first: char| first.is_ascii_digit())
        && figure.ends_with(|last: char| last.is_ascii_digit())
        && figure.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
    let unit = word.trim_end_matches([',', ';', ':', '.', ')']);
    let unit = unit.split('/').next().unwrap_or_default();
    is_figure && UNITS.contains(&unit) || are_of_one_path(&before, &word)
}

/// Says whether a blank between two words is one of a path's: one of those that every Mac has, or one with a slash behind it.
fn are_of_one_path(before: &str, word: &str) -> bool {
    const KNOWN: [(&str, &str); 3] =
        [("VMware", "Fusion"), ("Virtual", "Machines.localized"), ("Application", "Support")];
    let path = before.trim_start_matches(['"', '\'', '(', '`']);
    let is_path = path.starts_with('/') || path.starts_with("~/");
    if !is_path || before.ends_with([',', ';', ':', '.', ')', '"', '\'', '`']) {
        return false;
    }
    let is_known =
        |(first, second): &(&str, &str)| before.ends_with(&format!("/{first}")) && word.starts_with(second);
    let goes_on = !word.contains("://")
        && word.starts_with(|first: char| first.is_alphanumeric())
        && word.split_once('/').is_some();
    goes_on || KNOWN.iter().any(is_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well_and_never_show_sixty_seconds() {
        let cases = [
            (12, "12 ms"),
            (999, "999 ms"),
            (1_200, "1.2 s"),
            (9_949, "9.9 s"),
            (9_950, "10 s"),
            (59_499, "59 s"),
            (59_500, "1 min 00 s"),
            (119_700, "2 min 00 s"),
            (200_000, "3 min 20 s"),
            (3_599_600, "1 h 00 min"),
            (3_900_000, "1 h 05 min"),
        ];
        for (millis, text) in cases {
            assert_eq!(duration(Duration::from_millis(millis)), text, "{millis} ms");
        }
        assert_eq!(lap(Duration::from_millis(440)), "0.4 s");
        assert_eq!(lap(Duration::from_millis(59_940)), "59.9 s");
        assert_eq!(lap(Duration::from_millis(60_000)), "1:00");
        assert_eq!(stopwatch(Duration::from_millis(7_900)), "0:07");
        assert_eq!(stopwatch(Duration::from_secs(3_900)), "1:05:00");
    }

    #[test]
    fn sizes_use_binary_units() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(12 << 30), "12 GiB");
        assert_eq!(bytes(627_304_038), "598.2 MiB");
        assert_eq!(bytes(1020 * 1024 * 1024), "1020 MiB");
        assert_eq!(bytes_of(242_221_056, 627_304_038), "231 of 598.2 MiB");
        assert_eq!(bytes_of(512 * 1024, 1536 * 1024 * 1024), "512 KiB of 1.5 GiB");
        assert_eq!(bytes(u64::MAX), "16777216 TiB");
    }

    #[test]
    fn words_wrap_and_long_ones_stay_whole() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a /very/long/path b", 5), ["a", "/very/long/path", "b"]);
        let vmx = "/u/Virtual Machines.localized/lab/a b.vmwarevm/a.vmx";
        assert_eq!(
            wrap(&format!("step vm.start/a, {vmx}, and so on"), 20)[1..],
            [&format!("{vmx},"), "and so on"]
        );
        assert_eq!(
            wrap("see /Library/VMware Fusion or /var/log", 9),
            ["see", "/Library/VMware Fusion", "or", "/var/log"]
        );
        assert_eq!(wrap("in /tmp, a/b", 8), ["in /tmp,", "a/b"]);
        assert_eq!(wrap("nodes:\n  one: {}", 20), ["nodes:", "  one: {}"]);
        assert_eq!(wrap("at most 5.0 s of it", 10), ["at most", "5.0 s of", "it"]);
        assert_eq!(wrap("28.9 MiB/s, 12 left", 5), ["28.9 MiB/s,", "12", "left"]);
        assert_eq!(count(1, "worker"), "1 worker");
        assert_eq!(count(0, "worker"), "0 workers");
        let listed =
            |all: &[&str]| either(&all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>(), "or");
        assert_eq!((listed(&["a"]), listed(&["a", "b", "c"])), ("a".into(), "a, b or c".into()));
    }
}
