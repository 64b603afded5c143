//! Values as block-style YAML, laid out as kubectl lays them out.

use serde_json::Value;

/// Characters, beside letters and digits, of which a plain word may consist.
const PLAIN: &str = "+/=._-:@";
/// Words that YAML, or some reader of it, takes for something else than text.
const NOT_TEXT: &[&str] = &["true", "false", "yes", "no", "on", "off", "y", "n", "null"];

/// Returns the lines of one item of a list that stands at this indent.
pub fn item(value: &Value, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    put_item(value, indent, &mut lines);
    lines
}

fn put_item(value: &Value, indent: usize, lines: &mut Vec<String>) {
    let first = lines.len();
    put(value, indent + 2, lines);
    match lines.get_mut(first) {
        Some(line) if !is_inline(value) => line.replace_range(indent..=indent, "-"),
        _ => lines.push(format!("{}- {}", " ".repeat(indent), inline(value))),
    }
}

/// Appends a mapping's or a list's lines; nothing for what fits behind its key.
fn put(value: &Value, indent: usize, lines: &mut Vec<String>) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let key = format!("{}{}:", " ".repeat(indent), scalar(key));
                if is_inline(value) {
                    lines.push(format!("{key} {}", inline(value)));
                } else {
                    lines.push(key);
                    // A list stands under its key, a mapping one step further.
                    let step = if value.is_array() { 0 } else { 2 };
                    put(value, indent + step, lines);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| put_item(item, indent, lines)),
        _ => {}
    }
}

fn is_inline(value: &Value) -> bool {
    match value {
        Value::Object(entries) => entries.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    }
}

fn inline(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), scalar)
}

/// Returns a text as it is if every reader takes it for text, else in quotes as JSON has them.
pub fn scalar(text: &str) -> String {
    let starts_plainly = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    let is_plain = starts_plainly
        && text.chars().all(|one| one.is_ascii_alphanumeric() || PLAIN.contains(one))
        && !text.ends_with(':')
        && !NOT_TEXT.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_is_laid_out_as_kubectl_does() {
        let value = json!({
            "cluster": { "extensions": [{ "extension": { "lab": "lab" }, "name": "fusionlab.dev" }], "server": "https://192.168.68.200:6443" },
            "name": "lab",
        });
        let expected = "- cluster:\n    extensions:\n    - extension:\n        lab: lab\n      name: fusionlab.dev\n    server: https://192.168.68.200:6443\n  name: lab";
        assert_eq!(item(&value, 0).join("\n"), expected);
        assert_eq!(item(&json!("a b"), 2), ["  - \"a b\""]);
        assert_eq!(item(&json!({ "a": {}, "b": [] }), 0), ["- a: {}", "  b: []"]);
    }

    #[test]
    fn what_a_reader_could_take_for_something_else_is_quoted() {
        for text in ["no", "On", "1.5", "0x1", "", "a: b", "a:", "~", "- x", "#", "ü"] {
            assert!(scalar(text).starts_with('"'), "{text}");
        }
        for text in ["LS0tLS1CRUdJTg==", "socks5://127.0.0.1:1080", "/Users/me/.fusionlab", "lab-admin"] {
            assert_eq!(scalar(text), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "\\PC{0,12}", key in "[a-z~ #:]{1,6}") {
            let value = json!([{ key: [text, { "a": text }], "z": { "b": [] } }]);
            let lines: Vec<_> = value.as_array().unwrap().iter().flat_map(|one| item(one, 0)).collect();
            let read: Value = serde_saphyr::from_str(&lines.join("\n")).unwrap();
            proptest::prop_assert_eq!(read, value);
        }
    }
}
