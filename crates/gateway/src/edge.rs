//! What all routes share: who is asked for sessions, what is limited, what is allowed.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, Uri, header};
use kernel::caller::{Acting, Actor, RequestId};
use kernel::{Error, Kind, Level, Permission, Principal, Result, Role, Timestamp, World};
use organizations::Standings;
use platform::http::{Audience, Freshness, Limit};
use platform::limits::{Decision, Limiter, Quota, Subject};
use platform::load::Load;
use rpc::users::{
    DEVICE_COOKIE, KRATOS_COOKIE, SESSION_COOKIE, SESSION_KEY_COOKIE, Users, is_kratos,
};

use crate::address::TrustedProxies;
use crate::cors::Origins;
use crate::guard::Row;

/// How the edge is set up.
pub struct EdgeOptions {
    pub world: World,
    pub users: Arc<dyn Users>,
    /// Who acts for which organization.
    pub standings: Arc<dyn Standings>,
    /// Whose the tickets are that open streams.
    pub tickets: Arc<dyn Tickets>,
    pub limiter: Arc<Limiter>,
    /// What is let in of what comes; somebody must [`Load::watch`] it.
    pub load: Arc<Load>,
    pub origins: Origins,
    pub proxies: TrustedProxies,
    /// Whether clients reach us by HTTPS only: adds HSTS.
    pub https: bool,
    /// How long a request with a body may take, from its head to its answer.
    pub request_timeout: Duration,
    /// How long an upload or download may take.
    pub transfer_timeout: Duration,
    /// Whether answers say how long they took. For development: it tells strangers, too.
    pub server_timing: bool,
    /// Whether admins are let in with two factors only.
    pub admin_second_factor: bool,
    /// How long a proof of who one is counts as fresh, on the routes that want one.
    pub step_up_within: Duration,
}

/// Tickets: what a browser shows in the address of a stream, where it can set no header. Whoever
/// gives them out is a context that the edge does not know.
pub trait Tickets: Send + Sync {
    /// Uses a ticket up, and answers who it is that it was given to, on a session that still lives.
    ///
    /// # Errors
    /// `Unauthenticated` `invalid_ticket`, `session_ended`, `session_expired`.
    fn redeem<'a>(&'a self, ticket: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>>;
}

/// The edge. One for all routes.
pub struct Edge {
    pub(crate) options: EdgeOptions,
}

/// The header in which Kratos's clients send a session token.
static SESSION_TOKEN: HeaderName = HeaderName::from_static("x-session-token");

/// Texts from one address about which Kratos had to be asked and which were worth nothing. Made-up
/// ones would otherwise be passed on to it at whatever rate they come.
const FOREIGN_REFUSED: (&str, Quota) =
    ("edge.foreign_session", Quota { burst: 60, every: Duration::from_secs(1) });

/// API keys from one address that were worth nothing: nobody tries keys out.
const KEYS_REFUSED: (&str, Quota) =
    ("edge.refused_key", Quota { burst: 60, every: Duration::from_secs(1) });

/// Tickets from one address that were worth nothing.
const TICKETS_REFUSED: (&str, Quota) =
    ("edge.refused_ticket", Quota { burst: 60, every: Duration::from_secs(1) });

/// How a request showed who it is.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) token: &'a str,
    pub(crate) by_cookie: bool,
    /// The cookie of Kratos beside our own: browsers keep a dead cookie as long as a live one.
    or: Option<&'a str>,
}

