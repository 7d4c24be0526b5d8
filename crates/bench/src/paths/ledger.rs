//! Paths 9a and 9b: money from one wallet to another, one transfer a request, each with an
//! idempotency key, each on disk before it is answered.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;

use crate::bare::sqlite::BareSqlite;
use crate::bench::Bench;
use crate::client::{Answer, Template};
use crate::failure::{Failure, Result};
use crate::load::{Driven, Generator, Script};
use crate::machine::Pinning;
use crate::random::{FreshKeys, Random};
use crate::verza::Verza;
use crate::verza::ledger::{Wallet, transfer_unit, wallets};
use crate::verza::people::{self, FUNDS, Person};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

const CONNECTIONS: usize = 256;
/// Wallets; each belongs to a user who was registered, confirmed and signed in through the API.
pub(super) const PEOPLE: usize = 2000;
/// Each transfer's amount, in cents: the least that the platform takes.
pub(super) const AMOUNT: i64 = 100;

pub const MANY: Declared = Declared {
    spec: Spec {
        name: "POST transfers between 2 000 wallets, 256 connections",
        reference: "bare-sqlite, the same statements at its best batch",
        unit: "transfers/s",
        reference_unit: "transfers/s",
        better: Better::Higher,
        floor: 0.50,
        goal: 0.80,
        durable: true,
    },
    prepare: |bench| Ok(Box::new(Ledger::prepare(bench, false)?)),
};

pub const HOT: Declared = Declared {
    spec: Spec {
        name: "the same with one hot wallet in every transfer, 256 connections",
        reference: "the same Verza with 2 000 wallets",
        unit: "transfers/s",
        reference_unit: "transfers/s",
        better: Better::Higher,
        floor: 0.80,
        goal: 1.0,
        durable: true,
    },
    prepare: |bench| Ok(Box::new(Ledger::prepare(bench, true)?)),
};

/// What each wallet must have, by the answers that came.
pub(super) struct Book {
    people: Vec<Sender>,
    balances: Vec<i64>,
    keys: FreshKeys,
}

struct Sender {
    id: String,
    template: Template,
}

impl Book {
    pub(super) fn new(verza: &Verza, people: &[Person]) -> Rc<RefCell<Book>> {
        let sender = |person: &Person| Sender {
            id: person.id.clone(),
            template: Template::new("POST", verza.address()).bearer(&person.bearer).json(),
        };
        Rc::new(RefCell::new(Book {
            people: people.iter().map(sender).collect(),
            balances: vec![FUNDS; people.len()],
            keys: FreshKeys::new(),
        }))
    }
}

/// Who pays whom.
#[derive(Clone, Copy)]
enum Choice {
    Anybody,
    /// Wallet 0 is the payer and the payee by turns.
    Hot,
}

/// A transfer that was sent: kept until it is answered, so that it can be sent again.
struct Sent {
    from: usize,
    to: usize,
    request: Bytes,
}

struct Transferring {
    book: Rc<RefCell<Book>>,
    choice: Choice,
    random: Random,
    count: u64,
    /// Shared with whoever has to send it again.
    unanswered: Rc<RefCell<Option<Sent>>>,
}

impl Transferring {
    fn choose(&mut self, people: u64) -> (usize, usize) {
        self.count += 1;
        let one = match self.choice {
            Choice::Anybody => self.random.below(people),
            Choice::Hot => 0,
        };
        // Anybody but the first.
        let other = (one + 1 + self.random.below(people - 1)) % people;
        let (one, other) = (one as usize, other as usize);
        if self.count.is_multiple_of(2) { (one, other) } else { (other, one) }
    }
}

impl Script for Transferring {
    fn request<'a>(&'a mut self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let people = self.book.borrow().people.len();
        let (from, to) = self.choose(people as u64);
        let mut book = self.book.borrow_mut();
        let key = book.keys.fresh();
        let body = people::transfer(&book.people[to].id, AMOUNT);
        let template = &book.people[from].template;
        template.write(scratch, "/v1/user/wallet/transfers", Some(key), body.as_bytes());
        let request = Bytes::copy_from_slice(scratch);
        *self.unanswered.borrow_mut() = Some(Sent { from, to, request });
        scratch
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        if answer.status != 201 {
            return Err(Failure::new(format!("not transferred: {}", answer.describe())));
        }
        if let Some(sent) = self.unanswered.take() {
            self.book.borrow_mut().enter(&sent);
        }
        Ok(())
    }
}

