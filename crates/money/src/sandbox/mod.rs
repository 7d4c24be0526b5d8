//! The sandbox: a payment provider that comes with the platform, so that all of it can be tried
//! without an account anywhere.
//!
//! Two halves that meet only over HTTP, as with any other provider. The [`Adapter`] is what the
//! platform sees: it calls a base URL with a bearer secret and believes nothing that is not
//! signed. The [`Server`] is the provider: collections, a checkout page on which a person
//! approves or declines, and webhooks signed with HMAC-SHA-512 over the raw body, sent by a job
//! until they are taken.
//!
//! No money moves here. Where real providers are offered, leave the sandbox out.

mod adapter;
mod page;
mod server;
mod store;
mod wire;

use kernel::Secret;

pub use adapter::Adapter;
pub(crate) use page::{POLICY as PAGE_POLICY, STYLE as PAGE_STYLE, escape};
pub use server::Server;
pub use wire::{SIGNATURE_HEADER, sign};

/// How the two halves find and trust each other.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the adapter finds the server, such as `http://127.0.0.1:8080`.
    pub base_url: String,
    /// Where a payer's browser finds the server.
    pub public_url: String,
    /// Where the server sends its webhooks.
    pub callback_url: String,
    /// The adapter's bearer secret.
    pub secret: Secret<String>,
    /// What webhooks are signed with.
    pub webhook_secret: Secret<String>,
    /// What the sandbox keeps of a payment, in hundredths of a percent.
    pub fee_bps: u16,
}

impl Options {
    /// Both halves at one address, with webhooks to the platform's own path.
    pub fn at(base_url: &str, secret: Secret<String>, webhook_secret: Secret<String>) -> Self {
        let base_url = base_url.trim_end_matches('/').to_owned();
        Self {
            public_url: base_url.clone(),
            callback_url: format!("{base_url}/v1/payments/webhook/sandbox"),
            base_url,
            secret,
            webhook_secret,
            fee_bps: 150,
        }
    }
}