impl Presented<'_> {
    /// Whether it is an API key. A cookie never is: no page is to act as a program.
    pub(crate) fn is_key(&self) -> bool {
        !self.by_cookie && organizations::is_key(self.token)
    }
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
    /// none, and so does one of Kratos that cannot be judged now; elsewhere it is refused with the
    /// reason.
    ///
    /// Here a route's [`Freshness`] is honoured: [`Edge::must_confirm`] says where memory will not
    /// do.
    pub(crate) async fn authenticate(
        &self,
        presented: Option<&Presented<'_>>,
        row: &Row,
        client: IpAddr,
    ) -> Result<Option<Arc<Principal>>> {
        let Some(presented) = presented else { return Ok(None) };
        if row.freshness == Freshness::NoSession {
            return Ok(None);
        }
        let strict = self.must_confirm(row);
        if presented.is_key() {
            return Box::pin(self.by_key(presented.token, row, strict, client)).await;
        }
        let mut shown = presented.token;
        let mut outcome = self.ask(shown, strict, client).await;
        if let (Err(error), Some(other)) = (&outcome, presented.or)
            && error.kind() == Kind::Unauthenticated
        {
            shown = other;
            outcome = self.ask(other, strict, client).await;
        }
        match outcome {
            Ok(principal) => Ok(Some(principal)),
            Err(error)
                if row.audience == Audience::Public
                    && (error.kind() == Kind::Unauthenticated || is_kratos(shown)) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The organization whose key this is, on the routes that take keys. On public ones a key
    /// counts for nobody, as a session that is over does.
    async fn by_key(
        &self,
        key: &str,
        row: &Row,
        strict: bool,
        client: IpAddr,
    ) -> Result<Option<Arc<Principal>>> {
        match row.audience {
            Audience::Key => {}
            Audience::Public => return Ok(None),
            _ => {
                let message = "API keys are not taken here. Sign in, and use the session.";
                return Err(Error::forbidden("key_not_accepted", message));
            }
        }
        let (class, quota) = KEYS_REFUSED;
        let subject = Subject::address(client);
        // Counted before it is asked about, so that many at once are counted as many.
        self.options.limiter.take(class, subject, quota, self.now()).check()?;
        let outcome = self.options.standings.by_key(key, strict, client).await;
        if !matches!(&outcome, Err(error) if error.kind() == Kind::Unauthenticated) {
            self.options.limiter.give_back(class, subject, quota);
        }
        outcome.map(Some)
    }

    /// Whose a ticket is. What is no ticket is counted as refused keys are: nobody tries them out.
    pub(crate) async fn redeem(&self, ticket: &str, client: IpAddr) -> Result<Arc<Principal>> {
        let (class, quota) = TICKETS_REFUSED;
        let subject = Subject::address(client);
        self.options.limiter.take(class, subject, quota, self.now()).check()?;
        let outcome = self.options.tickets.redeem(ticket).await;
        if outcome.is_ok() {
            self.options.limiter.give_back(class, subject, quota);
        }
        outcome
    }

    /// Whom a signed-in user acts for on this route: a member of a team for its organization,
    /// everybody else for themselves.
    pub(crate) async fn standing(
        &self,
        principal: Arc<Principal>,
        row: &Row,
    ) -> Result<Arc<Principal>> {
        if principal.acting.is_some() || !is_for_organizations(row.audience) {
            return Ok(principal);
        }
        Box::pin(self.options.standings.of_member(principal)).await
    }

    /// Whether this is an admin who has shown one factor where admins need two.
    pub(crate) fn is_half_an_admin(&self, principal: &Principal) -> bool {
        let needs_two = self.options.admin_second_factor && principal.role == Role::Admin;
        needs_two && principal.level < Level::Two
    }

    /// The one place that asks admins for a second factor: whatever a route's audience, half an
    /// admin gets to those alone that it takes to become a whole one.
    pub(crate) fn whole_admin(&self, row: &Row, principal: Option<&Principal>) -> Result<()> {
        let is_half = principal.is_some_and(|principal| self.is_half_an_admin(principal));
        if row.one_factor || row.is_open() || !is_half {
            return Ok(());
        }
        let message = "Admins sign in with two factors. Enrol one with POST /v1/auth/mfa/enroll \
                       or /v1/auth/passkeys/register/start; with one enrolled, show it with POST \
                       /v1/auth/step-up.";
        Err(Error::forbidden("second_factor_required", message))
    }

    /// Counts a request of an API key, whichever address it comes from.
    pub(crate) fn limit_key(&self, principal: Option<&Principal>) -> Option<Decision> {
        let Some(Acting { by: Actor::Key(key), .. }) = principal?.acting else { return None };
        self.options.limiter.check(Limit::Key, Subject::Id(key.uuid()), self.now())
    }

    /// Whether the store must be asked who somebody is, whatever is remembered.
    pub(crate) fn must_confirm(&self, row: &Row) -> bool {
        row.freshness == Freshness::Strict && !self.options.users.is_prompt()
    }

    /// Who presents this. What only Kratos can judge is counted before it is asked, so that many
    /// at once are counted as many.
    async fn ask(&self, presented: &str, strict: bool, client: IpAddr) -> Result<Arc<Principal>> {
        let users = &self.options.users;
        if !strict && let Some(principal) = users.cached(presented, self.now()) {
            return Ok(principal);
        }
        let (class, quota) = FOREIGN_REFUSED;
        let (foreign, subject) = (is_kratos(presented), Subject::address(client));
        if foreign {
            self.options.limiter.take(class, subject, quota, self.now()).check()?;
        }
        let outcome = if strict {
            users.confirm(presented).await
        } else {
            users.authenticate(presented).await
        };
        if foreign && !matches!(&outcome, Err(error) if error.kind() == Kind::Unauthenticated) {
            self.options.limiter.give_back(class, subject, quota);
        }
        outcome
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

/// The token of a request: a bearer token goes before the session token of Kratos's clients, that
/// before our cookie, and our cookie before the one of Kratos.
pub(crate) fn presented(headers: &HeaderMap) -> Option<Presented<'_>> {
    let by_header = |token| Presented { token, by_cookie: false, or: None };
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then_some(by_header(token.trim()));
    }
    if let Some(value) = headers.get(&SESSION_TOKEN) {
        return value.to_str().ok().map(by_header);
    }
    let (ours, theirs) = sessions(headers);
    let (token, or) = if ours.is_some() { (ours?, theirs) } else { (theirs?, None) };
    Some(Presented { token, by_cookie: true, or })
}

/// The ticket in the address of a stream. Whatever stands there counts as one: an access token
/// would end up in the logs of every proxy on the way.
pub(crate) fn ticket(uri: &Uri) -> Option<&str> {
    // Tickets are made of letters that are not escaped.
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// What a device shows of itself.
pub(crate) fn device(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut named = cookies(headers).filter(|(name, _)| *name == DEVICE_COOKIE);
    named.next().map(|(_, value)| Arc::from(value))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    pairs(headers).filter_map(|pair| pair.split_once('='))
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let headers = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    headers.flat_map(|cookies| cookies.split(';')).map(str::trim)
}

/// The session's cookie, under the one name before the other.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    sessions(headers).0
}

/// The cookie of our sessions, and the one of Kratos.
fn sessions(headers: &HeaderMap) -> (Option<&str>, Option<&str>) {
    let (mut ours, mut older, mut theirs) = (None, None, None);
    for pair in pairs(headers) {
        match pair.split_once('=') {
            Some((SESSION_COOKIE, token)) if ours.is_none() => ours = Some(token),
            Some((SESSION_KEY_COOKIE, token)) if older.is_none() => older = Some(token),
            // The whole pair: its name says who made it.
            Some((KRATOS_COOKIE, _)) if theirs.is_none() => theirs = Some(pair),
            _ => {}
        }
    }
    (ours.or(older), theirs)
}

/// The routes on which members and keys act for their organization.
pub(crate) const fn is_for_organizations(audience: Audience) -> bool {
    matches!(audience, Audience::Enterprise | Audience::Key)
}

/// Whether whoever acts for an organization may do what the route is for.
pub(crate) fn permitted(
    permission: Option<Permission>,
    principal: Option<&Principal>,
) -> Result<()> {
    let (Some(permission), Some(principal)) = (permission, principal) else { return Ok(()) };
    if principal.may(permission) {
        return Ok(());
    }
    let by_key = matches!(principal.acting, Some(Acting { by: Actor::Key(_), .. }));
    let message = if by_key {
        format!("This API key lacks the scope {permission}.")
    } else {
        format!("Your role in the organization lacks the permission {permission}.")
    };
    let error = Error::forbidden("missing_permission", message);
    Err(error.with_member("permission", permission.as_str()))
}

/// Whether a route's audience includes the caller. The one place that keeps impersonated sessions
/// from being admins.
pub(crate) fn admit(audience: Audience, principal: Option<&Principal>) -> Result<()> {
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
    if role == Role::Admin && principal.impersonator.is_some() {
        return Err(impersonated());
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
    use futures_util::FutureExt;
    use kernel::id::kinds::ApiKey;
    use kernel::{Id, Permissions};
    use rpc::users::Profile;

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
                let admitted = admit(audience, Some(&principal(role, true))).is_ok();
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
            assert_eq!(admit(audience, None).is_ok(), open, "{audience:?} nobody");
        }
        assert!(admit(Verifier, Some(&principal(Role::Verifier, false))).is_err());
        assert!(admit(Any, Some(&principal(Role::Verifier, false))).is_ok());
    }

    #[test]
    fn an_admin_is_let_in_with_two_factors_and_only_as_themselves() {
        let one = principal(Role::Admin, true);
        let two = Principal { level: Level::Two, ..one.clone() };
        let row = |route: platform::http::RouteBuilder, edge: &Edge| {
            Row::new(&route.to::<_, _, ()>(async || ()), &edge.options.load)
        };
        for audience in [Audience::Admin, Audience::Any] {
            let code = |principal: &Principal, needed: bool| {
                let edge = edge_where(&Arc::default(), needed);
                let row = row(platform::http::get(audience, "/v1/x"), &edge);
                edge.whole_admin(&row, Some(principal)).err().map(|error| error.code().to_owned())
            };
            assert_eq!(code(&one, true).as_deref(), Some("second_factor_required"));
            assert_eq!(code(&one, false), None);
            assert_eq!(code(&two, true), None);
            assert_eq!(code(&principal(Role::User, true), true), None);
        }
        // What it takes to enrol one is open.
        let edge = edge_where(&Arc::default(), true);
        let row = row(platform::http::get(Audience::Any, "/v1/x").with_one_factor(), &edge);
        assert!(edge.whole_admin(&row, Some(&one)).is_ok());
        let seen = Principal { impersonator: Some(two.user), ..two };
        assert_eq!(admit(Audience::Admin, Some(&seen)).unwrap_err().code(), "impersonated");
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
        headers.insert("x-session-token", "session-token".parse().unwrap());
        assert_eq!(presented(&headers).unwrap().token, "session-token");
        headers.insert(header::AUTHORIZATION, "bearer jwt".parse().unwrap());
        let shown = presented(&headers).unwrap();
        assert_eq!((shown.token, shown.by_cookie), ("jwt", false));
        headers.insert(header::AUTHORIZATION, "Basic eDp5".parse().unwrap());
        assert!(presented(&headers).is_none());
    }

    #[test]
    fn the_cookie_of_kratos_stands_behind_ours_under_its_name() {
        let mut headers = HeaderMap::new();
        let cookies = "ory_kratos_session=MTY=; a=b; verza_session=ours";
        headers.insert(header::COOKIE, cookies.parse().unwrap());
        let shown = presented(&headers).unwrap();
        assert_eq!((shown.token, shown.or), ("ours", Some("ory_kratos_session=MTY=")));
        assert!(shown.by_cookie);
        headers.insert(header::COOKIE, "a=b; ory_kratos_session=MTY=".parse().unwrap());
        let shown = presented(&headers).unwrap();
        assert_eq!((shown.token, shown.or), ("ory_kratos_session=MTY=", None));
        assert!(shown.by_cookie);
    }

    /// Users of whom `good` is signed in, `away` cannot be asked about, and nobody else is known.
    #[derive(Default)]
    struct Few(std::sync::atomic::AtomicUsize);

    impl Users for Few {
        fn cached(&self, _: &str, _: Timestamp) -> Option<Arc<Principal>> {
            None
        }

        fn authenticate<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let outcome = if text.ends_with("good") {
                Ok(Arc::new(principal(Role::User, true)))
            } else if text.ends_with("away") {
                Err(Error::unavailable("kratos_unavailable", "Not now."))
            } else {
                Err(Error::unauthenticated("invalid_token", "No."))
            };
            std::future::ready(outcome).boxed()
        }

        fn profile(&self, _: Id<kernel::id::kinds::User>) -> BoxFuture<'_, Result<Profile>> {
            std::future::ready(Err(Error::not_found("user"))).boxed()
        }

        fn profiles<'a>(
            &'a self,
            _: &'a [Id<kernel::id::kinds::User>],
        ) -> BoxFuture<'a, Result<Vec<Profile>>> {
            std::future::ready(Ok(Vec::new())).boxed()
        }
    }

    /// Nobody has a ticket.
    pub(crate) struct NoTickets;

    impl Tickets for NoTickets {
        fn redeem<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
            let refusal = Error::unauthenticated("invalid_ticket", "No.");
            std::future::ready(Err(refusal)).boxed()
        }
    }

    const KEY: Id<ApiKey> = Id::from_uuid(uuid::Uuid::max());

    /// One key that is worth something, and no members.
    struct OneKey;

    impl Standings for OneKey {
        fn by_key<'a>(
            &'a self,
            key: &'a str,
            _: bool,
            _: IpAddr,
        ) -> BoxFuture<'a, Result<Arc<Principal>>> {
            let may = Permissions::of(&[Permission::VerificationsRead]);
            let acting = Some(Acting { by: Actor::Key(KEY), may });
            let outcome = if key == "vz_good" {
                Ok(Arc::new(Principal { acting, ..principal(Role::Enterprise, true) }))
            } else {
                Err(Error::unauthenticated("invalid_api_key", "No."))
            };
            std::future::ready(outcome).boxed()
        }

        fn of_member(&self, principal: Arc<Principal>) -> BoxFuture<'_, Result<Arc<Principal>>> {
            std::future::ready(Ok(principal)).boxed()
        }
    }

    #[tokio::test]
    async fn a_key_is_taken_on_routes_of_keys_and_nowhere_else() {
        use Audience::{Admin, Any, Enterprise, Key, Public, User, Verifier};
        let edge = edge(&Arc::default());
        let ask = async |token, by_cookie, audience| {
            let shown = Presented { token, by_cookie, or: None };
            let route = platform::http::get(audience, "/v1/x").to::<_, _, ()>(async || ());
            let row = Row::new(&route, &edge.options.load);
            match edge.authenticate(Some(&shown), &row, CLIENT).await {
                Ok(Some(principal)) => format!("{:?}", principal.acting.map(|acting| acting.by)),
                Ok(None) => "nobody".to_owned(),
                Err(error) => error.code().to_owned(),
            }
        };
        assert_eq!(ask("vz_good", false, Key).await, format!("Some(Key({KEY:?}))"));
        assert_eq!(ask("vz_bad", false, Key).await, "invalid_api_key");
        assert_eq!(ask("vz_good", false, Public).await, "nobody");
        for audience in [Any, User, Verifier, Enterprise, Admin] {
            assert_eq!(ask("vz_good", false, audience).await, "key_not_accepted", "{audience:?}");
        }
        // The users of this test know it as a session: a cookie is never a key.
        assert_eq!(ask("vz_good", true, Key).await, "None");
    }

    #[tokio::test]
    async fn keys_cannot_be_tried_out_and_good_ones_are_not_slowed_down() {
        let edge = edge(&Arc::default());
        let route = platform::http::get(Audience::Key, "/v1/x").to::<_, _, ()>(async || ());
        let row = Row::new(&route, &edge.options.load);
        let ask = async |token| {
            let shown = Presented { token, by_cookie: false, or: None };
            edge.authenticate(Some(&shown), &row, CLIENT).await
        };
        for _ in 0..1000 {
            assert!(ask("vz_good").await.is_ok());
        }
        for _ in 0..200 {
            let _ = ask("vz_made_up").await;
        }
        assert_eq!(ask("vz_made_up").await.unwrap_err().code(), "rate_limited");
    }

    #[test]
    fn who_acts_for_an_organization_may_do_what_they_are_permitted_to() {
        let account = principal(Role::Enterprise, true);
        for one in Permission::ALL {
            assert!(permitted(Some(one), Some(&account)).is_ok(), "the account itself");
            for by in [Actor::Key(KEY), Actor::Member(account.user)] {
                for other in Permission::ALL {
                    let acting = Some(Acting { by, may: Permissions::of(&[other]) });
                    let somebody = Principal { acting, ..account.clone() };
                    assert_eq!(permitted(Some(one), Some(&somebody)).is_ok(), one == other);
                }
                let acting = Some(Acting { by, may: Permissions::NONE });
                let nobody = Principal { acting, ..account.clone() };
                let refused = permitted(Some(one), Some(&nobody)).unwrap_err();
                assert_eq!(refused.code(), "missing_permission");
                assert!(permitted(None, Some(&nobody)).is_ok());
            }
        }
    }

    fn edge(users: &Arc<Few>) -> Arc<Edge> {
        edge_where(users, false)
    }

    fn edge_where(users: &Arc<Few>, admin_second_factor: bool) -> Arc<Edge> {
        Edge::new(EdgeOptions {
            world: platform::world::system(),
            users: users.clone(),
            standings: Arc::new(OneKey),
            tickets: Arc::new(NoTickets),
            limiter: Arc::new(Limiter::new(platform::limits::Quotas::NONE)),
            load: Load::new(platform::load::Policy::default()),
            origins: Origins::new("https://verza.example", &[]),
            proxies: TrustedProxies::parse(&[]).unwrap(),
            https: true,
            request_timeout: Duration::from_secs(1),
            transfer_timeout: Duration::from_secs(1),
            server_timing: false,
            admin_second_factor,
            step_up_within: Duration::from_secs(600),
        })
    }

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    async fn ask(edge: &Edge, token: &str, or: Option<&str>, audience: Audience) -> String {
        let shown = Presented { token, by_cookie: true, or };
        let route = platform::http::get(audience, "/v1/x").to::<_, _, ()>(async || ());
        match edge.authenticate(Some(&shown), &Row::new(&route, &edge.options.load), CLIENT).await {
            Ok(Some(_)) => "signed in".to_owned(),
            Ok(None) => "nobody".to_owned(),
            Err(error) => error.code().to_owned(),
        }
    }

    #[tokio::test]
    async fn a_dead_cookie_of_ours_does_not_hide_a_live_one_of_kratos() {
        let edge = edge(&Arc::default());
        assert_eq!(ask(&edge, "dead", Some("ory_good"), Audience::Any).await, "signed in");
        assert_eq!(ask(&edge, "dead", Some("ory_dead"), Audience::Any).await, "invalid_token");
        assert_eq!(ask(&edge, "good", Some("ory_away"), Audience::Any).await, "signed in");
    }

    #[tokio::test]
    async fn while_kratos_is_away_its_cookie_counts_for_nobody_on_public_pages() {
        let edge = edge(&Arc::default());
        assert_eq!(ask(&edge, "ory_away", None, Audience::Public).await, "nobody");
        assert_eq!(ask(&edge, "ory_away", None, Audience::Any).await, "kratos_unavailable");
        assert_eq!(ask(&edge, "away", None, Audience::Public).await, "kratos_unavailable");
    }

    #[tokio::test]
    async fn made_up_sessions_of_kratos_are_passed_on_at_a_bounded_rate() {
        let users = Arc::<Few>::default();
        let edge = edge(&users);
        for _ in 0..1000 {
            assert_eq!(ask(&edge, "ory_good", None, Audience::Any).await, "signed in");
        }
        let before = users.0.load(std::sync::atomic::Ordering::Relaxed);
        for number in 0..1000 {
            ask(&edge, &format!("ory_st_{number}"), None, Audience::Any).await;
        }
        let asked = users.0.load(std::sync::atomic::Ordering::Relaxed) - before;
        assert!((60..100).contains(&asked), "{asked}");
        let refused = ask(&edge, "ory_st_one_more", None, Audience::Any).await;
        assert_eq!(refused, "rate_limited");
        assert_eq!(ask(&edge, "one of ours", None, Audience::Any).await, "invalid_token");
    }
}
