//! The executable under load, killed without a word, again and again, and what must still be so
//! when it is back: whatever was acknowledged is there, whatever was not happens once when it is
//! sent again, and no verdict is half done.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use platform::db::{DbError, Read, Row};
use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::sync::Notify;
use verza::wiring;

use crate::dice::Dice;
use crate::house::House;
use crate::town::{Answer, Call, PRICE, Person, Town, pdf, until, verifier_id};

const KILLS: u64 = 20;
const USERS: usize = 3;
const DEPOSIT: i64 = 5_000_000;
/// The load has to reach the moment of the kill within this time.
const BURST_MAX: Duration = Duration::from_secs(30);
/// Tries of a request that is refused for being in another's way.
const TRIES: u32 = 50;

/// Something that a client asks for under a key of its own.
#[derive(Debug, Clone)]
enum Deed {
    Credential { owner: usize, title: String },
    Transfer { from: usize, to: usize, amount: i64 },
    Request { owner: usize, credential: String },
    Accept { job: String },
    Complete { owner: usize, job: String, verdict: &'static str },
}

/// A deed, its key, and what was answered if anything was.
#[derive(Debug, Clone)]
struct Sent {
    key: String,
    deed: Deed,
    reply: Option<Json>,
}

/// What the clients know, and nothing that they only hope for.
#[derive(Default)]
struct Diary {
    sent: Vec<Sent>,
    /// Acknowledged uploads: owner, id, content.
    files: Vec<(usize, String, Vec<u8>)>,
}

/// When the process is to die.
struct Trigger {
    left: AtomicI64,
    /// Whether it is verdicts that count, as they are sent, or any acknowledged write.
    aims_at_verdicts: bool,
    fire: Notify,
}

impl Trigger {
    fn count(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.fire.notify_one();
        }
    }

    fn about_to_send(&self, deed: &Deed) {
        if self.aims_at_verdicts && matches!(deed, Deed::Complete { .. }) {
            self.count();
        }
    }

    fn acknowledged(&self) {
        if !self.aims_at_verdicts {
            self.count();
        }
    }
}

/// The clients and what they share.
struct Load {
    town: Town,
    users: Vec<Person>,
    verifier: Person,
    diary: Mutex<Diary>,
    keys: AtomicI64,
}

impl Load {
    fn diary(&self) -> MutexGuard<'_, Diary> {
        self.diary.lock().unwrap()
    }

    fn call(&self, deed: &Deed) -> Call {
        let (town, users) = (&self.town, &self.users);
        match deed {
            Deed::Credential { owner, title } => town
                .post("/v1/user/credentials", &users[*owner])
                .json(&json!({ "title": title, "type": "Education", "issuer": "University X" })),
            Deed::Transfer { from, to, amount } => town
                .post("/v1/user/wallet/transfers", &users[*from])
                .json(&json!({ "to": users[*to].id, "amount": amount, "currency": "USD" })),
            Deed::Request { owner, credential } => {
                town.post("/v1/user/verifications", &users[*owner]).json(&json!({
                    "credentialId": credential, "verifierId": verifier_id(&self.verifier),
                }))
            }
            Deed::Accept { job } => {
                town.post(&format!("/v1/verifier/jobs/{job}/accept"), &self.verifier)
            }
            Deed::Complete { job, verdict, .. } => town
                .post(&format!("/v1/verifier/jobs/{job}/complete"), &self.verifier)
                .json(&json!({ "verdict": verdict })),
        }
    }

    /// Sends a deed until it is answered. Nothing when the server is gone.
    async fn send(&self, deed: &Deed, key: &str) -> Option<Answer> {
        for _ in 0..TRIES {
            let answer = self.call(deed).key(key).attempt().await?;
            // Too many writers at one wallet: the answer itself says to try again.
            if answer.status != 503 || answer.code() != "busy" {
                assert!(answer.is_done(), "{deed:?} {} {}", answer.status, answer.text());
                return Some(answer);
            }
        }
        panic!("{deed:?} was in somebody's way {TRIES} times");
    }

    async fn act(&self, trigger: &Trigger, deed: Deed) -> Option<Json> {
        let key = format!("key-{}", self.keys.fetch_add(1, Ordering::SeqCst));
        trigger.about_to_send(&deed);
        let reply = self.send(&deed, &key).await.map(|answer| answer.json());
        self.diary().sent.push(Sent { key, deed, reply: reply.clone() });
        trigger.acknowledged();
        reply
    }

    /// Credentials, uploads and transfers, until the server is gone.
    async fn clerk(&self, trigger: &Trigger, me: usize, mut dice: Dice) -> Option<()> {
        loop {
            let nonce = dice.next();
            let title = format!("Diploma {nonce:x}");
            self.act(trigger, Deed::Credential { owner: me, title }).await?;
            let content = pdf(&format!("{nonce:x}"));
            let call = self.town.upload_call(&self.users[me], "diploma.pdf", &content);
            let answer = call.attempt().await?;
            let id = id_of(&answer.done());
            self.diary().files.push((me, id, content));
            trigger.acknowledged();
            let to = (me + 1 + usize::try_from(dice.below(2)).unwrap()) % USERS;
            let amount = 100 + dice.below(900).cast_signed();
            self.act(trigger, Deed::Transfer { from: me, to, amount }).await?;
        }
    }

    /// One verification after the other, until the server is gone.
    async fn applicant(&self, trigger: &Trigger, owner: usize, mut dice: Dice) -> Option<()> {
        loop {
            let title = format!("Licence {:x}", dice.next());
            let made = self.act(trigger, Deed::Credential { owner, title }).await?;
            let deed = Deed::Request { owner, credential: id_of(&made) };
            let job = id_of(&self.act(trigger, deed).await?);
            self.act(trigger, Deed::Accept { job: job.clone() }).await?;
            let verdict = if dice.one_in(4) { "rejected" } else { "verified" };
            self.act(trigger, Deed::Complete { owner, job, verdict }).await?;
        }
    }
}

