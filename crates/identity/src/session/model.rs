//! Sessions, and what is handed to whoever signs in.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::caller::Origin;
use kernel::id::kinds::{Session as SessionKind, User};
use kernel::{Id, Level, Role, Secret, Timestamp};
use platform::crypto::{Token, base64url, hmac_sha256, sha256};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::account::Account;
use crate::token::Format;

/// How long sessions of a role live, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// From the login to the end, whatever happens.
    pub lifetime: Duration,
    /// Without a request for this long, a session is over.
    pub idle: Duration,
    /// Sessions of one user at once.
    pub sessions_max: u32,
}

/// The policies of the roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policies {
    pub user: Policy,
    pub verifier: Policy,
    pub enterprise: Policy,
    pub admin: Policy,
}

impl Default for Policies {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        let policy = |sessions_max| Policy {
            lifetime: Duration::from_secs(30 * DAY),
            idle: Duration::from_secs(14 * DAY),
            sessions_max,
        };
        Self {
            user: policy(20),
            verifier: policy(10),
            enterprise: policy(10),
            admin: Policy {
                lifetime: Duration::from_secs(DAY),
                idle: Duration::from_secs(2 * 3600),
                sessions_max: 5,
            },
        }
    }
}

impl Policies {
    pub const fn of(&self, role: Role) -> Policy {
        match role {
            Role::User => self.user,
            Role::Verifier => self.verifier,
            Role::Enterprise => self.enterprise,
            Role::Admin => self.admin,
        }
    }
}

/// One way in which somebody shows who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AuthenticationMethod)]
pub enum Method {
    Password,
    /// A code of an authenticator app (RFC 6238).
    Totp,
    /// A single-use code kept for the day the authenticator is lost.
    RecoveryCode,
    /// A WebAuthn credential.
    Passkey,
    /// An Ory Kratos session.
    Kratos,
    /// An admin who looks at the platform as this user.
    Impersonation,
}

impl Method {
    pub const ALL: [Self; 6] = [
        Self::Password,
        Self::Totp,
        Self::RecoveryCode,
        Self::Passkey,
        Self::Kratos,
        Self::Impersonation,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Totp => "totp",
            Self::RecoveryCode => "recovery_code",
            Self::Passkey => "passkey",
            Self::Kratos => "kratos",
            Self::Impersonation => "impersonation",
        }
    }
}

/// How somebody has shown who they are on a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub level: Level,
    /// In the order in which they were used.
    pub methods: Vec<Method>,
    pub impersonator: Option<Id<User>>,
}

impl Proof {
    /// A password and nothing more.
    pub fn password() -> Self {
        Self::by(vec![Method::Password])
    }

    /// By these methods, of the level that they are worth.
    pub fn by(methods: Vec<Method>) -> Self {
        Self { level: crate::factor::level(&methods), methods, impersonator: None }
    }

    /// The same, and one method more.
    #[must_use]
    pub(crate) fn and(mut self, method: Method) -> Self {
        if !self.methods.contains(&method) {
            self.methods.push(method);
        }
        let level = crate::factor::level(&self.methods);
        Self { level: self.level.max(level), ..self }
    }

    /// Whether Kratos vouches for the session.
    pub(crate) fn is_vouched(&self) -> bool {
        self.methods.contains(&Method::Kratos)
    }

    /// As it is stored: the methods' names with spaces between.
    pub(super) fn methods_text(&self) -> String {
        let names: Vec<&str> = self.methods.iter().map(|method| method.as_str()).collect();
        names.join(" ")
    }

    /// Names that this executable does not know are of a newer one, and are left out.
    pub(super) fn methods_of(text: &str) -> Vec<Method> {
        let known = |name: &str| Method::ALL.into_iter().find(|method| method.as_str() == name);
        text.split(' ').filter_map(known).collect()
    }
}

/// A session as it stands.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: Id<SessionKind>,
    pub user: Id<User>,
    pub device: Device,
    pub proof: Proof,
    /// When the person last showed who they are on it.
    pub proven_at: Timestamp,
    /// Where a second factor was last shown on it. A refresh does not move it.
    pub(super) proven_ip: Option<IpAddr>,
    pub created_at: Timestamp,
    /// To within a minute or so.
    pub last_seen_at: Timestamp,
    /// When it is over whatever happens.
    pub expires_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// How often it was renewed. What showed it in an earlier epoch is worth nothing.
    pub(super) epoch: i64,
    pub(super) salt: [u8; 32],
    pub(super) generation: i64,
    pub(super) refreshed_at: Timestamp,
    /// Which client did so last: [`client_of`].
    pub(super) refreshed_by: Option<[u8; 32]>,
}

