//! Somebody who was erased, looked for in every byte that is left of them.

use std::path::{Path, PathBuf};
use std::process::Output;

use kernel::Id;
use kernel::id::kinds::User;
use platform::db::{Db, Read, SqliteOptions};
use platform::params;
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::house::House;
use crate::town::{PASSWORD, PRICE, Person, Town, pdf, until};

/// Words that nothing else says.
const CANARIES: &[&str] = &["quillfeather", "zanzibarium", "heliotropic", "XK-77-4711"];

/// Files below a folder that hold any of some bytes; letters of either case.
fn holding(folder: &Path, sought: &[Vec<u8>]) -> Vec<(PathBuf, usize)> {
    let mut folders = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes.to_ascii_lowercase(),
                // It went while the folder was read: the server is running.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => panic!("{}: {error}", path.display()),
            };
            for (place, words) in sought.iter().enumerate() {
                let words = words.to_ascii_lowercase();
                if bytes.windows(words.len()).any(|window| window == words) {
                    found.push((path.clone(), place));
                }
            }
        }
    }
    found
}

/// The words, and the key under which the rest is sealed, as it is stored.
fn sought(key: &[u8]) -> Vec<Vec<u8>> {
    let words = CANARIES.iter().map(|word| word.as_bytes().to_vec());
    words.chain([key.to_vec()]).collect()
}

