//! What is held of people: whole in their export, gone when they go, and the proofs still there.

use std::collections::{BTreeMap, BTreeSet};

use kernel::Id;
use kernel::id::kinds::User;
use platform::db::{Db, Read};
use platform::params;
use platform::privacy::{Rows, Shown, Table};
use platform::testing::TestDb;
use reqwest::Method;
use serde_json::{Value as Json, json};
use verza::wiring::{MIGRATIONS, holders};

use crate::routes;
use crate::town::{Cast, FUNDS, PASSWORD, PRICE, Person, pdf, until};
use crate::world::{Stage, on_both_stages};

/// Words that nothing else says. What is looked for in the whole database after the erasure.
const CANARIES: &[&str] =
    &["quillfeather", "zanzibarium", "heliotropic", "ocarinas", "XK-77-4711", "peregrination"];

fn tables() -> Vec<(&'static str, &'static Table)> {
    let of = |holder: std::sync::Arc<dyn platform::privacy::Holder>| {
        let name = holder.name();
        holder.tables().iter().map(move |table| (name, table))
    };
    holders().into_iter().flat_map(of).collect()
}

/// Table → columns.
async fn schema(db: &Db) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in platform::testing::schema(db).await {
        let words: Vec<&str> = line.split(' ').collect();
        if words[1] != "INDEX" {
            found.entry(words[0].to_owned()).or_default().insert(words[2].to_owned());
        }
    }
    found
}

/// A new table, or a new column, has to be declared by its context before this passes: whose it
/// is and how an export shows it, or why it holds nothing of people.
async fn every_column_is_declared(t: &TestDb) {
    let found = schema(&t.db).await;
    let mut declared = BTreeMap::new();
    for (context, table) in tables() {
        let twice = declared.insert(table.name.to_owned(), (context, table));
        assert!(twice.is_none(), "{} is declared twice", table.name);
    }
    let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        names(found.keys().collect()),
        names(declared.keys().collect()),
        "say in the context's personal.rs what each table holds of people"
    );
    for (name, (context, table)) in declared {
        match table.rows {
            Rows::Impersonal(why) => assert!(why.len() > 10, "{name}: {why}"),
            Rows::Personal { columns, .. } => {
                let known: BTreeSet<String> =
                    columns.iter().map(|column| column.0.to_owned()).collect();
                assert_eq!(known.len(), columns.len(), "{context} {name}");
                assert_eq!(known, found[&name], "{context} {name}");
            }
        }
    }
}

#[tokio::test]
async fn every_column_is_declared_on_sqlite() {
    let test = TestDb::sqlite(MIGRATIONS).await;
    every_column_is_declared(&test).await;
    test.finish().await;
}

#[tokio::test]
async fn every_column_is_declared_on_postgres() {
    let test = TestDb::postgres(MIGRATIONS).await;
    every_column_is_declared(&test).await;
    test.finish().await;
}

/// The columns of a table that hold ids.
async fn id_columns(db: &Db, table: &str) -> Vec<String> {
    let sql = if db.is_shared() {
        "SELECT CAST(column_name AS TEXT) FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = $1 AND data_type = 'uuid'"
    } else {
        "SELECT name FROM pragma_table_info($1) WHERE type = 'BLOB'"
    };
    db.all(sql, params![table], |row| row.take()).await.unwrap()
}

/// How many rows of a table name a person, in any column.
async fn rows_naming(db: &Db, table: &str, person: Id<User>) -> i64 {
    let columns = id_columns(db, table).await;
    if columns.is_empty() {
        return 0;
    }
    let conditions: Vec<String> = columns.iter().map(|column| format!("{column} = $1")).collect();
    let sql =
        format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table} WHERE {}", conditions.join(" OR "));
    db.one(&sql, params![person], |row| row.take()).await.unwrap()
}

/// Every text and every number of bytes in the database that holds one of the words.
async fn places_with(db: &Db, words: &[&str]) -> Vec<String> {
    let mut places = Vec::new();
    for (table, columns) in schema(db).await {
        for column in columns {
            let sql = if db.is_shared() {
                format!("SELECT CAST({column} AS TEXT) FROM {table}")
            } else {
                format!("SELECT CAST(hex({column}) AS TEXT) FROM {table}")
            };
            let read = |row: &platform::db::Row<'_>| row.take::<Option<String>>();
            for text in db.all(&sql, &[], read).await.unwrap().into_iter().flatten() {
                let text = text.to_ascii_lowercase();
                for word in words {
                    let word = word.to_ascii_lowercase();
                    // Bytes are shown as digits on both engines, texts on one.
                    if text.contains(&word) || text.contains(&hex::encode(&word)) {
                        places.push(format!("{table}.{column}: {word}"));
                    }
                }
            }
        }
    }
    places
}

