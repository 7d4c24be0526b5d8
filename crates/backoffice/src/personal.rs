//! What this context holds of people.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::Result;
use platform::db::Tx;
use platform::privacy::{Erasure, Holder, Person, Table, impersonal};

/// The back office, as a holder of what it knows of people.
pub struct Held;

const TABLES: &[Table] = &[
    impersonal("settings", "how the platform behaves; who changed it last is an id"),
    impersonal("setting_changes", "how the platform behaves; who changed it is an id"),
    impersonal("log_lines", "what processes complain of, scrubbed, for thirty days"),
];

impl Holder for Held {
    fn name(&self) -> &'static str {
        "backoffice"
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn erase<'a>(&'a self, _: &'a Tx, _: &'a Person, _: Erasure) -> BoxFuture<'a, Result<()>> {
        async move { Ok(()) }.boxed()
    }
}
