//! Orders over HTTP: `/v1/orders`, and the order API's own paths in both of its spellings. Both
//! stand on the port, so that they are served wherever an end of it is.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use kernel::id::kinds;
use kernel::{Asset, Caller, Error, Id, Money, Result, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, ErrorShape, Json, List, Once, Paging, Query, Reply, Route,
    delete, get, post, put, table,
};
use rpc::orders::{Engagement, Filter, NewOrder, Order, Orders, Spelling, Status};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

// Named without their parameters, which have no schemas of their own.
type OrderId = Id<kinds::Order>;
type UserId = Id<kinds::User>;
type Port = Arc<dyn Orders>;

pub fn routes(orders: &Port) -> Vec<Route> {
    let mut routes = own_routes(orders);
    routes.extend(document_routes(orders));
    routes
}

fn own_routes(orders: &Port) -> Vec<Route> {
    table(
        orders,
        [
            post(Audience::Any, "/v1/orders")
                .summary("Order comments, likes or views for an address")
                .describe(
                    "Where the platform is set up with a price for the type, the price of the \
                     quantity is held in your wallet till the order is done or cancelled.",
                )
                .once(Once::Required)
                .takes::<NewBody>()
                .returns::<OrderBody>(201)
                .to(create),
            get(Audience::Any, "/v1/orders")
                .summary("List one's orders, newest first; as an admin, everybody's")
                .query::<ListQuery>()
                .paged()
                .returns::<Vec<OrderBody>>(200)
                .to(list),
            get(Audience::Any, "/v1/orders/{id}")
                .summary("Read an order")
                .returns::<OrderBody>(200)
                .to(show),
            put(Audience::Any, "/v1/orders/{id}/status")
                .summary("Cancel an order, or, as an admin, say that it is done")
                .describe(
                    "A processing order becomes `done` or `cancelled`, and stays so. To say once \
                     more what is so already changes nothing.",
                )
                .once(Once::Accepted)
                .takes::<StatusBody>()
                .returns::<OrderBody>(200)
                .to(set_status),
            delete(Audience::Any, "/v1/orders/{id}")
                .summary("Delete an order")
                .describe(
                    "In any status; what was held for one that is processing is yours again. An \
                     admin deletes everybody's but another admin's.",
                )
                .returns::<Done>(200)
                .to(remove),
        ],
    )
}

const ADD: &str = "An order of so many `comments`, `likes` or `views`. Errors are plain text.";
const DELETE: &str = "As `DELETE /v1/orders/{id}`: one's own; an admin also everybody's but \
    another admin's.";

fn document_routes(orders: &Port) -> Vec<Route> {
    table(
        orders,
        [
            post(Audience::Any, "/api/orders/add")
                .summary("Create an order (order API)")
                .describe(ADD)
                .unproved()
                .once(Once::Accepted)
                .errors(ErrorShape::Plain)
                .takes::<AddBody>()
                .returns::<AddReply>(201)
                .to(add),
            post(Audience::Any, "/api/orders/")
                .summary("Create an order (order API, as it was served)")
                .describe(ADD)
                .unproved()
                .once(Once::Accepted)
                .errors(ErrorShape::Plain)
                .takes::<AddBody>()
                .returns::<AddReply>(201)
                .to(add_at_root),
            get(Audience::Any, "/api/orders/info")
                .summary("Read an order (order API)")
                .unproved()
                .errors(ErrorShape::Plain)
                .query::<IdQuery>()
                .returns::<InfoReply>(200)
                .to(info),
            get(Audience::Any, "/api/orders/{id}")
                .summary("Read an order (order API, as it was served)")
                .unproved()
                .errors(ErrorShape::Plain)
                .returns::<InfoReply>(200)
                .to(info_named),
            delete(Audience::Any, "/api/orders/del")
                .summary("Delete an order (order API)")
                .describe(DELETE)
                .unproved()
                .errors(ErrorShape::Plain)
                .query::<IdQuery>()
                .returns_nothing(204)
                .to(del),
            delete(Audience::Any, "/api/orders/del/{id}")
                .summary("Delete an order (order API, as it was served)")
                .describe(DELETE)
                .unproved()
                .errors(ErrorShape::Plain)
                .returns_nothing(204)
                .to(del_named),
        ],
    )
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewOrder)]
struct NewBody {
    /// What is to be commented on, liked or viewed: an address of the web.
    #[schema(example = "https://video.example/watch?v=1")]
    target_url: String,
    /// Who is to do it: an address of the web.
    #[schema(example = "https://service.example")]
    service_url: String,
    /// `comments`, `likes` or `views`.
    #[schema(example = "likes")]
    r#type: String,
    /// From 1 to 2147483647.
    #[schema(example = 100)]
    quantity: i64,
}

#[derive(Deserialize, IntoParams)]
struct ListQuery {
    /// `processing`, `done` or `cancelled`.
    status: Option<String>,
    /// `comments`, `likes` or `views`.
    r#type: Option<String>,
    /// For admins: orders of this user only.
    #[param(value_type = Option<String>)]
    owner: Option<UserId>,
}

