//! Warnings and errors on their way to the back office.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use backoffice::system::{Inbox, Level, NewLine};
use kernel::World;
use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::scrub::scrub;

/// Characters of one text that are kept.
const LONGEST: usize = 2000;

/// There is one log a process, and one place where its complaints wait.
static INBOX: LazyLock<Arc<Inbox>> = LazyLock::new(Arc::default);

pub(crate) fn inbox() -> Arc<Inbox> {
    Arc::clone(&INBOX)
}

/// Puts warnings and errors into the inbox, scrubbed.
pub(super) struct Complaints(pub(super) World);

impl<S: Subscriber> Layer<S> for Complaints {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        // The greater the level, the more it talks.
        if *metadata.level() > tracing::Level::WARN {
            return;
        }
        let is_error = *metadata.level() == tracing::Level::ERROR;
        let mut words = Words::default();
        event.record(&mut words);
        INBOX.put(NewLine {
            at: self.0.now(),
            level: if is_error { Level::Error } else { Level::Warn },
            target: metadata.target().to_owned(),
            message: words.message,
            fields: words.fields,
        });
    }
}

/// What an event says, as text.
#[derive(Default)]
struct Words {
    message: String,
    fields: Map<String, Json>,
}

impl Words {
    fn put(&mut self, field: &Field, text: &str) {
        // What a name says to be a secret is one whole, whatever it looks like.
        let probe = format!("{}=x", field.name());
        let is_secret = scrub(&probe) != probe;
        let text = if is_secret { Cow::Borrowed("[secret]") } else { scrub(text) };
        // PostgreSQL takes no NUL.
        let text: String = text.chars().filter(|it| *it != '\0').take(LONGEST).collect();
        if field.name() == "message" {
            self.message = text;
        } else {
            self.fields.insert(field.name().to_owned(), text.into());
        }
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn complaints_are_kept_without_secrets_and_nothing_else_is() {
        let layer = Complaints(platform::world::system());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("nobody asked");
            tracing::warn!(password = "seven quiet herons", route = "/v1/x", "refused");
            tracing::error!(error = %"postgres://verza:hunter2@db/x", "lost the database");
        });
        let lines = inbox().take(usize::MAX);
        let told: Vec<_> = lines.iter().map(|line| (line.level, line.message.as_str())).collect();
        assert!(told.ends_with(&[(Level::Warn, "refused"), (Level::Error, "lost the database"),]));
        let fields: Vec<_> = lines.iter().map(|line| Json::Object(line.fields.clone())).collect();
        let text = format!("{fields:?}");
        assert!(text.contains("/v1/x") && text.contains("verza:[secret]@db"), "{text}");
        assert!(!text.contains("herons") && !text.contains("hunter2"), "{text}");
    }
}
