//! Named points at which a test lets a process die.
//!
//! Every transaction has a name, and with a moment in it the name is a point. Who comes to an armed
//! point goes no further: the test drops it there, as a process that is killed drops all that it
//! had in hand. What was not committed is rolled back, by the store itself.

use std::future::pending;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Db;

/// A moment in the life of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before a statement, counted from zero; those that write facts, jobs and the remembered
    /// reply at the end are counted on.
    Statement(u32),
    /// Its work is done and nothing is committed.
    Commit,
    /// It is on disk, and nobody has been told.
    Answer,
}

/// The points of a database: one at a time.
#[derive(Default)]
pub(super) struct Points(Mutex<Option<Fate>>);

impl Points {
    /// The fate of the transaction of this name that begins now. It is that one's alone.
    pub(super) fn take(&self, name: &str) -> Option<Fate> {
        self.0.lock().take_if(|fate| fate.name == name)
    }
}

#[derive(Clone)]
pub(super) struct Fate {
    name: String,
    moment: Moment,
    reached: Arc<Notify>,
}

impl Fate {
    /// Comes back unless this is the moment.
    pub(super) async fn meet(&self, moment: Moment) {
        if self.moment == moment {
            self.reached.notify_one();
            pending().await
        }
    }
}

/// A point that is armed as long as this lives, or until it is reached.
pub struct Death {
    db: Db,
    reached: Arc<Notify>,
}

impl Db {
    /// Arms a point: the next transaction of this name dies at this moment.
    pub fn die_at(&self, name: &str, moment: Moment) -> Death {
        let reached = Arc::new(Notify::new());
        let fate = Fate { name: name.to_owned(), moment, reached: reached.clone() };
        *self.0.points.0.lock() = Some(fate);
        Death { db: self.clone(), reached }
    }
}

impl Death {
    /// What the work comes to, or none: the point was reached, and the work dropped.
    pub async fn spares<T>(self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.reached.notified() => None,
            outcome = work => Some(outcome),
        }
    }
}

impl Drop for Death {
    fn drop(&mut self) {
        self.db.0.points.0.lock().take();
    }
}
