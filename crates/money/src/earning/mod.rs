//! Earnings: what holds have become for those who did the work.
//!
//! Nothing is stored here: an earning is a captured hold, seen from its payee's side. It is
//! `pending` until its dispute window is over, `disputed` while there is a dispute about it, and
//! then `released` to `li.earn`, from where it can be paid out or staked.

mod http;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use service::Service;
pub use store::{Earned, Earning};
