//! File, environment and flags become one configuration, or one clear error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kernel::{Error, Result};
use toml::{Table, Value};

use super::Config;
use super::show::{Key, Kind, environment_name, keys};

/// Variables that begin like ours and are not configuration.
const OTHER_VARIABLES: &[&str] = &["VERZA_CONFIG", "VERZA_VECTORS"];
const OTHER_PREFIXES: &[&str] = &["VERZA_TEST_", "VERZA_BENCH_"];
const FILE_SUFFIX: &str = "_FILE";

/// Where the configuration comes from, weakest first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A file; `VERZA_CONFIG` names it where no flag does.
    pub file: Option<PathBuf>,
    pub environment: BTreeMap<String, String>,
    /// `section.key` and its value.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// The process's own environment.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let environment: BTreeMap<_, _> =
            std::env::vars().filter(|(name, _)| name.starts_with("VERZA_")).collect();
        let file = file.or_else(|| environment.get("VERZA_CONFIG").map(PathBuf::from));
        Self { file, environment, flags }
    }
}

/// Reads the configuration.
pub fn load(sources: &Sources) -> Result<Config> {
    let keys = keys();
    let mut tree = match &sources.file {
        Some(path) => read_file(path, &keys)?,
        None => Table::new(),
    };
    for (name, text) in &sources.environment {
        if let Some((key, text)) = variable(name, text, &keys)? {
            set(&mut tree, key, &text)?;
        }
    }
    for (path, text) in &sources.flags {
        let key = find(&keys, path)
            .ok_or_else(|| unknown(&format!("The key {path}"), path, &paths(&keys)))?;
        set(&mut tree, key, text)?;
    }
    tree.try_into().map_err(|error: toml::de::Error| {
        Error::invalid("invalid_configuration", format!("The configuration is wrong: {error}"))
    })
}

fn read_file(path: &Path, keys: &[Key]) -> Result<Table> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("The configuration file {shown} cannot be read: {error}.");
        Error::invalid("invalid_configuration", message)
    })?;
    let tree: Table = text.parse().map_err(|error: toml::de::Error| {
        let message = format!("The configuration file {shown} is no TOML: {error}");
        Error::invalid("invalid_configuration", message)
    })?;
    for (section, content) in &tree {
        let Some(content) = content.as_table() else {
            let message = format!("In {shown}: {section} stands outside of any [section].");
            return Err(Error::invalid("invalid_configuration", message));
        };
        for name in content.keys() {
            let path = format!("{section}.{name}");
            if find(keys, &path).is_none() {
                return Err(unknown(
                    &format!("In {shown}: the key {path}"),
                    &path,
                    &self::paths(keys),
                ));
            }
        }
    }
    Ok(tree)
}

/// The key that a variable sets, and the text it sets it to.
fn variable<'a>(name: &str, text: &str, keys: &'a [Key]) -> Result<Option<(&'a Key, String)>> {
    let other = OTHER_VARIABLES.contains(&name)
        || OTHER_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if other {
        return Ok(None);
    }
    let named = |wanted: &str| keys.iter().find(|key| environment_name(&key.path) == wanted);
    if let Some(key) = named(name) {
        return Ok(Some((key, text.to_owned())));
    }
    if let Some(key) = name.strip_suffix(FILE_SUFFIX).and_then(named) {
        let content = std::fs::read_to_string(text).map_err(|error| {
            let message = format!("{name} names {text}, which cannot be read: {error}.");
            Error::invalid("invalid_configuration", message)
        })?;
        return Ok(Some((key, content.trim_end().to_owned())));
    }
    let names: Vec<String> = keys.iter().map(|key| environment_name(&key.path)).collect();
    Err(unknown(&format!("The environment variable {name}"), name, &names))
}

fn set(tree: &mut Table, key: &Key, text: &str) -> Result<()> {
    let (section, name) = key.path.split_once('.').unwrap_or(("", &key.path));
    let wrong = |what: &str| {
        let message = format!("{} is set to {text:?}, which is no {what}.", key.path);
        Error::invalid("invalid_configuration", message)
    };
    let value = if key.is_list {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
    } else {
        match key.kind {
            Kind::Truth => Value::Boolean(text.parse().map_err(|_| wrong("true or false"))?),
            Kind::Number => Value::Integer(text.parse().map_err(|_| wrong("whole number"))?),
            Kind::Text => Value::String(text.to_owned()),
        }
    };
    let section = tree
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()))
        .as_table_mut()
        .ok_or_else(|| Error::internal("a section is no table"))?;
    section.insert(name.to_owned(), value);
    Ok(())
}

fn find<'a>(keys: &'a [Key], path: &str) -> Option<&'a Key> {
    keys.iter().find(|key| key.path == path)
}

fn paths(keys: &[Key]) -> Vec<String> {
    keys.iter().map(|key| key.path.clone()).collect()
}

fn unknown(what: &str, name: &str, known: &[String]) -> Error {
    let nearest = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
    let hint = nearest.map(|nearest| format!(" Did you mean {nearest}?")).unwrap_or_default();
    let message = format!("{what} does not exist.{hint} `verza config init` shows all there are.");
    Error::invalid("unknown_configuration_key", message)
}
