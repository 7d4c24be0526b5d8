//! What orders cost, and whom the money goes through.

use futures_util::future::BoxFuture;
use kernel::id::kinds::{Hold, Order as OrderKind, User};
use kernel::{Asset, Id, Money, Result};
use platform::db::Tx;
use rpc::orders::{Engagement, Order};

/// What one comment, like or view costs, in minor units of one currency. Zero costs nothing.
#[derive(Debug, Clone, Copy)]
pub struct Prices {
    pub comment: i64,
    pub like: i64,
    pub view: i64,
    pub currency: Asset,
}

impl Prices {
    /// Nothing costs anything.
    pub const fn none(currency: Asset) -> Self {
        Self { comment: 0, like: 0, view: 0, currency }
    }

    pub(super) const fn of_one(&self, kind: Engagement) -> i64 {
        match kind {
            Engagement::Comments => self.comment,
            Engagement::Likes => self.like,
            Engagement::Views => self.view,
        }
    }
}

/// The wallets of the platform, as far as orders need them. Joins the order's own transaction.
pub trait Escrow: Send + Sync {
    /// Reserves an order's price in its owner's wallet.
    ///
    /// # Errors
    /// `Conflict` `insufficient_funds`.
    fn hold<'a>(
        &'a self,
        tx: &'a Tx,
        owner: Id<User>,
        price: Money,
        order: Id<OrderKind>,
    ) -> BoxFuture<'a, Result<Id<Hold>>>;

    /// The order is done: all of its price is the platform's.
    fn keep<'a>(
        &'a self,
        tx: &'a Tx,
        owner: Id<User>,
        price: Money,
        hold: Id<Hold>,
    ) -> BoxFuture<'a, Result<()>>;

    /// The price is the owner's again.
    fn give_back<'a>(&'a self, tx: &'a Tx, hold: Id<Hold>) -> BoxFuture<'a, Result<()>>;
}

/// An order as it is stored: with the hold of its price.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) order: Order,
    pub(super) hold: Option<Id<Hold>>,
}
