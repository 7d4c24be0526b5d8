//! What all routes share: who is asked for sessions, what is limited, what is allowed.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, header};
use kernel::caller::RequestId;
use kernel::{Error, Level, Principal, Result, Role, Timestamp, World};
use platform::http::{Audience, Freshness, Limit};
use platform::limits::{Decision, Limiter, Subject};
use rpc::users::{DEVICE_COOKIE, SESSION_COOKIE, SESSION_KEY_COOKIE, Users};

use crate::address::TrustedProxies;
use crate::cors::Origins;
use crate::guard::Row;

/// How the edge is set up.
pub struct EdgeOptions {
    pub world: World,
    pub users: Arc<dyn Users>,
    pub limiter: Arc<Limiter>,
    pub origins: Origins,
    pub proxies: TrustedProxies,
    /// Whether clients reach us by HTTPS only: adds HSTS.
    pub https: bool,
    /// How long a request with a body may take, from its head to its answer.
    pub request_timeout: Duration,
    /// How long an upload or download may take.
    pub transfer_timeout: Duration,
    /// Whether admins are let in with two factors only.
    pub admin_second_factor: bool,
    /// How long a proof of who one is counts as fresh, on the routes that want one.
    pub step_up_within: Duration,
}

/// The edge. One for all routes.
pub struct Edge {
    pub(crate) options: EdgeOptions,
}

/// How a request showed who it is.
pub(crate) struct Presented<'a> {
    pub(crate) token: &'a str,
    pub(crate) by_cookie: bool,
}

impl Edge {
    pub fn new(options: EdgeOptions) -> Arc<Self> {
        Arc::new(Self { options })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.options.world.now()
    }

    /// The id that a client or proxy gave the request, if it is one that can stand in a log;
    /// else a new one.
    pub(crate) fn request_id(&self, headers: &HeaderMap) -> RequestId {
        let theirs = headers.get("x-request-id").and_then(|value| value.to_str().ok());
        let fits = |text: &&str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
            (1..=64).contains(&text.len()) && text.bytes().all(plain)
        };
        match theirs.filter(fits) {
            Some(text) => RequestId::Theirs(text.into()),
            None => RequestId::Ours(self.options.world.id::<kernel::id::kinds::Fact>().uuid()),
        }
    }

    pub(crate) fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> IpAddr {
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.options.proxies.client(peer, headers)
    }

    /// Who asks, if anybody shows a session. On public routes a session that is over counts as
    /// none; elsewhere it is refused with the reason.
    ///
    /// Here a route's [`Freshness`] is honoured: [`Edge::must_confirm`] says where memory will not
    /// do.
    pub(crate) async fn authenticate(
        &self,
        presented: Option<&Presented<'_>>,
        row: &Row,
    ) -> Result<Option<Arc<Principal>>> {
        let Some(presented) = presented else { return Ok(None) };
        let users = &self.options.users;
        if row.freshness == Freshness::NoSession {
            return Ok(None);
        }
        let asked = if self.must_confirm(row) {
            users.confirm(presented.token).await
        } else if let Some(principal) = users.cached(presented.token, self.now()) {
            Ok(principal)
        } else {
            users.authenticate(presented.token).await
        };
        match asked {
            Ok(principal) => Ok(Some(principal)),
            Err(error)
                if row.audience == Audience::Public
                    && error.kind() == kernel::Kind::Unauthenticated =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the store must be asked who somebody is, whatever is remembered.
    pub(crate) fn must_confirm(&self, row: &Row) -> bool {
        row.freshness == Freshness::Strict && !self.options.users.is_prompt()
    }

    pub(crate) fn limit(&self, class: Limit, client: IpAddr) -> Option<Decision> {
        self.options.limiter.check(class, Subject::address(client), self.now())
    }

    /// As [`Edge::limit`], for classes of which all replicas together let no more pass than one.
    pub(crate) async fn limit_exactly(
        &self,
        class: Limit,
        client: IpAddr,
    ) -> Result<Option<Decision>> {
        self.options.limiter.admit(class, Subject::address(client), self.now()).await
    }
}

/// The token of a request: a bearer token goes before a cookie.
pub(crate) fn presented(headers: &HeaderMap) -> Option<Presented<'_>> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let token = token.trim();
        return scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(Presented { token, by_cookie: false });
    }
    cookie(headers).map(|token| Presented { token, by_cookie: true })
}

