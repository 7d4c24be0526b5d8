//! Who hashes next.
//!
//! A few hashes run at once. Whoever comes while all of them are taken waits in the line of their
//! own address, and turns go round from address to address: one that sends a thousand logins waits
//! for itself, and somebody else waits for one of its logins at most. When there is no room left
//! to wait, the address with the longest line gives up a place. Guesses at one account from many
//! addresses are bounded before they come here, by the limits of the login.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kernel::{Error, Result};
use metrics::Gauge;
use parking_lot::Mutex;
use platform::limits::Subject;
use tokio::sync::oneshot;

/// Whose line it is: a network, or everybody who has none (jobs and commands).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Client(Option<IpAddr>);

impl Client {
    /// An IPv6 customer holds at least a /64: that is one client, as for the limits.
    pub(super) fn at(ip: Option<IpAddr>) -> Self {
        Self(ip.map(|ip| match Subject::address(ip) {
            Subject::Address(network) => network,
            _ => ip,
        }))
    }
}

/// The lines of all clients.
pub(super) struct Line {
    state: Mutex<State>,
    waiting_max: usize,
    wait_max: Duration,
    hashing: Gauge,
    standing: Gauge,
}

/// While a turn is free, nobody waits.
struct State {
    free: usize,
    waiting: usize,
    places: HashMap<Client, VecDeque<(u64, oneshot::Sender<Turn>)>>,
    /// Everybody who has a line, in the order in which they are served.
    round: VecDeque<Client>,
    next_place: u64,
}

/// The right to run one hash; given on when dropped.
pub(super) struct Turn(Option<Arc<Line>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(line) = self.0.take() {
            line.next();
        }
    }
}

impl Line {
    pub(super) fn new(at_once: usize, waiting_max: usize, wait_max: Duration) -> Arc<Self> {
        let state = State {
            free: at_once,
            waiting: 0,
            places: HashMap::new(),
            round: VecDeque::new(),
            next_place: 0,
        };
        let hashing = metrics::gauge!("password_hashes_under_way");
        let standing = metrics::gauge!("password_hashes_waiting");
        Arc::new(Self { state: Mutex::new(state), waiting_max, wait_max, hashing, standing })
    }

    /// Waits for a turn, but not in too long a line and not for too long.
    ///
    /// # Errors
    /// `Unavailable` `busy`.
    pub(super) async fn turn(self: &Arc<Self>, client: Client) -> Result<Turn> {
        let (place, turn) = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free -= 1;
                self.hashing.increment(1);
                return Ok(Turn(Some(Arc::clone(self))));
            }
            if state.waiting >= self.waiting_max && !state.make_room(client) {
                return Err(busy());
            }
            let (sender, turn) = oneshot::channel();
            let id = state.enter(client, sender);
            self.standing.increment(1);
            (Place { line: self, client, id }, turn)
        };
        let turn = tokio::time::timeout(self.wait_max, turn).await;
        drop(place);
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(busy()),
        }
    }

    /// Gives a turn that has ended to whoever is next.
    fn next(self: &Arc<Self>) {
        let mut state = self.state.lock();
        while let Some(sender) = state.leave() {
            match sender.send(Turn(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // Nobody waits there any more. The turn is still ours to give.
                Err(mut turn) => turn.0 = None,
            }
        }
        state.free += 1;
        self.hashing.decrement(1);
    }
}

impl State {
    fn enter(&mut self, client: Client, sender: oneshot::Sender<Turn>) -> u64 {
        let id = self.next_place;
        self.next_place += 1;
        let line = self.places.entry(client).or_default();
        if line.is_empty() {
            self.round.push_back(client);
        }
        line.push_back((id, sender));
        self.waiting += 1;
        id
    }

    /// The first in the line of the client who is next.
    fn leave(&mut self) -> Option<oneshot::Sender<Turn>> {
        let client = self.round.pop_front()?;
        let line = self.places.get_mut(&client)?;
        let (_, sender) = line.pop_front()?;
        self.waiting -= 1;
        if line.is_empty() {
            self.places.remove(&client);
        } else {
            self.round.push_back(client);
        }
        Some(sender)
    }

