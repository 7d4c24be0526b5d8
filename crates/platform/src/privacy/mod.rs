//! What is held of people: sealed where it cannot be overwritten, listed whole, and erased.
//!
//! Two halves.
//!
//! **Person keys.** Each person has a random key of their own, wrapped under the master key
//! ([`Vault`]). What must stay as it was written (facts, notes: rows that no statement may change)
//! is sealed under it. Destroying the key erases all of that at once, while hashes over the sealed
//! text, and with them every proof, stay what they are. Keys are remembered in memory, a bounded
//! number of them.
//!
//! **Holders.** Each context says what its tables hold of a person ([`Holder`], [`Table`]), column
//! by column. The export of a person's data is made from that list, so what is not in it is not
//! exported, and a test walks the schema and finds what the list has forgotten.
//!
//! Invariants: a key is made once and never changes; a destroyed one does not come back. What is
//! sealed for somebody whose key was destroyed is not kept at all. A key is remembered only after
//! the commit that made it: nothing is ever sealed under a key that was rolled back.

mod export;
mod holder;
mod origin;
mod own;
mod store;
#[cfg(test)]
mod tests;
mod vault;

pub use export::rows;
pub use holder::{Column, Erasure, Holder, Person, Rows, Shown, Stake, Table, id, impersonal, of};
pub(crate) use origin::seal as seal_origin;
pub use own::Own;
pub use vault::Vault;
