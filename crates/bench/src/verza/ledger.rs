//! What a transfer is in the database: Verza's own statements, for a reference that does the same
//! work without a server.

use rusqlite::{Connection, OptionalExtension, params};

use super::store::{NewFact, fresh_id, insert_fact, row_id, salt};
use crate::Result;
use crate::random::Random;

pub const ASSET: &str = "USD";
pub const NOW: i64 = 1_795_334_352_679_354;
pub const WEEK: i64 = 7 * 24 * 3600 * 1_000_000;
/// As long as the reply that Verza remembers for a transfer.
pub const REPLY: &str = r#"{"Done":{"id":"tx_01m8148bqvfkg86z6yna7qb7h0","to":"u_01m8148azzexpa7p5thb95y2aw","amount":100,"currency":"USD","available":999999900,"at":"2026-11-22T07:59:12.63582Z"}}"#;
pub const SUBJECT: &str = "u_01m8148azzexpa7p5thb95y2aw";

/// A wallet: whose it is, and its account in the ledger.
#[derive(Clone, Debug)]
pub struct Wallet {
    pub owner: Vec<u8>,
    pub account: Vec<u8>,
}

/// The wallets of a database.
pub fn wallets(connection: &Connection) -> Result<Vec<Wallet>> {
    let sql = "SELECT owner, id FROM ledger_account WHERE code = 'li.wallet' ORDER BY id";
    let mut statement = connection.prepare(sql)?;
    let rows =
        statement.query_map([], |row| Ok(Wallet { owner: row.get(0)?, account: row.get(1)? }))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// All that Verza asks and writes for one transfer that carries an idempotency key, in its order:
/// payee, key, transaction, both balances, posting with its entries, remembered reply, fact.
pub fn transfer_unit(
    connection: &Connection,
    (from, to): (&Wallet, &Wallet),
    number: u64,
    random: &mut Random,
) -> rusqlite::Result<()> {
    const AMOUNT: i64 = 100;
    let scope = salt(random);
    connection
        .prepare_cached("SELECT 1 FROM ledger_account WHERE owner = ?1 AND code = ?2 LIMIT 1")?
        .query_row(params![to.owner, "li.wallet"], |_| Ok(()))
        .optional()?;
    connection
        .prepare_cached("SELECT fingerprint, reply, expires_at FROM idempotency WHERE scope = ?1")?
        .query_row([scope], |_| Ok(()))
        .optional()?;
    let id = fresh_id(number, random);
    insert_transaction(connection, &id, &format!("xfer:{:032x}", u128::from_be_bytes(id)))?;
    let (sent, received) = ((from, AMOUNT, 0), (to, 0, AMOUNT));
    // In the order of the accounts, as Verza takes them.
    let (debit, credit) = if from.account <= to.account {
        let debit = update_balance(connection, sent)?;
        (debit, update_balance(connection, received)?)
    } else {
        let credit = update_balance(connection, received)?;
        (update_balance(connection, sent)?, credit)
    };
    let debit = Entry { account: &from.account, version: debit.0, delta: -AMOUNT, after: debit.1 };
    let credit = Entry { account: &to.account, version: credit.0, delta: AMOUNT, after: credit.1 };
    insert_posting(connection, &id, AMOUNT, [debit, credit])?;
    remember(connection, &scope, random)?;
    let (fact, salt) = (fresh_id(number, random), salt(random));
    insert_fact(
        connection,
        &NewFact {
            id: &fact,
            verb: "transfer.sent",
            actor: &from.owner,
            subject: "tx_01m8148bqvfkg86z6yna7qb7h0",
            data: r#"{"amount":100,"currency":"USD","to":"u_01m8148azzexpa7p5thb95y2aw"}"#,
            salt: &salt,
            parties: &[&from.owner, &to.owner],
        },
    )
}

fn insert_transaction(connection: &Connection, id: &[u8], key: &str) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO ledger_tx (id, kind, idem_key, content_hash, subject, reverses, meta,
                                recorded_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
    )?;
    let none = None::<&[u8]>;
    insert.execute(params![id, "transfer", key, [7_u8; 32], SUBJECT, none, "{}", NOW])?;
    Ok(())
}

/// The version and the balance after it.
fn update_balance(
    connection: &Connection,
    (wallet, debit, credit): (&Wallet, i64, i64),
) -> rusqlite::Result<(i64, i64)> {
    let mut update = connection.prepare_cached(
        "UPDATE ledger_balance
         SET debits = debits + ?3, credits = credits + ?4, version = version + ?5,
             moved_at = CASE WHEN moved_at > ?6 THEN moved_at ELSE ?6 END
         WHERE account_id = ?1 AND shard = ?2
         RETURNING debits, credits, version, moved_at",
    )?;
    update.query_row(params![wallet.account, 0, debit, credit, 1, NOW], |row| {
        Ok((row.get(2)?, row.get::<_, i64>(1)? - row.get::<_, i64>(0)?))
    })
}

struct Entry<'a> {
    account: &'a [u8],
    version: i64,
    delta: i64,
    after: i64,
}

fn insert_posting(
    connection: &Connection,
    id: &[u8],
    amount: i64,
    [debit, credit]: [Entry<'_>; 2],
) -> rusqlite::Result<()> {
    let mut posting = connection.prepare_cached(
        "INSERT INTO ledger_posting (tx_id, seq, debit_account, credit_account, asset, amount)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    posting.execute(params![id, 0, debit.account, credit.account, ASSET, amount])?;
    let mut entries = connection.prepare_cached(
        "INSERT INTO ledger_entry (account_id, shard, version, tx_id, seq, delta, balance_after,
                                   recorded_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8), (?9, ?10, ?11, ?4, ?5, ?12, ?13, ?14)",
    )?;
    entries.execute(params![
        debit.account,
        0,
        debit.version,
        id,
        0,
        debit.delta,
        debit.after,
        NOW,
        credit.account,
        0,
        credit.version,
        credit.delta,
        credit.after,
        NOW
    ])?;
    Ok(())
}

fn remember(
    connection: &Connection,
    scope: &[u8; 32],
    random: &mut Random,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO idempotency (scope, fingerprint, reply, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (scope) DO UPDATE SET fingerprint = excluded.fingerprint,
             reply = excluded.reply, created_at = excluded.created_at,
             expires_at = excluded.expires_at
         WHERE idempotency.expires_at <= excluded.created_at",
    )?;
    insert.execute(params![scope, salt(random), REPLY, NOW, NOW + WEEK])?;
    Ok(())
}

/// `count` transfers of long ago between accounts that nobody uses, each with all of its rows.
pub fn put_transfers(connection: &Connection, count: u64) -> Result<()> {
    const ACCOUNTS: u64 = 1000;
    let mut random = Random::new(count);
    for number in 0..count {
        let id = row_id(number);
        insert_transaction(connection, &id, &format!("old:{number:032}"))?;
        let pair = [number % ACCOUNTS, ACCOUNTS + number % ACCOUNTS].map(row_id);
        let version = (number / ACCOUNTS) as i64 + 1;
        let [debit, credit] = pair.each_ref().map(|account| Entry {
            account,
            version,
            delta: 100,
            after: version * 100,
        });
        insert_posting(connection, &id, 100, [debit, credit])?;
        let scope = salt(&mut random);
        remember(connection, &scope, &mut random)?;
    }
    Ok(())
}
