//! What this process has complained of, on its way into the database.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::model::NewLine;

/// Lines that wait at most: a storm must not take the memory that it is about.
const WAITING_MAX: usize = 1000;

/// A bounded queue. Putting something in never waits, so that whoever logs is not held up.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: Mutex<VecDeque<NewLine>>,
    rang: Notify,
}

impl Inbox {
    /// Where too many wait, the oldest is lost, and counted.
    pub fn put(&self, line: NewLine) {
        {
            let mut waiting = self.waiting.lock();
            if waiting.len() == WAITING_MAX {
                waiting.pop_front();
                lost(1);
            }
            waiting.push_back(line);
        }
        self.rang.notify_one();
    }

    /// Waits until something was put in.
    pub(super) async fn filled(&self) {
        self.rang.notified().await;
    }

    /// Takes the oldest lines out.
    pub fn take(&self, most: usize) -> Vec<NewLine> {
        let mut waiting = self.waiting.lock();
        let count = waiting.len().min(most);
        waiting.drain(..count).collect()
    }
}

/// Counts lines that nobody will read.
pub(super) fn lost(count: usize) {
    metrics::counter!("log_lines_lost_total").increment(count as u64);
}
