//! A handle is what Streamfair's clients know of a user beyond the account: the username, the
//! country and the role's number. Who came by another door has none until they choose one, and is
//! known by the mail address alone.
//!
//! - A username belongs to one user, compared in lower case. It holds no `@`, so that it is never
//!   mistaken for an address where either may stand.
//! - The role's number is a word that nothing depends on: 1 or 2, as chosen. An admin's is shown
//!   as 3, whatever is stored, and nobody becomes an admin by it.
//! - Usernames can be asked for (a registration tells whether one is taken); addresses cannot be
//!   found out by them.

mod model;
pub(crate) mod store;

pub use model::{Country, FullName, Handle, RoleNumber, Username};
