//! The nouns.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use platform::live::Live;
use serde_json::Value as Json;

/// Values by key; null brings a setting's default back.
pub type Changes = BTreeMap<String, Json>;

/// What a setting's value may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    Flag,
    /// A whole number, within bounds.
    Integer {
        least: i64,
        most: i64,
    },
    /// At most so many characters.
    Text {
        longest: usize,
    },
    Choice(&'static [&'static str]),
}

impl Schema {
    /// What is wrong with a value: code and words.
    pub(super) fn refuse(&self, value: &Json) -> Option<(&'static str, String)> {
        match self {
            Self::Flag => (!value.is_boolean()).then(|| ("invalid", "true or false".to_owned())),
            Self::Integer { least, most } => {
                let fits = value.as_i64().is_some_and(|number| (*least..=*most).contains(&number));
                (!fits).then(|| ("out_of_range", format!("a whole number from {least} to {most}")))
            }
            Self::Text { longest } => {
                let fits = value
                    .as_str()
                    .is_some_and(|text| text.chars().count() <= *longest && !text.contains('\0'));
                (!fits).then(|| ("too_long", format!("text of at most {longest} characters")))
            }
            Self::Choice(words) => {
                let fits = value.as_str().is_some_and(|text| words.contains(&text));
                (!fits).then(|| ("invalid", format!("one of {}", words.join(", "))))
            }
        }
    }
}

/// What everybody may know before they sign in.
#[derive(Debug, Clone)]
pub struct Public {
    /// Whether people may make accounts by themselves.
    pub registration_open: Live<bool>,
    /// What the operator has to say to everybody; empty for nothing.
    pub notice: Live<String>,
}

impl Default for Public {
    fn default() -> Self {
        Self { registration_open: true.into(), notice: Live::default() }
    }
}

/// One declaration.
#[derive(Clone)]
pub struct Setting {
    pub key: &'static str,
    /// What it does, for people.
    pub about: &'static str,
    pub schema: Schema,
    pub default: Json,
    /// Puts a value that fits the schema into effect in this process.
    apply: Arc<dyn Fn(&Json) + Send + Sync>,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Setting {
    /// Its default is what `live` holds when this is called.
    pub fn flag(key: &'static str, about: &'static str, live: &Live<bool>) -> Self {
        let (default, live) = (live.get().into(), live.clone());
        let apply = move |value: &Json| live.set(value.as_bool().unwrap_or_default());
        Self { key, about, schema: Schema::Flag, default, apply: Arc::new(apply) }
    }

    /// Its default is what `live` holds when this is called.
    pub fn integer<T>(
        key: &'static str,
        about: &'static str,
        bounds: RangeInclusive<i64>,
        live: &Live<T>,
    ) -> Self
    where
        T: Copy + Into<i64> + TryFrom<i64> + Send + Sync + 'static,
    {
        let (least, most) = bounds.into_inner();
        let (default, live) = (Json::from(live.get().into()), live.clone());
        let apply = move |value: &Json| {
            // Bounds beyond the type's would be a slip of the declaration: the value then stays.
            if let Some(value) = value.as_i64().and_then(|value| T::try_from(value).ok()) {
                live.set(value);
            }
        };
        let schema = Schema::Integer { least, most };
        Self { key, about, schema, default, apply: Arc::new(apply) }
    }

    /// Whole hours. Its default is what `live` holds when this is called.
    pub fn hours(
        key: &'static str,
        about: &'static str,
        bounds: RangeInclusive<u32>,
        live: &Live<Duration>,
    ) -> Self {
        let (default, live) = (Json::from(live.get().as_secs() / 3600), live.clone());
        let apply = move |value: &Json| {
            live.set(Duration::from_secs(value.as_u64().unwrap_or_default() * 3600));
        };
        let (least, most) = bounds.into_inner();
        let schema = Schema::Integer { least: least.into(), most: most.into() };
        Self { key, about, schema, default, apply: Arc::new(apply) }
    }

    /// Its default is what `live` holds when this is called.
    pub fn text(
        key: &'static str,
        about: &'static str,
        longest: usize,
        live: &Live<String>,
    ) -> Self {
        let schema = Schema::Text { longest };
        Self { key, about, schema, default: live.get().into(), apply: Arc::new(words(live)) }
    }

    /// One of some words. Its default is what `live` holds when this is called.
    pub fn choice(
        key: &'static str,
        about: &'static str,
        among: &'static [&'static str],
        live: &Live<String>,
    ) -> Self {
        let schema = Schema::Choice(among);
        Self { key, about, schema, default: live.get().into(), apply: Arc::new(words(live)) }
    }

    pub(super) fn put_in_effect(&self, value: &Json) {
        (self.apply)(value);
    }
}

fn words(live: &Live<String>) -> impl Fn(&Json) + Send + Sync + 'static {
    let live = live.clone();
    move |value: &Json| live.set(value.as_str().unwrap_or_default().to_owned())
}
