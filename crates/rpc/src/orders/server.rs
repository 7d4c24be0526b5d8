//! The port on the wire: any implementation of it, for the other processes of the platform.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kernel::{Caller, Cursor, Id, PageRequest, Result};
use tonic::{Request, Response, Status};

use super::{Filter, NewOrder, Order, Orders, Spelling};
use crate::server::Inside;
use crate::wire::{id, id_bytes, unreadable, v1};

/// The port behind the listener.
pub(crate) struct Served {
    inside: Arc<Inside>,
    orders: Arc<dyn Orders>,
}

impl Served {
    pub(crate) fn new(inside: Arc<Inside>, orders: Arc<dyn Orders>) -> Self {
        Self { inside, orders }
    }

    async fn answer<'a, Q, A>(
        &'a self,
        rpc: &'static str,
        request: Request<Q>,
        call: impl FnOnce(&'a dyn Orders, Q) -> BoxFuture<'a, Result<A>>,
    ) -> Result<Response<A>, Status> {
        let (metadata, _, question) = request.into_parts();
        self.inside.answer(rpc, &metadata, call(&*self.orders, question)).await
    }
}

fn read_caller(wire: Option<v1::Caller>) -> Result<Caller> {
    wire.unwrap_or_default().read()
}

fn read_id<K>(bytes: &[u8]) -> Result<Id<K>> {
    id(bytes).ok_or_else(|| unreadable("id"))
}

/// A text that is empty where nothing is meant.
fn read_some<T: std::str::FromStr<Err = kernel::Error>>(text: &str) -> Result<Option<T>> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

fn reply(caller: &Caller, order: Order) -> v1::OrderReply {
    v1::OrderReply { order: Some(order.into()), replayed: is_replayed(caller) }
}

fn is_replayed(caller: &Caller) -> bool {
    caller.idempotency.as_ref().is_some_and(|idempotency| idempotency.is_replayed())
}

fn read_list(wire: &v1::OrdersRequest) -> Result<(Filter, PageRequest)> {
    let owner = match wire.owner.as_ref() {
        [] => None,
        bytes => Some(read_id(bytes)?),
    };
    let filter = Filter { status: read_some(&wire.status)?, kind: read_some(&wire.kind)?, owner };
    let after = match wire.after.as_str() {
        "" => None,
        after => Some(Cursor::decode(after)?),
    };
    let in_bounds = (1..=PageRequest::MAX_LIMIT).contains(&wire.limit) && wire.offset >= 0;
    if !in_bounds {
        return Err(unreadable("limit"));
    }
    Ok((filter, PageRequest { limit: wire.limit, after, offset: wire.offset }))
}

#[tonic::async_trait]
impl v1::orders_server::Orders for Served {
    async fn create(
        &self,
        request: Request<v1::NewOrder>,
    ) -> Result<Response<v1::OrderReply>, Status> {
        self.answer("Create", request, |orders, asked| {
            Box::pin(async move {
                let v1::NewOrder { caller, target, service, kind, quantity } = asked;
                let caller = read_caller(caller)?;
                // What was parsed at the other end parses here as well.
                let spelling = Spelling::Camel;
                let new = NewOrder::parse(spelling, &target, &service, &kind, quantity.into())?;
                let order = orders.create(&caller, &new).await?;
                Ok(reply(&caller, order))
            })
        })
        .await
    }

    async fn find(
        &self,
        request: Request<v1::OrderRequest>,
    ) -> Result<Response<v1::OrderReply>, Status> {
        self.answer("Find", request, |orders, asked| {
            Box::pin(async move {
                let caller = read_caller(asked.caller)?;
                let order = orders.find(&caller, read_id(&asked.id)?).await?;
                Ok(reply(&caller, order))
            })
        })
        .await
    }

    async fn list(
        &self,
        request: Request<v1::OrdersRequest>,
    ) -> Result<Response<v1::OrdersReply>, Status> {
        self.answer("List", request, |orders, asked| {
            Box::pin(async move {
                let (filter, page) = read_list(&asked)?;
                let caller = read_caller(asked.caller)?;
                let page = orders.list(&caller, &filter, &page).await?;
                let next = page.next.map(Cursor::encode).unwrap_or_default();
                let orders = page.items.into_iter().map(v1::Order::from).collect();
                Ok(v1::OrdersReply { orders, next })
            })
        })
        .await
    }

    async fn set_status(
        &self,
        request: Request<v1::OrderStatusRequest>,
    ) -> Result<Response<v1::OrderReply>, Status> {
        self.answer("SetStatus", request, |orders, asked| {
            Box::pin(async move {
                let caller = read_caller(asked.caller)?;
                let (id, status) = (read_id(&asked.id)?, asked.status.parse()?);
                let order = orders.set_status(&caller, id, status).await?;
                Ok(reply(&caller, order))
            })
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<v1::OrderRequest>,
    ) -> Result<Response<v1::OrderDeleted>, Status> {
        self.answer("Delete", request, |orders, asked| {
            Box::pin(async move {
                let caller = read_caller(asked.caller)?;
                orders.delete(&caller, read_id(&asked.id)?).await?;
                Ok(v1::OrderDeleted { replayed: is_replayed(&caller) })
            })
        })
        .await
    }
}

impl From<Order> for v1::Order {
    fn from(order: Order) -> Self {
        Self {
            id: id_bytes(order.id),
            owner: id_bytes(order.owner),
            role: order.role,
            status: order.status.as_str().to_owned(),
            target: order.target.as_str().to_owned(),
            service: order.service.as_str().to_owned(),
            kind: order.kind.as_str().to_owned(),
            quantity: order.quantity,
            price: order.price.map(|price| v1::Price {
                amount: price.amount,
                currency: price.currency.code().to_owned(),
            }),
            created_at: order.created_at.micros(),
            updated_at: order.updated_at.micros(),
        }
    }
}
