//! What Kratos says, as far as it matters here, and what is presented to it.

use std::net::IpAddr;
use std::time::Duration;

use kernel::id::kinds::{Session as SessionKind, User};
use kernel::{Error, Id, Level, Result, Secret, Timestamp};
use rpc::users::KRATOS_COOKIE;
use serde::Deserialize;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::account::{Email, Name};

/// Where people show who they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Here. Kratos's session endpoints are answered from our own sessions.
    #[default]
    Native,
    /// At Kratos, and nowhere else: no session begins here by a password or a passkey.
    Kratos,
    /// Here and at Kratos.
    Both,
}

impl Mode {
    /// Whether sessions of Kratos are believed.
    pub const fn asks_kratos(self) -> bool {
        match self {
            Self::Native => false,
            Self::Kratos | Self::Both => true,
        }
    }

    /// Whether we answer for Kratos.
    pub const fn stands_in(self) -> bool {
        match self {
            Self::Kratos => false,
            Self::Native | Self::Both => true,
        }
    }
}

/// How Kratos is reached and believed.
#[derive(Debug, Clone)]
pub struct Options {
    pub mode: Mode,
    /// Kratos's public API, such as `http://kratos:4433`.
    pub public_url: String,
    /// Kratos's admin API, such as `http://kratos:4434`.
    pub admin_url: String,
    /// Sent to the admin API as a bearer token; Kratos of the Ory Network asks for one.
    pub admin_token: Option<Secret<String>>,
    /// What Kratos's hooks must show. Without it there are no hooks.
    pub hook_key: Option<Secret<String>>,
    /// How long one question to Kratos may take.
    pub timeout: Duration,
    /// How long an answer holds.
    pub cache: Duration,
    /// The level that our own `GET /sessions/whoami` demands.
    pub whoami_level: Level,
    /// Answers about live sessions that a process remembers, at about 200 bytes each.
    pub remembered_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Native,
            public_url: String::new(),
            admin_url: String::new(),
            admin_token: None,
            hook_key: None,
            timeout: Duration::from_secs(2),
            cache: Duration::from_secs(10),
            whoami_level: Level::One,
            remembered_max: 100_000,
        }
    }
}

/// Something that may be a credential of Kratos, by its form.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Credential {
    /// The value of the cookie `ory_kratos_session`.
    Cookie(Secret<String>),
    /// A session token: `ory_st_` and letters and digits, or 32 bare ones before Kratos 1.0.
    Token(Secret<String>),
}

impl Credential {
    /// What is presented, as [`rpc::users::Users::authenticate`] takes it; `None` when Kratos has
    /// never made anything of this form.
    pub(super) fn parse(presented: &str) -> Option<Self> {
        if let Some(value) = cookie_value(presented) {
            // RFC 6265 section 4.1.1, without the letters that no encoding of Kratos has.
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=+/|.%".contains(&byte);
            let fits = (1..=2000).contains(&value.len()) && value.bytes().all(plain);
            return fits.then(|| Self::Cookie(value.to_owned().into()));
        }
        let (body, len) = match presented.strip_prefix("ory_st_") {
            Some(body) => (body, 16..=128),
            None => (presented, 32..=32),
        };
        let fits = len.contains(&body.len()) && body.bytes().all(|b| b.is_ascii_alphanumeric());
        fits.then(|| Self::Token(presented.to_owned().into()))
    }
}

/// The value, when a Kratos cookie is what is presented.
pub(super) fn cookie_value(presented: &str) -> Option<&str> {
    presented.strip_prefix(KRATOS_COOKIE)?.strip_prefix('=')
}

/// An identity as Kratos knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: Uuid,
    pub(super) active: bool,
    /// The address of the person, and whether Kratos has seen it proved. None where the traits
    /// hold none that we take.
    pub(super) address: Option<(Email, bool)>,
    pub(super) name: Name,
}

