//! Flags over HTTP.

use axum::extract::State as Service_;
use kernel::id::kinds;
use kernel::{Id, Timestamp};
use platform::http::{
    At, Audience, By, Created, Json, List, Once, Paging, Query, Reply, Route, get, post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{self, Action, Flag, Kind, NewFlag, Reason, State};
use super::service::Service;
use super::store::Filter;

// Named without their parameters, which have no schemas of their own.
type FlagId = Id<kinds::Flag>;
type UserId = Id<kinds::User>;

pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::Any, "/v1/flags")
                .summary(
                    "Tell admins of what is not right: a credential, verifier, review or message",
                )
                .describe(
                    "For what you see yourself, and not for your own. Whose it is does not learn \
                     who has flagged it. 409 `flag_exists` while your earlier flag is open.",
                )
                .once(Once::Accepted)
                .takes::<NewBody>()
                .returns::<OwnBody>(201)
                .to(raise),
            get(Audience::Admin, "/v1/admin/moderation/flagged")
                .summary("List what was flagged, newest first")
                .query::<FlagQuery>()
                .paged()
                .returns::<Vec<FlagBody>>(200)
                .to(flagged),
            post(Audience::Admin, "/v1/admin/moderation/{id}/resolve")
                .summary("Decide about what was flagged, and carry it out")
                .describe(
                    "All open flags of the same thing are answered. `delete` is read as `remove`, \
                     `approve` as `dismiss`. Whose it is finds the decision in their trail.",
                )
                .step_up()
                .once(Once::Accepted)
                .takes::<ResolveBody>()
                .returns::<FlagBody>(200)
                .to(resolve),
        ],
    )
}

/// A flag about to be raised.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewFlag)]
struct NewBody {
    /// The id of a credential, a verifier, a review or a message.
    #[schema(example = "rv_01h455vb4pex5vsknk084sn02q")]
    subject: String,
    #[schema(inline)]
    reason: Reason,
    /// Up to 1000 characters.
    #[serde(default)]
    details: String,
}

/// A flag, as who has raised it sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OwnFlag)]
struct OwnBody {
    id: FlagId,
    subject: String,
    #[schema(inline)]
    reason: Reason,
    details: String,
    #[schema(inline)]
    status: State,
    created_at: Timestamp,
}

/// A flag, as admins see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Flag)]
struct FlagBody {
    id: FlagId,
    subject: String,
    #[schema(inline)]
    kind: Kind,
    /// Whose the thing is.
    holder: UserId,
    /// What could be read of the thing when it was flagged.
    excerpt: String,
    reporter: UserId,
    #[schema(inline)]
    reason: Reason,
    details: String,
    #[schema(inline)]
    status: State,
    /// How many flags of the same thing are open.
    open_flags: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    action: Option<Action>,
    /// Why it was decided so.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_by: Option<UserId>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_at: Option<Timestamp>,
}

impl FlagBody {
    fn of(flag: Flag, open_flags: i64) -> Self {
        Self {
            id: flag.id,
            subject: flag.subject,
            kind: flag.kind,
            holder: flag.holder,
            excerpt: flag.excerpt,
            reporter: flag.reporter,
            reason: flag.reason,
            details: flag.details,
            status: flag.state,
            open_flags,
            action: flag.action,
            resolution: flag.resolution,
            resolved_by: flag.resolved_by,
            created_at: flag.created_at,
            resolved_at: flag.resolved_at,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
struct FlagQuery {
    /// `open` (the default), `upheld`, `dismissed` or `all`.
    status: Option<String>,
    #[param(inline)]
    kind: Option<Kind>,
    /// The id of the thing.
    subject: Option<String>,
}

impl FlagQuery {
    fn parse(self) -> kernel::Result<Filter> {
        let state = match self.status.as_deref() {
            Some("all") => None,
            None | Some("") => Some(State::Open),
            Some(word) => Some(State::of(word).ok_or_else(|| {
                let words = "one of open, upheld, dismissed, all";
                kernel::Error::field("/status", "invalid", words)
            })?),
        };
        let subject = self.subject.filter(|subject| !subject.is_empty());
        Ok(Filter { state, kind: self.kind, subject })
    }
}

/// A decision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = FlagResolution)]
struct ResolveBody {
    #[schema(inline)]
    action: Action,
    /// Up to 1000 characters; for other admins.
    #[serde(default)]
    reason: String,
}

async fn raise(
    Service_(service): Service_<Service>,
    By(caller): By,
    Json(body): Json<NewBody>,
) -> Reply<Created<OwnBody>> {
    let new = NewFlag::parse(&body.subject, body.reason, &body.details)?;
    let flag = service.raise(&caller, &new).await?;
    Ok(Created(OwnBody {
        id: flag.id,
        subject: flag.subject,
        reason: flag.reason,
        details: flag.details,
        status: flag.state,
        created_at: flag.created_at,
    }))
}

async fn flagged(
    Service_(service): Service_<Service>,
    Query(query): Query<FlagQuery>,
    paging: Paging,
) -> Reply<List<FlagBody>> {
    let page = service.list(&query.parse()?, &paging.page).await?;
    Ok(paging.reply(page.map(|(flag, open)| FlagBody::of(flag, open))))
}

async fn resolve(
    Service_(service): Service_<Service>,
    By(caller): By,
    At(id): At<FlagId>,
    Json(body): Json<ResolveBody>,
) -> Reply<Json<FlagBody>> {
    let reason = model::text("/reason", &body.reason, 0)?;
    let flag = service.resolve(&caller, id, body.action, &reason).await?;
    // The decision has answered them all.
    Ok(Json(FlagBody::of(flag, 0)))
}