fn id_of(reply: &Json) -> String {
    reply["id"].as_str().unwrap_or_else(|| panic!("no id in {reply}")).to_owned()
}

async fn open(house: &House) -> Load {
    let town = house.town();
    let admin = town.set_up(&house.setup_link().await).await;
    let verifier = town.join("Vera", "verifier").await;
    town.open_shop(&admin, &verifier).await;
    let mut users = Vec::new();
    for name in ["Anne", "Ben", "Cleo"] {
        let user = town.join(name, "user").await;
        town.deposit(&user, DEPOSIT).await;
        users.push(user);
    }
    Load { town, users, verifier, diary: Mutex::default(), keys: AtomicI64::new(0) }
}

/// Load, and in the midst of it the kill.
async fn burst(load: &Arc<Load>, house: &mut House, dice: &mut Dice, aims_at_verdicts: bool) {
    let count = if aims_at_verdicts { 1 + dice.below(6) } else { 40 + dice.below(120) };
    let left = AtomicI64::new(count.cast_signed());
    let trigger = Arc::new(Trigger { left, aims_at_verdicts, fire: Notify::new() });
    let mut clients = tokio::task::JoinSet::new();
    for me in 0..USERS {
        for is_clerk in [true, false] {
            let (load, trigger, dice) = (load.clone(), trigger.clone(), Dice::new(dice.next()));
            clients.spawn(async move {
                if is_clerk {
                    load.clerk(&trigger, me, dice).await
                } else {
                    load.applicant(&trigger, me, dice).await
                }
            });
        }
    }
    let fired = tokio::time::timeout(BURST_MAX, trigger.fire.notified()).await;
    fired.expect("the load reaches the moment of the kill");
    // Somewhere on the request's way through the server: the moment is what is random here.
    let within = if aims_at_verdicts { 60_000 } else { 6_000 };
    tokio::time::sleep(Duration::from_micros(dice.below(within))).await;
    house.kill().await;
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client has met nothing but a server that was gone");
    }
}

/// Requests that a kill has left without an answer.
#[derive(Debug, Default)]
struct Unanswered {
    requests: usize,
    verdicts: usize,
    /// Verdicts that had happened all the same.
    verdicts_done: usize,
}