/// What a device shows of itself.
pub(crate) fn device(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut named = cookies(headers).filter(|(name, _)| *name == DEVICE_COOKIE);
    named.next().map(|(_, value)| Arc::from(value))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let headers = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = headers.flat_map(|cookies| cookies.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('='))
}

/// The session's cookie, under the one name before the other.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let mut found = None;
    for (name, token) in cookies(headers) {
        match name {
            SESSION_COOKIE => return Some(token),
            SESSION_KEY_COOKIE if found.is_none() => found = Some(token),
            _ => {}
        }
    }
    found
}

/// Whether a route's audience includes the caller. The one place that asks admins for a second
/// factor, and that keeps impersonated sessions from being admins.
pub(crate) fn admit(
    audience: Audience,
    principal: Option<&Principal>,
    admin_second_factor: bool,
) -> Result<()> {
    let role = match audience {
        Audience::Public | Audience::Provider | Audience::Ops => return Ok(()),
        Audience::Any => None,
        Audience::User => Some(Role::User),
        Audience::Verifier => Some(Role::Verifier),
        Audience::Enterprise | Audience::Key => Some(Role::Enterprise),
        Audience::Admin => Some(Role::Admin),
    };
    let Some(principal) = principal else {
        let message = "Sign in first: send Authorization: Bearer TOKEN, or the session cookie.";
        return Err(Error::unauthenticated("missing_auth", message));
    };
    let Some(role) = role else { return Ok(()) };
    if principal.role != role {
        let message = format!("This is for accounts of the role {role}.");
        return Err(Error::forbidden("forbidden", message));
    }
    if !principal.approved {
        let message = "An admin has yet to approve this account.";
        return Err(Error::forbidden("pending_approval", message));
    }
    if role == Role::Admin {
        if principal.impersonator.is_some() {
            return Err(impersonated());
        }
        if admin_second_factor && principal.level < Level::Two {
            let message = "Admins sign in with two factors. Enrol one with POST \
                           /v1/auth/mfa/enroll or /v1/auth/passkeys/register/start; with one \
                           enrolled, show it with POST /v1/auth/step-up.";
            return Err(Error::forbidden("second_factor_required", message));
        }
    }
    Ok(())
}

/// Whether the caller's mail address is proved, or the route serves them all the same. Till then
/// the account may be anybody's who has typed somebody else's address.
pub(crate) fn proved(
    audience: Audience,
    unproved: bool,
    principal: Option<&Principal>,
) -> Result<()> {
    let open = matches!(audience, Audience::Public | Audience::Provider | Audience::Ops);
    if open || unproved || principal.is_none_or(|principal| principal.email_verified) {
        return Ok(());
    }
    let message = "Confirm your mail address first, with the link that we sent to it.";
    Err(Error::forbidden("email_not_verified", message))
}

/// Whether the caller has shown who they are lately enough.
pub(crate) fn fresh(principal: Option<&Principal>, within: Duration, now: Timestamp) -> Result<()> {
    let Some(principal) = principal else { return Ok(()) };
    if principal.impersonator.is_some() {
        return Err(impersonated());
    }
    if now.since(principal.proven_at) < within {
        return Ok(());
    }
    let message = "Show once more who you are, with POST /v1/auth/step-up, and try again.";
    Err(Error::forbidden("step_up_required", message))
}

fn impersonated() -> Error {
    let message = "Whoever looks through somebody's eyes cannot do this in their name.";
    Error::forbidden("impersonated", message)
}

