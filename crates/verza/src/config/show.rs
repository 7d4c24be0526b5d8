//! The configuration described: its schema, its keys, and a file to start from.

use std::fmt::Write;

use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::Config;

/// The JSON Schema of the configuration file.
pub fn schema() -> Json {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
    });
    settings.into_generator().into_root_schema_for::<Config>().into()
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Truth,
    Number,
    Text,
}

impl Kind {
    /// From a schema's `type`, which is a word or, where there may be nothing, a list of words.
    fn of(schema: &Json) -> Self {
        let words = schema["type"].to_string();
        if words.contains("\"boolean\"") {
            Self::Truth
        } else if words.contains("\"integer\"") {
            Self::Number
        } else {
            Self::Text
        }
    }
}

/// One key of the tree.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// `server.listen`
    pub path: String,
    pub description: String,
    pub kind: Kind,
    pub is_list: bool,
    pub is_secret: bool,
    pub default: Option<Json>,
}

/// Every key there is, in the order of the tree.
pub(super) fn keys() -> Vec<Key> {
    let schema = schema();
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let mut keys = Vec::new();
    for (section, schema) in properties(&schema) {
        for (name, schema) in properties(schema) {
            let text = |key: &str| schema[key].as_str().unwrap_or_default().to_owned();
            keys.push(Key {
                path: format!("{section}.{name}"),
                description: text("description"),
                kind: Kind::of(schema),
                is_list: schema["type"] == "array",
                is_secret: schema["x-secret"] == true,
                default: Some(defaults[section][name].clone()).filter(|value| !value.is_null()),
            });
        }
    }
    keys
}

fn properties(schema: &Json) -> impl Iterator<Item = (&String, &Json)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// The environment variable of a key: `server.listen` is `VERZA_SERVER_LISTEN`.
pub fn environment_name(path: &str) -> String {
    format!("VERZA_{}", path.replace('.', "_").to_uppercase())
}

/// A configuration file that says every key, its default and its environment variable.
pub fn init_file() -> String {
    let mut out = String::from(
        "# Verza's configuration. Every line that is commented out shows the default.\n\
         # Environment variables overrule this file, and flags overrule both.\n",
    );
    let mut section = String::new();
    for key in keys() {
        let (head, name) = key.path.split_once('.').unwrap_or(("", &key.path));
        if head != section {
            head.clone_into(&mut section);
            let _ = write!(out, "\n[{section}]\n");
        }
        for line in key.description.lines() {
            let _ = writeln!(out, "# {}", line.trim());
        }
        let default = key.default.as_ref().map_or_else(|| "\"\"".to_owned(), Json::to_string);
        let variable = environment_name(&key.path);
        let or_file = if key.is_secret { format!(", or {variable}_FILE") } else { String::new() };
        let _ = writeln!(out, "# {variable}{or_file}\n# {name} = {default}");
    }
    out
}
