//! What all routes share: who is asked for sessions, what is limited, what is allowed.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, header};
use kernel::caller::RequestId;
use kernel::{Error, Principal, Result, Role, Timestamp, World};
use platform::http::{Audience, Limit};
use platform::limits::{Decision, Limiter, Subject};
use rpc::users::{SESSION_COOKIE, Users};

use crate::address::TrustedProxies;
use crate::cors::Origins;

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
}

/// The edge. One for all routes.
pub struct Edge {
    pub(crate) options: EdgeOptions,
}

/// How a request showed who it is.
pub(crate) struct Presented<'a> {
    token: &'a str,
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
    pub(crate) async fn authenticate(
        &self,
        presented: Option<&Presented<'_>>,
        audience: Audience,
    ) -> Result<Option<Arc<Principal>>> {
        let Some(presented) = presented else { return Ok(None) };
        if matches!(audience, Audience::Provider | Audience::Ops) {
            return Ok(None);
        }
        if let Some(principal) = self.options.users.cached(presented.token, self.now()) {
            return Ok(Some(principal));
        }
        match self.options.users.authenticate(presented.token).await {
            Ok(principal) => Ok(Some(principal)),
            Err(error)
                if audience == Audience::Public
                    && error.kind() == kernel::Kind::Unauthenticated =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn limit(&self, class: Limit, client: IpAddr) -> Option<Decision> {
        self.options.limiter.check(class, Subject::address(client), self.now())
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
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    for pair in cookies.flat_map(|cookies| cookies.split(';')) {
        if let Some((name, token)) = pair.trim().split_once('=')
            && name == SESSION_COOKIE
        {
            return Some(Presented { token, by_cookie: true });
        }
    }
    None
}

/// Whether a route's audience includes the caller.
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
    Ok(())
}

/// What only the person themselves may do is not for an admin who looks at the platform as them.
pub(crate) fn refuse_another(principal: Option<&Principal>) -> Result<()> {
    if principal.is_some_and(|principal| principal.impersonator.is_some()) {
        let message = "Only the owner of the account may do this, and not an admin in their name.";
        return Err(Error::forbidden("impersonating", message));
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
    fn what_is_done_in_person_is_refused_to_an_admin_in_somebody_s_name() {
        let own = principal(Role::User, true);
        assert!(refuse_another(Some(&own)).is_ok() && refuse_another(None).is_ok());
        let nil = Id::from_uuid(uuid::Uuid::nil());
        let looked_through = Principal { impersonator: Some(nil), ..own };
        assert_eq!(refuse_another(Some(&looked_through)).unwrap_err().code(), "impersonating");
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
