//! Notifications over HTTP.

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Id, Timestamp};
use platform::http::{
    At, Audience, By, Done, Json, List, Paging, Query, Reply, Route, get, put, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{Kind, Notification};
use super::service::Service;

// A name without parameters: the schema's derive looks no further than that.
type NotificationId = Id<kinds::Notification>;

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
