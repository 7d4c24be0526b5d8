//! Path 9a on PostgreSQL, beside the same statements written by hand.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio_postgres::{Client, Statement};

use crate::bare::postgres::{Hand, Postgres};
use crate::bench::Bench;
use crate::failure::{Failure, Result};
use crate::load::{Driven, Generator};
use crate::machine::Pinning;
use crate::random::Random;
use crate::verza::Verza;
use crate::verza::ledger::{ASSET, NOW, REPLY, SUBJECT, WEEK};
use crate::verza::people::{self, Person};
use crate::verza::store::{ORIGIN, fresh_id, salt};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

use super::ledger::{self, AMOUNT, Book, PEOPLE};

/// Connections by which SQL is sent, one transaction at a time each.
const HANDS: usize = 64;
/// Chance, and no secret: it guards a database that goes with the run.
pub(super) const MASTER_KEY: &str =
    "0068183551909895656b4d094c5ce6d594263d18923ac4b454e3fd3511140e5c";

pub const TRANSFERS: Declared = Declared {
    spec: Spec {
        name: "POST transfers between 2 000 wallets on PostgreSQL, 256 connections",
        reference: "the same statements written by hand, 64 connections",
        unit: "transfers/s",
        reference_unit: "transfers/s",
        better: Better::Higher,
        floor: 0.70,
        goal: 1.0,
        durable: true,
    },
    prepare: |bench| Ok(Box::new(OnPostgres::prepare(bench)?)),
};

struct OnPostgres {
    /// None once it was checked.
    verza: Option<Verza>,
    people: Vec<Person>,
    book: Rc<RefCell<Book>>,
    ours: Driven,
    reference: ByHand,
    /// Outlives all who are connected to it.
    _server: Postgres,
}

impl OnPostgres {
    fn prepare(bench: &Bench) -> Result<OnPostgres> {
        let server = Postgres::start(bench)?;
        server.create("verza")?;
        let folder = bench.folder("postgres-ledger")?;
        let start = || {
            Verza::start_with(bench, &folder, |options| {
                options
                    .env("VERZA_DATABASE_URL", server.url("verza"))
                    .env("VERZA_SECRETS_MASTER_KEY", MASTER_KEY)
            })
        };
        let verza = start()?;
        let people = people::join(&verza, PEOPLE)?;
        people::fund(&verza, &people)?;
        verza.stop()?;
        // Everybody has to be gone from a database that is copied.
        server.copy("verza", "by_hand")?;
        let verza = start()?;
        let reference = ByHand::prepare(bench.pinning, &server.url("by_hand"))?;
        let book = Book::new(&verza, &people);
        let ours = ledger::drive(&verza, &book)?;
        Ok(OnPostgres { verza: Some(verza), people, book, ours, reference, _server: server })
    }
}

impl Workload for OnPostgres {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        match side {
            Side::Ours => Ok(Slice::rate(self.ours.run(length)?)),
            Side::Reference => self.reference.slice(length),
        }
    }

    /// Each wallet has what the answers say, and the ledger is sound.
    fn check(&mut self) -> Result<Vec<Gauge>> {
        let gone = || Failure::new("it was checked before");
        let verza = self.verza.take().ok_or_else(gone)?;
        let mut api = Generator::connect(verza.address(), 64)?;
        let found = people::balances(&mut api, &self.people)?;
        let wrong = self.book.borrow().differences(&found);
        if wrong > 0 {
            return Err(Failure::new(format!("{wrong} wallets do not have what was answered")));
        }
        drop(api);
        verza.stop()?.check_ledger()?;
        Ok(Vec::new())
    }
}

/// A wallet: whose it is, and its account in the ledger, as UUIDs in text.
type Wallet = (String, String);

struct ByHand {
    pinning: Pinning,
    hand: Hand,
    statements: Vec<Statements>,
    wallets: Vec<Wallet>,
    done: AtomicU64,
}

impl ByHand {
    fn prepare(pinning: Pinning, url: &str) -> Result<ByHand> {
        let hand = Hand::connect(url, HANDS)?;
        let (wallets, statements) = hand.block_on(async |clients| {
            let sql = "SELECT owner::text, id::text FROM ledger_account
                       WHERE code = 'li.wallet' ORDER BY id";
            let rows = clients[0].query(sql, &[]).await?;
            let wallets = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            Ok((wallets, try_join_all(clients.iter().map(Statements::prepare)).await?))
        })?;
        Ok(ByHand { pinning, hand, statements, wallets, done: AtomicU64::new(0) })
    }

    fn slice(&self, length: Duration) -> Result<Slice> {
        let rate = self.pinning.on_server(|| {
            self.hand.rate(length, |client, place| {
                let number = self.done.fetch_add(1, Ordering::Relaxed);
                self.transfer(client, &self.statements[place], number)
            })
        })?;
        Ok(Slice::of(rate))
    }

