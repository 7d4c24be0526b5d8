//! Two processes of one platform, over loopback: what crosses whole, and what a peer that fails
//! looks like to whoever asked it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kernel::caller::{Acting, Actor, Idempotency, Origin, RequestId};
use kernel::id::kinds::{self, User};
use kernel::{
    Asset, Caller, Cursor, Error, Id, Kind, Level, Page, PageRequest, Permission, Permissions,
    Principal, Result, Role, Secret, Timestamp,
};
use platform::breaker::{Breaker, Policy, State};
use platform::db::Tx;
use platform::fleet::{Board, Follower, Notice, Shards};
use platform::testing::TestDb;
use rpc::orders::{self, Engagement, Filter, NewOrder, Order, Orders, Price, Spelling};
use rpc::peer::{Peer, PeerOptions, TlsFiles};
use rpc::routes::{Answer, Call, Routes};
use rpc::server::{Answered, Door, Gate, Inner, Services};
use rpc::users::{Profile, Reissued, Status, Users};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

const SECRET: &str = "a secret that all of them know";
/// How long a question may take in these tests.
const PATIENCE: Duration = Duration::from_millis(400);

struct Open;

impl Gate for Open {
    fn admit(&self, _: Door, _: Option<std::net::IpAddr>) -> BoxFuture<'_, Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn answered(&self, _: Answered<'_>) {}
}

fn somebody() -> Principal {
    Principal {
        user: Id::from_uuid(Uuid::from_u128(7)),
        role: Role::Verifier,
        session: Id::from_uuid(Uuid::from_u128(8)),
        email_verified: true,
        approved: false,
        level: Level::Two,
        proven_at: Timestamp::from_micros(1_767_225_600_123_456),
        impersonator: Some(Id::from_uuid(Uuid::from_u128(9))),
        acting: Some(Acting {
            by: Actor::Key(Id::from_uuid(Uuid::from_u128(10))),
            may: Permissions::of(&[Permission::VerificationsRead]),
        }),
    }
}

fn profile(id: Id<User>) -> Profile {
    Profile {
        id,
        name: "Anne Cooper".into(),
        email: "anne@example.com".into(),
        role: Role::Enterprise,
        status: Status::Suspended,
        approved: true,
    }
}

/// A user service that says what the text tells it to.
struct Parrot {
    /// Told when a call that never ends was given up.
    given_up: mpsc::UnboundedSender<()>,
}

struct Tells(mpsc::UnboundedSender<()>);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

fn refusal(kind: Kind) -> Error {
    Error::new(kind, "because", "That is how it is.")
        .with_field("/a.b/0", "odd", "a dot")
        .with_member("methods", vec!["totp"])
        .retry_after(9)
}

const KINDS: [Kind; 9] = [
    Kind::Invalid,
    Kind::Unauthenticated,
    Kind::Forbidden,
    Kind::NotFound,
    Kind::Conflict,
    Kind::Gone,
    Kind::Limited,
    Kind::Unavailable,
    Kind::Internal,
];

impl Users for Parrot {
    fn cached(&self, _: &str, _: Timestamp) -> Option<Arc<Principal>> {
        None
    }

    fn believable(&self, presented: &str) -> Option<(Arc<Principal>, Duration)> {
        let is_known = presented == "remembered";
        is_known.then(|| (Arc::new(somebody()), Duration::from_millis(400)))
    }

    fn authenticate<'a>(&'a self, presented: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
        async move {
            match presented {
                "somebody" | "remembered" => Ok(Arc::new(somebody())),
                "forever" => {
                    let _tells = Tells(self.given_up.clone());
                    std::future::pending().await
                }
                "panic" => panic!("as told"),
                // Of somebody whom it has asked itself.
                "service_unavailable" | "service_timeout" => {
                    let (code, message) = (presented.to_owned(), "Kratos cannot be asked now.");
                    Err(Error::new(Kind::Unavailable, code, message).retry_after(7))
                }
                number => Err(refusal(KINDS[number.parse::<usize>().unwrap()])),
            }
        }
        .boxed()
    }

    fn reissue<'a>(&'a self, expired: &'a str, cookie: &'a str) -> BoxFuture<'a, Result<Reissued>> {
        let token = format!("{expired}+{cookie}").into();
        async { Ok(Reissued { principal: Arc::new(somebody()), token }) }.boxed()
    }

    fn profile(&self, user: Id<User>) -> BoxFuture<'_, Result<Profile>> {
        async move { Ok(profile(user)) }.boxed()
    }

    fn ways_to_prove(&self, _: Id<User>) -> BoxFuture<'_, Result<Vec<String>>> {
        async { Ok(vec!["password".into(), "totp".into()]) }.boxed()
    }

    fn order_role<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, Result<String>> {
        async move { Ok(format!("the {}", principal.role)) }.boxed()
    }

    fn profiles<'a>(&'a self, users: &'a [Id<User>]) -> BoxFuture<'a, Result<Vec<Profile>>> {
        // Those that are not there are left out.
        let known = users.iter().filter(|user| user.uuid().as_u128() != 0);
        let profiles = known.map(|user| profile(*user)).collect();
        async { Ok(profiles) }.boxed()
    }
}

