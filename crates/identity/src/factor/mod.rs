//! What an account can show beside its password: codes of an authenticator app (RFC 6238), the
//! recovery codes for the day it is lost, and passkeys ([`passkey`]). And the one place that says
//! how sure each way of showing makes us, [`rules`].
//!
//! - An authenticator app is *enrolled* once a code of it was right; until then the secret that
//!   was shown is *pending*, for an hour, beside the app that may be enrolled already. Whoever
//!   enrols another one replaces the first. Recovery codes come with the confirmation.
//! - From then on a password alone opens no session. The login answers a *challenge*: a secret,
//!   good for five minutes and five codes, for the same client and the same password. It is
//!   answered to the right password only, which tells that it was right. Every login in two steps
//!   does so; what keeps that from being worth much is that codes can be guessed at only so often.
//!   Whoever sends password and code together is not told which of the two was wrong.
//! - A code of the app is good for its half minute and one on each side, and opens one thing once:
//!   the step it belongs to is kept, and none but later ones are taken. A recovery code works once.
//! - Nothing that is stored can be presented: the app's secret is sealed under the master key,
//!   recovery codes are kept as MACs under a key of their own, challenges as hashes.
//! - Guesses are counted for account and address together, and for the account from everywhere;
//!   the latter not at addresses where a second factor was shown on a session that still lives, and
//!   not for recovery codes, so that nobody locks the owner out by guessing. To refresh a session
//!   elsewhere, or to begin another from it, makes no address known.
//! - A passkey is no second step after a password but a door of its own. It does not make the
//!   password ask for more: who loses it would be locked out, having no recovery codes.
//! - What is hard to take back wants a *fresh* proof, and an account with an authenticator app
//!   gives it by a second factor, never by the password alone, nor by one factor at Kratos. What was
//!   proven on other sessions before the app was enrolled is no longer fresh.
//! - Whoever shows more, or the same once more, has their session renewed: what showed it before is
//!   dead, and the answer has new tokens.
//!
//! Facts: `factor.totp_enrolled`, `factor.totp_removed`, `factor.recovery_codes_made`,
//! `factor.recovery_code_used`, `factor.guesses_exhausted`, `session.proven`. The owner gets a mail
//! of each but the last.

mod check;
pub mod http;
mod jobs;
mod letters;
mod model;
pub mod passkey;
mod recovery_code;
mod rules;
mod service;
mod store;
pub mod totp;

pub use model::{Code, Enrolled, Enrolment, Standing};
pub use rules::{Assurance, assure, level, ways_to_prove};
pub use service::{Evidence, FinishLogin, Service, Verified};

pub(crate) use check::{Asked, Checker, MFA_REQUIRED, Passed, invalid_credentials};
pub(crate) use jobs::register as register_jobs;
pub(crate) use rules::{is_proof, is_second, may_add};
pub(crate) use service::Parts;

#[cfg(test)]
mod tests;
