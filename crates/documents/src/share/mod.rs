//! A share: a link by which the owner of a credential shows it to whoever has the link.
//!
//! Open → Revoked by its owner, or Expired by time; both are for good. The link's token is shown
//! once, when the share is made, and only its hash is kept. What the link shows is the state of
//! things when it is opened: title, type, issuer and status always, the rest as the owner chose,
//! the file never. With a recipient it may ask for a code, which is sent to them alone and opens
//! it once. Its owner sees when it was opened, and from which network.

mod http;
mod model;
mod page;
mod service;
mod store;
#[cfg(test)]
mod tests;

use kernel::Id;
use kernel::id::kinds::Credential;
use platform::db::Tx;

pub use http::routes;
pub use model::{Field, Seen, Shown, Standing, View};
pub use service::{Made, NewShare, Opened, Service};

/// Revokes every share of a credential.
pub(crate) async fn end_all(tx: &Tx, credential: Id<Credential>) -> kernel::Result<()> {
    store::revoke_all(tx, credential).await
}