/// An order service that makes what it was asked for out of the question.
struct Clerk;

fn order(owner: Id<User>, kind: Engagement) -> Order {
    let new =
        NewOrder::parse(Spelling::Camel, "https://a.example/", "https://b.example/x", "likes", 3);
    let NewOrder { target, service, quantity, .. } = new.unwrap();
    Order {
        id: Id::from_uuid(Uuid::from_u128(70)),
        owner,
        role: "guest".into(),
        status: orders::Status::Cancelled,
        target,
        service,
        kind,
        quantity,
        price: Some(Price { amount: 75, currency: Asset::ALL[0] }),
        created_at: Timestamp::from_micros(1_767_225_600_123_456),
        updated_at: Timestamp::from_micros(1_767_225_600_123_457),
    }
}

impl Orders for Clerk {
    fn create<'a>(&'a self, caller: &'a Caller, new: &'a NewOrder) -> BoxFuture<'a, Result<Order>> {
        async move {
            let idempotency = caller.idempotency.as_ref().unwrap();
            assert_eq!((idempotency.scope, idempotency.fingerprint), ([3; 32], [4; 32]));
            idempotency.mark_replayed();
            let NewOrder { target, service, kind, quantity } = new.clone();
            let made = order(caller.user()?, kind);
            Ok(Order { target, service, quantity, price: None, ..made })
        }
        .boxed()
    }

    fn find<'a>(
        &'a self,
        caller: &'a Caller,
        id: Id<kinds::Order>,
    ) -> BoxFuture<'a, Result<Order>> {
        async move {
            if id.uuid().is_nil() {
                return Err(refusal(Kind::NotFound));
            }
            Ok(Order { id, ..order(caller.user()?, Engagement::Views) })
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        _: &'a Caller,
        filter: &'a Filter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<Order>>> {
        async move {
            let owner = filter.owner.unwrap_or_else(|| Id::from_uuid(Uuid::nil()));
            let items = vec![order(owner, filter.kind.unwrap_or(Engagement::Views))];
            let next = page.after.map(|after| Cursor { key: after.key + page.limit, ..after });
            Ok(Page { items, next })
        }
        .boxed()
    }

    fn set_status<'a>(
        &'a self,
        caller: &'a Caller,
        id: Id<kinds::Order>,
        status: orders::Status,
    ) -> BoxFuture<'a, Result<Order>> {
        async move { Ok(Order { id, status, ..order(caller.user()?, Engagement::Likes) }) }.boxed()
    }

    fn delete<'a>(&'a self, _: &'a Caller, _: Id<kinds::Order>) -> BoxFuture<'a, Result<()>> {
        async { Err(refusal(Kind::Conflict)) }.boxed()
    }
}

/// Answers with what it was asked.
struct Echo;

/// The shards that were forgotten.
#[derive(Default)]
struct Ears(std::sync::Mutex<Vec<usize>>);

impl Follower for Ears {
    fn forget(&self, notice: &Notice) {
        self.forget_shard(Notice::shard_of(notice.about));
    }

    fn forget_shard(&self, shard: usize) {
        self.0.lock().unwrap().push(shard);
    }
}

/// Tells something of the seventh shard.
async fn tell() {
    let test = TestDb::sqlite(&[platform::MIGRATIONS]).await;
    let tell = |tx: Tx| async move {
        tx.tell(Notice::all_of(Uuid::from_u128(7)));
        Ok(())
    };
    test.db.run("tell", tell).await.unwrap();
    test.finish().await;
}