impl Book {
    /// How many wallets have something else.
    pub(super) fn differences(&self, found: &[i64]) -> usize {
        found.iter().zip(&self.balances).filter(|(found, wanted)| found != wanted).count()
    }

    fn enter(&mut self, sent: &Sent) {
        self.balances[sent.from] -= AMOUNT;
        self.balances[sent.to] += AMOUNT;
    }
}

/// Connections that transfer, and what each of them still waits for.
struct Transfers {
    driven: Driven,
    unanswered: Vec<Rc<RefCell<Option<Sent>>>>,
}

impl Transfers {
    fn new(verza: &Verza, book: &Rc<RefCell<Book>>, choice: Choice) -> Result<Transfers> {
        let slots: Vec<Rc<RefCell<Option<Sent>>>> =
            (0..CONNECTIONS).map(|_| Rc::default()).collect();
        let scripts = slots.iter().zip(0..).map(|(unanswered, seed)| {
            let (book, unanswered) = (book.clone(), unanswered.clone());
            let (random, count) = (Random::new(seed), seed);
            Box::new(Transferring { book, choice, random, count, unanswered }) as Box<dyn Script>
        });
        let driven = Driven::new(verza.address(), scripts.collect())?;
        Ok(Transfers { driven, unanswered: slots })
    }
}

/// Transfers between anybody, for those who measure something else about them.
pub(super) fn drive(verza: &Verza, book: &Rc<RefCell<Book>>) -> Result<Driven> {
    Ok(Transfers::new(verza, book, Choice::Anybody)?.driven)
}

/// The same statements in a copy of the same database.
struct Bare {
    pinning: Pinning,
    bare: BareSqlite,
    wallets: Vec<Wallet>,
    batch: u64,
}

fn unit(wallets: &[Wallet]) -> impl FnMut(&Connection, u64) -> rusqlite::Result<()> + '_ {
    move |connection, number| {
        let mut random = Random::new(number);
        let count = wallets.len() as u64;
        let from = random.below(count);
        let to = (from + 1 + random.below(count - 1)) % count;
        let pair = (&wallets[from as usize], &wallets[to as usize]);
        transfer_unit(connection, pair, number, &mut random)
    }
}

impl Bare {
    fn prepare(bench: &Bench, database: &std::path::Path) -> Result<Bare> {
        const TRY: Duration = Duration::from_millis(400);
        let mut bare = BareSqlite::open(database)?;
        let (pinning, wallets) = (bench.pinning, wallets(bare.connection())?);
        let batch = pinning.on_server(|| bare.best_batch(TRY, unit(&wallets)))?;
        Ok(Bare { pinning, bare, wallets, batch })
    }

    fn slice(&mut self, length: Duration) -> Result<Slice> {
        let Bare { pinning, bare, wallets, batch } = self;
        let commits = pinning.on_server(|| bare.run(length, *batch, unit(wallets)))?;
        Ok(Slice::with_latency(commits.rate(), commits.latency))
    }
}

enum Reference {
    Bare(Bare),
    Verza(Transfers),
}

struct Ledger {
    /// None while the check replaces it.
    verza: Option<Verza>,
    people: Vec<Person>,
    book: Rc<RefCell<Book>>,
    ours: Transfers,
    reference: Reference,
}

impl Ledger {
    fn prepare(bench: &Bench, hot: bool) -> Result<Ledger> {
        let mut verza = Verza::start(bench, &bench.folder("ledger")?)?;
        let people = people::join(&verza, PEOPLE)?;
        people::fund(&verza, &people)?;
        let mut bare = None;
        if !hot {
            let stopped = verza.stop()?;
            let copy = bench.folder("ledger-reference")?.join("verza.db");
            std::fs::copy(stopped.database(), &copy)?;
            bare = Some(Bare::prepare(bench, &copy)?);
            verza = Verza::start(bench, &stopped.folder)?;
        }
        let book = Book::new(&verza, &people);
        let (ours, reference) = match bare {
            Some(bare) => (Transfers::new(&verza, &book, Choice::Anybody)?, Reference::Bare(bare)),
            None => (
                Transfers::new(&verza, &book, Choice::Hot)?,
                Reference::Verza(Transfers::new(&verza, &book, Choice::Anybody)?),
            ),
        };
        Ok(Ledger { verza: Some(verza), people, book, ours, reference })
    }

