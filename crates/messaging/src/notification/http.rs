//! Notifications over HTTP.

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use kernel::id::kinds;
use kernel::{Id, Timestamp};
use platform::http::{
    At, Audience, By, Done, Json, List, Paging, Query, Reply, Route, get, put, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{Kind, Notification};
use super::service::Service;
use crate::stream::{self, Cursors, Thing, Topic};

// A name without parameters: the schema's derive looks no further than that.
type NotificationId = Id<kinds::Notification>;

const STREAM: &str = "With `Accept: text/event-stream` it stays open and tells what you are told \
                      while it happens (server-sent events), behind `Last-Event-ID`, or `after`, \
                      else from now on. The ids are those of `GET /v1/events`: the places of the \
                      facts that the notifications are about. A last event `end` says why the \
                      stream ends. Without that header it is a poll, oldest first, with the next \
                      address in `Link`.";

/// The routes of notifications.
pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Any, "/v1/notifications")
                .summary("What has happened that concerns you, newest first")
                .query::<ListQuery>()
                .paged()
                .returns::<Vec<NotificationBody>>(200)
                .to(list),
            get(Audience::Any, "/v1/notifications/stream")
                .summary("What you are told, while it happens")
                .describe(STREAM)
                .live()
                .query::<Cursors>()
                .returns::<Vec<NotificationBody>>(200)
                .to(stream),
            put(Audience::Any, "/v1/notifications/{id}/read")
                .summary("Mark a notification as read")
                .returns::<Done>(200)
                .to(read),
            put(Audience::Any, "/v1/notifications/read-all")
                .summary("Mark all of your notifications as read")
                .returns::<Done>(200)
                .to(read_all),
        ],
    )
}

#[derive(Debug, Deserialize, IntoParams)]
struct ListQuery {
    /// `true` leaves out what has been read.
    #[serde(default)]
    unread: bool,
}

/// Words about something that concerns you.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Notification)]
struct NotificationBody {
    id: NotificationId,
    title: String,
    description: String,
    /// When it happened.
    timestamp: Timestamp,
    is_read: bool,
    r#type: Kind,
    /// The id of what it is about.
    subject: String,
}

impl From<Notification> for NotificationBody {
    fn from(notification: Notification) -> Self {
        Self {
            id: notification.id,
            title: notification.title,
            description: notification.description,
            timestamp: notification.at,
            is_read: notification.read_at.is_some(),
            r#type: notification.kind,
            subject: notification.subject,
        }
    }
}

async fn list(
    State(service): State<Service>,
    By(caller): By,
    Query(query): Query<ListQuery>,
    paging: Paging,
) -> Reply<List<NotificationBody>> {
    let page = service.list(&caller, query.unread, &paging.page).await?;
    Ok(paging.reply(page.map(NotificationBody::from)))
}

async fn read(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<NotificationId>,
) -> Reply<Json<Done>> {
    service.read(&caller, id).await?;
    Ok(Done::reply())
}

async fn read_all(State(service): State<Service>, By(caller): By) -> Reply<Json<Done>> {
    service.read_all(&caller).await?;
    Ok(Done::reply())
}

fn told(thing: &Thing) -> Option<NotificationBody> {
    match thing {
        Thing::Notification(_, notification) => Some(Notification::clone(notification).into()),
        Thing::Fact(_) | Thing::Signal(_) => None,
    }
}

async fn stream(
    State(service): State<Service>,
    By(caller): By,
    headers: HeaderMap,
    Query(query): Query<Cursors>,
) -> Reply<Response> {
    let (hub, topic) = (service.hub(), Topic::Notifications);
    let after = query.after(&headers)?;
    if stream::is_wanted(&headers) {
        let feed = hub.open(caller.principal()?, topic, after).await?;
        return Ok(stream::respond(feed, |thing| serde_json::to_string(&told(thing)?).ok()));
    }
    let path = "/v1/notifications/stream";
    stream::polled(hub, &caller, topic, (after, &query), path, told).await
}
