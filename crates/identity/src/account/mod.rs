//! An account is a person or an organisation that signs in. It has one address, one role and one
//! status.
//!
//! - An address belongs to one account, compared in lower case. Whether an address has an account
//!   is told to nobody but whoever reads its mail: registering a taken address answers the same.
//! - Nobody becomes an admin by registering; see [`crate::setup`].
//! - Verifiers and enterprises start unapproved and act for others only after an admin approved
//!   them; users are approved from the start.
//! - An address is proved by a single-use token in a mail. Until then nobody can sign in, and a
//!   new registration of the address takes the unproved account over: whoever was first has no
//!   claim to an address that is not theirs. It does so also where no mail may be sent any more, and
//!   links of registrations before it no longer work.
//! - Of an address that was registered more than once nobody can tell whose the password is: mails
//!   to its owner look alike, and the last to register may be a stranger. So a link alone proves the
//!   address and voids the password, which its owner then sets by the link for forgotten ones. It
//!   stands where whoever has the link shows it too. So a stranger who registers somebody else's
//!   address, before or after them, never gets in, and has enrolled no factor that a reset would
//!   have to take away: resets leave factors as they are, since a mailbox is stolen more often.
//! - Only an account that somebody has registered is taken over. To register the address of one that
//!   an admin has made or imported is to register a taken one; whoever was invited is invited again.
//! - Another address becomes the account's when whoever reads its mail says so, by a link that goes to
//!   it. The address of before is told twice: when it is asked for, and when it is done. A new
//!   password takes the link away.
//! - An older API signs in whoever registers there at once, as somebody unproved ([`crate::facade`]).
//!   What such an account has gathered is not handed to who later proves the address: a new
//!   registration, and the link for a forgotten password, closes the account, takes the address from
//!   it, and begins anew.
//! - `active` ⇄ `suspended`, `active | suspended` → `banned` → `active`; all but admins' may be
//!   closed, by the owner or an admin, and `closed` is final. Leaving
//!   `active` ends all sessions in the same transaction. Admins are never suspended or banned by
//!   admins: the last one would lock everybody out.
//!
//! Facts carry the role, never a name or an address.

mod email_change;
pub mod http;
mod jobs;
mod letters;
mod model;
mod rules;
mod service;
pub(crate) mod store;

pub(crate) use email_change::CHANGE_EMAIL;
pub use model::{
    Account, Avatar, Email, Filter, Name, Preferences, ProfileChange, Registration, Sort,
};
pub use rules::{Command, Refusal};
pub use service::{EmailProved, Policy, Service};
pub(crate) use service::{SET_PASSWORD, changed_meanwhile, create_admin, token_spent};

pub(crate) use jobs::register as register_jobs;
pub(crate) use rules::starts_approved;

#[cfg(test)]
mod email_change_tests;
#[cfg(test)]
mod tests;