/// Somebody with something in every corner, who has nothing open any more.
struct Life {
    zora: Person,
    credential: String,
    /// Exported while it could be.
    bundle: Vec<u8>,
    proof: Json,
    event: String,
}

async fn live(stage: &Stage, cast: &Cast) -> Life {
    let Cast { town, vera, .. } = cast;
    let zora = town.join("Quillfeather", "user").await;
    let body = json!({ "name": "Zora Quillfeather", "preferences": { "motto": "ocarinas" } });
    town.patch("/v1/me", &zora).json(&body).done().await;
    town.deposit(&zora, PRICE).await;
    let file = town.upload(&zora, "heliotropic.pdf", &pdf("heliotropic contents")).await;
    let body = json!({
        "title": "Doctor of zanzibarium", "type": "Education", "issuer": "Zanzibarium Academy",
        "documentNumber": "XK-77-4711", "fileId": file,
    });
    let made = town.post("/v1/user/credentials", &zora).key("zora-c").json(&body).done().await;
    let credential = made["id"].as_str().unwrap().to_owned();
    let body = json!({ "recipientEmail": "aunt@example.org" });
    town.post(&format!("/v1/user/credentials/{credential}/share"), &zora).json(&body).done().await;
    let body = json!({
        "credentialId": credential, "verifierId": crate::town::verifier_id(vera),
        "notes": "I was on a peregrination",
    });
    let made = town.post("/v1/user/verifications", &zora).key("zora-v").json(&body).done().await;
    let job = made["id"].as_str().unwrap().to_owned();
    town.accept(vera, &job).await;
    let path = |verb: &str| format!("/v1/verifier/jobs/{job}/{verb}");
    let note = json!({ "note": "asked about the peregrination" });
    town.post(&path("notes"), vera).key("zora-n").json(&note).done().await;
    town.get(&format!("/v1/files/{file}/content"), vera).answer().await;
    let verdict = json!({ "verdict": "verified", "comments": "heliotropic indeed" });
    town.post(&path("complete"), vera).key("zora-d").json(&verdict).done().await;

    let path = format!("/v1/user/credentials/{credential}/signed?format=bundle");
    let bundle = until("the log's proof", async || {
        let answer = town.get(&path, &zora).answer().await;
        answer.text().contains("\"logProof\"").then_some(answer.bytes)
    })
    .await;
    let trail = town.all("/v1/audit/logs?action=credential.created", &zora).await;
    let event = trail[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/audit/proof/inclusion?event={event}");
    let proof = town.get(&path, &zora).done().await;
    assert_eq!(stage.running.platform.trust.log.check().await.unwrap().failures, [""; 0]);
    Life { zora, credential, bundle, proof, event }
}

on_both_stages! {
async fn an_export_holds_every_row_that_concerns_the_person(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, admin, vera, .. } = &cast;
    let Life { zora, .. } = live(stage, &cast).await;
    let looked = town.post(&format!("/v1/admin/users/{}/impersonate", zora.id), admin);
    looked.json(&json!({ "reason": "Ticket" })).done().await;
    for who in [&zora, vera] {
        // What is told in the background has been told.
        until("a notification", async || {
            (!town.all("/v1/notifications", who).await.is_empty()).then_some(())
        })
        .await;
        let export = town.get("/v1/me/export", who).done().await;
        let id: Id<User> = who.id.parse().unwrap();
        let db = &stage.running.platform.db;
        let mut filled = 0;
        for (context, table) in tables() {
            let named = rows_naming(db, table.name, id).await;
            let shown = &export["holds"][context][table.name];
            let Rows::Personal { columns, .. } = table.rows else {
                assert_eq!(named, 0, "{} names {}", table.name, who.email);
                assert_eq!(*shown, Json::Null);
                continue;
            };
            let rows = shown.as_array().unwrap_or_else(|| panic!("{context} {}", table.name));
            let exported = i64::try_from(rows.len()).unwrap();
            // The export itself is a fact more by now.
            assert!(exported >= named - 1, "{context} {}: {exported} of {named}", table.name);
            filled += usize::from(exported > 0);
            let visible = columns.iter().filter(|it| !matches!(it.1, Shown::Withheld(_))).count();
            assert!(rows.iter().all(|row| row.as_object().unwrap().len() == visible));
        }
        assert!(filled >= 15, "{filled}");
        let text = export.to_string();
        assert!(!text.contains("sealed:") && !text.contains("argon2"), "{text}");
        assert!(text.contains("asked about the peregrination"));
        assert!(text.contains("127.0.0.1"));
    }
}

async fn who_is_erased_leaves_no_word_and_every_proof_holds(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, admin, .. } = &cast;
    let platform = &stage.running.platform;
    let Life { zora, credential, bundle, proof, event } = live(stage, &cast).await;
    let before = places_with(&platform.db, CANARIES).await;
    assert!(before.len() > 10, "{before:?}");
    let count = async |table: &str| {
        let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
        platform.db.one(&sql, &[], |row| row.take::<i64>()).await.unwrap()
    };
    let ledger = ["ledger_account", "ledger_tx", "ledger_posting", "ledger_entry", "payments"];
    let mut kept = Vec::new();
    for table in ledger {
        kept.push(count(table).await);
    }
    let facts = count("facts").await;
    let blobs = || files_below(&platform.config.storage.data_dir, b"heliotropic contents");
    assert_eq!(blobs(), 1);
    let verified = town.get(&format!("/v1/user/credentials/{credential}"), &zora).done().await;
    assert_eq!(verified["status"], "verified");

    let body = json!({ "password": PASSWORD });
    let closed = town.delete("/v1/me", &zora).json(&body).done().await;
    assert_eq!(closed["erased"], true);
    town.get("/v1/me", &zora).answer().await.problem(401, "session_ended");

    // Not a word is left, in no table; nor the document.
    assert_eq!(places_with(&platform.db, CANARIES).await, [""; 0]);
    let aunts = "SELECT CAST(COUNT(*) AS BIGINT) FROM shares WHERE recipient_email IS NOT NULL";
    assert_eq!(platform.db.one(aunts, &[], |row| row.take::<i64>()).await.unwrap(), 0);
    until("the document to go", async || (blobs() == 0).then_some(())).await;
    let trail = town.all(&format!("/v1/admin/audit-logs?user={}", zora.id), admin).await;
    assert!(trail.len() > 10);
    for line in trail.iter().filter(|line| line["actor"] == zora.id.as_str()) {
        assert_eq!((line.get("ip"), line.get("userAgent")), (None, None), "{line}");
    }

    // Nothing that counts is gone: neither money, nor what happened, nor the proofs of it.
    for (table, kept) in ledger.into_iter().zip(kept) {
        assert_eq!(count(table).await, kept, "{table}");
    }
    assert!(count("facts").await > facts);
    let books = money::ledger::check(&platform.db).await.unwrap();
    assert!(books.is_sound(), "{books:?}");
    let log = until("the log", async || {
        let report = platform.trust.log.check().await.unwrap();
        (report.size > u64::try_from(facts).unwrap()).then_some(report)
    })
    .await;
    assert_eq!(log.failures, [""; 0]);
    let path = format!("/v1/audit/proof/inclusion?event={event}");
    let again = town.get(&path, admin).done().await;
    for member in ["index", "entry", "row", "salt"] {
        assert_eq!(again[member], proof[member], "{member}");
    }
    let did = town.call(Method::GET, "/.well-known/did.json", None).answer().await.text();
    let key = town.call(Method::GET, "/v1/audit/key", None).answer().await.text();
    let mut trust = verify::judge::trust::Trust::default();
    trust.pin(&did).unwrap();
    trust.pin(&key).unwrap();
    let now = platform.db.world().now().seconds();
    let options = verify::judge::Options {
        now,
        trust,
        status_age_max: 3600,
        document_sha256: Some(platform::crypto::sha256(pdf("heliotropic contents"))),
        status_lists: Vec::new(),
        challenge: None,
    };
    let report = verify::judge::verify(&bundle, &options);
    assert_eq!(report.verdict, verify::judge::report::Verdict::Valid, "{report}");

    // The address is free again, and whoever has it is somebody else.
    let again = town.join("Quillfeather", "user").await;
    assert_ne!(again.id, zora.id);
}