/// What only the person themselves may do is not for an admin who looks at the platform as them.
pub(crate) fn refuse_another(principal: Option<&Principal>) -> Result<()> {
    if principal.is_some_and(|principal| principal.impersonator.is_some()) {
        return Err(impersonated());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Id;

    fn principal(role: Role, approved: bool) -> Principal {
        let nil = uuid::Uuid::nil();
        let somebody = Principal::new(Id::from_uuid(nil), role, Id::from_uuid(nil));
        Principal { approved, ..somebody }
    }

    /// Every audience against every role: the whole table.
    #[test]
    fn each_audience_admits_exactly_its_role() {
        use Audience::{Admin, Any, Enterprise, Key, Ops, Provider, Public, User, Verifier};
        for audience in [Public, Any, User, Verifier, Enterprise, Key, Admin, Provider, Ops] {
            for role in Role::ALL {
                let admitted = admit(audience, Some(&principal(role, true)), false).is_ok();
                let expected = match audience {
                    Public | Any | Provider | Ops => true,
                    User => role == Role::User,
                    Verifier => role == Role::Verifier,
                    Enterprise | Key => role == Role::Enterprise,
                    Admin => role == Role::Admin,
                };
                assert_eq!(admitted, expected, "{audience:?} {role:?}");
            }
            let open = matches!(audience, Public | Provider | Ops);
            assert_eq!(admit(audience, None, true).is_ok(), open, "{audience:?} nobody");
        }
        assert!(admit(Verifier, Some(&principal(Role::Verifier, false)), true).is_err());
        assert!(admit(Any, Some(&principal(Role::Verifier, false)), true).is_ok());
    }

    #[test]
    fn an_admin_is_let_in_with_two_factors_and_only_as_themselves() {
        let one = principal(Role::Admin, true);
        let two = Principal { level: Level::Two, ..one.clone() };
        let code = |principal: &Principal, needed| {
            admit(Audience::Admin, Some(principal), needed).err().map(|e| e.code().to_owned())
        };
        assert_eq!(code(&one, true).as_deref(), Some("second_factor_required"));
        assert_eq!(code(&one, false), None);
        assert_eq!(code(&two, true), None);
        let seen = Principal { impersonator: Some(two.user), ..two };
        assert_eq!(code(&seen, false).as_deref(), Some("impersonated"));
        // What it takes to enrol one is open.
        assert!(admit(Audience::Any, Some(&one), true).is_ok());
    }

    #[test]
    fn a_proof_is_fresh_for_its_time_and_never_through_another_s_eyes() {
        let within = Duration::from_secs(600);
        let proven = Timestamp::from_seconds(1_000);
        let somebody = Principal { proven_at: proven, ..principal(Role::User, true) };
        let last = proven + within - Duration::from_micros(1);
        assert!(fresh(Some(&somebody), within, last).is_ok());
        let late = fresh(Some(&somebody), within, proven + within).unwrap_err();
        assert_eq!(late.code(), "step_up_required");
        let seen = Principal { impersonator: Some(somebody.user), ..somebody };
        assert_eq!(fresh(Some(&seen), within, proven).unwrap_err().code(), "impersonated");
    }

    #[test]
    fn who_has_not_proved_their_address_gets_where_it_says_so_and_no_further() {
        use Audience::{Admin, Any, Public, User};
        let somebody = principal(Role::User, true);
        let unproved = Principal { email_verified: false, ..somebody.clone() };
        for audience in [Any, User, Admin] {
            let refused = proved(audience, false, Some(&unproved)).unwrap_err();
            assert_eq!(refused.code(), "email_not_verified");
            assert!(proved(audience, true, Some(&unproved)).is_ok());
            assert!(proved(audience, false, Some(&somebody)).is_ok());
        }
        assert!(proved(Public, false, Some(&unproved)).is_ok());
        assert!(proved(Public, false, None).is_ok());
    }

    #[test]
    fn a_session_is_found_under_either_name_of_its_cookie() {
        for (cookies, found) in [
            ("verza_session=a", Some("a")),
            ("session_key=b", Some("b")),
            ("session_key=b; verza_session=a; session_key=c", Some("a")),
            ("session_key=b; session_key=c", Some("b")),
            ("xsession_key=b; session_keys=c; session_key", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, cookies.parse().unwrap());
            assert_eq!(cookie(&headers), found, "{cookies}");
        }
    }

    #[test]
    fn what_is_done_in_person_is_refused_to_an_admin_in_somebody_s_name() {
        let own = principal(Role::User, true);
        assert!(refuse_another(Some(&own)).is_ok() && refuse_another(None).is_ok());
        let nil = Id::from_uuid(uuid::Uuid::nil());
        let looked_through = Principal { impersonator: Some(nil), ..own };
        assert_eq!(refuse_another(Some(&looked_through)).unwrap_err().code(), "impersonated");
    }

    #[test]
    fn a_bearer_token_goes_before_a_cookie() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, "a=b; verza_session=cookie; c=d".parse().unwrap());
        assert_eq!(presented(&headers).unwrap().token, "cookie");
        headers.insert(header::AUTHORIZATION, "bearer jwt".parse().unwrap());
        let shown = presented(&headers).unwrap();
        assert_eq!((shown.token, shown.by_cookie), ("jwt", false));
        headers.insert(header::AUTHORIZATION, "Basic eDp5".parse().unwrap());
        assert!(presented(&headers).is_none());
    }
}
