//! The order service: orders of engagement for a web address.
//!
//! One noun, [`order`]. Everybody else reaches it through [`rpc::orders::Orders`]. It asks the
//! user service through [`rpc::users::Users`], and holds prices through a port of its own
//! ([`order::Escrow`]).

pub mod order;
mod personal;

use std::sync::Arc;

use platform::db::{Db, Migration, Migrations};
use platform::http::Route;
use rpc::orders::Orders;
use rpc::users::Users;

pub use personal::Held;

/// The tables of this context.
pub const MIGRATIONS: Migrations = Migrations {
    context: "orders",
    files: &[Migration { name: "0001_orders", sql: include_str!("../migrations/0001_orders.sql") }],
};

/// What the context is made of.
pub struct Options {
    pub db: Db,
    pub users: Arc<dyn Users>,
    pub escrow: Arc<dyn order::Escrow>,
    pub prices: order::Prices,
}

/// The order service in this process.
pub fn service(options: Options) -> Arc<dyn Orders> {
    let Options { db, users, escrow, prices } = options;
    Arc::new(order::Service { db, users, escrow, prices })
}

/// The routes of orders, over either end of the port.
pub fn routes(orders: &Arc<dyn Orders>) -> Vec<Route> {
    order::http::routes(orders)
}
