//! An import brings accounts from elsewhere, with the hashes of their passwords, out of a file.
//!
//! - A row is a line, of CSV or of JSON. It is read, checked and forgotten: memory does not grow
//!   with the file. What is wrong with a row is said with its line, and never with its hash.
//! - Rows are taken in some hundred to a transaction. A row that is there already, by its external
//!   id or else by its address, is left as it is: an import that was interrupted is started again
//!   and goes on. An address that has an account of another origin is an error of its row.
//! - Nobody becomes an admin by a file unless the command says so. Verifiers and enterprises wait
//!   for approval as ever.
//! - A hash from elsewhere is checked as it is and made anew when its owner signs in. Its cost is
//!   looked at before it is taken: whoever names it decides how long we compute.
//! - Each imported account is one fact, `user.imported`. No mail is sent.

mod model;
mod reader;
mod rules;
mod service;
mod store;

pub use model::{Policy, Row};
pub use reader::{Format, Rows};
pub use service::{Report, RowError, Service};

#[cfg(test)]
mod tests;
