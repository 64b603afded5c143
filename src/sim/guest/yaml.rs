//! YAML into JSON values: what every tool of the model reads.

use serde_json::Value;

/// Reads all documents of a stream; empty ones are left out.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let all: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| first_line(&error.to_string()))?;
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}

/// Reads exactly one document.
pub fn document(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text).map_err(|error| first_line(&error.to_string()))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