/// A session as Kratos knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) id: Uuid,
    pub(super) active: bool,
    pub(super) level: Level,
    pub(super) authenticated_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) user_agent: Option<String>,
    pub(super) ip: Option<IpAddr>,
}

/// What a credential of Kratos leads to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) user: Id<User>,
    pub(super) session: Id<SessionKind>,
    /// Kratos's id of the session.
    pub(super) kratos: Uuid,
    /// When Kratos lets it end.
    pub(super) expires_at: Timestamp,
}

/// The `Session` of Kratos's API; what is not needed is passed over.
#[derive(Deserialize)]
pub(super) struct SessionWire {
    id: Uuid,
    #[serde(default)]
    active: bool,
    expires_at: Option<Timestamp>,
    authenticated_at: Option<Timestamp>,
    authenticator_assurance_level: Option<String>,
    #[serde(default)]
    devices: Option<Vec<DeviceWire>>,
    pub(super) identity: Option<IdentityWire>,
}

#[derive(Deserialize)]
struct DeviceWire {
    ip_address: Option<String>,
    user_agent: Option<String>,
}

/// The `Identity` of Kratos's API.
#[derive(Deserialize)]
pub(super) struct IdentityWire {
    id: Uuid,
    state: Option<String>,
    #[serde(default)]
    traits: Json,
    #[serde(default)]
    verifiable_addresses: Option<Vec<AddressWire>>,
}

#[derive(Deserialize)]
struct AddressWire {
    value: String,
    #[serde(default)]
    verified: bool,
    via: Option<String>,
}

impl SessionWire {
    /// # Errors
    /// `Internal`: what every session has is missing.
    pub(super) fn parse(self) -> Result<(Session, Option<Identity>)> {
        let missing = |what: &str| Error::internal(format!("a Kratos session without {what}"));
        // The last one is where the session was used last.
        let device = self.devices.and_then(|mut devices| devices.pop());
        let (ip, user_agent) = device.map_or((None, None), |device| {
            (device.ip_address.as_deref().and_then(ip_of), device.user_agent)
        });
        let level = match self.authenticator_assurance_level.as_deref() {
            // There is no third level here; it is more than the second.
            Some("aal2" | "aal3") => Level::Two,
            // Kratos before 0.8 had no levels.
            Some("aal1" | "aal0") | None => Level::One,
            Some(_) => return Err(missing("a level that is known")),
        };
        // Nothing was shown on it.
        let empty = self.authenticator_assurance_level.as_deref() == Some("aal0");
        let session = Session {
            id: self.id,
            active: self.active && !empty,
            level,
            authenticated_at: self.authenticated_at.ok_or_else(|| missing("authenticated_at"))?,
            expires_at: self.expires_at.ok_or_else(|| missing("expires_at"))?,
            user_agent,
            ip,
        };
        Ok((session, self.identity.map(IdentityWire::parse)))
    }
}

/// An address, with or without the port that Kratos may leave on it.
fn ip_of(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port)
}

impl IdentityWire {
    pub(super) fn parse(self) -> Identity {
        let addresses = self.verifiable_addresses.unwrap_or_default();
        let mails = addresses.iter().filter(|address| address.via.as_deref() == Some("email"));
        let from_traits = self.traits["email"].as_str();
        // Traits are the operator's schema; without an `email` in them the proved address counts.
        let from_list = mails.clone().max_by_key(|address| address.verified);
        let text = from_traits.or(from_list.map(|address| address.value.as_str()));
        let address = text.and_then(|text| Email::parse(text).ok()).map(|email| {
            let is_it = |address: &&AddressWire| {
                Email::parse(&address.value).is_ok_and(|other| other.as_str() == email.as_str())
            };
            let verified = mails.clone().any(|address| address.verified && is_it(&address));
            (email, verified)
        });
        let local = address.as_ref().and_then(|(email, _)| email.shown().split('@').next());
        let name = name_of(&self.traits["name"])
            .and_then(|name| Name::parse(&name).ok())
            .or_else(|| local.and_then(|local| Name::parse(local).ok()))
            .unwrap_or_else(Name::unknown);
        Identity {
            id: self.id,
            // Kratos before 0.8 had no states.
            active: self.state.as_deref().is_none_or(|state| state == "active"),
            address,
            name,
        }
    }
}

