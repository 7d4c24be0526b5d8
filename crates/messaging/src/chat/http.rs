//! Chat over HTTP.

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use kernel::id::kinds;
use kernel::{Error, Id, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, List, Once, Paging, Query, Reply, Route, get, post, put,
    table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::live;
use super::model::{Kind, Message, Part, Participant, Status, Subject, Text, View};
use super::service::{Opening, Service};
use crate::stream::Topic;

// Names without parameters: the schema's derive looks no further than that.
type ConversationId = Id<kinds::Conversation>;
type MessageId = Id<kinds::Message>;
type UserId = Id<kinds::User>;
type VerifierId = Id<kinds::Verifier>;

/// Messages a page, where nothing is said.
const PAGE: i64 = 50;
const PAGE_MAX: i64 = 100;

const SOCKET: &str = "It tells, as JSON texts `{\"event\", \"seq\", \"data\"}`: `ready` first, \
                      `message.new` with the message, `conversation.updated` with the conversation \
                      as you see it, `presence.updated` (`userId`, `online`) and `typing` \
                      (`conversationId`, `userId`). `seq` is the place in the order of `GET \
                      /v1/events`; who comes back with the last one as `?after=` misses nothing \
                      and sees nothing twice. Admins are told of all conversations with support \
                      while they listen; of those that they do not look after, what they missed is \
                      in the list only. What has no `seq` is not kept. It takes `{\"type\": \
                      \"typing\", \"conversationId\"}`; messages are sent by POST. It is closed \
                      with 4001 when the session has ended, with 1012 when the server stops, and \
                      with 1013 when you are to come back. The cookie opens it from our own pages \
                      and allowed origins only.";

/// The routes of chat.
pub fn routes(service: &Service) -> Vec<Route> {
    let mut rows = table(
        service,
        [
            get(Audience::Any, "/v1/chat/conversations")
                .summary("Your conversations, the one written in last first")
                .query::<ListQuery>()
                .paged()
                .returns::<Vec<ConversationBody>>(200)
                .to(list),
            post(Audience::Any, "/v1/chat/conversations")
                .summary("Open a conversation with support or with a verifier")
                .describe(
                    "Where you have one open with support, or with the same verifier, that one \
                     is the answer, with 200 instead of 201.",
                )
                .in_person()
                .takes::<OpenBody>()
                .returns::<ConversationBody>(201)
                .to(open),
            get(Audience::Any, "/v1/chat/conversations/{id}")
                .summary("A conversation")
                .returns::<ConversationBody>(200)
                .to(one),
            get(Audience::Any, "/v1/chat/conversations/{id}/messages")
                .summary("Its messages, newest first")
                .query::<MessagesQuery>()
                .returns::<Vec<MessageBody>>(200)
                .to(messages),
            post(Audience::Any, "/v1/chat/conversations/{id}/messages")
                .summary("Write a message")
                .in_person()
                .once(Once::Accepted)
                .takes::<SendBody>()
                .returns::<MessageBody>(201)
                .to(send),
            put(Audience::Any, "/v1/chat/conversations/{id}/read")
                .summary("Mark all of its messages as read")
                .in_person()
                .returns::<Done>(200)
                .to(read),
            post(Audience::Any, "/v1/chat/conversations/{id}/close")
                .summary("Close a conversation: it takes no more messages")
                .in_person()
                .returns::<ConversationBody>(200)
                .to(close),
            get(Audience::Any, "/v1/ws/chat")
                .summary("Chat as it happens: a WebSocket")
                .describe(SOCKET)
                .live()
                .in_person()
                .query::<SocketQuery>()
                .returns_nothing(101)
                .to(socket),
            get(Audience::Any, "/v1/messages")
                .summary("Your inbox: the last message of each conversation")
                .paged()
                .returns::<Vec<InboxBody>>(200)
                .to(inbox),
        ],
    );
    rows.extend(support_routes(service));
    rows
}

fn support_routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/support/conversations")
                .summary("Conversations with support, the one written in last first")
                .query::<SupportQuery>()
                .paged()
                .returns::<Vec<ConversationBody>>(200)
                .to(support),
            post(Audience::Admin, "/v1/admin/support/conversations/{id}/assign")
                .summary("Have an admin look after a conversation: you, or another")
                .takes::<AssignBody>()
                .returns::<ConversationBody>(200)
                .to(assign),
            post(Audience::Admin, "/v1/admin/support/conversations/{id}/close")
                .summary("Close a conversation with support")
                .returns::<ConversationBody>(200)
                .to(close_support),
        ],
    )
}

