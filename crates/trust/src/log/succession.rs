//! One log after another: in a new year, and where going on would be a fork.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kernel::{Caller, Result};
use platform::db::Tx;
use platform::journal::{Fact, Recorded};
use verify::log::checkpoint::Checkpoint;
use verify::log::merkle::{self, Hash};

use super::check::open_any;
use super::rules::{Cause, Continuity, Term, compare};
use super::service::{Service, year};
use super::store::{self, State};

impl Service {
    /// The log for these facts: another one where its year is over.
    pub(super) async fn in_this_year(
        &self,
        tx: &Tx,
        log: State,
        facts: &[Recorded],
    ) -> Result<State> {
        let this_year = year(tx.now());
        let began = self.term_of(&log.origin);
        // A clock that is set back does not open a log of a year that is over.
        let Some(before) = facts.first().and_then(|fact| fact.seq).map(|seq| seq - 1) else {
            return Ok(log);
        };
        if began.is_none_or(|term| term.year >= this_year) {
            return Ok(log);
        }
        let next = Term::after(this_year, &began.into_iter().collect::<Vec<_>>());
        let opened = self.succeed(tx, &log, next, Cause::Year, before, None).await?;
        Ok(opened.unwrap_or(log))
    }

    fn term_of(&self, origin: &str) -> Option<Term> {
        origin.strip_prefix(&self.0.prefix).and_then(Term::parse)
    }

    /// Closes the log and opens another one, which says in one of its first facts where the last
    /// one ended, and what was seen that it does not continue.
    async fn succeed(
        &self,
        tx: &Tx,
        last: &State,
        next: Term,
        cause: Cause,
        after_seq: i64,
        seen: Option<&Checkpoint>,
    ) -> Result<Option<State>> {
        let origin = format!("{}{next}", self.0.prefix);
        let Some(opened) = store::succeed(tx, last, &origin, after_seq).await? else {
            return Ok(None);
        };
        let root = |root: &Hash| STANDARD.encode(root);
        let mut fact = Fact::by(&Caller::nobody(), "log.succeeded")
            .on(&origin)
            .with("cause", cause.as_str())
            .with("last", &last.origin)
            .with("lastSize", last.edge.size())
            .with("lastRoot", root(&last.edge.root()));
        if let Some(seen) = seen {
            fact = fact
                .with("seen", &seen.origin)
                .with("seenSize", seen.size)
                .with("seenRoot", root(&seen.root));
        }
        tx.record(fact);
        Ok(Some(opened))
    }

    /// Compares the log with what this machine remembers of it, before anything is appended.
    pub(super) async fn recall(&self) -> Result<()> {
        let Some(memory) = &self.0.memory else { return Ok(()) };
        let Some(seen) = memory.recall()? else { return Ok(()) };
        match self.confront(&seen).await? {
            Continuity::Foreign(why) => {
                tracing::warn!(%why, "the remembered checkpoint says nothing about this log");
            }
            found => tracing::debug!(?found, "the log was compared with the remembered checkpoint"),
        }
        Ok(())
    }

    /// Whether the log that grows does not continue what this machine remembers. Then another log
    /// follows it, and what is remembered stays until that one has a checkpoint: it is the proof.
    pub(super) async fn is_set_back(&self, log: &State, seen: &str) -> Result<bool> {
        let of = open_any(seen, &self.0.keys.log_keys()).ok().map(|seen| seen.origin);
        let remembered = of.and_then(|origin| self.term_of(&origin));
        // A log that was left behind was held against it before it was left.
        if remembered < self.term_of(&log.origin) {
            return Ok(false);
        }
        Ok(self.confront(seen).await?.is_fork())
    }

    /// Holds a checkpoint against the logs that are here. One that this platform's own key has
    /// signed and that they do not continue proves that the database was set back, or rewritten:
    /// then the log is closed and another one goes on in its place.
    pub async fn confront(&self, seen: &str) -> Result<Continuity> {
        let keys = self.0.keys.log_keys();
        let seen = match open_any(seen, &keys) {
            Ok(seen) => seen,
            Err(error) => return Ok(Continuity::Foreign(error)),
        };
        let Some(term) = self.term_of(&seen.origin) else {
            let what = format!("it is of the log {}, which was never here", seen.origin);
            return Ok(Continuity::Foreign(what));
        };
        let found = self.continuity(&seen).await?;
        if found.is_fork() {
            metrics::counter!("log_forks_total").increment(1);
            tracing::error!(?found, origin = %seen.origin, "the log does not continue what it signed: another one follows");
            self.go_on_elsewhere(&seen, term).await?;
        }
        Ok(found)
    }

    async fn continuity(&self, seen: &Checkpoint) -> Result<Continuity> {
        let log = store::of_origin(&self.0.db, &seen.origin).await?;
        // A log of ours that is not here at all was opened after the moment to which the
        // database was set back.
        let Some(log) = log else { return Ok(Continuity::Behind { seen: seen.size, here: 0 }) };
        let size = log.edge.size();
        let then = match seen.size {
            at if at > size => None,
            0 => Some(merkle::empty_root()),
            at => {
                let tiles = self.tiles(&log, &merkle::root_nodes(at), at).await?;
                merkle::root(&tiles, at).ok()
            }
        };
        Ok(compare(seen, size, then))
    }

    /// Leaves the log whose past is in doubt where it is. Whoever was shown more of it can prove so
    /// for ever; nobody is shown two trees under the name that follows.
    async fn go_on_elsewhere(&self, seen: &Checkpoint, term: Term) -> Result<()> {
        self.0
            .db
            .run("log.succeed", |tx| async move {
                // Another process may be appending: what it appends belongs to the log that ends.
                store::hold(&tx).await?;
                let logs = store::states(&tx).await?;
                let Some(last) = logs.last() else { return Ok(()) };
                let mut taken: Vec<Term> =
                    logs.iter().filter_map(|log| self.term_of(&log.origin)).collect();
                // Confronted with it before, and gone on elsewhere already.
                if taken.last().is_some_and(|last| *last > term) && last.origin != seen.origin {
                    return Ok(());
                }
                taken.push(term);
                let next = Term::after(year(tx.now()), &taken);
                // Facts that have no leaf yet go into the next log.
                let after = last.after_seq.saturating_add(last.edge.size().cast_signed());
                self.succeed(&tx, last, next, Cause::Fork, after, Some(seen)).await?;
                Ok(())
            })
            .await
    }
}