/// Of what a client calls itself: enough to know it again for a few seconds.
pub(super) fn client_of(origin: &Origin) -> [u8; 32] {
    sha256(origin.user_agent.as_deref().unwrap_or_default())
}

/// What signed in, as far as it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// At most 256 bytes of it.
    pub user_agent: Option<String>,
    pub ip: Option<IpAddr>,
}

impl From<&Origin> for Device {
    fn from(origin: &Origin) -> Self {
        let cut = |text: &str| {
            let mut end = text.len().min(256);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text[..end].to_owned()
        };
        Self { user_agent: origin.user_agent.as_deref().map(cut), ip: origin.ip }
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its owner signed out on it.
    Logout,
    /// Its owner ended it from another one.
    Revoked,
    /// Its owner signed in too often.
    Displaced,
    /// The account was suspended, banned or closed.
    Locked,
    /// An old refresh token was presented.
    Reuse,
    /// An admin ended it.
    Admin,
    /// The account has a new password.
    PasswordChanged,
    /// Kratos, which vouched for it, says that it is over.
    Elsewhere,
    /// Its owner or an admin took it off the lists.
    Deleted,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::Displaced => "displaced",
            Self::Locked => "locked",
            Self::Reuse => "reuse",
            Self::Admin => "admin",
            Self::PasswordChanged => "password_changed",
            Self::Elsewhere => "elsewhere",
            Self::Deleted => "deleted",
        }
    }
}

/// What a client presents from now on.
#[derive(Debug)]
pub struct Tokens {
    pub access: Secret<String>,
    pub refresh: Secret<String>,
    /// How long the access token lives.
    pub expires_in: Duration,
}

/// Somebody has signed in.
#[derive(Debug)]
pub struct SignedIn {
    pub account: Account,
    pub session: Id<SessionKind>,
    pub tokens: Tokens,
    /// The opaque token, where a cookie was asked for, and how long it may live.
    pub cookie: Option<(Secret<String>, Duration)>,
    /// What the device shows at its next login, and for how long.
    pub device: (Secret<String>, Duration),
}

/// A session after its renewal, and what its browser gets instead of the cookie it had.
pub struct Renewed {
    pub session: Session,
    /// None where the session has no cookie.
    pub cookie: Option<Token>,
}

/// What kind of text somebody presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The opaque token of a cookie.
    Cookie,
    Access(Format),
    Refresh,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Access(format) => format.as_str(),
            Self::Refresh => "refresh_token",
        }
    }
}

/// A refresh token: the session, the generation, and the MAC over both and the session's salt.
#[derive(Debug)]
pub(super) struct Refresh {
    pub(super) session: Id<SessionKind>,
    pub(super) generation: i64,
    mac: [u8; 32],
}

impl Refresh {
    const LEN: usize = 16 + 4 + 32;

    pub(super) fn parse(text: &str) -> Option<Self> {
        // The length is looked at first: decoding makes as many bytes as it is given.
        if text.len() != (Self::LEN * 4).div_ceil(3) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (session, rest) = bytes.split_first_chunk::<16>()?;
        let (generation, mac) = rest.split_first_chunk::<4>()?;
        Some(Self {
            session: Id::from_uuid(Uuid::from_bytes(*session)),
            generation: u32::from_be_bytes(*generation).into(),
            mac: mac.try_into().ok()?,
        })
    }

    /// Whether we made it for this session.
    pub(super) fn is_of(&self, session: &Session, key: &[u8; 32]) -> bool {
        let ours = mac(key, session, self.generation);
        session.id == self.session && bool::from(ours.ct_eq(&self.mac))
    }

    /// The refresh token of a session's generation.
    pub(super) fn text(key: &[u8; 32], session: &Session, generation: i64) -> Secret<String> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.extend_from_slice(session.id.uuid().as_bytes());
        bytes.extend_from_slice(&number(generation));
        bytes.extend_from_slice(&mac(key, session, generation));
        Secret::new(base64url(bytes))
    }
}

fn mac(key: &[u8; 32], session: &Session, generation: i64) -> [u8; 32] {
    let id = session.id.uuid();
    hmac_sha256(key, &[&session.salt[..], id.as_bytes(), &number(generation)].concat())
}

/// A session is refreshed some thousand times in its life; four bytes hold that.
fn number(generation: i64) -> [u8; 4] {
    u32::try_from(generation).unwrap_or(u32::MAX).to_be_bytes()
}