/// Whatever got no answer is sent again under its key, twice: it has happened once.
async fn send_again(load: &Load, unanswered: &mut Unanswered) {
    let sent = load.diary().sent.clone();
    // Of the answered ones the last few: those that a crash could have taken back.
    let first = sent.len().saturating_sub(24);
    for (place, one) in sent.iter().enumerate().skip(first) {
        let before = one.reply.clone();
        let answer = load.send(&one.deed, &one.key).await.expect("the server is up");
        let reply = answer.json();
        match before {
            Some(before) => {
                assert!(answer.is_replayed(), "{one:?} was forgotten");
                assert_eq!(before, reply, "{one:?} is answered otherwise than before");
            }
            None => {
                unanswered.requests += 1;
                if matches!(one.deed, Deed::Complete { .. }) {
                    unanswered.verdicts += 1;
                    unanswered.verdicts_done += usize::from(answer.is_replayed());
                }
                let again = load.send(&one.deed, &one.key).await.expect("the server is up");
                assert!(again.is_replayed(), "{one:?} acted twice");
                assert_eq!(again.json(), reply, "{one:?}");
                load.diary().sent[place].reply = Some(reply);
            }
        }
    }
}

/// What the clients' diary comes to, against what the platform shows.
async fn compare(load: &Load) {
    let (sent, files) = {
        let diary = load.diary();
        (diary.sent.clone(), diary.files.clone())
    };
    for (place, user) in load.users.iter().enumerate() {
        compare_wallet(load, &sent, place, user).await;
        compare_credentials(load, &sent, place, user).await;
        compare_files(load, &files, place, user).await;
    }
}

async fn compare_wallet(load: &Load, sent: &[Sent], place: usize, user: &Person) {
    let (mut total, mut held) = (DEPOSIT, 0);
    let mut transfers = Vec::new();
    for one in sent {
        match &one.deed {
            Deed::Transfer { from, to, amount } if *from == place || *to == place => {
                total += if *to == place { *amount } else { -*amount };
                transfers.push(id_of(one.reply.as_ref().unwrap()));
            }
            Deed::Request { owner, .. } if *owner == place => held += PRICE,
            Deed::Complete { owner, .. } if *owner == place => {
                held -= PRICE;
                total -= PRICE;
            }
            _ => {}
        }
    }
    let seen = load.town.wallet(user).await;
    assert_eq!(seen, (total - held, held), "the wallet of {} is not what was done", user.email);
    let rows = load.town.all("/v1/user/wallet/transactions", user).await;
    let rows: BTreeMap<_, _> = rows.iter().map(|row| (id_of(row), row)).collect();
    for id in transfers {
        assert!(rows.contains_key(&id), "the acknowledged transfer {id} is gone");
    }
}

async fn compare_credentials(load: &Load, sent: &[Sent], place: usize, user: &Person) {
    let rows = load.town.all("/v1/user/credentials", user).await;
    let rows: BTreeMap<_, _> = rows.into_iter().map(|row| (id_of(&row), row)).collect();
    let mut made = 0;
    for one in sent {
        let Deed::Credential { owner, title } = &one.deed else { continue };
        if *owner == place {
            made += 1;
            let id = id_of(one.reply.as_ref().unwrap());
            let row = rows.get(&id).unwrap_or_else(|| panic!("the credential {id} is gone"));
            assert_eq!(row["title"], **title);
        }
    }
    assert_eq!(rows.len(), made, "{} has credentials that nobody made", user.email);
    compare_verifications(load, sent, place, user, &rows).await;
}