impl Routes for Echo {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Answer>> {
        async move {
            let mut headers = call.headers.clone();
            let Caller { principal, origin, idempotency, .. } = &call.caller;
            let said = format!(
                "{principal:?} {origin:?} {:?}",
                call.new_token.map(|t| t.expose().clone())
            );
            headers.insert("x-said", HeaderValue::from_str(&said).unwrap());
            headers.append("set-cookie", HeaderValue::from_static("a=1"));
            headers.append("set-cookie", HeaderValue::from_static("b=2"));
            if let Some(idempotency) = idempotency {
                assert_eq!((idempotency.scope, idempotency.fingerprint), ([3; 32], [4; 32]));
                idempotency.mark_replayed();
            }
            if call.target == "/tells" {
                tell().await;
            }
            if call.target == "/refused" {
                return Err(refusal(Kind::Forbidden));
            }
            let body = if call.target.starts_with("/pieces") {
                let piece = || Ok::<_, Error>(Frame::data(Bytes::from(vec![b'x'; 100_000])));
                let broken =
                    call.target.ends_with("broken").then(|| Err(refusal(Kind::Unavailable)));
                let pieces = (0..30).map(move |_| piece()).chain(broken);
                StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync()
            } else {
                Full::new(call.body).map_err(|never| match never {}).boxed_unsync()
            };
            Ok(Answer { status: StatusCode::IM_A_TEAPOT, headers, body })
        }
        .boxed()
    }
}

/// A user service on loopback, until it is stopped.
struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<()>>,
    given_up: mpsc::UnboundedReceiver<()>,
}

impl Serving {
    async fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), None).await
    }

    async fn at(address: SocketAddr, tls: Option<TlsFiles>) -> Self {
        Self::within(Duration::from_secs(30), address, tls).await
    }

    async fn within(call_max: Duration, address: SocketAddr, tls: Option<TlsFiles>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (given_up, heard) = mpsc::unbounded_channel();
        let inner = Inner {
            secret: SECRET.to_owned().into(),
            users: Some((Arc::new(Parrot { given_up }), Arc::new(Echo))),
            orders: Some(Arc::new(Clerk)),
        };
        let gate = Arc::new(Open);
        let services = Services { gate, older: None, inner: Some(inner), tls, call_max };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(rpc::server::serve(listener, services, async {
            let _ = stopped.await;
        }));
        Self { address, stop, task, given_up: heard }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn stop(self) -> SocketAddr {
        self.stop.send(()).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.task).await;
        ended.expect("connections without calls do not hold it up").unwrap().unwrap();
        self.address
    }
}

fn options(url: String) -> PeerOptions {
    PeerOptions {
        name: "user service",
        url,
        secret: SECRET.to_owned().into(),
        tls: None,
        question_max: PATIENCE,
        request_max: PATIENCE,
        world: platform::testing::world().0,
        breaker: Breaker::new("users", Policy::default()),
    }
}

/// What a process of a fleet has heard.
fn board() -> Arc<Board> {
    Arc::new(Board::new(true))
}

fn users_at(url: String) -> rpc::users::Remote {
    rpc::users::Remote::new(Peer::new(options(url)).unwrap(), &board())
}

fn call(method: Method, target: &str, body: &'static [u8]) -> Call {
    Call {
        method,
        target: target.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(body),
        caller: Caller::nobody(),
        new_token: None,
    }
}