impl ListQuery {
    fn parse(&self) -> Result<Filter> {
        // `?status=` of an empty form field narrows nothing.
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let status = filled(&self.status).map(|text| text.parse::<Status>()).transpose()?;
        let kind = filled(&self.r#type).map(|text| text.parse::<Engagement>()).transpose()?;
        Ok(Filter { status, kind, owner: self.owner })
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewOrderStatus)]
struct StatusBody {
    #[schema(inline)]
    status: Status,
}

/// An order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Order)]
struct OrderBody {
    id: OrderId,
    owner: UserId,
    status: Status,
    target_url: String,
    service_url: String,
    r#type: Engagement,
    quantity: i32,
    /// Minor units, where it costs something.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<Asset>,
    /// The price for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    display: Option<String>,
    created_at: Timestamp,
    /// When the status changed last.
    updated_at: Timestamp,
}

impl From<Order> for OrderBody {
    fn from(order: Order) -> Self {
        Self {
            id: order.id,
            owner: order.owner,
            status: order.status,
            target_url: order.target.as_str().to_owned(),
            service_url: order.service.as_str().to_owned(),
            r#type: order.kind,
            quantity: order.quantity,
            price: order.price.map(|price| price.amount),
            currency: order.price.map(|price| price.currency),
            display: order.price.map(|price| Money::from(price).to_string()),
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}

async fn create(
    State(orders): State<Port>,
    By(caller): By,
    Json(body): Json<NewBody>,
) -> Reply<Created<OrderBody>> {
    let NewBody { target_url, service_url, r#type, quantity } = &body;
    let new = NewOrder::parse(Spelling::Camel, target_url, service_url, r#type, *quantity)?;
    Ok(Created(orders.create(&caller, &new).await?.into()))
}

async fn list(
    State(orders): State<Port>,
    By(caller): By,
    Query(query): Query<ListQuery>,
    paging: Paging,
) -> Reply<List<OrderBody>> {
    let page = orders.list(&caller, &query.parse()?, &paging.page).await?;
    Ok(paging.reply(page.map(OrderBody::from)))
}

async fn show(
    State(orders): State<Port>,
    By(caller): By,
    At(id): At<OrderId>,
) -> Reply<Json<OrderBody>> {
    Ok(Json(orders.find(&caller, id).await?.into()))
}

async fn set_status(
    State(orders): State<Port>,
    By(caller): By,
    At(id): At<OrderId>,
    Json(body): Json<StatusBody>,
) -> Reply<Json<OrderBody>> {
    Ok(Json(orders.set_status(&caller, id, body.status).await?.into()))
}

async fn remove(
    State(orders): State<Port>,
    By(caller): By,
    At(id): At<OrderId>,
) -> Reply<Json<Done>> {
    orders.delete(&caller, id).await?;
    Ok(Done::reply())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OrderApiNewOrder)]
struct AddBody {
    /// What is to be commented on, liked or viewed: an address of the web.
    #[schema(example = "https://video.example/watch?v=1")]
    target_url: String,
    /// Who is to do it: an address of the web.
    #[schema(example = "https://service.example")]
    service_url: String,
    /// `comments`, `likes` or `views`.
    #[schema(example = "likes")]
    order_type: String,
    /// From 1 to 2147483647.
    #[schema(example = 100)]
    quantity: i64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OrderApiOrderId)]
struct AddReply {
    /// A bare UUID.
    id: String,
}

#[derive(Deserialize, IntoParams)]
struct IdQuery {
    /// Which order: a UUID.
    id: Option<String>,
}

impl IdQuery {
    fn parse(&self) -> Result<OrderId> {
        let missing = || Error::field("/id", "required", "the id of an order");
        named(self.id.as_deref().filter(|id| !id.is_empty()).ok_or_else(missing)?)
    }
}

/// What is no id names nothing.
fn named(text: &str) -> Result<OrderId> {
    Order::id_in(text).ok_or_else(|| Error::not_found("order"))
}

#[derive(Serialize, ToSchema)]
#[schema(as = OrderApiOrder)]
struct InfoReply {
    /// A bare UUID.
    user_id: String,
    /// What the user was when the order was made: `admin`, `dev`, `guest`, or the role where they
    /// registered elsewhere.
    user_role: String,
    status: Status,
    target_url: String,
    service_url: String,
    order_type: Engagement,
    quantity: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Order> for InfoReply {
    fn from(order: Order) -> Self {
        Self {
            user_id: order.owner.uuid().to_string(),
            user_role: order.role,
            status: order.status,
            target_url: order.target.as_str().to_owned(),
            service_url: order.service.as_str().to_owned(),
            order_type: order.kind,
            quantity: order.quantity,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}

async fn make(orders: &Port, caller: &Caller, body: &AddBody) -> Reply<Created<AddReply>> {
    let AddBody { target_url, service_url, order_type, quantity } = body;
    let new = NewOrder::parse(Spelling::Snake, target_url, service_url, order_type, *quantity)?;
    let order = orders.create(caller, &new).await?;
    Ok(Created(AddReply { id: order.id.uuid().to_string() }))
}

async fn add(
    State(orders): State<Port>,
    By(caller): By,
    Json(body): Json<AddBody>,
) -> Reply<Created<AddReply>> {
    make(&orders, &caller, &body).await
}

async fn add_at_root(
    State(orders): State<Port>,
    By(caller): By,
    Json(body): Json<AddBody>,
) -> Reply<Created<AddReply>> {
    make(&orders, &caller, &body).await
}

async fn info(
    State(orders): State<Port>,
    By(caller): By,
    Query(query): Query<IdQuery>,
) -> Reply<Json<InfoReply>> {
    Ok(Json(orders.find(&caller, query.parse()?).await?.into()))
}

async fn info_named(
    State(orders): State<Port>,
    By(caller): By,
    At(id): At<String>,
) -> Reply<Json<InfoReply>> {
    Ok(Json(orders.find(&caller, named(&id)?).await?.into()))
}

async fn del(
    State(orders): State<Port>,
    By(caller): By,
    Query(query): Query<IdQuery>,
) -> Reply<StatusCode> {
    orders.delete(&caller, query.parse()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn del_named(
    State(orders): State<Port>,
    By(caller): By,
    At(id): At<String>,
) -> Reply<StatusCode> {
    orders.delete(&caller, named(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