#[derive(Debug, Deserialize, IntoParams)]
struct ListQuery {
    /// `support` or `verifier`; both where nothing is said.
    #[param(value_type = Option<String>)]
    r#type: Option<Kind>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct SupportQuery {
    /// `open`, which is where nothing is said, `assigned` or `closed`.
    #[param(value_type = Option<String>)]
    status: Option<Status>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct MessagesQuery {
    /// The id of a message: what was written before it.
    #[param(value_type = Option<String>)]
    before: Option<MessageId>,
    /// 1 to 100; 50 when left out.
    limit: Option<i64>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct SocketQuery {
    /// The last `seq` that was seen: what came behind it is told first.
    after: Option<i64>,
}

/// A conversation to be opened.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = OpenConversation)]
struct OpenBody {
    r#type: Kind,
    /// With a verifier only.
    #[schema(value_type = Option<String>)]
    verifier_id: Option<VerifierId>,
    /// What it is about, in at most 120 characters.
    subject: Option<String>,
}

impl OpenBody {
    fn read(self) -> Result<Opening, Error> {
        let wrong = |code, message: &str| Error::field("/verifierId", code, message.to_owned());
        match (self.r#type, self.verifier_id) {
            (Kind::Verifier, None) => return Err(wrong("required", "say with whom")),
            (Kind::Support, Some(_)) => return Err(wrong("invalid", "support is no verifier")),
            _ => {}
        }
        let subject = self.subject.as_deref().map(Subject::parse).transpose()?;
        Ok(Opening { with: self.verifier_id, subject })
    }
}

/// What somebody writes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = SendMessage)]
struct SendBody {
    /// 1 to 4000 characters.
    body: String,
}

/// Who looks after a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = AssignConversation)]
struct AssignBody {
    /// You, where nothing is said.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    admin_id: Option<UserId>,
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Conversation)]
pub(super) struct ConversationBody {
    id: ConversationId,
    r#type: Kind,
    status: Status,
    /// Nothing where none was given, or it was erased.
    subject: Option<String>,
    participants: Vec<ParticipantBody>,
    /// The admin who looks after it.
    #[schema(value_type = Option<String>)]
    assigned_to: Option<UserId>,
    /// Messages that you have not read.
    unread: i64,
    /// The number of the last message.
    messages: i64,
    created_at: Timestamp,
    /// When it was opened or last written in.
    last_activity_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<Timestamp>,
}

/// Somebody in a conversation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ConversationParticipant)]
struct ParticipantBody {
    user_id: UserId,
    name: String,
    role: Part,
    /// The number of the last message that they have read.
    read_up_to: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_at: Option<Timestamp>,
}

impl From<(Participant, String)> for ParticipantBody {
    fn from((participant, name): (Participant, String)) -> Self {
        Self {
            user_id: participant.user,
            name,
            role: participant.part,
            read_up_to: participant.has_read,
            read_at: participant.read_at,
        }
    }
}

impl From<View> for ConversationBody {
    fn from(view: View) -> Self {
        let conversation = view.conversation;
        Self {
            id: conversation.id,
            r#type: conversation.kind,
            status: conversation.status,
            subject: view.subject,
            participants: view.participants.into_iter().map(ParticipantBody::from).collect(),
            assigned_to: conversation.assigned_to,
            unread: view.unread,
            messages: conversation.messages,
            created_at: conversation.created_at,
            last_activity_at: conversation.active_at,
            closed_at: conversation.closed_at,
        }
    }
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Message)]
pub(super) struct MessageBody {
    id: MessageId,
    conversation_id: ConversationId,
    /// From 1, without gaps.
    number: i64,
    sender_id: UserId,
    /// Null where it was erased with the account of its sender.
    body: Option<String>,
    sent_at: Timestamp,
}

impl From<Message> for MessageBody {
    fn from(message: Message) -> Self {
        Self {
            id: message.id,
            conversation_id: message.conversation,
            number: message.number,
            sender_id: message.sender,
            body: message.text,
            sent_at: message.sent_at,
        }
    }
}

/// The last message of a conversation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = InboxMessage)]
struct InboxBody {
    id: MessageId,
    conversation_id: ConversationId,
    sender_id: UserId,
    sender_name: String,
    subject: String,
    content: String,
    timestamp: Timestamp,
    is_read: bool,
}

impl InboxBody {
    fn of(view: View, last: Option<Message>) -> Option<Self> {
        let last = last?;
        let named = view.participants.iter().find(|(other, _)| other.user == last.sender);
        let other_name = |part: Part| {
            let found = view.participants.iter().find(|(other, _)| other.part == part);
            found.map(|(_, name)| name.clone())
        };
        let sender_name = named.map(|(_, name)| name.clone()).unwrap_or_default();
        let subject = view.subject.or_else(|| match view.conversation.kind {
            Kind::Support => Some("Support".to_owned()),
            Kind::Verifier => other_name(Part::Verifier),
        });
        Some(Self {
            id: last.id,
            conversation_id: last.conversation,
            sender_id: last.sender,
            sender_name,
            subject: subject.unwrap_or_default(),
            content: last.text.unwrap_or_default(),
            timestamp: last.sent_at,
            is_read: view.unread == 0,
        })
    }
}