/// Asks in vain, in time, and is told to come back.
async fn fails(users: &impl Users, code: &str) {
    let begun = Instant::now();
    let error = users.authenticate("somebody").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Unavailable, code), "{error}");
    assert_eq!(error.retry_after_seconds(), Some(2));
    assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_the_user_service_says_crosses_whole() {
    let served = Serving::start().await;
    let users = users_at(served.url());
    assert_eq!(*users.authenticate("somebody").await.unwrap(), somebody());
    let issued = users.reissue("old", "cookie").await.unwrap();
    assert_eq!((&*issued.principal, issued.token.expose().as_str()), (&somebody(), "old+cookie"));
    let ids = [Id::from_uuid(Uuid::from_u128(5)), Id::from_uuid(Uuid::nil())];
    assert_eq!(users.profiles(&ids).await.unwrap(), [profile(ids[0])]);
    assert_eq!(users.profile(ids[0]).await.unwrap(), profile(ids[0]));
    assert_eq!(users.profile(ids[1]).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(users.ways_to_prove(ids[0]).await.unwrap(), ["password", "totp"]);
    assert_eq!(users.order_role(&somebody()).await.unwrap(), "the verifier");
    assert!(!users.is_prompt(), "another process may know better");
}

#[tokio::test]
async fn who_presents_a_token_is_remembered_for_as_long_as_the_user_service_says() {
    let served = Serving::start().await;
    let ((world, clock), heard) = (platform::testing::world(), board());
    let peer = Peer::new(PeerOptions { world: world.clone(), ..options(served.url()) }).unwrap();
    let users = rpc::users::Remote::new(peer, &heard);
    for presented in ["somebody", "remembered"] {
        assert!(users.cached(presented, world.now()).is_none());
        users.authenticate(presented).await.unwrap();
    }
    assert!(users.cached("somebody", world.now()).is_none(), "nothing was said of how long");
    assert_eq!(*users.cached("remembered", world.now()).unwrap(), somebody());
    clock.advance(Duration::from_millis(400));
    assert!(users.cached("remembered", world.now()).is_none());
    users.authenticate("remembered").await.unwrap();
    let told = |user: u128| {
        heard.forget_shards(Shards::of(&Notice::all_of(Uuid::from_u128(user))));
        users.cached("remembered", world.now())
    };
    let user = somebody().user.uuid().as_u128();
    assert!(told(user + 1).is_some(), "somebody else");
    assert!(told(user).is_none());
}

#[tokio::test]
async fn what_a_handler_tells_elsewhere_is_forgotten_here_before_its_answer_is_passed_on() {
    let (served, heard) = (Serving::start().await, board());
    let ears = Arc::new(Ears::default());
    heard.follow(&ears);
    let peer = Peer::new(options(served.url())).unwrap();
    let routes = rpc::routes::Remote::new(peer, Arc::clone(&heard));
    routes.call(call(Method::POST, "/v1/things", b"")).await.unwrap();
    assert!(ears.0.lock().unwrap().is_empty());
    routes.call(call(Method::POST, "/tells", b"")).await.unwrap();
    assert_eq!(*ears.0.lock().unwrap(), [7]);
}

#[tokio::test]
async fn what_the_order_service_says_crosses_whole() {
    let served = Serving::start().await;
    let orders = rpc::orders::Remote::new(Peer::new(options(served.url())).unwrap());
    let (id, me) = (Id::from_uuid(Uuid::from_u128(71)), somebody().user);
    let once = Arc::new(Idempotency::new([3; 32], [4; 32]));
    let caller = Caller {
        principal: Some(Arc::new(somebody())),
        idempotency: Some(Arc::clone(&once)),
        ..Caller::nobody()
    };
    let (target, service) = ("https://c.example/?x=1", "http://d.example/");
    let new = NewOrder::parse(Spelling::Snake, target, service, "comments", i32::MAX.into());
    let new = new.unwrap();
    let made = orders.create(&caller, &new).await.unwrap();
    assert!(once.is_replayed(), "the other end has said so");
    let kept = Order {
        target: new.target.clone(),
        service: new.service.clone(),
        quantity: i32::MAX,
        price: None,
        ..order(me, Engagement::Comments)
    };
    assert_eq!(made, kept);
    let found = orders.find(&caller, id).await.unwrap();
    assert_eq!(found, Order { id, ..order(me, Engagement::Views) });
    let done = orders.set_status(&caller, id, orders::Status::Done).await.unwrap();
    let expected = Order { id, status: orders::Status::Done, ..order(me, Engagement::Likes) };
    assert_eq!(done, expected);
    let after = Cursor { key: -7, id: Uuid::from_u128(9) };
    let page = PageRequest { limit: 5, after: Some(after), offset: 0 };
    let filter = Filter { owner: Some(me), kind: Some(Engagement::Likes), status: None };
    let Page { items, next } = orders.list(&caller, &filter, &page).await.unwrap();
    assert_eq!(items, [order(me, Engagement::Likes)]);
    assert_eq!(next, Some(Cursor { key: -2, ..after }));
    let page = PageRequest::default();
    assert_eq!(orders.list(&caller, &Filter::default(), &page).await.unwrap().next, None);
    let missing = orders.find(&caller, Id::from_uuid(Uuid::nil())).await.unwrap_err();
    assert_eq!((missing.kind(), missing.fields().len()), (Kind::NotFound, 1));
    assert_eq!(orders.delete(&caller, id).await.unwrap_err().kind(), Kind::Conflict);
}

#[tokio::test]
async fn an_error_is_the_same_error_on_the_other_side() {
    let served = Serving::start().await;
    let users = users_at(served.url());
    for (index, kind) in KINDS.into_iter().enumerate() {
        let told = refusal(kind);
        let heard = users.authenticate(&index.to_string()).await.unwrap_err();
        assert_eq!((heard.kind(), heard.code()), (kind, told.code()));
        assert_eq!((heard.fields(), heard.members()), (told.fields(), told.members()));
        assert_eq!(heard.retry_after_seconds(), Some(9));
        assert_eq!(heard.message() == told.message(), kind != Kind::Internal, "{heard}");
    }
    let panicked = users.authenticate("panic").await.unwrap_err();
    assert_eq!(panicked.kind(), Kind::Internal);
}

#[tokio::test]
async fn a_request_and_its_answer_cross_whole() {
    let served = Serving::start().await;
    let routes = rpc::routes::Remote::new(Peer::new(options(served.url())).unwrap(), board());
    let idempotency = Arc::new(Idempotency::new([3; 32], [4; 32]));
    let mut asked = call(Method::POST, "/v1/things?x=%20y", b"\x00body\xff");
    asked.headers.insert("cookie", HeaderValue::from_bytes(b"a=\xfc").unwrap());
    asked.headers.insert("connection", HeaderValue::from_static("close"));
    asked.new_token = Some("new".to_owned().into());
    asked.caller = Caller {
        principal: Some(Arc::new(somebody())),
        origin: Origin {
            request_id: RequestId::Ours(Uuid::from_u128(77)),
            ip: Some("2001:db8::1".parse().unwrap()),
            user_agent: Some("curl".into()),
            device: Some("device".into()),
        },
        idempotency: Some(Arc::clone(&idempotency)),
        ..Caller::nobody()
    };
    let Caller { principal, origin, .. } = &asked.caller;
    let expected = format!("{principal:?} {origin:?} Some(\"new\")");
    let answer = routes.call(asked).await.unwrap();
    assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(answer.headers["x-said"], expected);
    assert_eq!(answer.headers["cookie"].as_bytes(), b"a=\xfc");
    assert!(!answer.headers.contains_key("connection"), "it is of the other connection");
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(answer.body.collect().await.unwrap().to_bytes(), &b"\x00body\xff"[..]);
    assert!(idempotency.is_replayed(), "the other side's word on the key");

    let refused = routes.call(call(Method::GET, "/refused", b"")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (Kind::Forbidden, "because"));
}

#[tokio::test]
async fn a_long_answer_comes_in_pieces_and_says_when_it_breaks_off() {
    let served = Serving::start().await;
    let routes = rpc::routes::Remote::new(Peer::new(options(served.url())).unwrap(), board());
    let answer = routes.call(call(Method::GET, "/pieces", b"")).await.unwrap();
    assert_eq!(answer.body.collect().await.unwrap().to_bytes().len(), 3_000_000);
    let answer = routes.call(call(Method::GET, "/pieces/broken", b"")).await.unwrap();
    assert_eq!(answer.body.collect().await.unwrap_err().code(), "because");
}

#[tokio::test]
async fn whoever_does_not_know_the_secret_is_told_nothing_and_signs_nobody_out() {
    let served = Serving::start().await;
    let stranger = PeerOptions { secret: Secret::new("x".into()), ..options(served.url()) };
    let users = rpc::users::Remote::new(Peer::new(stranger.clone()).unwrap(), &board());
    // Not 401: it is our fault, not the fault of whoever shows the token.
    fails(&users, "service_unavailable").await;
    let routes = rpc::routes::Remote::new(Peer::new(stranger).unwrap(), board());
    let refused = routes.call(call(Method::GET, "/", b"")).await.unwrap_err();
    assert_eq!(refused.code(), "service_unavailable");
}

#[tokio::test]
async fn a_question_that_is_given_up_here_is_given_up_there() {
    let mut served = Serving::start().await;
    let users = users_at(served.url());
    fails_with_timeout(&users).await;
    served.given_up.recv().await.expect("the time was over");
    // Given up before its time.
    let asked = users.authenticate("forever");
    tokio::time::timeout(PATIENCE / 4, asked).await.unwrap_err();
    served.given_up.recv().await.expect("nobody waits any more");
}

async fn fails_with_timeout(users: &impl Users) {
    let error = users.authenticate("forever").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "service_timeout"), "{error}");
}

