//! What this context holds of people: its tables, and the statements that let people go.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::{
    Account, Chargeback, Destination, Hold, Invoice, Payment, Refund, Subscription, Transaction,
    Unstaking, User, Withdrawal,
};
use kernel::{Asset, Id, Money, Result};
use platform::db::{Read, Tx};
use platform::params;
use platform::privacy::{Column, Erasure, Holder, Person, Shown, Stake, Table, id, impersonal, of};

/// The ledger and the payments, as a holder of what they tell of people.
pub struct Held;

const TABLES: &[Table] = &[
    of(
        "ledger_account",
        "owner = $1",
        "id",
        &[
            Column("id", id::<Account>()),
            Column("code", Shown::Text),
            Column("owner", id::<User>()),
            Column("asset", Shown::Text),
            Column("side", Shown::Text),
            Column("guard", Shown::Flag),
            Column("opened_at", Shown::Time),
        ],
    ),
    of(
        "ledger_balance",
        "account_id IN (SELECT id FROM ledger_account WHERE owner = $1)",
        "account_id, shard",
        &[
            Column("account_id", id::<Account>()),
            Column("shard", Shown::Number),
            Column("side", Shown::Text),
            Column("guard", Shown::Flag),
            Column("debits", Shown::Number),
            Column("credits", Shown::Number),
            Column("version", Shown::Number),
            Column("moved_at", Shown::Time),
        ],
    ),
    of(
        "ledger_tx",
        "id IN (SELECT tx_id FROM ledger_entry WHERE account_id IN
                   (SELECT id FROM ledger_account WHERE owner = $1))",
        "id",
        &[
            Column("id", id::<Transaction>()),
            Column("kind", Shown::Text),
            Column("idem_key", Shown::Text),
            Column("content_hash", Shown::Bytes),
            Column("subject", Shown::Text),
            Column("reverses", id::<Transaction>()),
            Column("meta", Shown::Json),
            Column("recorded_at", Shown::Time),
        ],
    ),
    of(
        "ledger_posting",
        "tx_id IN (SELECT tx_id FROM ledger_entry WHERE account_id IN
                      (SELECT id FROM ledger_account WHERE owner = $1))",
        "tx_id, seq",
        &[
            Column("tx_id", id::<Transaction>()),
            Column("seq", Shown::Number),
            Column("debit_account", id::<Account>()),
            Column("credit_account", id::<Account>()),
            Column("asset", Shown::Text),
            Column("amount", Shown::Number),
        ],
    ),
    of(
        "ledger_entry",
        "account_id IN (SELECT id FROM ledger_account WHERE owner = $1)",
        "account_id, shard, version",
        &[
            Column("account_id", id::<Account>()),
            Column("shard", Shown::Number),
            Column("version", Shown::Number),
            Column("tx_id", id::<Transaction>()),
            Column("seq", Shown::Number),
            Column("delta", Shown::Number),
            Column("balance_after", Shown::Number),
            Column("recorded_at", Shown::Time),
        ],
    ),
    of(
        "ledger_hold",
        "owner = $1 OR payee = $1",
        "id",
        &[
            Column("id", id::<Hold>()),
            Column("owner", id::<User>()),
            Column("asset", Shown::Text),
            Column("amount", Shown::Number),
            Column("captured", Shown::Number),
            Column("released", Shown::Number),
            Column("state", Shown::Text),
            Column("purpose", Shown::Text),
            Column("subject", Shown::Text),
            Column("payee", id::<User>()),
            Column("fee", Shown::Number),
            Column("earning", Shown::Text),
            Column("available_at", Shown::Time),
            Column("created_at", Shown::Time),
            Column("closed_at", Shown::Time),
            Column("frozen", Shown::Flag),
        ],
    ),
    of(
        "chargebacks",
        "owner = $1",
        "id",
        &[
            Column("id", id::<Chargeback>()),
            Column("payment", id::<Payment>()),
            Column("owner", id::<User>()),
            Column("provider", Shown::Text),
            Column("provider_ref", Shown::Text),
            Column("asset", Shown::Text),
            Column("amount", Shown::Number),
            Column("hold", id::<Hold>()),
            Column("held", Shown::Number),
            Column("shortfall", Shown::Number),
            Column("state", Shown::Text),
            Column("version", Shown::Number),
            Column("created_at", Shown::Time),
            Column("updated_at", Shown::Time),
            Column("excess", Shown::Number),
        ],
    ),
    of(
        "payments",
        "owner = $1",
        "id",
        &[
            Column("id", id::<Payment>()),
            Column("owner", id::<User>()),
            Column("provider", Shown::Text),
            Column("asset", Shown::Text),
            Column("amount", Shown::Number),
            Column("invoice", id::<Invoice>()),
            Column("method", Shown::Text),
            Column("state", Shown::Text),
            Column("reason", Shown::Text),
            Column("provider_ref", Shown::Text),
            Column("access_code", Shown::Withheld("opens the provider's page for the payer")),
            Column("checkout_url", Shown::Text),
            Column("version", Shown::Number),
            Column("checks", Shown::Number),
            Column("next_check_at", Shown::Time),
            Column("expires_at", Shown::Time),
            Column("created_at", Shown::Time),
            Column("updated_at", Shown::Time),
            Column("asked_until", Shown::Time),
        ],
    ),
    of(
        "deposit_addresses",
        "owner = $1",
        "provider, asset",
        &[
            Column("provider", Shown::Text),
            Column("asset", Shown::Text),
            Column("address", Shown::Text),
            Column("owner", id::<User>()),
            Column("created_at", Shown::Time),
        ],
    ),
    of(
        "arrivals",
        "payment IN (SELECT id FROM payments WHERE owner = $1)",
        "seen_at, provider_ref",
        &[
            Column("provider", Shown::Text),
            Column("provider_ref", Shown::Text),
            Column("payment", id::<Payment>()),
            Column("asset", Shown::Text),
            Column("raw_amount", Shown::Text),
            Column("raw_rest", Shown::Text),
            Column("seen_at", Shown::Time),
        ],
    ),
    of(
        "payout_destinations",
        "owner = $1",
        "id",
        &[
            Column("id", id::<Destination>()),
            Column("owner", id::<User>()),
            Column("provider", Shown::Text),
            Column("kind", Shown::Text),
            Column("asset", Shown::Text),
            Column("account", Shown::Sealed),
            Column("bank", Shown::Text),
            Column("name", Shown::Sealed),
            Column("mask", Shown::Text),
            Column("usable_at", Shown::Time),
            Column("created_at", Shown::Time),
            Column("removed_at", Shown::Time),
        ],
    ),
    of(
        "withdrawals",
        "owner = $1 OR decided_by = $1",
        "id",
        &[
            Column("id", id::<Withdrawal>()),
            Column("owner", id::<User>()),
            Column("provider", Shown::Text),
            Column("source", Shown::Text),
            Column("asset", Shown::Text),
            Column("amount", Shown::Number),
            Column("fee", Shown::Number),
            Column("destination", id::<Destination>()),
            Column("mask", Shown::Text),
            Column("state", Shown::Text),
            Column("review", Shown::Text),
            Column("reason", Shown::Text),
            Column("decided_by", id::<User>()),
            Column("provider_ref", Shown::Text),
            Column("cost", Shown::Number),
            Column("version", Shown::Number),
            Column("checks", Shown::Number),
            Column("next_check_at", Shown::Time),
            Column("created_at", Shown::Time),
            Column("updated_at", Shown::Time),
            Column("asked_until", Shown::Time),
        ],
    ),
    of(
        "refunds",
        "owner = $1 OR requested_by = $1",
        "id",
        &[
            Column("id", id::<Refund>()),
            Column("payment", id::<Payment>()),
            Column("owner", id::<User>()),
            Column("provider", Shown::Text),
            Column("source", Shown::Text),
            Column("asset", Shown::Text),
            Column("amount", Shown::Number),
            Column("state", Shown::Text),
            Column("reason", Shown::Text),
            Column("failure", Shown::Text),
            Column("requested_by", id::<User>()),
            Column("provider_ref", Shown::Text),
            Column("version", Shown::Number),
            Column("checks", Shown::Number),
            Column("next_check_at", Shown::Time),
            Column("created_at", Shown::Time),
            Column("updated_at", Shown::Time),
            Column("asked_until", Shown::Time),
        ],
    ),
    of(
        "wallet_freezes",
        "owner = $1",
        "owner",
        &[
            Column("owner", id::<User>()),
            Column("reason", Shown::Text),
            Column("frozen_at", Shown::Time),
        ],
    ),
    of(
        "unstakings",
        "owner = $1",
        "id",
        &[
            Column("id", id::<Unstaking>()),
            Column("owner", id::<User>()),
            Column("asset", Shown::Text),
            Column("amount", Shown::Number),
            Column("remaining", Shown::Number),
            Column("state", Shown::Text),
            Column("unlock_at", Shown::Time),
            Column("created_at", Shown::Time),
            Column("ended_at", Shown::Time),
        ],
    ),
    of(
        "bond_pins",
        "owner = $1",
        "subject",
        &[
            Column("subject", Shown::Text),
            Column("owner", id::<User>()),
            Column("until", Shown::Time),
        ],
    ),
    of(
        "subscriptions",
        "owner = $1",
        "id",
        &[
            Column("id", id::<Subscription>()),
            Column("owner", id::<User>()),
            Column("plan", Shown::Text),
            Column("next_plan", Shown::Text),
            Column("state", Shown::Text),
            Column("period_start", Shown::Time),
            Column("period_end", Shown::Time),
            Column("version", Shown::Number),
            Column("created_at", Shown::Time),
            Column("updated_at", Shown::Time),
            Column("ends", Shown::Flag),
        ],
    ),
    of(
        "invoices",
        "owner = $1",
        "number",
        &[
            Column("id", id::<Invoice>()),
            Column("owner", id::<User>()),
            Column("number", Shown::Number),
            Column("asset", Shown::Text),
            Column("net", Shown::Number),
            Column("tax", Shown::Number),
            Column("credited", Shown::Number),
            Column("recognised", Shown::Number),
            Column("lines", Shown::Json),
            Column("state", Shown::Text),
            Column("period_start", Shown::Time),
            Column("period_end", Shown::Time),
            Column("issued_at", Shown::Time),
            Column("due_at", Shown::Time),
            Column("paid_at", Shown::Time),
            Column("attempts", Shown::Number),
            Column("next_attempt_at", Shown::Time),
            Column("version", Shown::Number),
            Column("used", Shown::Number),
        ],
    ),
    of(
        "usage_counts",
        "owner = $1",
        "metric, period_start",
        &[
            Column("owner", id::<User>()),
            Column("metric", Shown::Text),
            Column("period_start", Shown::Time),
            Column("count", Shown::Number),
        ],
    ),
    impersonal("arrival_cursors", "how far each provider's arrivals were read"),
    impersonal("ledger_seal", "hashes over all transactions together"),
    impersonal("solvency_statements", "sums over everybody"),
    impersonal("solvency_tiles", "hashes and sums under names that lead to nobody by themselves"),
    impersonal("invoice_numbers", "the last number that was given to an invoice"),
    impersonal("reward_epochs", "what was given out to all together"),
    impersonal("sandbox_payouts", "the sandbox's own memory: references and amounts"),
    impersonal(
        "provider_events",
        "what providers said of payments, by the payment; emptied when its payer is erased",
    ),
    impersonal("provider_calls", "references and amounts; what is a person's is never recorded"),
    impersonal("sandbox_collections", "the sandbox's own memory: references and amounts"),
];

