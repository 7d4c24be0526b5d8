//! Typed ids: UUIDv7 (RFC 9562) inside, TypeID text (`c_01h455vb4pex5vsknk084sn02q`) at the edge.
//!
//! An id knows what it names. A credential's id does not parse where a user's is asked for, so
//! that a foreign id is a client's error and never a lookup in the wrong table.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// What an id names. Implemented by the markers of [`kinds`] only.
pub trait Kind: 'static {
    /// The TypeID prefix, without the underscore.
    const PREFIX: &'static str;
    /// The noun in words, for error messages.
    const NOUN: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $noun:literal;)*) => {
        /// Every kind of thing that carries an id: the one registry of prefixes.
        pub mod kinds {
            $($(#[$doc])* #[derive(Debug)] pub enum $name {}
              impl super::Kind for $name {
                  const PREFIX: &'static str = $prefix;
                  const NOUN: &'static str = $noun;
              })*
            /// All prefixes, for the test that they stay distinct.
            pub const PREFIXES: &[&str] = &[$($prefix),*];
        }
    };
}

kinds! {
    /// A person or organisation that signs in.
    User = "u", "user";
    /// One signed-in device of a user.
    Session = "s", "session";
    /// A verifier in the marketplace; carries the same UUID as its user.
    Verifier = "v", "verifier";
    /// A service that a verifier offers.
    Service = "svc", "service";
    /// A stored file.
    File = "file", "file";
    /// A document of a user that can be verified.
    Credential = "c", "credential";
    /// A link by which a credential is shown to others.
    Share = "sh", "share";
    /// A request that one verifier judges one credential; the verifier's job has the same id.
    Verification = "vrf", "verification";
    /// A fact of the journal.
    Fact = "evt", "event";
    /// A background job.
    Job = "job", "job";
    /// A notification to one user.
    Notification = "n", "notification";
    /// A ledger account.
    Account = "acc", "ledger account";
    /// A statement of what is owed and had.
    Solvency = "slv", "solvency statement";
    /// A ledger transaction.
    Transaction = "tx", "transaction";
    /// Money reserved for a purpose.
    Hold = "hold", "hold";
    /// A payment collected through a provider.
    Payment = "pay", "payment";
    /// A signed, portable credential.
    Issued = "vc", "issued credential";
    /// A signing key.
    Key = "key", "key";
    /// A revocation list.
    StatusList = "sl", "status list";
    /// A mail to be sent or kept in the sink.
    Mail = "mail", "mail";
    /// A WebAuthn credential of a user.
    Passkey = "pk", "passkey";
    /// A login, an enrolment or a proof that is not finished yet.
    Challenge = "ch", "challenge";
    /// A kind of account that a user may hold.
    AccountType = "at", "account type";
    /// An account of some type, owned by a user.
    Holding = "ua", "account";
    /// A signed credential that a wallet may pick up.
    Offer = "offer", "credential offer";
    /// A request to a wallet for a presentation.
    Presentation = "pr", "presentation request";
    /// An order of engagement for a web address.
    Order = "ord", "order";
    /// A verdict that its owner contests.
    Dispute = "dsp", "dispute";
    /// What somebody says of a verifier's work.
    Review = "rv", "review";
    /// An organisation.
    Organization = "org", "organization";
    /// An invitation into an organisation's team.
    Invitation = "invt", "invitation";
    /// Many verifications that an organisation asks for at once.
    Batch = "bat", "batch";
    /// An API key of an organisation.
    ApiKey = "ak", "API key";
    /// Money on its way out to a user.
    Withdrawal = "wd", "withdrawal";
    /// An account elsewhere that a user's money may go to.
    Destination = "dest", "payout destination";
    /// A claim of a payer's bank to have a payment back.
    Chargeback = "cb", "charge-back";
    /// Money on its way back to where a payment came from.
    Refund = "rf", "refund";
    /// Staked money that is cooling down.
    Unstaking = "ustk", "unstaking";
    /// An enterprise's plan and the period it is paid for.
    Subscription = "sub", "subscription";
    /// A conversation of a user with a verifier or with support.
    Conversation = "cv", "conversation";
    /// What somebody has written in a conversation.
    Message = "m", "message";
    /// A bill.
    Invoice = "inv", "invoice";
    /// Something that somebody finds an admin should look at.
    Flag = "flag", "flag";
    /// What a rule against fraud has found.
    Alert = "alert", "fraud alert";
    /// A change of settings that admins vote on.
    Proposal = "prop", "proposal";
    /// An admin's request to export or erase what is held of somebody.
    PrivacyRequest = "dsr", "privacy request";
    /// A warning or an error of a process.
    LogLine = "log", "log line";
    /// Where an organisation is told of what happens: a webhook, or a channel of its own.
    Webhook = "wh", "webhook";
    /// A fact on its way to a webhook.
    Delivery = "dlv", "delivery";
}

/// The id of a `K`.
pub struct Id<K>(Uuid, PhantomData<fn() -> K>);