#[tokio::test]
async fn a_peer_that_is_not_there_hangs_or_talks_nonsense_is_unavailable_in_time() {
    // Nobody.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    fails(&users_at(format!("http://{address}")), "service_unavailable").await;

    // Accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let users = users_at(format!("http://{}", silent.local_addr().unwrap()));
    fails(&users, "service_timeout").await;

    // Hangs up, or answers what is no HTTP/2.
    for said in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", &[0xff; 64]] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let talks = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(said).await;
            }
        });
        fails(&users_at(url), "service_unavailable").await;
        talks.abort();
    }
}

#[tokio::test]
async fn a_peer_that_comes_back_is_asked_again() {
    let served = Serving::start().await;
    let users = users_at(served.url());
    users.authenticate("somebody").await.unwrap();
    let address = served.stop().await;
    fails(&users, "service_unavailable").await;
    let _served = Serving::at(address, None).await;
    users.authenticate("somebody").await.unwrap();
}

#[tokio::test]
async fn a_peer_that_fails_again_and_again_is_left_alone_and_no_refusal_counts() {
    let (world, clock) = platform::testing::world();
    let served = Serving::start().await;
    let options = PeerOptions { world: world.clone(), ..options(served.url()) };
    let breaker = options.breaker.clone();
    let users = rpc::users::Remote::new(Peer::new(options).unwrap(), &board());
    for number in 0..1000 {
        let kind = (number % KINDS.len()).to_string();
        let refused = users.authenticate(&kind).await.unwrap_err();
        assert_eq!(refused.code(), "because", "{refused}");
    }
    assert_eq!(breaker.state(world.now()), State::Closed);

    let address = served.stop().await;
    for _ in 0..6 {
        assert_eq!(breaker.state(world.now()), State::Closed);
        fails(&users, "service_unavailable").await;
    }
    // It is back, and nobody asks it before the rest is over.
    let _served = Serving::at(address, None).await;
    let refused = users.authenticate("somebody").await.unwrap_err();
    assert_eq!((refused.code(), refused.retry_after_seconds()), ("circuit_open", Some(300)));
    clock.advance(Duration::from_secs(300));
    for _ in 0..5 {
        assert_eq!(breaker.state(world.now()), State::HalfOpen);
        users.authenticate("somebody").await.unwrap();
    }
    assert_eq!(breaker.state(world.now()), State::Closed);
}

