//! The port's remote end: asks the order service in another process.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::Order as OrderKind;
use kernel::{Caller, Cursor, Id, Page, PageRequest, Result};

use super::{Address, Filter, NewOrder, Order, Orders, Price, Status};
use crate::peer::{Peer, Repeat};
use crate::wire::{id, id_bytes, v1};

/// The order service in another process.
#[derive(Debug, Clone)]
pub struct Remote(Peer);

impl Remote {
    pub const fn new(peer: Peer) -> Self {
        Self(peer)
    }

    /// A verb under an idempotency key acts once, however often it is asked for.
    fn repeat(caller: &Caller) -> Repeat {
        if caller.idempotency.is_some() { Repeat::Safe } else { Repeat::Unsent }
    }

    fn order(&self, caller: &Caller, reply: v1::OrderReply) -> Result<Order> {
        mark(caller, reply.replayed);
        self.legible(reply.order.and_then(v1::Order::read))
    }

    fn legible<T>(&self, read: Option<T>) -> Result<T> {
        read.ok_or_else(|| self.0.garbage("an order that cannot be read"))
    }
}

fn mark(caller: &Caller, replayed: bool) {
    if let Some(idempotency) = caller.idempotency.as_ref().filter(|_| replayed) {
        idempotency.mark_replayed();
    }
}

impl Orders for Remote {
    fn create<'a>(&'a self, caller: &'a Caller, new: &'a NewOrder) -> BoxFuture<'a, Result<Order>> {
        async move {
            let question = v1::NewOrder {
                caller: Some(caller.into()),
                target: new.target.as_str().to_owned(),
                service: new.service.as_str().to_owned(),
                kind: new.kind.as_str().to_owned(),
                quantity: new.quantity,
            };
            let path = "/verza.v1.Orders/Create";
            self.order(caller, self.0.ask(path, question, Self::repeat(caller)).await?)
        }
        .boxed()
    }

    fn find<'a>(&'a self, caller: &'a Caller, id: Id<OrderKind>) -> BoxFuture<'a, Result<Order>> {
        async move {
            let question = v1::OrderRequest { caller: Some(caller.into()), id: id_bytes(id) };
            let path = "/verza.v1.Orders/Find";
            self.order(caller, self.0.ask(path, question, Repeat::Safe).await?)
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        caller: &'a Caller,
        filter: &'a Filter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<Order>>> {
        async move {
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            let question = v1::OrdersRequest {
                caller: Some(caller.into()),
                status: text(filter.status.map(Status::as_str)),
                kind: text(filter.kind.map(super::Engagement::as_str)),
                owner: filter.owner.map(id_bytes).unwrap_or_default(),
                limit: page.limit,
                after: page.after.map(Cursor::encode).unwrap_or_default(),
                offset: page.offset,
            };
            let path = "/verza.v1.Orders/List";
            let reply: v1::OrdersReply = self.0.ask(path, question, Repeat::Safe).await?;
            let items: Option<Vec<Order>> = reply.orders.into_iter().map(v1::Order::read).collect();
            let next = match reply.next.as_str() {
                "" => None,
                next => Some(self.legible(Cursor::decode(next).ok())?),
            };
            Ok(Page { items: self.legible(items)?, next })
        }
        .boxed()
    }

    fn set_status<'a>(
        &'a self,
        caller: &'a Caller,
        id: Id<OrderKind>,
        status: Status,
    ) -> BoxFuture<'a, Result<Order>> {
        async move {
            let (id, status) = (id_bytes(id), status.as_str().to_owned());
            let question = v1::OrderStatusRequest { caller: Some(caller.into()), id, status };
            let path = "/verza.v1.Orders/SetStatus";
            self.order(caller, self.0.ask(path, question, Self::repeat(caller)).await?)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, caller: &'a Caller, id: Id<OrderKind>) -> BoxFuture<'a, Result<()>> {
        async move {
            let question = v1::OrderRequest { caller: Some(caller.into()), id: id_bytes(id) };
            let path = "/verza.v1.Orders/Delete";
            let reply: v1::OrderDeleted = self.0.ask(path, question, Self::repeat(caller)).await?;
            mark(caller, reply.replayed);
            Ok(())
        }
        .boxed()
    }
}

impl v1::Order {
    /// The order that it is, where it can be read.
    fn read(self) -> Option<Order> {
        let price = match self.price {
            None => None,
            Some(v1::Price { amount, currency }) => {
                Some(Price { amount, currency: currency.parse().ok()? })
            }
        };
        Some(Order {
            id: id(&self.id)?,
            owner: id(&self.owner)?,
            role: self.role,
            status: self.status.parse().ok()?,
            target: Address::kept(self.target),
            service: Address::kept(self.service),
            kind: self.kind.parse().ok()?,
            quantity: self.quantity,
            price,
            created_at: kernel::Timestamp::from_micros(self.created_at),
            updated_at: kernel::Timestamp::from_micros(self.updated_at),
        })
    }
}