    /// All that Verza asks and writes for one transfer, in its order.
    async fn transfer(&self, client: &Client, of: &Statements, number: u64) -> Result<()> {
        let mut random = Random::new(number);
        let count = self.wallets.len() as u64;
        let from = random.below(count);
        let to = (from + 1 + random.below(count - 1)) % count;
        let (from, to) = (&self.wallets[from as usize], &self.wallets[to as usize]);
        let uuid = |bytes: [u8; 16]| format!("{:032x}", u128::from_be_bytes(bytes));
        let (id, fact) = (uuid(fresh_id(number, &mut random)), uuid(fresh_id(number, &mut random)));
        let [scope, print, seed] = [(); 3].map(|()| salt(&mut random));
        let (scope, print, seed) = (scope.as_slice(), print.as_slice(), seed.as_slice());
        client.query_opt(&of.payee, &[&to.0]).await?;
        client.batch_execute("BEGIN").await?;
        client.query_opt(&of.recall, &[&scope]).await?;
        let key = format!("xfer:{id}");
        client.execute(&of.transaction, &[&id, &key, &print, &SUBJECT, &NOW]).await?;
        // In the order of the accounts: nobody waits for somebody who waits for them.
        let mut moves = [(from, AMOUNT, 0_i64), (to, 0, AMOUNT)];
        moves.sort_unstable_by(|a, b| a.0.1.cmp(&b.0.1));
        let posting = [&id, &from.1, &to.1, &ASSET.to_owned()];
        let mut entries = Vec::with_capacity(2);
        for (wallet, debit, credit) in moves {
            let row = client.query_one(&of.balance, &[&wallet.1, &debit, &credit, &NOW]).await?;
            let (debits, credits, version): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
            entries.push((wallet, version, credit - debit, credits - debits));
        }
        let [id, debit, credit, asset] = posting;
        client.execute(&of.posting, &[id, debit, credit, asset, &AMOUNT]).await?;
        let [first, second] = [&entries[0], &entries[1]];
        client
            .execute(
                &of.entries,
                &[
                    &first.0.1,
                    &first.1,
                    id,
                    &first.2,
                    &first.3,
                    &NOW,
                    &second.0.1,
                    &second.1,
                    &second.2,
                    &second.3,
                ],
            )
            .await?;
        client.execute(&of.remember, &[&scope, &print, &REPLY, &NOW, &(NOW + WEEK)]).await?;
        let data = r#"{"amount":100,"currency":"USD","to":"u_01m8148azzexpa7p5thb95y2aw"}"#;
        client.execute(&of.fact, &[&fact, &NOW, &from.0, &data, &ORIGIN, &seed]).await?;
        for party in [&from.0, &to.0] {
            client.execute(&of.party, &[party, &fact]).await?;
        }
        client.batch_execute("COMMIT").await?;
        Ok(())
    }
}

struct Statements {
    payee: Statement,
    recall: Statement,
    transaction: Statement,
    balance: Statement,
    posting: Statement,
    entries: Statement,
    remember: Statement,
    fact: Statement,
    party: Statement,
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Statements> {
        let prepare = |sql: &'static str| client.prepare(sql);
        Ok(Statements {
            payee: prepare(
                "SELECT 1 FROM ledger_account
                 WHERE owner = $1::text::uuid AND code = 'li.wallet' LIMIT 1",
            )
            .await?,
            recall: prepare(
                "SELECT fingerprint, reply, expires_at FROM idempotency WHERE scope = $1",
            )
            .await?,
            transaction: prepare(
                "INSERT INTO ledger_tx (id, kind, idem_key, content_hash, subject, reverses, meta,
                                        recorded_at)
                 VALUES ($1::text::uuid, 'transfer', $2, $3, $4, NULL, '{}', $5)
                 ON CONFLICT DO NOTHING",
            )
            .await?,
            balance: prepare(
                "UPDATE ledger_balance
                 SET debits = debits + $2, credits = credits + $3, version = version + 1,
                     moved_at = CASE WHEN moved_at > $4 THEN moved_at ELSE $4 END
                 WHERE account_id = $1::text::uuid AND shard = 0
                 RETURNING debits, credits, version",
            )
            .await?,
            posting: prepare(
                "INSERT INTO ledger_posting (tx_id, seq, debit_account, credit_account, asset,
                                             amount)
                 VALUES ($1::text::uuid, 0, $2::text::uuid, $3::text::uuid, $4, $5)",
            )
            .await?,
            entries: prepare(
                "INSERT INTO ledger_entry (account_id, shard, version, tx_id, seq, delta,
                                           balance_after, recorded_at)
                 VALUES ($1::text::uuid, 0, $2, $3::text::uuid, 0, $4, $5, $6),
                        ($7::text::uuid, 0, $8, $3::text::uuid, 0, $9, $10, $6)",
            )
            .await?,
            remember: prepare(
                "INSERT INTO idempotency (scope, fingerprint, reply, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (scope) DO UPDATE SET fingerprint = excluded.fingerprint,
                     reply = excluded.reply, created_at = excluded.created_at,
                     expires_at = excluded.expires_at
                 WHERE idempotency.expires_at <= excluded.created_at",
            )
            .await?,
            fact: prepare(
                "INSERT INTO facts (id, at, verb, actor, actor_role, subject, data, origin, salt)
                 VALUES ($1::text::uuid, $2, 'transfer.sent', $3::text::uuid, 'user',
                         'tx_01m8148bqvfkg86z6yna7qb7h0', $4, $5, $6)",
            )
            .await?,
            party: prepare(
                "INSERT INTO fact_parties (party, fact)
                 VALUES ($1::text::uuid, $2::text::uuid)",
            )
            .await?,
        })
    }
}