impl Holder for Held {
    fn name(&self) -> &'static str {
        "money"
    }

    fn tables(&self) -> &'static [Table] {
        TABLES
    }

    fn stakes<'a>(&'a self, tx: &'a Tx, person: Id<User>) -> BoxFuture<'a, Result<Vec<Stake>>> {
        async move {
            let mut stakes = balances(tx, person).await?;
            stakes.extend(open_payments(tx, person).await?);
            Ok(stakes)
        }
        .boxed()
    }

    /// The ledger stays as it is: accounts, amounts and times, under an id that leads to nobody.
    fn erase<'a>(
        &'a self,
        tx: &'a Tx,
        person: &'a Person,
        what: Erasure,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            if what == Erasure::Person {
                erase_payments(tx, person.id).await?;
                erase_payouts(tx, person.id).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

/// What is in the person's accounts, of any kind.
async fn balances(tx: &Tx, person: Id<User>) -> Result<Vec<Stake>> {
    let sql = "SELECT ledger_account.code, ledger_account.asset,
                   CAST(SUM(ledger_balance.credits - ledger_balance.debits) AS BIGINT)
               FROM ledger_account
                   JOIN ledger_balance ON ledger_balance.account_id = ledger_account.id
               WHERE ledger_account.owner = $1
               GROUP BY ledger_account.code, ledger_account.asset
               ORDER BY ledger_account.code, ledger_account.asset";
    let rows = tx
        .all(sql, params![person], |row| {
            Ok((row.take::<String>()?, row.take::<Asset>()?, row.take::<i64>()?))
        })
        .await?;
    let open = rows.into_iter().filter(|(_, _, minor)| *minor != 0);
    Ok(open
        .map(|(code, asset, minor)| {
            let amount = Money::new(minor, asset);
            let message = format!("There is {amount} in the account {code}: move it first.");
            Stake { code: "balance", subject: asset.code().to_owned(), message }
        })
        .collect())
}

/// Money that may still arrive, or that came and nobody has decided about.
async fn open_payments(tx: &Tx, person: Id<User>) -> Result<Vec<Stake>> {
    let sql = "SELECT id FROM payments WHERE owner = $1
                   AND (state IN ('created', 'pending') OR state = 'suspended'
                       AND COALESCE(reason, '') NOT IN ('refunded', $2))
               ORDER BY id LIMIT 100";
    let row = params![person, crate::payment::CHARGED_BACK];
    let rows = tx.all(sql, row, |row| row.take::<Id<Payment>>()).await?;
    Ok(rows
        .into_iter()
        .map(|id| Stake {
            code: "open_payment",
            subject: id.to_string(),
            message: format!("The payment {id} is still open: it may yet be paid."),
        })
        .collect())
}

/// Where money went is a person's; that it went is the ledger's.
async fn erase_payouts(tx: &Tx, person: Id<User>) -> Result<()> {
    let sql = "UPDATE payout_destinations SET account = '', name = NULL, bank = NULL, mask = '',
                      removed_at = COALESCE(removed_at, $2) WHERE owner = $1";
    tx.execute(sql, params![person, tx.now()]).await?;
    let sql = "UPDATE withdrawals SET mask = '', reason = NULL WHERE owner = $1";
    tx.execute(sql, params![person]).await?;
    tx.execute("UPDATE refunds SET reason = '' WHERE owner = $1", params![person]).await?;
    let sql = "SELECT id FROM withdrawals WHERE owner = $1";
    for withdrawal in tx.all(sql, params![person], |row| row.take::<Id<Withdrawal>>()).await? {
        forget_events(tx, &crate::payout::reference(withdrawal)).await?;
    }
    Ok(())
}

/// Empties what providers have told of a payment or a withdrawal: names, addresses, accounts.
async fn forget_events(tx: &Tx, reference: &str) -> Result<()> {
    let sql = "UPDATE provider_events SET body = '' WHERE reference = $1";
    tx.execute(sql, params![reference]).await?;
    Ok(())
}

async fn erase_payments(tx: &Tx, person: Id<User>) -> Result<()> {
    let sql = "UPDATE payments SET access_code = NULL, checkout_url = NULL, reason = NULL
               WHERE owner = $1 RETURNING id";
    let payments = tx.all(sql, params![person], |row| row.take::<Id<Payment>>()).await?;
    for payment in payments {
        forget_events(tx, &crate::payment::reference(payment)).await?;
    }
    Ok(())
}
