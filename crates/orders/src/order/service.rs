//! The verbs.

use std::sync::Arc;

use kernel::id::kinds::Order as OrderKind;
use kernel::{Caller, Error, Id, Kind, Money, Page, PageRequest, Result, Role};
use platform::db::{Db, Tx};
use platform::journal::Fact;
use rpc::orders::{Filter, NewOrder, Order, Price, Status};
use rpc::users::Users;

use super::model::{Escrow, Prices, Stored};
use super::rules::{self, Refusal, Relation, Step};
use super::store;

/// Orders.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) users: Arc<dyn Users>,
    pub(crate) escrow: Arc<dyn Escrow>,
    pub(crate) prices: Prices,
}

impl Service {
    pub(super) async fn make(&self, caller: &Caller, new: &NewOrder) -> Result<Order> {
        let owner = caller.user()?;
        let price = rules::price(new, &self.prices)?;
        let role = &self.users.order_role(caller.principal()?).await?;
        self.db
            .once(caller, "order.create", |tx| async move {
                let id: Id<OrderKind> = tx.world().id();
                let hold = match price {
                    Some(price) => Some(self.escrow.hold(&tx, owner, price, id).await?),
                    None => None,
                };
                let order = Order {
                    id,
                    owner,
                    role: role.clone(),
                    status: Status::Processing,
                    target: new.target.clone(),
                    service: new.service.clone(),
                    kind: new.kind,
                    quantity: new.quantity,
                    price: price.map(|it| Price { amount: it.minor, currency: it.asset }),
                    created_at: tx.now(),
                    updated_at: tx.now(),
                };
                let stored = Stored { order, hold };
                store::insert(&tx, &stored).await?;
                tx.record(fact(caller, "order.created", &stored.order));
                Ok(stored.order)
            })
            .await
    }

    pub(super) async fn seen(&self, caller: &Caller, id: Id<OrderKind>) -> Result<Order> {
        let Stored { order, .. } = store::get(&self.db, id).await?.ok_or(Refusal::NoSuchThing)?;
        rules::see(Relation::of(caller, &order))?;
        Ok(order)
    }

    pub(super) async fn page(
        &self,
        caller: &Caller,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page<Order>> {
        let me = caller.user()?;
        let owner = if caller.is_admin() { filter.owner } else { Some(me) };
        if filter.owner.is_some() && filter.owner != owner {
            return Ok(Page { items: Vec::new(), next: None });
        }
        store::list(&self.db, owner, filter, page).await
    }

    pub(super) async fn move_on(
        &self,
        caller: &Caller,
        id: Id<OrderKind>,
        wanted: Status,
    ) -> Result<Order> {
        self.db
            .once(caller, "order.set_status", |tx| async move {
                let Stored { mut order, hold } = load(&tx, id).await?;
                let was = order.status;
                let verb = match rules::step(was, Relation::of(caller, &order), wanted)? {
                    Step::Stay => return Ok(order),
                    Step::Done => "order.done",
                    Step::Cancel => "order.cancelled",
                };
                (order.status, order.updated_at) = (wanted, tx.now());
                store::set_status(&tx, was, &order).await?;
                match (hold, order.price) {
                    (Some(hold), Some(price)) if wanted == Status::Done => {
                        let price = Money::from(price);
                        self.escrow.keep(&tx, order.owner, price, hold).await?;
                    }
                    (Some(hold), _) => self.escrow.give_back(&tx, hold).await?,
                    (None, _) => {}
                }
                tx.record(fact(caller, verb, &order));
                Ok(order)
            })
            .await
    }

    pub(super) async fn remove(&self, caller: &Caller, id: Id<OrderKind>) -> Result<()> {
        let owner = self.owner_role(caller, id).await?;
        self.db
            .run("order.delete", |tx| async move {
                let Stored { order, hold } = load(&tx, id).await?;
                rules::delete(caller, &order, owner)?;
                store::delete(&tx, &order).await?;
                if let (Some(hold), Status::Processing) = (hold, order.status) {
                    self.escrow.give_back(&tx, hold).await?;
                }
                tx.record(fact(caller, "order.deleted", &order));
                Ok(())
            })
            .await
    }

    /// What the owner of an order is, for who deletes somebody else's; asked outside of the
    /// transaction. None of an owner who is gone.
    async fn owner_role(&self, caller: &Caller, id: Id<OrderKind>) -> Result<Option<Role>> {
        let order = self.seen(caller, id).await?;
        if caller.user()? == order.owner {
            return Ok(None);
        }
        match self.users.profile(order.owner).await {
            Ok(profile) => Ok(Some(profile.role)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

async fn load(tx: &Tx, id: Id<OrderKind>) -> Result<Stored> {
    store::get(tx, id).await?.ok_or_else(|| Error::from(Refusal::NoSuchThing))
}

fn fact(caller: &Caller, verb: &'static str, order: &Order) -> Fact {
    let fact = Fact::by(caller, verb)
        .on(order.id)
        .about(order.owner)
        .with("status", order.status)
        .with("type", order.kind)
        .with("quantity", order.quantity);
    match order.price {
        Some(price) => fact.with("amount", price.amount).with("currency", price.currency),
        None => fact,
    }
}
