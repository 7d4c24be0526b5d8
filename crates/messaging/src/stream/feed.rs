//! One stream, step by step.

use std::collections::VecDeque;
use std::sync::Arc;

use kernel::{Kind, Principal, Result};
use tokio::time::Instant;

use super::hub::{Hub, PAGE, Seat};
use super::model::{End, Thing};

/// What a stream does next.
#[derive(Debug)]
pub enum Step {
    Tell(Thing),
    /// Nothing has happened for a while.
    Beat,
    /// The last step; the same if it is asked again.
    End(End),
}

/// A stream that is open for as long as this is not dropped.
pub struct Feed {
    hub: Arc<Hub>,
    seat: Arc<Seat>,
    /// Everything up to here was told, or lies before the stream's beginning.
    place: i64,
    /// Up to here it is read from the store; from there on it is handed over at the seat.
    upto: i64,
    caught_up: bool,
    /// What was read and is not told yet.
    page: VecDeque<Thing>,
    /// How many of the looks that were asked for have been taken.
    looked: u64,
    beat_at: Instant,
    look_at: Instant,
}

impl Feed {
    pub(super) fn new(hub: Arc<Hub>, seat: Arc<Seat>) -> Self {
        let now = Instant::now();
        let (beat_at, look_at) = (now + hub.policy.heartbeat, now + hub.policy.look);
        let page = VecDeque::new();
        Self { hub, seat, place: 0, upto: 0, caught_up: true, page, looked: 0, beat_at, look_at }
    }

    pub(super) fn begin(&mut self, place: i64, upto: i64) {
        (self.place, self.upto, self.caught_up) = (place, upto, place == upto);
    }

    /// The cursor behind what was told.
    pub fn place(&self) -> i64 {
        self.place
    }

    /// Ends it: what it was to tell cannot be told now.
    pub fn end(&self, end: End) {
        self.seat.end(end);
    }

    /// How many things wait at its seat.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.seat.waiting()
    }

    /// The next step, as soon as there is one. May be dropped while it waits: nothing is lost. Who
    /// takes too long over a step to ask for the next one has stopped reading; then that is the
    /// end.
    pub async fn next(&mut self) -> Step {
        self.seat.handed(None);
        let step = self.step().await;
        self.seat.handed(Some(Instant::now()));
        step
    }

    async fn step(&mut self) -> Step {
        loop {
            if let Some(end) = self.seat.ended() {
                return Step::End(end);
            }
            // Now and then unasked, whether or not there is something to tell: nobody tells that a
            // session's time is over.
            let (looks, now) = (self.seat.looks(), Instant::now());
            if looks != self.looked || now >= self.look_at {
                if let Err(end) = self.look().await {
                    self.seat.end(end);
                    continue;
                }
                (self.looked, self.look_at) = (looks, now + self.hub.policy.look);
            }
            if let Some(thing) = self.page.pop_front() {
                self.place = thing.seq().unwrap_or(self.place);
                if !self.seat.topic.wants(&thing) {
                    continue;
                }
                return Step::Tell(thing);
            }
            if !self.caught_up {
                match self.read().await {
                    Ok(page) => {
                        self.caught_up = page.len() < PAGE;
                        self.page = page;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a stream cannot be read on");
                        self.seat.end(End::Unavailable);
                    }
                }
                continue;
            }
            self.place = self.place.max(self.upto);
            if let Some(thing) = self.seat.pop() {
                // What was told from the store already is handed over as well.
                if thing.seq().is_some_and(|seq| seq <= self.place) {
                    continue;
                }
                self.place = thing.seq().unwrap_or(self.place);
                return Step::Tell(thing);
            }
            tokio::select! {
                () = self.seat.bell.notified() => {}
                () = tokio::time::sleep_until(self.beat_at) => return self.beat(),
            }
        }
    }

    async fn read(&self) -> Result<VecDeque<Thing>> {
        let Self { hub, seat, .. } = self;
        hub.page(seat.user, seat.topic.source(), (self.place, self.upto), PAGE).await
    }

    fn beat(&mut self) -> Step {
        self.beat_at = Instant::now() + self.hub.policy.heartbeat;
        Step::Beat
    }

    /// Whether the session still lives, as the store has it: this process may hear that it has
    /// changed before the one does that remembers it.
    async fn look(&self) -> Result<Arc<Principal>, End> {
        let found = self.hub.users.session(self.seat.user, self.seat.session).await;
        found.map_err(|error| match error.kind() {
            Kind::Unauthenticated | Kind::Forbidden | Kind::NotFound => End::SessionEnded,
            _ => {
                tracing::warn!(%error, "the session of a stream cannot be looked at");
                End::Unavailable
            }
        })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let why = self.seat.ended().map_or("client", End::as_str);
        metrics::counter!("streams_ended_total", "why" => why).increment(1);
        self.hub.leave(&self.seat);
    }
}
