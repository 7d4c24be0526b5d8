//! A file: bytes that a person has uploaded, with the name they gave it.
//!
//! [Scanning →] Stored → Deleting → gone. What comes in is streamed, hashed on the way and on disk
//! before the answer; what does not arrive whole leaves nothing behind.
//!
//! - What a file is, its first bytes decide, and only a few kinds of document are taken. The name
//!   is for showing: it is tamed, never a path, and ends as its content says.
//! - Two uploads are two files, whatever their names and bytes.
//! - Where there is a virus scanner, nobody reads a file before it has said that it is clean; while
//!   it says nothing, the file waits. What is infected is deleted.
//! - The signatures in a PDF are looked at in a process apart, and what was found stands with the
//!   file: it decides nothing.
//! - The same bytes in another account raise a signal for admins, which tells nobody whose.
//! - It belongs to one user. Whoever has been granted a credential that refers to it may read it
//!   too, and its owner learns of that; for everyone else it does not exist.
//! - It cannot be deleted while a credential refers to it, a verdict that rests on it, or a dispute in
//!   which it is shown. `used_by` counts those, so that a delete and a new reference decide on the
//!   same row.

mod archive;
mod http;
mod inspect;
#[cfg(test)]
mod inspect_tests;
mod jobs;
mod model;
mod name;
mod picture;
mod receive;
mod rules;
mod scan;
mod service;
mod store;
#[cfg(test)]
mod tests;

use kernel::id::kinds::{Credential, File as FileKind, User};
use kernel::{Caller, Error, Id, Result};
use platform::db::Tx;
use platform::journal::Fact;

pub(crate) use http::FileBody;
pub use http::routes;
pub use inspect::{Inspector, child};
pub use jobs::register;
pub use model::{File, Inspection, MediaType};
pub(crate) use receive::{Gate, OVERHEAD_BYTES, Part, Seen, broken, form};
pub use scan::Scanner;
pub(crate) use service::Origin;
pub use service::{Limits, Service};
pub(crate) use store::{blobs, drop_from_copy, is_stored, of_blob, stored};

/// Counts one more credential that refers to a file of its owner's; answers the file's SHA-256, and
/// what it is.
pub(crate) async fn refer(
    tx: &Tx,
    owner: Id<User>,
    id: Id<FileKind>,
) -> Result<([u8; 32], MediaType)> {
    store::refer(tx, owner, id).await?.ok_or_else(|| {
        Error::field("/fileId", "not_found", "there is no such file of yours: upload it first")
    })
}

/// Counts one credential less.
pub(crate) async fn release(tx: &Tx, id: Id<FileKind>) -> Result<()> {
    store::release(tx, id).await
}

/// Whatever used a file ([`Service::begin_use`]) does so no longer: its owner may delete it again. Ending a
/// use that is none changes nothing.
pub async fn end_use(tx: &Tx, id: Id<FileKind>, used_in: &str) -> Result<()> {
    if store::drop_use(tx, id, used_in).await? {
        store::release(tx, id).await?;
    }
    Ok(())
}

/// Somebody reads the document of a credential that is another's, who learns of it.
pub fn viewed(
    caller: &Caller,
    credential: Id<Credential>,
    owner: Id<User>,
    file: Id<FileKind>,
) -> Fact {
    Fact::by(caller, "document.viewed").on(credential).about(owner).with("file", file)
}

/// Has the bytes of a file removed that is on its way out, and then its row.
pub(crate) fn erase_later(tx: &Tx, id: Id<FileKind>) -> Result<()> {
    tx.enqueue(platform::jobs::NewJob::new(&jobs::Erase { file: id })?);
    Ok(())
}
