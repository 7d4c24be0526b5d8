//! Following the journal for everybody who listens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kernel::Id;
use kernel::Result;
use kernel::id::kinds::User;
use platform::journal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::hub::Hub;
use super::model::{Source, Thing, is_of_support};
use crate::notification;

/// How often the journal is looked at where other processes give facts their places. What this
/// process places rings.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Facts handed out at once.
const BATCH: i64 = 500;
/// How often it is looked who has stopped reading.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How long streams that were told to end may take over saying so.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Hub {
    /// Follows the journal until told to stop; then ends all streams, each with its reason, and
    /// waits a moment for the words to get out.
    pub async fn run(&self, stop: CancellationToken) {
        let mut placed = self.db.facts_placed();
        let (mut failing, mut swept_at) = (false, Instant::now());
        while !stop.is_cancelled() {
            let followed = self.follow_once().await;
            if let Err(error) = &followed
                && !failing
            {
                tracing::warn!(%error, "the journal cannot be followed");
            }
            failing = followed.is_err();
            let listened = self.open_streams() > 0;
            let looks = failing || (self.db.is_shared() && listened);
            tokio::select! {
                _ = placed.changed() => {}
                () = self.come.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY), if looks => {}
                () = tokio::time::sleep_until(swept_at + SWEEP_EVERY), if listened => {}
                () = stop.cancelled() => {}
            }
            let now = Instant::now();
            if now >= swept_at + SWEEP_EVERY {
                swept_at = now;
                self.end_unread(now);
            }
        }
        self.close();
        let all_left = async {
            loop {
                let left = self.left.notified();
                if self.open_streams() == 0 {
                    return;
                }
                left.await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, all_left).await.is_err() {
            tracing::info!(open = self.open_streams(), "streams were not heard out");
        }
    }

    /// Hands out what there is.
    pub(super) async fn follow_once(&self) -> Result<()> {
        for source in Source::ALL {
            loop {
                let Some(at) = self.seats.lock().at[source as usize] else { break };
                let next = match source {
                    Source::Facts => self.next_facts(at).await?,
                    Source::Notifications => self.next_notifications(at).await?,
                };
                let Some(last) = next.last().and_then(|(thing, _)| thing.seq()) else { break };
                self.hand_out(source, next, last);
            }
        }
        Ok(())
    }

    async fn next_facts(&self, at: i64) -> Result<Vec<(Thing, Vec<Id<User>>)>> {
        let facts = journal::since(&self.db, at, BATCH).await?;
        let Some(last) = facts.last().and_then(|fact| fact.seq) else { return Ok(Vec::new()) };
        let mut parties: HashMap<i64, Vec<Id<User>>> = HashMap::new();
        for (seq, party) in journal::parties_between(&self.db, at, last).await? {
            parties.entry(seq).or_default().push(party);
        }
        let with_parties = |fact: journal::Recorded| {
            let concerned = fact.seq.and_then(|seq| parties.remove(&seq)).unwrap_or_default();
            (Thing::Fact(Arc::new(fact)), concerned)
        };
        Ok(facts.into_iter().map(with_parties).collect())
    }

    async fn next_notifications(&self, at: i64) -> Result<Vec<(Thing, Vec<Id<User>>)>> {
        let told = notification::since(&self.db, at, BATCH).await?;
        let told = told.into_iter();
        Ok(told
            .map(|(seq, user, it)| (Thing::Notification(seq, Arc::new(it)), vec![user]))
            .collect())
    }

    /// To the seats of those concerned; the new place is noted under the same lock, so that a seat
    /// is either handed a thing or begins behind it.
    fn hand_out(&self, source: Source, next: Vec<(Thing, Vec<Id<User>>)>, last: i64) {
        let mut seats = self.seats.lock();
        let max = self.policy.waiting_max;
        for (thing, concerned) in next {
            for user in &concerned {
                let wanting = seats.of(*user).iter().filter(|seat| seat.topic.wants(&thing));
                wanting.for_each(|seat| seat.push(thing.clone(), max));
            }
            if let Thing::Fact(fact) = &thing
                && is_of_support(fact)
            {
                let others = seats.support.iter().filter(|seat| !concerned.contains(&seat.user));
                others.for_each(|seat| seat.push(thing.clone(), max));
            }
        }
        // Nobody may listen any more.
        if let Some(at) = &mut seats.at[source as usize] {
            *at = last;
        }
    }
}
