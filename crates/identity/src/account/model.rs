//! Accounts and what they are made of.

use std::fmt;

use kernel::error::Fields;
use kernel::id::kinds::User;
use kernel::{Error, Id, Principal, Result, Role, Secret, Timestamp};
use rpc::users::{Profile, Status};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::password::{Password, Phc};

/// A mail address: as it is compared, and as it was written.
///
/// Narrower than RFC 5321 on purpose: no quoting, no comments, no address literals, ASCII only
/// (an internationalised domain is written in its `xn--` form). What is left is what people have,
/// and no two of them look alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    normal: String,
    shown: String,
}

impl Email {
    /// # Errors
    /// A field error `invalid` on `/email`.
    pub fn parse(text: &str) -> Result<Self> {
        let shown = text.trim_matches(' ');
        let wrong =
            || Error::field("/email", "invalid", "not a mail address such as a@example.org");
        let (local, domain) = shown.rsplit_once('@').ok_or_else(wrong)?;
        if shown.len() > 254 || !is_local(local) || !is_domain(domain) {
            return Err(wrong());
        }
        Ok(Self { normal: shown.to_ascii_lowercase(), shown: shown.to_owned() })
    }

    /// As addresses are compared and stored.
    pub fn as_str(&self) -> &str {
        &self.normal
    }

    /// As it was written; mail goes here.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub(super) const fn stored(normal: String, shown: String) -> Self {
        Self { normal, shown }
    }
}

fn is_local(local: &str) -> bool {
    let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    local.len() <= 64 && local.split('.').all(|part| !part.is_empty() && part.bytes().all(atom))
}

fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The last label of an IPv4 address is a number; of a domain it never is.
    let last = domain.rsplit('.').next().unwrap_or_default();
    domain.len() <= 253
        && domain.contains('.')
        && domain.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// What an account is called: 1 to 100 characters, of which one at least is a letter or a digit, and
/// none is invisible or moves others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// # Errors
    /// A field error `invalid` on `/name`.
    pub fn parse(text: &str) -> Result<Self> {
        let name = text.trim();
        let wrong = |message: &str| Err(Error::field("/name", "invalid", message));
        if !(1..=100).contains(&name.chars().count()) {
            return wrong("1 to 100 characters");
        }
        if hides_something(name) {
            return wrong("no control characters, and none that cannot be seen");
        }
        if !name.chars().any(char::is_alphanumeric) {
            return wrong("a letter or a digit at least");
        }
        Ok(Self(name.to_owned()))
    }

    /// Of whoever comes from elsewhere without one.
    pub(crate) fn unknown() -> Self {
        Self("Unnamed".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether there is something in a text that a reader cannot see, or that turns what follows. Joiners
/// shape the letters of several scripts, and stand between two of them.
fn hides_something(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    let is_shaped = |letter: Option<&char>| {
        letter.is_some_and(|letter| {
            !letter.is_ascii() && !letter.is_whitespace() && !is_invisible(*letter)
        })
    };
    letters.iter().enumerate().any(|(at, letter)| match letter {
        '\u{200C}' | '\u{200D}' => {
            let before = at.checked_sub(1).and_then(|at| letters.get(at));
            !is_shaped(before) || !is_shaped(letters.get(at + 1))
        }
        letter => letter.is_control() || is_invisible(*letter),
    })
}

/// What has the property `Default_Ignorable_Code_Point` in Unicode 16, and besides that separators of
/// lines, marks of direction, annotations, and the blank of Braille.
const fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}'
        | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// The address of a picture: https, at most 2048 bytes. It is shown, and never fetched by us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Avatar(String);

impl Avatar {
    /// # Errors
    /// A field error `invalid` on `/avatar`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::field("/avatar", "invalid", "an https URL of at most 2048 bytes");
        let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.split(':').next().unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&byte);
        if text.len() > 2048 || !is_domain(host) || !text.bytes().all(plain) {
            return Err(wrong());
        }
        match authority.split_once(':') {
            Some((_, port)) if port.parse::<u16>().is_err() => Err(wrong()),
            _ => Ok(Self(text.to_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a front end keeps for its user: any JSON object of at most 8 KB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences(String);

impl Preferences {
    const LEN_MAX: usize = 8 * 1024;

    /// # Errors
    /// A field error `too_long` on `/preferences`.
    pub fn parse(object: &Map<String, Json>) -> Result<Self> {
        let text = serde_json::to_string(object)
            .map_err(|error| Error::internal("preferences cannot be written").because(error))?;
        if text.len() > Self::LEN_MAX {
            return Err(Error::field("/preferences", "too_long", "at most 8 KB of JSON"));
        }
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An account as it stands.
#[derive(Clone)]
pub struct Account {
    pub id: Id<User>,
    pub email: Email,
    pub name: String,
    pub role: Role,
    pub status: Status,
    /// See [`Principal::approved`].
    pub approved: bool,
    pub email_verified_at: Option<Timestamp>,
    /// None where signing in is by other means.
    pub password: Option<Phc>,
    pub avatar: Option<String>,
    /// A JSON object.
    pub preferences: String,
    /// Grows with every change that others can see.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub last_login_at: Option<Timestamp>,
}

impl Account {
    pub fn profile(&self) -> Profile {
        Profile {
            id: self.id,
            name: self.name.clone(),
            email: self.email.shown().to_owned(),
            role: self.role,
            status: self.status,
            approved: self.approved,
        }
    }

    /// The account's owner on one of its sessions.
    pub(crate) const fn principal(&self, session: &crate::session::Session) -> Principal {
        Principal {
            user: self.id,
            role: self.role,
            session: session.id,
            email_verified: self.email_verified_at.is_some(),
            approved: self.approved,
            level: session.proof.level,
            proven_at: session.proven_at,
            impersonator: session.proof.impersonator,
            acting: None,
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, role, status, version, .. } = self;
        write!(f, "Account({id} {role} {status:?} v{version})")
    }
}

/// What an owner changes about their account. What is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct ProfileChange {
    pub name: Option<Name>,
    /// `Some(None)` takes the picture away.
    pub avatar: Option<Option<Avatar>>,
    pub preferences: Option<Preferences>,
}

/// Which accounts an admin lists.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub role: Option<Role>,
    pub status: Option<Status>,
    pub approved: Option<bool>,
    /// Part of a name or an address, in any case.
    pub text: Option<String>,
    pub sort: Sort,
}

/// The order of a list of accounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AccountSort)]
pub enum Sort {
    #[default]
    Newest,
    Oldest,
    /// The latest login first; who never signed in comes last.
    LastLogin,
}

/// A registration that may be carried out.
#[derive(Debug, Clone)]
pub struct Registration {
    pub name: Name,
    pub email: Email,
    pub password: Password,
    pub role: Role,
}

impl Registration {
    /// # Errors
    /// Field errors, all at once.
    pub fn parse(name: &str, email: &str, password: Secret<String>, role: Role) -> Result<Self> {
        let mut fields = Fields::new();
        let name = fields.take(Name::parse(name));
        let email = fields.take(Email::parse(email));
        let address = email.as_ref().map_or("", |email| email.as_str());
        let password = fields.take(Password::parse("/password", password, address));
        match (name, email, password) {
            (Some(name), Some(email), Some(password)) => Ok(Self { name, email, password, role }),
            _ => Err(fields.into_error()),
        }
    }
}
