//! An upload: a file that its owner sends by themselves, to an address that we have signed.
//!
//! Open → Completed (it is a file from then on, with the same id), Cancelled, or Expired. It is
//! sent in one part, or in several of one size, each to an address of its own; whoever was cut off
//! asks which parts are missing and sends those.
//!
//! - An address is good for one part: its method, exact size, type and, where the owner has named
//!   it, checksum are signed, and it expires. With S3 it is S3's own (Signature Version 4), and the
//!   bytes go past us; the embedded store signs with a key of its own and holds to the same rules.
//! - What has come in is no file. Completing reads all of it: size, checksum and type must be what
//!   was announced, and what is read then is what is kept. Anything else is thrown away, and the
//!   owner may send it again.
//! - Its size counts as used from the beginning until it is a file, or is given up.

mod http;
mod jobs;
mod model;
mod service;
mod signed;
mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use jobs::register;
pub use model::{NewUpload, Upload};
pub use service::Service;

pub(crate) use store::{blobs, consume, drop_from_copy, erase, is_known, of_blob};