    /// Takes the last place of the longest line away, unless the client's own would be as long.
    fn make_room(&mut self, client: Client) -> bool {
        let own = self.places.get(&client).map_or(0, VecDeque::len);
        let longest = self.places.iter_mut().max_by_key(|(_, line)| line.len());
        match longest {
            // Two places at least, so that a line never ends here.
            Some((_, line)) if line.len() > own + 1 => {
                line.pop_back();
                self.waiting -= 1;
                true
            }
            _ => false,
        }
    }

    fn give_up(&mut self, client: Client, id: u64) {
        let Some(line) = self.places.get_mut(&client) else { return };
        let Some(at) = line.iter().position(|(place, _)| *place == id) else { return };
        line.remove(at);
        self.waiting -= 1;
        if line.is_empty() {
            self.places.remove(&client);
            self.round.retain(|other| *other != client);
        }
    }
}

/// A place in a line, given up when dropped.
struct Place<'a> {
    line: &'a Line,
    client: Client,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.line.standing.decrement(1);
        self.line.state.lock().give_up(self.client, self.id);
    }
}

fn busy() -> Error {
    metrics::counter!("password_hashes_refused_total").increment(1);
    Error::unavailable("busy", "Too many people are signing in at this moment. Try again.")
        .retry_after(2)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Turn>> + 'a>>;

    fn client(number: u8) -> Client {
        Client::at(Some(IpAddr::from([192, 0, 2, number])))
    }

    /// Looks once whether it is somebody's turn.
    fn look(waiting: &mut Waiting<'_>) -> Option<Result<Turn>> {
        match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    fn wait(line: &Arc<Line>, number: u8) -> Waiting<'_> {
        let mut waiting: Waiting<'_> = Box::pin(line.turn(client(number)));
        assert!(look(&mut waiting).is_none());
        waiting
    }

    fn line(waiting_max: usize) -> Arc<Line> {
        Line::new(1, waiting_max, Duration::from_secs(3600))
    }

    /// Turns that are free, and how many wait.
    fn standing(line: &Line) -> (usize, usize) {
        let state = line.state.lock();
        (state.free, state.waiting)
    }

    #[tokio::test]
    async fn turns_go_round_from_client_to_client() {
        let line = line(100);
        let first = line.turn(client(1)).await.unwrap();
        let mut flood: Vec<_> = (0..50).map(|_| wait(&line, 1)).collect();
        let mut other = wait(&line, 2);
        drop(first);
        let turn = look(&mut flood[0]).unwrap().unwrap();
        assert!(look(&mut other).is_none());
        drop(turn);
        drop(look(&mut other).unwrap().unwrap());
        for waiting in &mut flood[1..] {
            drop(look(waiting).unwrap().unwrap());
        }
        assert_eq!(standing(&line), (1, 0));
    }

    #[tokio::test]
    async fn the_longest_line_makes_room_for_somebody_else() {
        let line = line(4);
        let first = line.turn(client(1)).await.unwrap();
        let mut flood: Vec<_> = (0..4).map(|_| wait(&line, 1)).collect();
        assert!(line.turn(client(1)).await.is_err(), "its own line is full");
        let mut others: Vec<_> = (2..5).map(|number| wait(&line, number)).collect();
        for evicted in &mut flood[1..] {
            assert!(look(evicted).unwrap().is_err());
        }
        assert!(line.turn(client(5)).await.is_err(), "nobody has more than anybody else");
        drop(first);
        drop(look(&mut flood[0]).unwrap().unwrap());
        for waiting in &mut others {
            drop(look(waiting).unwrap().unwrap());
        }
        let state = line.state.lock();
        assert!(state.places.is_empty() && state.round.is_empty());
    }

    #[tokio::test]
    async fn whoever_leaves_holds_nobody_up() {
        let line = line(10);
        let first = line.turn(client(1)).await.unwrap();
        let gone = wait(&line, 2);
        let mut there = wait(&line, 3);
        drop(gone);
        drop(first);
        // One that leaves with its turn already given.
        let late = wait(&line, 4);
        drop(look(&mut there).unwrap().unwrap());
        drop(late);
        let state = line.state.lock();
        assert_eq!((state.free, state.waiting, state.round.len()), (1, 0, 0));
    }

    #[test]
    fn a_network_is_one_client() {
        let at = |ip: &str| Client::at(Some(ip.parse().unwrap()));
        assert_eq!(at("2001:db8::1"), at("2001:db8::2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_ne!(at("192.0.2.1"), Client::default());
    }
}