async fn nobody_goes_with_something_open(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, anne, vera, admin, .. } = &cast;
    let credential = town.credential(anne, "Open").await;
    let job = town.request(anne, &credential, vera).await;
    for (who, expected) in [
        (anne, vec!["open_verification", "balance", "balance"]),
        (vera, vec!["open_verification"]),
    ] {
        let answer = town.delete("/v1/me", who).json(&json!({})).answer().await;
        let problem = answer.problem(409, "account_in_use");
        let open: Vec<&str> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|open| open["code"].as_str().unwrap())
            .collect();
        assert_eq!(open, expected, "{problem}");
        assert!(problem.to_string().contains(&job), "{problem}");
        // An admin gets no further.
        let path = format!("/v1/users/{}", who.id);
        town.delete(&path, admin).json(&json!({})).answer().await.problem(409, "account_in_use");
    }
    assert_eq!(town.wallet(anne).await, (FUNDS - PRICE, PRICE));
    town.get("/v1/me", anne).done().await;
    let ada = town.delete("/v1/me", admin).json(&json!({})).answer().await;
    ada.problem(409, "last_admin");
}

async fn in_somebody_s_name_an_admin_looks_and_changes_nothing(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, admin, anne, vera, .. } = &cast;
    let start = async |who: &Person| {
        let path = format!("/v1/admin/users/{}/impersonate", who.id);
        let started = town.post(&path, admin).json(&json!({ "reason": "Ticket 4711" })).done().await;
        let token = started["accessToken"].as_str().unwrap().to_owned();
        Person { token, ..who.clone() }
    };
    let seen = start(anne).await;
    let me = town.get("/v1/me", &seen).done().await;
    assert_eq!((&me["id"], &me["impersonator"]), (&json!(anne.id), &json!(admin.id)));
    assert_eq!(town.wallet(&seen).await, (FUNDS, 0));
    town.get("/v1/admin/users", &seen).answer().await.problem(403, "forbidden");

    // All that changes anything is refused, whatever the route: also one that is added later.
    let mut refused = 0;
    for line in routes::all() {
        let is_hers = ["public", "any", "user"].contains(&line.audience.as_str());
        if line.is_read() || !is_hers || is_open_to_another(&line.name) {
            continue;
        }
        let path = line.with(|_| "x".into());
        let answer = town.call(line.method.clone(), &path, Some(&seen)).answer().await;
        if line.answers_problems() {
            answer.problem(403, "impersonated");
        } else {
            assert_eq!(answer.status, 403, "{} {path}", line.method);
        }
        refused += 1;
    }
    assert!(refused >= 80, "{refused}");
    town.get("/v1/me/export", &seen).answer().await.problem(403, "impersonated");

    // What is left is done by the admin, and the trail says so; she sees that too.
    let brief = start(anne).await;
    let me = town.get("/v1/me", &brief).done().await;
    let session = me["sessionId"].as_str().unwrap();
    town.post("/v1/auth/logout", &brief).done().await;
    let trail = town.all(&format!("/v1/audit/logs?resource={session}"), anne).await;
    let ended = trail.iter().find(|it| it["action"] == "session.ended").unwrap();
    assert_eq!((&ended["actor"], &ended["actorRole"]), (&json!(admin.id), &json!("admin")));
    assert_eq!(ended["metadata"]["impersonating"], anne.id.as_str());
    assert_eq!(ended.get("ip"), None, "where the admin sits is not hers to know");
    let accesses = town.all("/v1/me/access-log", anne).await;
    assert_eq!(accesses[0]["action"], "user.impersonated");
    assert_eq!(accesses[0]["actor"], admin.id.as_str());
    until("word of it", async || {
        let told = town.all("/v1/notifications", anne).await;
        told.iter().any(|it| it["title"] == "Support looked at your account").then_some(())
    })
    .await;

    let other = start(vera).await;
    town.post("/v1/admin/impersonation/end", &other).done().await;
    town.get("/v1/me", &other).answer().await.problem(401, "session_ended");
    town.get("/v1/me", &seen).done().await;
    town.post("/v1/admin/impersonation/end", admin).done().await;
    town.get("/v1/me", &seen).answer().await.problem(401, "session_ended");
    town.post("/v1/admin/impersonation/end", anne).answer().await
        .problem(409, "not_impersonating");
}
}

/// What an admin may do who looks at the platform as somebody else: end that, and ask.
fn is_open_to_another(name: &str) -> bool {
    const OPEN: [&str; 5] = [
        "session::logout",
        "session::introspect",
        "impersonation::end",
        "facade::ext",
        "issuance::judge",
    ];
    let asks = ["get", "list", "verify"].map(|verb| format!("streamfair::{verb}_"));
    OPEN.contains(&name) || asks.iter().any(|asks| name.starts_with(asks))
}

/// How many files below a folder hold some bytes; the database is passed over, in whose freed
/// pages old rows may stand until they are written to again.
fn files_below(folder: &std::path::Path, bytes: &[u8]) -> usize {
    let mut found = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with("verza.db") {
                let held = std::fs::read(&path).unwrap_or_default();
                found += usize::from(held.windows(bytes.len()).any(|window| window == bytes));
            }
        }
    }
    found
}
