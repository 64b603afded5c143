//! As much of JSON Schema as the schemas in `tests/data/schema` use; a word that is not known here is a mistake in them.

use regex::Regex;
use serde_json::Value;

/// A file of definitions, one for each `kind`.
pub struct Schema(Value);

impl Schema {
    pub fn read(text: &str) -> Self {
        Self(serde_json::from_str(text).expect("the schema is JSON"))
    }

    /// Returns what is wrong with a document, by its own `kind`'s definition: each with its place.
    pub fn problems(&self, document: &Value) -> Vec<String> {
        let kind = document["kind"].as_str().unwrap_or_default();
        let mut problems = Vec::new();
        match self.0["definitions"].get(kind) {
            Some(definition) => self.check(definition, document, kind, &mut problems),
            None => problems.push(format!("there is no definition of {kind:?}")),
        }
        problems
    }

    fn check(&self, schema: &Value, value: &Value, place: &str, problems: &mut Vec<String>) {
        for (word, wanted) in schema.as_object().expect("a schema is a mapping") {
            let right = match word.as_str() {
                "description" | "required" | "additionalProperties" => continue,
                "$ref" => {
                    let name = wanted.as_str().and_then(|name| name.strip_prefix("#/definitions/"));
                    let target = &self.0["definitions"][name.expect("a reference is to a definition")];
                    self.check(target, value, place, problems);
                    continue;
                }
                "properties" => {
                    self.properties(schema, value, place, problems);
                    continue;
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, item, &format!("{place}[{index}]"), problems);
                    }
                    continue;
                }
                "type" => is_of(value, wanted.as_str().expect("a type is a word")),
                "const" => value == wanted,
                "enum" => wanted.as_array().expect("a list").contains(value),
                "pattern" => {
                    let pattern = Regex::new(wanted.as_str().expect("a pattern")).expect("it can be read");
                    value.as_str().is_some_and(|text| pattern.is_match(text))
                }
                "minimum" => value.as_i64() >= wanted.as_i64(),
                "maximum" => value.as_i64().is_some_and(|value| Some(value) <= wanted.as_i64()),
                "minLength" => value.as_str().map(str::len) >= length(wanted),
                "minItems" => value.as_array().map(Vec::len) >= length(wanted),
                "maxItems" => value.as_array().is_some_and(|items| Some(items.len()) <= length(wanted)),
                other => panic!("the schema's word {other:?} is not known here"),
            };
            if !right {
                problems.push(format!("{place}: {value} is not of {word} {wanted}"));
            }
        }
    }

    fn properties(&self, schema: &Value, value: &Value, place: &str, problems: &mut Vec<String>) {
        let Some(fields) = value.as_object() else { return };
        let properties = schema["properties"].as_object().expect("a mapping");
        for (name, field) in fields {
            match properties.get(name) {
                Some(definition) => self.check(definition, field, &format!("{place}.{name}"), problems),
                None if schema["additionalProperties"] == false => {
                    problems.push(format!("{place}: unknown field {name:?}"));
                }
                None => {}
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                problems.push(format!("{place}: {name:?} is missing"));
            }
        }
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the schema's type {other:?} is not known here"),
    }
}

fn length(wanted: &Value) -> Option<usize> {
    wanted.as_u64().and_then(|number| usize::try_from(number).ok())
}
