//! The nouns.

use std::time::Duration;

use kernel::error::Fields;
use kernel::id::kinds::{ApiKey as ApiKeyKind, Organization, User};
use kernel::{Id, Permission, Permissions, Result, Secret, Timestamp, World};
use platform::crypto::{base64url, hmac_sha256};
use platform::network::Network;

/// How every key begins.
const MARK: &str = "vz_";
/// Hexadecimal digits of a prefix.
const PREFIX_DIGITS: usize = 10;
/// Letters of 32 bytes in base64url.
const SECRET_LETTERS: usize = 43;
/// Networks that one key may name.
const NETWORKS_MAX: usize = 50;
/// No key is good for longer than this many days.
const DAYS_MAX: u32 = 3650;

/// Whether a text is meant as an API key, whether it is worth something or not.
pub fn is_key(text: &str) -> bool {
    text.starts_with(MARK)
}

/// A key as it stands, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: Id<ApiKeyKind>,
    pub organization: Id<Organization>,
    pub name: String,
    /// How the key begins, `vz_` included: enough to tell it from others.
    pub prefix: String,
    pub scopes: Permissions,
    /// None where that account is gone.
    pub created_by: Option<Id<User>>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// From where it may be used; none is from everywhere.
    pub allowed: Vec<Network>,
}

/// How a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ApiKeyStatus)]
pub enum Status {
    Live,
    Expired,
    Revoked,
}

impl ApiKey {
    pub fn status(&self, now: Timestamp) -> Status {
        if self.revoked_at.is_some() {
            Status::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            Status::Expired
        } else {
            Status::Live
        }
    }
}

/// A key about to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub(super) name: String,
    pub(super) scopes: Permissions,
    pub(super) lasts: Option<Duration>,
    pub(super) allowed: Vec<Network>,
}

impl NewKey {
    /// `days` none is a key without an end, `addresses` none one for use from everywhere.
    pub fn parse(
        name: &str,
        scopes: &[String],
        days: Option<u32>,
        addresses: &[String],
    ) -> Result<Self> {
        let mut fields = Fields::new();
        let name = name.trim();
        let length = name.chars().count();
        if !(1..=100).contains(&length) || name.chars().any(char::is_control) {
            fields.add("/name", "invalid", "one line of 1 to 100 characters");
        }
        let mut known = Vec::new();
        for (index, scope) in scopes.iter().enumerate() {
            match scope.parse::<Permission>() {
                Ok(scope) if scope.is_for_keys() => known.push(scope),
                _ => {
                    let all = Permission::ALL.into_iter().filter(|one| one.is_for_keys());
                    let all: Vec<_> = all.map(Permission::as_str).collect();
                    let message = format!("one of {}", all.join(", "));
                    fields.add(&format!("/scopes/{index}"), "invalid", message);
                }
            }
        }
        if scopes.is_empty() {
            fields.add("/scopes", "required", "name at least one: a key without any opens nothing");
        }
        if days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
            let message = format!("from 1 to {DAYS_MAX}");
            fields.add("/expiresInDays", "out_of_range", message);
        }
        let mut allowed = Vec::new();
        for (index, text) in addresses.iter().enumerate() {
            match text.parse() {
                Ok(network) if index < NETWORKS_MAX => allowed.push(network),
                _ => {
                    let message =
                        format!("at most {NETWORKS_MAX} like 192.0.2.0/24 or 2001:db8::1");
                    fields.add(&format!("/allowedAddresses/{index}"), "invalid", message);
                }
            }
        }
        fields.check()?;
        let lasts = days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600));
        Ok(Self { name: name.to_owned(), scopes: known.into_iter().collect(), lasts, allowed })
    }
}

/// A key with its secret, as it is shown once.
pub(super) struct Minted {
    pub(super) prefix: String,
    pub(super) text: Secret<String>,
}

impl Minted {
    pub(super) fn new(world: &World) -> Self {
        let prefix = format!("{MARK}{}", hex::encode(world.random::<{ PREFIX_DIGITS / 2 }>()));
        let text = Secret::new(format!("{prefix}_{}", base64url(world.random::<32>())));
        Self { prefix, text }
    }
}

/// The prefix of a text that has a key's form: what does not is not looked up.
pub(super) fn prefix(text: &str) -> Option<&str> {
    let end = MARK.len() + PREFIX_DIGITS;
    let (prefix, rest) = text.split_at_checked(end)?;
    let secret = rest.strip_prefix('_')?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let has_form = is_key(prefix)
        && prefix[MARK.len()..].bytes().all(|byte| byte.is_ascii_hexdigit())
        && secret.len() == SECRET_LETTERS
        && secret.bytes().all(is_plain);
    has_form.then_some(prefix)
}

/// What is kept of a key's text.
pub(super) fn hash(key: &Secret<[u8; 32]>, text: &str) -> [u8; 32] {
    hmac_sha256(key.expose(), text.as_bytes())
}