/// The state that the diary says, and for every verification: verified, issued and the
/// credential's own status go together.
async fn compare_verifications(
    load: &Load,
    sent: &[Sent],
    place: usize,
    user: &Person,
    credentials: &BTreeMap<String, Json>,
) {
    let mut expected = BTreeMap::new();
    for one in sent {
        match &one.deed {
            Deed::Request { owner, .. } if *owner == place => {
                expected.insert(id_of(one.reply.as_ref().unwrap()), "pending");
            }
            Deed::Accept { job } if expected.contains_key(job) => {
                expected.insert(job.clone(), "in_review");
            }
            Deed::Complete { owner, job, verdict } if *owner == place => {
                expected.insert(job.clone(), verdict);
            }
            _ => {}
        }
    }
    let rows = load.town.all("/v1/user/verifications", user).await;
    assert_eq!(rows.len(), expected.len(), "{} has other verifications", user.email);
    let mut newest_verified = None;
    for row in &rows {
        let state = expected[&id_of(row)];
        assert_eq!(row["status"], state, "{row}");
        let credential = &credentials[row["credentialId"].as_str().unwrap()];
        let is_verified = state == "verified";
        assert_eq!(row.get("issuedId").is_some(), is_verified, "{row}");
        assert_eq!(row.get("issuedId"), credential.get("issuedId"), "{row} {credential}");
        let status = match state {
            "pending" | "in_review" => "pending",
            ended => ended,
        };
        assert_eq!(credential["status"], status, "{row} {credential}");
        if is_verified && newest_verified.is_none() {
            newest_verified = Some(id_of(credential));
        }
    }
    if let Some(id) = newest_verified {
        let path = format!("/v1/user/credentials/{id}/signed");
        let signed = load.town.get(&path, user).done().await;
        assert!(signed["proof"].is_object() || signed["proof"].is_array(), "{signed}");
    }
}

/// Acknowledged files are there, and no file is listed whose content is not.
async fn compare_files(
    load: &Load,
    files: &[(usize, String, Vec<u8>)],
    place: usize,
    user: &Person,
) {
    let rows = load.town.all("/v1/files", user).await;
    let listed: Vec<String> = rows.iter().map(id_of).collect();
    let own: BTreeMap<&String, &Vec<u8>> =
        files.iter().filter(|file| file.0 == place).map(|(_, id, content)| (id, content)).collect();
    for id in own.keys() {
        assert!(listed.contains(id), "the acknowledged file {id} is gone");
    }
    // The newest are those that the crash could have hurt.
    for row in rows.iter().take(8) {
        let id = id_of(row);
        let path = format!("/v1/files/{id}/content");
        let answer = load.town.get(&path, user).answer().await;
        assert_eq!(answer.status, 200, "{id} is listed and not there: {}", answer.text());
        let hash = hex::encode(platform::crypto::sha256(&answer.bytes));
        assert_eq!(row["sha256"], *hash, "{id}");
        if let Some(content) = own.get(&id) {
            assert_eq!(&&answer.bytes, content, "{id}");
        }
    }
}

/// What the database holds while nobody serves it.
async fn look_inside(house: &House) {
    let platform = wiring::open_platform(&house.config()).await.expect("the platform opens");
    let ledger = money::ledger::check(&platform.db).await.unwrap();
    assert!(ledger.is_sound(), "{ledger:#?}");
    let log = platform.trust.log.check().await.unwrap();
    assert!(log.failures.is_empty(), "{log:#?}");
    no_verdict_is_half_done(&platform.db).await;
    let text = |row: &Row<'_>| row.take::<String>();
    let sql = "SELECT kind FROM jobs WHERE state = 'dead'";
    assert_eq!(platform.db.all(sql, &[], text).await.unwrap(), Vec::<String>::new());
    let sql = "SELECT CAST(COUNT(*) AS TEXT) FROM journal_readers";
    assert_ne!(platform.db.all(sql, &[], text).await.unwrap(), ["0"], "somebody reads the journal");
    platform.db.close().await;
}

/// One verification with everything that a verdict changes together.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    state: String,
    hold: String,
    is_fully_captured: bool,
    credential: String,
    is_issued: bool,
    documents: i64,
    verdicts_in_journal: i64,
    grants: i64,
}