#[tokio::test]
async fn what_a_peer_says_of_a_service_behind_it_does_not_count_against_the_peer() {
    let served = Serving::start().await;
    let options = options(served.url());
    let (breaker, world) = (options.breaker.clone(), options.world.clone());
    let users = rpc::users::Remote::new(Peer::new(options).unwrap(), &board());
    for code in ["service_unavailable", "service_timeout"].repeat(10) {
        let refused = users.authenticate(code).await.unwrap_err();
        assert_eq!((refused.code(), refused.retry_after_seconds()), (code, Some(7)));
    }
    assert_eq!(breaker.state(world.now()), State::Closed);
    users.authenticate("somebody").await.unwrap();
}

#[tokio::test]
async fn a_message_that_cannot_be_read_and_an_unknown_rpc_have_a_status() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Wrong {
        #[prost(int64, tag = "1")]
        number: i64,
    }
    let served = Serving::start().await;
    let endpoint = tonic::transport::Endpoint::from_shared(served.url()).unwrap();
    let mut grpc = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
    for (path, expected) in [
        ("/verza.v1.Users/Authenticate", tonic::Code::Internal),
        ("/verza.v1.Users/Nothing", tonic::Code::Unimplemented),
        ("/verza.v2.Users/Authenticate", tonic::Code::Unimplemented),
    ] {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<Wrong, Wrong>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        let request = tonic::Request::new(Wrong { number: 7 });
        let status = grpc.unary(request, path, codec).await.unwrap_err();
        assert_eq!(status.code(), expected, "{status:?}");
    }
}

