//! `GET /v1/events`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use kernel::id::kinds;
use kernel::{Error, Id, Result, Role, Timestamp};
use platform::http::{Audience, By, Json, Query, Reply, Route, get, table};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::hub::Hub;
use super::model::{Thing, Topic};
use super::sse;

// Names without parameters: the schema's derive looks no further than that.
type FactId = Id<kinds::Fact>;
type UserId = Id<kinds::User>;

const HOW: &str = "What you have done and what concerns you, oldest first. With `Accept: \
                   text/event-stream` it stays open and tells what happens (server-sent events): \
                   behind `Last-Event-ID`, or `after`, else from now on. Every event carries its \
                   `seq` as its id: whoever resumes behind the last one that they have seen misses \
                   nothing and sees nothing twice. A last event `end` says why the stream ends, as \
                   `{\"reason\", \"message\"}`: `session_ended`, `slow_reader`, `shutdown` or \
                   `unavailable`. Without that header it is a poll: the next events behind \
                   `after`, and in `Link` where to ask next.";

pub fn routes(hub: &Arc<Hub>) -> Vec<Route> {
    table(
        hub,
        [get(Audience::Any, "/v1/events")
            .summary("What happens around you: a stream, or a poll")
            .describe(HOW)
            .live()
            .query::<Cursors>()
            .returns::<Vec<EventBody>>(200)
            .to(list)],
    )
}

/// Where to begin.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Cursors {
    /// The `seq` behind which to begin. `Last-Event-ID` goes before it.
    after: Option<i64>,
    /// Of a poll: how many, 1 to 100; 20 when left out.
    limit: Option<usize>,
}

impl Cursors {
    /// Behind what to begin, if anything is said of that.
    ///
    /// # Errors
    /// `Invalid`: not a cursor.
    pub(crate) fn after(&self, headers: &HeaderMap) -> Result<Option<i64>> {
        let wrong = |pointer| Error::field(pointer, "invalid", "the id of an event: a number");
        let last = headers.get("last-event-id").filter(|value| !value.is_empty());
        let (pointer, after) = match last {
            Some(value) => {
                let seen = value.to_str().ok().and_then(|text| text.trim().parse().ok());
                ("/Last-Event-ID", Some(seen.ok_or_else(|| wrong("/Last-Event-ID"))?))
            }
            None => ("/after", self.after),
        };
        if after.is_some_and(|after: i64| after < 0) {
            return Err(wrong(pointer));
        }
        Ok(after)
    }
}

/// Something that has happened.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
struct EventBody {
    id: FactId,
    /// Its place in the one order of everything that happens: the cursor.
    seq: i64,
    timestamp: Timestamp,
    /// Who did it; absent where the platform did it by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_role: Option<Role>,
    /// What was done: noun and past tense.
    action: String,
    /// The id of what it happened to.
    resource: String,
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
}

fn body(thing: &Thing) -> Option<EventBody> {
    let Thing::Fact(fact) = thing else { return None };
    Some(EventBody {
        id: fact.id,
        seq: fact.seq?,
        timestamp: fact.at,
        actor: fact.actor,
        actor_role: fact.role,
        action: fact.verb.clone(),
        resource: fact.subject.clone(),
        metadata: fact.data.clone(),
    })
}

async fn list(
    State(hub): State<Arc<Hub>>,
    By(caller): By,
    headers: HeaderMap,
    Query(query): Query<Cursors>,
) -> Reply<Response> {
    let after = query.after(&headers)?;
    if sse::is_wanted(&headers) {
        let feed = hub.open(caller.principal()?, Topic::Events, after).await?;
        return Ok(sse::respond(feed, |thing| serde_json::to_string(&body(thing)?).ok()));
    }
    polled(&hub, &caller, Topic::Events, (after, &query), "/v1/events", body).await
}

/// One page of what a stream would tell, and where the next one begins.
pub(crate) async fn polled<T: Serialize>(
    hub: &Hub,
    caller: &kernel::Caller,
    topic: Topic,
    (after, query): (Option<i64>, &Cursors),
    path: &str,
    body: impl Fn(&Thing) -> Option<T>,
) -> Reply<Response> {
    let limit = query.limit.unwrap_or(20);
    if !(1..=100).contains(&limit) {
        return Err(Error::field("/limit", "out_of_range", "from 1 to 100").into());
    }
    let head = hub.head(topic.source()).await?;
    let after = after.unwrap_or(0).min(head);
    let page = hub.page(caller.user()?, topic.source(), (after, head), limit).await?;
    // Of what concerns others nothing is told, and it need not be looked through again.
    let reached =
        if page.len() < limit { head } else { page.back().and_then(Thing::seq).unwrap_or(head) };
    let bodies: Vec<T> = page.iter().filter_map(body).collect();
    let mut response = Json(bodies).into_response();
    let link = format!("<{path}?after={reached}&limit={limit}>; rel=\"next\"");
    if let Ok(link) = HeaderValue::try_from(link) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}