async fn list(
    State(service): State<Service>,
    By(caller): By,
    Query(query): Query<ListQuery>,
    paging: Paging,
) -> Reply<List<ConversationBody>> {
    let page = service.list(&caller, query.r#type, &paging.page).await?;
    Ok(paging.reply(page.map(ConversationBody::from)))
}

async fn open(
    State(service): State<Service>,
    By(caller): By,
    Json(body): Json<OpenBody>,
) -> Reply<Response> {
    let (view, is_new) = service.open(&caller, &body.read()?).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = Json(ConversationBody::from(view)).into_response();
    *response.status_mut() = status;
    Ok(response)
}

async fn one(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<ConversationId>,
) -> Reply<Json<ConversationBody>> {
    Ok(Json(service.get(&caller, id).await?.into()))
}

async fn messages(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<ConversationId>,
    Query(query): Query<MessagesQuery>,
) -> Reply<Response> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Error::field("/limit", "out_of_range", "from 1 to 100").into());
    }
    let messages = service.messages(&caller, id, query.before, limit).await?;
    let earliest = messages.last().filter(|message| message.number > 1);
    let next = earliest.map(|message| {
        let before = message.id;
        format!(
            "</v1/chat/conversations/{id}/messages?before={before}&limit={limit}>; rel=\"next\""
        )
    });
    let bodies: Vec<MessageBody> = messages.into_iter().map(MessageBody::from).collect();
    let mut response = Json(bodies).into_response();
    if let Some(link) = next.and_then(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

async fn send(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<ConversationId>,
    Json(body): Json<SendBody>,
) -> Reply<Created<MessageBody>> {
    let text = Text::parse(&body.body)?;
    Ok(Created(service.send(&caller, id, &text).await?.into()))
}

async fn read(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<ConversationId>,
) -> Reply<Json<Done>> {
    service.read(&caller, id).await?;
    Ok(Done::reply())
}

async fn close(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<ConversationId>,
) -> Reply<Json<ConversationBody>> {
    Ok(Json(service.close(&caller, id).await?.into()))
}

async fn inbox(State(service): State<Service>, By(caller): By, paging: Paging) -> Reply<Response> {
    let page = service.inbox(&caller, &paging.page).await?;
    // A conversation in which nothing was written has no line.
    let next = page.next;
    let items = page.items.into_iter().filter_map(|(view, last)| InboxBody::of(view, last));
    let page = kernel::Page { items: items.collect(), next };
    Ok(paging.reply(page).into_response())
}

async fn socket(
    State(service): State<Service>,
    By(caller): By,
    Query(query): Query<SocketQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Reply<Response> {
    let upgrade = upgrade.map_err(|_| {
        Error::invalid("upgrade_required", "Ask for a WebSocket here (RFC 6455), over HTTP/1.1.")
    })?;
    if query.after.is_some_and(|after| after < 0) {
        return Err(Error::field("/after", "invalid", "the seq of an event: a number").into());
    }
    let topic = Topic::Chat { support: caller.is_admin() };
    let feed = service.hub.open(caller.principal()?, topic, query.after).await?;
    // What clients send is short, and each connection holds its buffers for as long as it is open.
    let upgrade = upgrade
        .max_message_size(live::HEARD_MAX)
        .max_frame_size(live::HEARD_MAX)
        .read_buffer_size(live::HEARD_MAX)
        .write_buffer_size(0);
    Ok(upgrade.on_upgrade(move |socket| live::serve(service, caller, feed, socket)))
}

async fn support(
    State(service): State<Service>,
    By(caller): By,
    Query(query): Query<SupportQuery>,
    paging: Paging,
) -> Reply<List<ConversationBody>> {
    let status = query.status.unwrap_or(Status::Open);
    let page = service.support(&caller, status, &paging.page).await?;
    Ok(paging.reply(page.map(ConversationBody::from)))
}

async fn assign(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<ConversationId>,
    Json(body): Json<AssignBody>,
) -> Reply<Json<ConversationBody>> {
    Ok(Json(service.assign(&caller, id, body.admin_id).await?.into()))
}

async fn close_support(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<ConversationId>,
) -> Reply<Json<ConversationBody>> {
    Ok(Json(service.close(&caller, id).await?.into()))
}
