//! Orders, as everybody else reaches them.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::Order as OrderKind;
use kernel::{Caller, Id, Page, PageRequest, Result};
use rpc::orders::{Filter, NewOrder, Order, Orders, Status};

use super::Service;

impl Orders for Service {
    fn create<'a>(&'a self, caller: &'a Caller, new: &'a NewOrder) -> BoxFuture<'a, Result<Order>> {
        self.make(caller, new).boxed()
    }

    fn find<'a>(&'a self, caller: &'a Caller, id: Id<OrderKind>) -> BoxFuture<'a, Result<Order>> {
        self.seen(caller, id).boxed()
    }

    fn list<'a>(
        &'a self,
        caller: &'a Caller,
        filter: &'a Filter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<Order>>> {
        self.page(caller, filter, page).boxed()
    }

    fn set_status<'a>(
        &'a self,
        caller: &'a Caller,
        id: Id<OrderKind>,
        status: Status,
    ) -> BoxFuture<'a, Result<Order>> {
        self.move_on(caller, id, status).boxed()
    }

    fn delete<'a>(&'a self, caller: &'a Caller, id: Id<OrderKind>) -> BoxFuture<'a, Result<()>> {
        self.remove(caller, id).boxed()
    }
}
