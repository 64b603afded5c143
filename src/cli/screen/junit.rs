//! The proof as JUnit's XML, which build servers read: a test suite for each hop.

use std::time::Duration;

use super::verify::{CheckLine, seconds};
use crate::engine::event::Proven;
use crate::stack::checks::Hop;
use crate::stack::judge::Outcome;

/// Returns the whole document, a line each.
pub fn lines(lab: &str, checks: &[CheckLine]) -> Vec<String> {
    let all: Vec<&Proven> = checks.iter().map(|check| &check.0).collect();
    let mut lines = vec![
        r#"<?xml version="1.0" encoding="UTF-8"?>"#.to_owned(),
        format!("<testsuites {}>", counts("fusionlab verify", &all)),
    ];
    for hop in Hop::ALL {
        let of_hop: Vec<&Proven> = all.iter().copied().filter(|check| check.hop == hop).collect();
        if of_hop.is_empty() {
            continue;
        }
        lines.push(format!("  <testsuite {}>", counts(hop.title(), &of_hop)));
        lines.extend(of_hop.iter().flat_map(|check| case(lab, check)));
        lines.push("  </testsuite>".to_owned());
    }
    lines.push("</testsuites>".to_owned());
    lines
}

fn counts(name: &str, checks: &[&Proven]) -> String {
    let that = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
    let (failed, skipped) = (that(Outcome::Failed), that(Outcome::NotAsked));
    // Checks run beside one another: their sum is work, not time on a clock.
    let took: Duration = checks.iter().map(|check| check.took).sum();
    format!(
        r#"name="{}" tests="{}" failures="{failed}" errors="0" skipped="{skipped}" time="{}""#,
        escaped(name),
        checks.len(),
        seconds(took)
    )
}

fn case(lab: &str, check: &Proven) -> Vec<String> {
    let open = format!(
        r#"    <testcase classname="{}" name="{}" time="{}""#,
        escaped(&format!("{lab}.{}", check.id)),
        escaped(&check.check),
        seconds(check.took)
    );
    let seen = escaped(&check.detail);
    let inner = match check.outcome {
        Outcome::Passed => format!("<system-out>{seen}</system-out>"),
        Outcome::NotAsked => format!(r#"<skipped message="{seen}"/>"#),
        Outcome::Failed => {
            let text = format!("expected: {}\nseen: {}\nlook: {}", check.expected, check.detail, check.hint);
            format!(r#"<failure message="{seen}" type="verification-failed">{}</failure>"#, escaped(&text))
        }
    };
    vec![format!("{open}>"), format!("      {inner}"), "    </testcase>".to_owned()]
}

/// Returns text as it may stand in an element or in an attribute between double quotes. What XML 1.0 knows no form
/// for at all, such as a terminal's escapes, is shown as a question mark.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\r' => escaped.push_str("&#13;"),
            char if char < ' ' || matches!(char, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::verify::tests::{checks, with_one_not_asked};
    use super::*;

    #[test]
    fn each_hop_is_a_suite_and_a_failure_tells_all() {
        let text = lines("lab", &checks()).join("\n");
        assert!(text.contains(
            r#"<testsuites name="fusionlab verify" tests="2" failures="1" errors="0" skipped="0" time="61.212">"#
        ));
        assert!(text.contains(r#"<testsuite name="end to end" tests="1" failures="0""#), "{text}");
        assert!(text.contains(r#"<testcase classname="lab.machine.address" name="every machine"#), "{text}");
        assert!(text.contains(r#"message="k8s-worker1 lacks &lt;10.10.0.141&gt; &amp; more""#), "{text}");
        assert!(text.contains("&#10;look: what it was given: all of it: journalctl"), "{text}");
    }

    #[test]
    fn what_could_not_be_asked_was_skipped() {
        let text = lines("lab", &with_one_not_asked()).join("\n");
        assert!(text.contains(r#"tests="3" failures="1" errors="0" skipped="1""#), "{text}");
        assert!(text.contains(r#"<skipped message="no API server is ready: dial tcp"#), "{text}");
    }

    #[test]
    fn nothing_breaks_the_document() {
        assert_eq!(escaped("a<b>&\"'\u{1b}[0m\n"), "a&lt;b&gt;&amp;&quot;&apos;?[0m&#10;");
    }
}