#[track_caller]
fn done(output: &Output) -> String {
    let (said, error) = (String::from_utf8_lossy(&output.stdout), &output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(error));
    said.into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Somebody with a verified document, an exported credential and a proof.
struct Life {
    zora: Person,
    bundle: PathBuf,
    event: String,
    proof: Json,
}

async fn live(house: &House, town: &Town, vera: &Person) -> Life {
    let zora = town.join("Quillfeather", "user").await;
    town.patch("/v1/me", &zora).json(&json!({ "name": "Zora Quillfeather" })).done().await;
    town.deposit(&zora, PRICE).await;
    let file = town.upload(&zora, "heliotropic.pdf", &pdf("heliotropic contents")).await;
    let body = json!({
        "title": "Doctor of zanzibarium", "type": "Education", "issuer": "Zanzibarium Academy",
        "documentNumber": "XK-77-4711", "fileId": file,
    });
    let made = town.post("/v1/user/credentials", &zora).json(&body).done().await;
    let credential = made["id"].as_str().unwrap();
    let job = town.request(&zora, credential, vera).await;
    town.accept(vera, &job).await;
    town.complete(vera, &job, "verified").await;
    let path = format!("/v1/user/credentials/{credential}/signed?format=bundle");
    let bundle = until("the log's proof", async || {
        let answer = town.get(&path, &zora).answer().await;
        answer.text().contains("\"logProof\"").then_some(answer.bytes)
    })
    .await;
    let kept = house.folder().join("bundle.json");
    std::fs::write(&kept, bundle).unwrap();
    let trail = town.all("/v1/audit/logs?action=credential.created", &zora).await;
    let event = trail[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/audit/proof/inclusion?event={event}");
    let proof = town.get(&path, &zora).done().await;
    Life { zora, bundle: kept, event, proof }
}

/// A person's key as a database file has it: wrapped under the master key.
async fn wrapped_key(database: &Path, person: &str) -> Vec<u8> {
    let db = Db::open_sqlite(&SqliteOptions::at(database), platform::world::system()).unwrap();
    let person: Id<User> = person.parse().unwrap();
    let sql = "SELECT sealed_key FROM person_keys WHERE person = $1";
    let key = db.one(sql, params![person], |row| row.take::<Vec<u8>>()).await.unwrap();
    db.close().await;
    key
}

/// The credential that was exported before is judged valid by the keys that the server publishes.
async fn judged_valid(house: &House, town: &Town, life: &Life) {
    let (did, document) = (house.folder().join("did.json"), house.folder().join("diploma.pdf"));
    let fetched = town.call(Method::GET, "/.well-known/did.json", None).answer().await.text();
    std::fs::write(&did, fetched).unwrap();
    std::fs::write(&document, pdf("heliotropic contents")).unwrap();
    let arguments = ["verify", text(&life.bundle), "--did", text(&did)];
    let judged = house.command(&arguments).args(["--document", text(&document)]).output();
    let said = done(&judged.await.unwrap());
    assert!(said.starts_with("VALID"), "{said}");
    assert!(said.contains("the log holds the entry at"), "{said}");
}

/// The log proves what it proved before.
async fn proof_holds(town: &Town, who: &Person, life: &Life) {
    let path = format!("/v1/audit/proof/inclusion?event={}", life.event);
    let again = town.get(&path, who).done().await;
    for member in ["index", "entry", "row", "salt"] {
        assert_eq!(again[member], life.proof[member], "{member}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_erased_is_in_no_byte_that_is_left_and_no_old_backup_brings_them_back() {
    let mut house = House::on_sqlite();
    house.start().await;
    let town = house.town();
    let admin = town.set_up(&house.setup_link().await).await;
    let vera = town.join("Vera", "verifier").await;
    town.open_shop(&admin, &vera).await;
    let life = live(&house, &town, &vera).await;
    let zora = &life.zora;
    let old = house.folder().join("old");
    done(&house.run(&["backup", "create", text(&old), "--with-keys"]).await);

    let body = json!({ "password": PASSWORD });
    let closed = town.delete("/v1/me", zora).json(&body).done().await;
    assert_eq!(closed["erased"], true);
    let document = [b"heliotropic contents".to_vec()];
    let is_file = |(path, _): &(PathBuf, usize)| !text(path).contains("verza.db");
    until("the document to go", async || {
        (!holding(&house.data(), &document).iter().any(is_file)).then_some(())
    })
    .await;
    let forgotten = house.folder().join("forgotten");
    let list = done(&house.run(&["admin", "forgotten"]).await);
    assert_eq!(list.trim(), zora.id);
    std::fs::write(&forgotten, list).unwrap();
    judged_valid(&house, &town, &life).await;
    proof_holds(&town, &admin, &life).await;
    let new = house.folder().join("new");
    done(&house.run(&["backup", "create", text(&new)]).await);
    house.stop().await;

    // The old backup, brought back: she is there, and her key with her. That is what it is.
    let back = house.folder().join("back");
    done(&house.run(&["restore", text(&old), "--to", text(&back)]).await);
    let key = wrapped_key(&back.join("verza.db"), &zora.id).await;
    let sought = sought(&key);
    let places: Vec<usize> = holding(&back, &sought).into_iter().map(|(_, place)| place).collect();
    for place in 0..sought.len() {
        assert!(places.contains(&place), "the scan finds what there is: {place}");
    }
    // Where she was erased there is no word left, in no freed page either, nor what would open the
    // rest; nor in the backup that was made since.
    for folder in [house.data(), new.clone()] {
        assert_eq!(holding(&folder, &sought), [], "{}", folder.display());
    }
    done(&house.run(&["backup", "verify", text(&new), "--json"]).await);

    // Erased again before the first start, whoever else is in the list.
    std::fs::write(&forgotten, format!("{}\n\nu_01h455vb4pex5vsknk084sn02q\n", zora.id)).unwrap();
    let forget = ["--data-dir", text(&back), "admin", "forget", text(&forgotten)];
    let said = done(&house.run(&forget).await);
    assert!(said.starts_with("1 of 2 were held here"), "{said}");
    assert!(done(&house.run(&forget).await).starts_with("0 of 2"), "once is enough");
    std::fs::write(&forgotten, format!("{}\nzora@example.com\n", zora.id)).unwrap();
    assert!(!house.run(&forget).await.status.success(), "a list with a mistake is refused whole");
    let left = holding(&back, &sought);
    assert!(left.iter().all(is_file), "only the file's own bytes wait for the server: {left:?}");
    std::fs::rename(house.data(), house.folder().join("lost")).unwrap();
    house.set("VERZA_STORAGE_DATA_DIR", text(&back));
    house.start().await;
    let beside = house.run(&forget).await;
    assert!(!beside.status.success(), "a server that runs would not take it up");
    assert!(String::from_utf8_lossy(&beside.stderr).contains("used by another Verza"));
    let town = house.town();
    let body = json!({ "email": zora.email, "password": PASSWORD });
    let refused = town.call(Method::POST, "/v1/auth/login", None).json(&body).answer().await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    until("the file to go", async || holding(&back, &document).is_empty().then_some(())).await;
    judged_valid(&house, &town, &life).await;
    house.stop().await;
    assert_eq!(holding(&back, &sought), []);
    house.finish().await;
}
