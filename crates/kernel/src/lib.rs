//! The words every context shares: ids, time, money, callers, errors, pages, secrets.
//!
//! No I/O, no async, and no dependency on any other crate of the house. What a word means is
//! decided here once; how it is stored, sent or shown is decided by the layers above.

pub mod caller;
pub mod error;
pub mod id;
pub mod money;
pub mod page;
pub mod permission;
pub mod secret;
pub mod time;
pub mod world;

pub use caller::{Caller, Level, Principal, Role};
pub use error::{Error, FieldError, Kind, Result};
pub use id::Id;
pub use money::{Asset, Money};
pub use page::{Cursor, Page, PageRequest};
pub use permission::{Permission, Permissions};
pub use secret::Secret;
pub use time::Timestamp;
pub use world::{Clock, Random, World};