    /// Kills Verza in the middle of its work, starts it again, and sends what was not answered
    /// once more under the same keys. Then every transfer took place exactly once, whatever
    /// became of its first request: each wallet must have what the answers say.
    fn survive_a_kill(&mut self) -> Result<()> {
        const WORK_ON: Duration = Duration::from_secs(5);
        let verza = self.verza.take().ok_or_else(|| Failure::new("Verza was killed before"))?;
        let killer = verza.kill_in(Duration::from_millis(400));
        let outcome = self.ours.driven.run(WORK_ON);
        // It only waits and kills: there is nothing in it that panics.
        let _ = killer.join();
        if outcome.is_ok() {
            return Err(Failure::new("Verza was not killed in the middle of its work"));
        }
        let verza = verza.restart()?;
        let mut api = Generator::connect(verza.address(), 64)?;
        let again: Vec<Sent> = self.ours.unanswered.iter().filter_map(|slot| slot.take()).collect();
        let requests: Vec<Bytes> = again.iter().map(|sent| sent.request.clone()).collect();
        for (answer, sent) in api.call_all(&requests)?.iter().zip(&again) {
            answer.json(201)?;
            self.book.borrow_mut().enter(sent);
        }
        let found = people::balances(&mut api, &self.people)?;
        let wrong = self.book.borrow().differences(&found);
        if wrong > 0 {
            return Err(Failure::new(format!("{wrong} wallets do not have what was answered")));
        }
        drop(api);
        let stopped = verza.stop()?;
        stopped.check_ledger()
    }
}

impl Workload for Ledger {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        match (side, &mut self.reference) {
            (Side::Ours, _) => Ok(Slice::rate(self.ours.driven.run(length)?)),
            (Side::Reference, Reference::Bare(bare)) => bare.slice(length),
            (Side::Reference, Reference::Verza(uniform)) => {
                Ok(Slice::rate(uniform.driven.run(length)?))
            }
        }
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        self.survive_a_kill()?;
        if let Reference::Bare(bare) = &self.reference {
            // The reference has to have done its work as well.
            let sql = "SELECT count(*) FROM ledger_tx WHERE kind = 'transfer'";
            let rows: i64 = bare.bare.connection().query_row(sql, [], |row| row.get(0))?;
            if (rows as u64) < bare.bare.done() {
                return Err(Failure::new("the reference lost transfers"));
            }
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transferring(choice: Choice, people: usize) -> Transferring {
        let address = "127.0.0.1:1".parse().unwrap();
        let sender =
            |number| Sender { id: format!("u_{number}"), template: Template::new("POST", address) };
        let book = Book {
            people: (0..people).map(sender).collect(),
            balances: vec![FUNDS; people],
            keys: FreshKeys::new(),
        };
        let book = Rc::new(RefCell::new(book));
        let (random, unanswered) = (Random::new(3), Rc::default());
        Transferring { book, choice, random, count: 0, unanswered }
    }

    #[test]
    fn nobody_pays_themselves_and_the_hot_wallet_is_in_every_transfer() {
        let mut anybody = transferring(Choice::Anybody, 5);
        let mut hot = transferring(Choice::Hot, 5);
        for _ in 0..1000 {
            let (from, to) = anybody.choose(5);
            assert!(from != to && from < 5 && to < 5);
            let (from, to) = hot.choose(5);
            assert!(from != to && from.min(to) == 0 && from.max(to) < 5);
        }
    }

    #[test]
    fn what_was_not_answered_is_kept_to_be_sent_again() {
        let mut one = transferring(Choice::Anybody, 3);
        let mut scratch = Vec::new();
        let request = one.request(&mut scratch).to_vec();
        let kept = one.unanswered.take().unwrap();
        assert_eq!(request, kept.request);
        let mut book = one.book.borrow_mut();
        book.enter(&kept);
        assert_eq!(book.balances.iter().sum::<i64>(), 3 * FUNDS);
        assert_eq!(book.balances[kept.from], FUNDS - AMOUNT);
    }
}