/// An authority, and certificates of it for 127.0.0.1.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path: &Path = self.folder.path();
        let path = path.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What one process shows and believes.
    fn files(&self) -> TlsFiles {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        let own_key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let own = own.signed_by(&own_key, &issuer).unwrap();
        TlsFiles {
            certificate: self.write("own.pem", &own.pem()),
            key: self.write("own.key", &own_key.serialize_pem()),
            authority: Some(self.write("authority.pem", &authority.pem())),
        }
    }
}

#[tokio::test]
async fn with_an_authority_both_sides_show_a_certificate_of_it() {
    let authorities = (Authority::new(), Authority::new());
    let (ours, theirs) = (authorities.0.files(), authorities.1.files());
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let served = Serving::at(loopback, Some(ours.clone())).await;
    let url = format!("https://{}", served.address);
    let users = |tls: TlsFiles| {
        let options = PeerOptions { tls: Some(tls), ..options(url.clone()) };
        rpc::users::Remote::new(Peer::new(options).unwrap(), &board())
    };
    assert_eq!(*users(ours.clone()).authenticate("somebody").await.unwrap(), somebody());
    // Somebody else's certificate, somebody else's authority, and no TLS at all.
    let stranger = TlsFiles { authority: ours.authority.clone(), ..theirs.clone() };
    fails(&users(stranger), "service_unavailable").await;
    let misled = TlsFiles { authority: theirs.authority.clone(), ..ours.clone() };
    fails(&users(misled), "service_unavailable").await;
    fails(&users_at(served.url()), "service_unavailable").await;
    let bare = Peer::new(options(url.clone())).unwrap_err();
    assert_eq!(bare.code(), "invalid_configuration");
}

/// What an authority has made, in the place of what was there, as if it were written later: tests
/// are faster than the file system's clock.
fn renew(to: &TlsFiles, from: &TlsFiles) {
    let paths = |files: &TlsFiles| {
        [files.certificate.clone(), files.key.clone(), files.authority.clone().unwrap()]
    };
    static TIMES: AtomicU64 = AtomicU64::new(4_000_000_000);
    let seconds = TIMES.fetch_add(1, Ordering::Relaxed);
    let later = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    for (from, to) in paths(from).iter().zip(paths(to)) {
        std::fs::copy(from, &to).unwrap();
        std::fs::File::options().write(true).open(&to).unwrap().set_modified(later).unwrap();
    }
}

#[tokio::test]
async fn new_certificates_are_taken_up_by_both_sides_while_they_run() {
    let authorities = [(); 4].map(|()| Authority::new());
    let [at_server, at_client, old, new] = authorities.each_ref().map(Authority::files);
    renew(&at_server, &old);
    renew(&at_client, &old);
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let served = Serving::at(loopback, Some(at_server.clone())).await;
    let url = format!("https://{}", served.address);
    let users = |tls: &TlsFiles| {
        let options = PeerOptions { tls: Some(tls.clone()), ..options(url.clone()) };
        rpc::users::Remote::new(Peer::new(options).unwrap(), &board())
    };
    let kept = users(&at_client);
    kept.authenticate("somebody").await.unwrap();

    // The server's own: who comes from now on is shown the new one, and asked for one of it.
    renew(&at_server, &new);
    users(&new).authenticate("somebody").await.unwrap();
    fails(&users(&old), "service_unavailable").await;
    kept.authenticate("somebody").await.expect("a connection that is open goes on");

    // The client's: its next connection is made with the new one.
    let address = served.stop().await;
    let served = Serving::at(address, Some(at_server.clone())).await;
    fails(&kept, "service_unavailable").await;
    renew(&at_client, &new);
    std::fs::write(&at_client.key, "half of a key").unwrap();
    fails(&kept, "service_unavailable").await;
    renew(&at_client, &new);
    kept.authenticate("somebody").await.unwrap();

    // Files that are no good change nothing.
    std::fs::write(&at_server.certificate, "half of a certificate").unwrap();
    users(&new).authenticate("somebody").await.unwrap();
    drop(served);
}