impl<K> Id<K> {
    /// The id over a UUID that is known to name a `K` (a row just read, a value just made).
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// Below every id that is made from this instant on, to the millisecond (RFC 9562, 5.7).
    pub fn first_at(at: crate::Timestamp) -> Self {
        let millis = at.micros().div_euclid(1000).max(0).unsigned_abs();
        Self::from_uuid(Uuid::from_u128(u128::from(millis) << 80))
    }

    /// The bare UUID, as it is stored and as the compatibility paths show it.
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// The same UUID read as another kind. Only for kinds that share ids by design: a verifier
    /// is a user, a verifier's job is a verification.
    pub const fn same_as<Other>(self) -> Id<Other> {
        Id::from_uuid(self.0)
    }
}

/// A text that is not the id that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnId {
    prefix: &'static str,
    noun: &'static str,
}

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, noun } = self;
        write!(f, "not the id of a {noun}: it should read {prefix}_ and 26 letters or digits")
    }
}

impl std::error::Error for NotAnId {}

/// Crockford's alphabet in lower case, as TypeID 0.3 uses it.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const SUFFIX_LEN: usize = 26;

fn encode(uuid: Uuid) -> [u8; SUFFIX_LEN] {
    let mut bits = uuid.as_u128();
    let mut text = [b'0'; SUFFIX_LEN];
    for slot in text.iter_mut().rev() {
        *slot = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
    text
}

fn decode(text: &str) -> Option<Uuid> {
    let bytes = text.as_bytes();
    // 26 letters carry 130 bits: the first may only hold the low three.
    if bytes.len() != SUFFIX_LEN || bytes[0] > b'7' {
        return None;
    }
    let mut bits: u128 = 0;
    for byte in bytes {
        let digit = ALPHABET.iter().position(|letter| letter == byte)?;
        bits = (bits << 5) | digit as u128;
    }
    Some(Uuid::from_u128(bits))
}

/// The UUID in the text of an id, whatever it names: for whoever shows bare UUIDs.
pub fn uuid_in(text: &str) -> Option<Uuid> {
    let (prefix, suffix) = text.rsplit_once('_')?;
    if kinds::PREFIXES.contains(&prefix) { decode(suffix) } else { None }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = encode(self.0);
        // The alphabet is ASCII, so the bytes are a text; the error arm cannot be reached.
        let suffix = std::str::from_utf8(&suffix).map_err(|_| fmt::Error)?;
        write!(f, "{}_{suffix}", K::PREFIX)
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        text.strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .and_then(decode)
            .map(Self::from_uuid)
            .ok_or(NotAnId { prefix: K::PREFIX, noun: K::NOUN })
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<K: Kind> utoipa::PartialSchema for Id<K> {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .description(Some(format!("The id of a {}.", K::NOUN)))
            .pattern(Some(format!("^{}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$", K::PREFIX)))
            .into()
    }
}

impl<K: Kind> utoipa::ToSchema for Id<K> {
    fn name() -> std::borrow::Cow<'static, str> {
        let mut noun = String::new();
        for word in K::NOUN.split(' ') {
            noun.push_str(&word[..1].to_uppercase());
            noun.push_str(&word[1..]);
        }
        noun.push_str("Id");
        noun.into()
    }
}

// Derives would ask `K` itself to be Clone, Eq and so on; the marker never is.
impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::kinds::{Credential, PREFIXES, User};
    use super::*;

    #[test]
    fn the_specification_s_example_reads_and_writes() {
        // TypeID 0.3, valid.json: "prefix_01h455vb4pex5vsknk084sn02q".
        let uuid = Uuid::parse_str("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
        let id = Id::<User>::from_uuid(uuid);
        assert_eq!(id.to_string(), "u_01h455vb4pex5vsknk084sn02q");
        assert_eq!("u_01h455vb4pex5vsknk084sn02q".parse(), Ok(id));
    }

    #[test]
    fn a_foreign_kind_does_not_parse() {
        let credential = Id::<Credential>::from_uuid(Uuid::max()).to_string();
        assert!(credential.parse::<Id<User>>().is_err());
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in [
            "",
            "u_",
            "u",
            "01h455vb4pex5vsknk084sn02q",
            "u_01h455vb4pex5vsknk084sn02",
            "u_01h455vb4pex5vsknk084sn02qq",
            "u_81h455vb4pex5vsknk084sn02q",
            "u_01H455VB4PEX5VSKNK084SN02Q",
            "u_01h455vb4pex5vsknk084sn02u",
            "u_01h455vb4pex5vsknk084sn02\u{0}",
            "U_01h455vb4pex5vsknk084sn02q",
            "u__01h455vb4pex5vsknk084sn02q",
        ] {
            assert!(text.parse::<Id<User>>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_two_kinds_share_a_prefix() {
        let distinct: std::collections::HashSet<_> = PREFIXES.iter().collect();
        assert_eq!(distinct.len(), PREFIXES.len());
    }

    proptest::proptest! {
        #[test]
        fn every_uuid_survives_the_text(bits: u128) {
            let id = Id::<User>::from_uuid(Uuid::from_u128(bits));
            proptest::prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn text_order_is_time_order(a: u128, b: u128) {
            let (a, b) = (Uuid::from_u128(a), Uuid::from_u128(b));
            proptest::prop_assert_eq!(a.cmp(&b), encode(a).cmp(&encode(b)));
        }
    }
}
