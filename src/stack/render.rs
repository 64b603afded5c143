//! The templates under `cloud-init/`, filled in strictly: an unknown name is an error, not an empty text.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

/// Fills in a template of this package.
///
/// # Panics
/// If the template does not fit its values: both are ours, and a test renders each.
pub fn render(name: &str, source: &str, values: impl Serialize) -> String {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax =
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the usual delimiters differ from one another"));
    match environment.render_named_str(name, source, Serde(values)) {
        Ok(text) => text,
        Err(bad) => panic!("template cloud-init/{name} does not fit its values: {bad:#}"),
    }
}