/// Sends a body as it is to an RPC; answers its status.
async fn sent_raw(address: SocketAddr, path: &str, body: &'static [u8]) -> tonic::Code {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let executor = TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {SECRET}"))
        .body(Full::new(Bytes::from_static(body)));
    let (head, body) = sender.send_request(request.unwrap()).await.unwrap().into_parts();
    assert_eq!(head.status, StatusCode::OK);
    let body = body.collect().await.unwrap();
    let status = head.headers.get("grpc-status").cloned();
    let status = status.or_else(|| body.trailers()?.get("grpc-status").cloned());
    tonic::Code::from_bytes(status.expect("a status").as_bytes())
}

#[tokio::test]
async fn a_call_takes_no_longer_than_the_listener_was_told() {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let served = Serving::within(Duration::from_millis(50), loopback, None).await;
    // Nothing is said of how long the caller would wait.
    let asked = b"\0\0\0\0\x09\x0a\x07forever";
    let asked = sent_raw(served.address, "/verza.v1.Users/Authenticate", asked);
    let code = tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it ends");
    assert_eq!(code, tonic::Code::DeadlineExceeded);
}

#[tokio::test]
async fn bytes_that_are_no_message_have_a_status_and_harm_nobody() {
    let served = Serving::start().await;
    // In front of each message: whether it is compressed, and its length in four bytes.
    for (body, expected) in [
        (&b""[..], tonic::Code::Internal),
        (b"\0\0\0\0\x04\xff\xff\xff\xff", tonic::Code::Internal),
        (b"\0\0\0\0\x02\x0a\x7f", tonic::Code::Internal),
        (b"\0\0\0\0\x03\x0a\x01\xff", tonic::Code::Internal),
        (b"\0\0\0\0\x09\x0a\x01a", tonic::Code::Internal),
        (b"\0\0\0", tonic::Code::Internal),
        (b"\x01\0\0\0\x01a", tonic::Code::Internal),
        (b"\x07\0\0\0\0", tonic::Code::Internal),
        (b"\0\xff\xff\xff\xff", tonic::Code::OutOfRange),
        (b"\0\0\x80\0\x01", tonic::Code::OutOfRange),
    ] {
        let code = sent_raw(served.address, "/verza.v1.Users/Authenticate", body).await;
        assert_eq!(code, expected, "{body:?}");
    }
    users_at(served.url()).authenticate("somebody").await.unwrap();
}

/// A service that speaks HTTP/2, and answers every call with this: a head, and a body that ends, or
/// does not.
async fn says(status: u16, headers: &[(&str, &str)], body: &'static [u8], ends: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut head = http::Response::new(()).into_parts().0;
    head.status = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        head.headers.insert(name, value.parse().unwrap());
    }
    let answer = hyper::service::service_fn(move |_| {
        let first =
            futures_util::stream::iter([Ok::<_, Error>(Frame::data(Bytes::from_static(body)))]);
        let rest = futures_util::stream::pending().take(if ends { 0 } else { 1 });
        let answer = http::Response::from_parts(head.clone(), StreamBody::new(first.chain(rest)));
        async { Ok::<_, Error>(answer) }
    });
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), answer.clone()));
        }
    });
    url
}

#[tokio::test]
async fn a_peer_that_breaks_off_or_answers_what_is_no_answer_is_unavailable_in_time() {
    let grpc = ("content-type", "application/grpc");
    for (status, headers, body) in [
        (200, &[("content-type", "text/html")][..], &b"<h1>It works!</h1>"[..]),
        (502, &[("content-type", "text/html")], b"<h1>Bad gateway</h1>"),
        (200, &[grpc], b""),
        (200, &[grpc], b"\0\0\0\0\x04\xff\xff\xff\xff"),
        (200, &[grpc], b"\0\xff\xff\xff\xff"),
        (200, &[grpc, ("grpc-status", "99")], b""),
        (200, &[grpc, ("grpc-status", "0")], b""),
    ] {
        let url = says(status, headers, body, true).await;
        fails(&users_at(url), "service_unavailable").await;
    }
    // Begins to answer, and does not go on.
    for body in [&b""[..], b"\0\0\0\0\x09\x0a"] {
        fails(&users_at(says(200, &[grpc], body, false).await), "service_timeout").await;
    }
    // Resets the connection on what it was asked: what it has not read when it closes is a reset.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = stream.peek(&mut [0]).await;
        }
    });
    fails(&users_at(url), "service_unavailable").await;
}
