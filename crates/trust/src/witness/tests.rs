//! The witness over HTTP, as logs see it.

use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use http::{HeaderMap, Method};
use kernel::World;
use platform::outbound::{Answer, Peer};
use platform::testing::{Serving, TestDb};
use verify::key::multikey::PublicKey;
use verify::log::checkpoint::Checkpoint;
use verify::log::merkle::{self, Edge, Hash, HashReader, Node};
use verify::log::note::{Note, VerifierKey};
use verify::log::witness::AddCheckpoint;

use super::{Witness, monitoring_path};

const ORIGIN: &str = "log.example/audit/2026";

pub(crate) struct Served {
    pub(crate) witness: Witness,
    pub(crate) url: String,
    pub(crate) serving: Serving,
}

/// A witness of these logs, served on this machine.
pub(crate) async fn serve(folder: &std::path::Path, logs: &[String], world: World) -> Served {
    let witness = Witness::open(folder, "witness.example", logs, world).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = witness.router();
    let serving = Serving::start(listener, router);
    Served { witness, url, serving }
}

impl Served {
    async fn post(&self, body: &str) -> (u16, String, String) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let peer = Peer::new(&self.url, Duration::from_secs(5), 1 << 20).unwrap();
        let answer = peer.exchange(Method::POST, "/add-checkpoint", HeaderMap::new(), body).await;
        let Answer { status, headers, body } = answer.unwrap();
        let kind = headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
        (status.as_u16(), kind.to_owned(), String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let peer = Peer::new(&self.url, Duration::from_secs(5), 1 << 20).unwrap();
        let answer = peer.send(Method::GET, path, HeaderMap::new()).await.unwrap();
        (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
    }
}

/// A log whose leaves are numbers; `salt` gives it another past.
struct Log {
    edge: Edge,
    nodes: Vec<(Node, Hash)>,
}

impl HashReader for Log {
    fn hash(&self, node: Node) -> Option<Hash> {
        self.nodes.iter().find(|(known, _)| *known == node).map(|(_, hash)| *hash)
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[4; 32])
}

fn vkey(origin: &str) -> String {
    VerifierKey::new(origin, PublicKey::of(&key())).unwrap().to_string()
}

fn add(origin: &str, from: u64, to: u64, salt: u8) -> String {
    let mut log = Log { edge: Edge::empty(), nodes: Vec::new() };
    for leaf in 0..to {
        log.nodes.extend(log.edge.append(merkle::leaf_hash(&[leaf as u8, salt])));
    }
    let proof = match from {
        0 => Vec::new(),
        from => merkle::consistency_proof(&log, from, to).unwrap_or_default(),
    };
    let head = Checkpoint { origin: origin.to_owned(), size: to, root: log.edge.root() };
    let checkpoint = head.sign(&key()).unwrap();
    AddCheckpoint { old_size: from, proof, checkpoint }.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_signs_what_grows_and_refuses_the_rest_as_the_specification_says() {
    let t = TestDb::sqlite(&[]).await;
    let served = serve(&t.directory().join("w"), &[vkey(ORIGIN)], t.db.world().clone()).await;
    let own = VerifierKey::parse(&served.witness.vkey().unwrap()).unwrap();

    let first = add(ORIGIN, 0, 3, 0);
    let (status, _, line) = served.post(&first).await;
    assert_eq!(status, 200, "{line}");
    let checkpoint = first.split_once("\n\n").unwrap().1;
    let signed = Note::parse(&format!("{checkpoint}{line}")).unwrap();
    let now = t.db.world().now().seconds().unsigned_abs();
    assert_eq!(signed.cosigned_at(&own), Ok(Some(now)));
    assert_eq!(served.get(&monitoring_path(ORIGIN)).await, (200, signed.to_string()));
    assert_eq!(served.get("/").await.1, format!("{own}\n"));

    // From elsewhere than where the witness stands: it says where that is.
    let size = |size: &str| (409, "text/x.tlog.size".to_owned(), format!("{size}\n"));
    assert_eq!(served.post(&add(ORIGIN, 0, 5, 0)).await, size("3"));
    assert_eq!(served.post(&add(ORIGIN, 2, 5, 0)).await, size("3"));
    assert_eq!(served.post(&add(ORIGIN, 0, 2, 0)).await, size("3"), "set back");
    assert_eq!(served.post(&add(ORIGIN, 3, 3, 1)).await, size("3"), "another of this size");
    assert_eq!(served.post(&add(ORIGIN, 3, 5, 1)).await.0, 422, "another past");
    let unproved = add(ORIGIN, 3, 5, 0);
    let (head, checkpoint) = unproved.split_once("\n\n").unwrap();
    let cut = head.rsplit_once('\n').unwrap().0;
    assert_eq!(served.post(&format!("{cut}\n\n{checkpoint}")).await.0, 422);
    assert_eq!(served.post(&add("other.example/audit", 0, 1, 0)).await.0, 404);
    let unsigned = add(ORIGIN, 3, 5, 0).replace("\n5\n", "\n6\n");
    assert_eq!(served.post(&unsigned).await.0, 403);
    for body in ["", "old 3\n", "old 4\n\nx", &add(ORIGIN, 3, 5, 0).replace("old 3", "old 03")] {
        assert_eq!(served.post(body).await.0, 400, "{body}");
    }
    assert_eq!(served.post(&add(ORIGIN, 0, 3, 0).replace("old 0", "old 4")).await.0, 400);
    assert_eq!(served.post(&"x".repeat(70_000)).await.0, 413);
    assert_eq!(served.get("/checkpoint/..%2Fwitness.key").await.0, 404);

    // None of that has moved it, and neither does a restart.
    assert_eq!(served.post(&add(ORIGIN, 3, 3, 0)).await.0, 200, "the same once more");
    let moved = t.directory().join("moved");
    std::fs::create_dir(&moved).unwrap();
    for file in std::fs::read_dir(t.directory().join("w")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), moved.join(file.file_name())).unwrap();
    }
    let served = serve(&moved, &[vkey(ORIGIN)], t.db.world().clone()).await;
    assert_eq!(VerifierKey::parse(&served.witness.vkey().unwrap()), Ok(own));
    assert_eq!(served.post(&add(ORIGIN, 0, 5, 0)).await, size("3"));
    assert_eq!(served.post(&add(ORIGIN, 3, 5, 0)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_into_the_next_year_and_no_other_is() {
    let t = TestDb::sqlite(&[]).await;
    let served = serve(&t.directory().join("w"), &[vkey(ORIGIN)], t.db.world().clone()).await;
    assert_eq!(served.post(&add("log.example/audit/2027", 0, 1, 0)).await.0, 200);
    assert_eq!(served.post(&add("log.example/audit/2026", 0, 1, 0)).await.0, 200);
    assert_eq!(served.post(&add("log.example/other/2027", 0, 1, 0)).await.0, 404);
    assert_eq!(served.post(&add("log.example/audit/2027/x", 0, 1, 0)).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_requests_at_once_each_continues_what_was_signed_before_it() {
    let t = TestDb::sqlite(&[]).await;
    let served = serve(&t.directory().join("w"), &[vkey(ORIGIN)], t.db.world().clone()).await;
    let bodies: Vec<String> = (1..20).map(|to| add(ORIGIN, 0, to, 0)).collect();
    let answers = futures_util::future::join_all(bodies.iter().map(|body| served.post(body))).await;
    let signed = answers.iter().filter(|(status, ..)| *status == 200).count();
    assert_eq!(signed, 1, "{answers:?}");
    assert!(answers.iter().all(|(status, ..)| [200, 409].contains(status)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_has_its_folder_for_itself_and_asks_for_logs_keys() {
    let t = TestDb::sqlite(&[]).await;
    let (folder, world) = (t.directory().join("w"), t.db.world().clone());
    let open = |name: &str, logs: &[String]| {
        let opened = Witness::open(&folder, name, logs, world.clone());
        opened.map_or_else(|error| error.code().to_owned(), |_| "opened".to_owned())
    };
    let held = Witness::open(&folder, "a", &[], world.clone()).unwrap();
    assert_eq!(open("a", &[]), "data_dir_in_use");
    let vkey = held.vkey().unwrap();
    drop(held);
    assert_eq!(open("a b", &[]), "invalid_configuration");
    assert_eq!(open("a", &[vkey]), "invalid_configuration");
    assert_eq!(open("a", &["x".into()]), "invalid_configuration");
    assert_eq!(open("a", &[]), "opened");
}