async fn no_verdict_is_half_done(db: &platform::db::Db) {
    let sql = "SELECT v.state, h.state, h.captured = v.price AND h.fee = v.fee, c.status,
                      v.issued IS NOT NULL AND c.issued = v.issued,
                      (SELECT COUNT(*) FROM issued_credentials i WHERE i.verification = v.id),
                      v.id,
                      (SELECT COUNT(*) FROM credential_grants g WHERE g.credential = v.credential)
               FROM verifications v JOIN ledger_hold h ON h.id = v.hold
                   JOIN credentials c ON c.id = v.credential ORDER BY v.id";
    let read = |row: &Row<'_>| -> Result<_, DbError> {
        let verdict = Verdict {
            state: row.take()?,
            hold: row.take()?,
            is_fully_captured: row.take::<Option<bool>>()?.unwrap_or_default(),
            credential: row.take()?,
            is_issued: row.take::<Option<bool>>()?.unwrap_or_default(),
            documents: row.take()?,
            verdicts_in_journal: 0,
            grants: 0,
        };
        let id = row.take::<kernel::Id<kernel::id::kinds::Verification>>()?;
        Ok((id, Verdict { grants: row.take()?, ..verdict }))
    };
    let verdicts = db.all(sql, &[], read).await.unwrap();
    assert!(!verdicts.is_empty());
    let sql = "SELECT subject FROM facts
               WHERE verb IN ('verification.verified', 'verification.rejected')";
    let told = db.all(sql, &[], |row: &Row<'_>| row.take::<String>()).await.unwrap();
    for (id, mut verdict) in verdicts {
        let id = id.to_string();
        verdict.verdicts_in_journal =
            told.iter().filter(|subject| **subject == id).count().try_into().unwrap();
        let whole = |state: &str, hold: &str, credential: &str, ended: bool, granted| Verdict {
            state: state.into(),
            hold: hold.into(),
            is_fully_captured: ended,
            credential: credential.into(),
            is_issued: state == "verified",
            documents: i64::from(state == "verified"),
            verdicts_in_journal: i64::from(ended),
            grants: granted,
        };
        let expected = match verdict.state.as_str() {
            "verified" => whole("verified", "captured", "verified", true, 0),
            "rejected" => whole("rejected", "captured", "rejected", true, 0),
            "in_review" => whole("in_review", "open", "pending", false, 1),
            _ => whole("pending", "open", "pending", false, 0),
        };
        assert_eq!(verdict, expected, "{id}");
    }
    let sql = "SELECT COUNT(*) FROM issued_credentials
               WHERE verification NOT IN (SELECT id FROM verifications WHERE state = 'verified')";
    let stray = db.all(sql, &[], |row: &Row<'_>| row.take::<i64>()).await.unwrap();
    assert_eq!(stray, [0], "documents without a verdict");
}

/// The log catches up with every fact that was committed, and its checkpoint grows.
async fn the_log_catches_up(house: &House, load: &Load) {
    let key = load.town.call(Method::GET, "/v1/audit/key", None).answer().await;
    assert_eq!(key.status, 200);
    let user = &load.users[0];
    let newest = load.town.get("/v1/audit/logs?limit=1", user).done().await;
    let path = format!("/v1/audit/proof/inclusion?event={}", id_of(&newest[0]));
    until("the newest event's proof", async || {
        load.town.get(&path, user).answer().await.is_done().then_some(())
    })
    .await;
    assert_eq!(house.log().matches(" ERROR ").count(), 0, "{}", house.log());
}

async fn no_kill_takes_anything_back(mut house: House, seed: u64) {
    let mut dice = Dice::new(seed);
    let first = house.start().await;
    let load = Arc::new(open(&house).await);
    let (mut slowest, mut unanswered) = (first, Unanswered::default());
    for round in 0..KILLS {
        burst(&load, &mut house, &mut dice, round % 2 == 1).await;
        // Every other time the server itself is the first to see what the kill has left.
        if round % 4 >= 2 {
            look_inside(&house).await;
        }
        slowest = slowest.max(house.start().await);
        send_again(&load, &mut unanswered).await;
        compare(&load).await;
        let check = house.run(&["ledger", "check"]).await;
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    }
    the_log_catches_up(&house, &load).await;
    house.stop().await;
    look_inside(&house).await;
    let done = load.diary().sent.len();
    println!("{KILLS} kills, {done} deeds, {unanswered:?}; slowest start {slowest:?}");
    assert!(unanswered.verdicts > 0, "no kill has hit a request: the load is too light");
    house.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_takes_anything_back_on_sqlite() {
    no_kill_takes_anything_back(House::on_sqlite(), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_takes_anything_back_on_postgres() {
    no_kill_takes_anything_back(House::on_postgres().await, 2).await;
}
