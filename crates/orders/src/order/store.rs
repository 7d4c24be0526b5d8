//! All SQL of orders.

use kernel::id::kinds::{Order as OrderKind, User};
use kernel::{Cursor, Id, Page, PageRequest, Result};
use platform::db::{Bind, DbError, Read, Row, Tx, Value};
use platform::params;
use rpc::orders::{Address, Engagement, Filter, Order, Price, Status};

use super::model::Stored;

const COLUMNS: &str = "id, owner, role, status, target, service, kind, quantity, price, currency, \
                       hold, created_at, updated_at";

fn read(row: &Row<'_>) -> Result<Stored, DbError> {
    let (id, owner, role) = (row.take()?, row.take()?, row.take()?);
    let status = known::<Status>(row)?;
    let (target, service) = (Address::kept(row.take()?), Address::kept(row.take()?));
    let kind = known::<Engagement>(row)?;
    let quantity = row.take::<i64>()?;
    let quantity = i32::try_from(quantity)
        .map_err(|_| DbError::Other(format!("{quantity} is no quantity of an order")))?;
    let (amount, currency) = (row.take::<Option<i64>>()?, row.take::<Option<kernel::Asset>>()?);
    let price = amount.zip(currency).map(|(amount, currency)| Price { amount, currency });
    let hold = row.take()?;
    let (created_at, updated_at) = (row.take()?, row.take()?);
    let order = Order {
        id,
        owner,
        role,
        status,
        target,
        service,
        kind,
        quantity,
        price,
        created_at,
        updated_at,
    };
    Ok(Stored { order, hold })
}

fn known<T: std::str::FromStr>(row: &Row<'_>) -> Result<T, DbError> {
    let text = row.take::<String>()?;
    text.parse().map_err(|_| DbError::Other(format!("{text:?} is not known of an order")))
}

pub(super) async fn insert(tx: &Tx, Stored { order, hold }: &Stored) -> Result<()> {
    let sql = "INSERT INTO orders (id, owner, role, status, target, service, kind, quantity, price,
                   currency, hold, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    tx.execute(
        sql,
        params![
            order.id,
            order.owner,
            order.role,
            order.status.as_str(),
            order.target.as_str(),
            order.service.as_str(),
            order.kind.as_str(),
            i64::from(order.quantity),
            order.price.map(|price| price.amount),
            order.price.map(|price| price.currency),
            hold,
            order.created_at,
            order.updated_at
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn get(db: &impl Read, id: Id<OrderKind>) -> Result<Option<Stored>> {
    let sql = format!("SELECT {COLUMNS} FROM orders WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// Moves an order on from the status that was decided on. When that status is gone, the whole
/// transaction is to be run again.
pub(super) async fn set_status(tx: &Tx, from: Status, to: &Order) -> Result<()> {
    let sql = "UPDATE orders SET status = $3, updated_at = $4 WHERE id = $1 AND status = $2";
    let (was, is) = (from.as_str(), to.status.as_str());
    let touched = tx.touch(sql, params![to.id, was, is, to.updated_at]).await?;
    is_touched(touched, to, from)
}

/// Deletes an order as it was decided on; else as [`set_status`].
pub(super) async fn delete(tx: &Tx, order: &Order) -> Result<()> {
    let sql = "DELETE FROM orders WHERE id = $1 AND status = $2";
    let touched = tx.touch(sql, params![order.id, order.status.as_str()]).await?;
    is_touched(touched, order, order.status)
}

fn is_touched(touched: bool, order: &Order, was: Status) -> Result<()> {
    if touched {
        return Ok(());
    }
    Err(DbError::Serialization(format!("{} is no longer {was}", order.id)).into())
}

/// Newest first: the owner's, or everybody's.
pub(super) async fn list(
    db: &impl Read,
    owner: Option<Id<User>>,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<Order>> {
    let after = page.after_id();
    let mut sql = format!("SELECT {COLUMNS} FROM orders WHERE id < $1");
    let mut params: Vec<Value<'_>> = vec![after.bind()];
    let mut and = |column: &str, value| {
        params.push(value);
        sql.push_str(&format!(" AND {column} = ${}", params.len()));
    };
    if let Some(owner) = &owner {
        and("owner", owner.bind());
    }
    let (status, kind) = (filter.status.map(Status::as_str), filter.kind.map(Engagement::as_str));
    if let Some(status) = &status {
        and("status", status.bind());
    }
    if let Some(kind) = &kind {
        and("kind", kind.bind());
    }
    params.extend([Value::Int(page.fetch()), Value::Int(page.offset)]);
    let (limit, offset) = (params.len() - 1, params.len());
    sql.push_str(&format!(" ORDER BY id DESC LIMIT ${limit} OFFSET ${offset}"));
    let rows = db.all(&sql, &params, read).await?;
    let page = page.page(rows, |one| Cursor::by_id(one.order.id));
    Ok(page.map(|one| one.order))
}