/// `"Anne Cooper"`, or `{"first": "Anne", "last": "Cooper"}` as in Kratos's quickstart.
fn name_of(name: &Json) -> Option<String> {
    if let Some(text) = name.as_str() {
        return Some(text.to_owned());
    }
    let parts: Vec<&str> = ["first", "last"].iter().filter_map(|key| name[key].as_str()).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn identity(traits: &Json, addresses: &Json) -> Identity {
        let wire = json!({ "id": Uuid::nil(), "state": "active", "traits": traits,
            "verifiable_addresses": addresses });
        serde_json::from_value::<IdentityWire>(wire).unwrap().parse()
    }

    fn address(identity: &Identity) -> Option<(&str, bool)> {
        identity.address.as_ref().map(|(email, verified)| (email.as_str(), *verified))
    }

    #[test]
    fn what_kratos_never_made_is_known_by_its_form() {
        let letters = "MP2YWEMeM8MxjkGKpH4dqOQ4Q4DlSPaj";
        for good in [letters.to_owned(), format!("ory_st_{letters}")] {
            assert_eq!(Credential::parse(&good), Some(Credential::Token(good.into())));
        }
        let cookie = "ory_kratos_session=MTY0-_a19iOVAbdzdgl70Rq1QZ==";
        let value = cookie.split_once('=').unwrap().1;
        assert_eq!(Credential::parse(cookie), Some(Credential::Cookie(value.to_owned().into())));
        let long = format!("ory_kratos_session={}", "a".repeat(2001));
        for bad in [
            "",
            "ory_st_",
            "ory_st_short",
            "ory_st_MP2YWEMeM8MxjkGKpH4dqOQ4Q4DlSPa\n",
            "ory_kratos_session=",
            "ory_kratos_session=a b",
            "ory_kratos_session=a;b=c",
            "MP2YWEMeM8MxjkGKpH4dqOQ4Q4DlSPa",
            "MP2YWEMeM8MxjkGKpH4dqOQ4Q4DlSPa.",
            &long,
        ] {
            assert_eq!(Credential::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_is_proved_only_by_its_own_entry() {
        let mail = |value: &str, verified: bool, via: &str| json!({ "value": value, "verified": verified, "via": via });
        let traits = json!({ "email": "Anne@Example.org" });
        let proved = identity(&traits, &json!([mail("anne@example.org", true, "email")]));
        assert_eq!(address(&proved), Some(("anne@example.org", true)));
        for entries in [
            json!([]),
            json!(null),
            json!([mail("anne@example.org", false, "email")]),
            json!([mail("other@example.org", true, "email")]),
            json!([mail("anne@example.org", true, "sms")]),
        ] {
            let unproved = identity(&traits, &entries);
            assert_eq!(address(&unproved), Some(("anne@example.org", false)), "{entries}");
        }
    }

    #[test]
    fn traits_of_other_schemas_are_read_as_far_as_they_go() {
        let listed = json!([
            { "value": "a@example.org", "verified": false, "via": "email" },
            { "value": "b@example.org", "verified": true, "via": "email" },
        ]);
        let anne = identity(&json!({ "name": { "first": "Anne", "last": "Cooper" } }), &listed);
        assert_eq!(address(&anne), Some(("b@example.org", true)));
        assert_eq!(anne.name.as_str(), "Anne Cooper");
        let nobody = identity(&json!({ "username": "anne" }), &json!([]));
        assert_eq!(address(&nobody), None);
        let odd = identity(&json!({ "email": "x@example.org", "name": "\u{202e}" }), &json!([]));
        assert_eq!(odd.name.as_str(), "x");
        assert_eq!(address(&identity(&json!("x"), &json!([]))), None);
    }
}
