//! The wallets, as orders know them.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::{Hold, Order, User};
use kernel::{Error, Id, Money, Result};
use orders::order::Prices;
use platform::db::Tx;

use crate::config::Config;

/// Holds of the purpose `order`.
pub(crate) struct Escrow(pub(crate) money::wallet::Service);

impl orders::order::Escrow for Escrow {
    fn hold<'a>(
        &'a self,
        tx: &'a Tx,
        owner: Id<User>,
        price: Money,
        order: Id<Order>,
    ) -> BoxFuture<'a, Result<Id<Hold>>> {
        async move { self.0.hold(tx, owner, price, "order", &order.to_string()).await }.boxed()
    }

    fn keep<'a>(
        &'a self,
        tx: &'a Tx,
        _: Id<User>,
        price: Money,
        hold: Id<Hold>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            let kept = self.0.keep(tx, hold).await?;
            if kept == price {
                return Ok(());
            }
            Err(Error::internal(format!("{kept} were held for an order of {price}")))
        }
        .boxed()
    }

    fn give_back<'a>(&'a self, tx: &'a Tx, hold: Id<Hold>) -> BoxFuture<'a, Result<()>> {
        async move { self.0.release(tx, hold).await.map(drop) }.boxed()
    }
}

/// What orders cost.
pub(crate) fn order_prices(config: &Config) -> Result<Prices> {
    Ok(Prices {
        comment: config.orders.comment_price.into(),
        like: config.orders.like_price.into(),
        view: config.orders.view_price.into(),
        currency: config.payments.default_currency.parse()?,
    })
}
