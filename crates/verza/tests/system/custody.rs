//! Backups: made beside a running server, checked to the last byte, and brought back.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::house::House;
use crate::town::{Person, Town, pdf, until};

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn ended_with(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", out(output), err(output));
}

/// Refused in one sentence.
#[track_caller]
fn refused(output: &Output, code: i32, says: &str) {
    ended_with(output, code);
    let text = err(output);
    assert!(text.starts_with("verza: ") && text.contains(says), "{text} should say {says}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A check of a report.
fn outcome(report: &Json, name: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name);
    check
        .map_or_else(|| panic!("no {name} in {report:#}"), |check| check["outcome"].to_string())
        .trim_matches('"')
        .to_owned()
}

async fn report(house: &House, backup: &Path, more: &[&str]) -> (Output, Json) {
    let mut arguments = vec!["backup", "verify", text(backup), "--json"];
    arguments.extend(more);
    let output = house.run(&arguments).await;
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, report)
}

/// A platform on which something has happened: a credential with a document was verified.
async fn lived_in(house: &House) -> (Person, String) {
    let town = house.town();
    let admin = town.set_up(&house.setup_link().await).await;
    let (anne, vera) = (town.join("Anne", "user").await, town.join("Vera", "verifier").await);
    town.open_shop(&admin, &vera).await;
    town.deposit(&anne, 10_000).await;
    let file = town.upload(&anne, "diploma.pdf", &pdf("the document")).await;
    let body = json!({ "title": "D", "type": "Education", "issuer": "U", "fileId": file });
    let made = town.post("/v1/user/credentials", &anne).json(&body).done().await;
    let job = town.request(&anne, made["id"].as_str().unwrap(), &vera).await;
    town.accept(&vera, &job).await;
    town.complete(&vera, &job, "verified").await;
    logged(&town, &anne).await;
    (anne, file)
}

/// Waits until the log has come to what happened last.
async fn logged(town: &Town, who: &Person) {
    let newest = town.get("/v1/audit/logs?limit=1", who).done().await;
    let id = newest[0]["id"].as_str().unwrap();
    let path = format!("/v1/audit/proof/inclusion?event={id}");
    until("the newest event's proof", async || {
        town.get(&path, who).answer().await.is_done().then_some(())
    })
    .await;
}

async fn checkpoint(house: &House, name: &str) -> PathBuf {
    let town = house.town();
    let note = town.call(Method::GET, "/v1/audit/checkpoint", None).answer().await.text();
    let path = house.folder().join(name);
    std::fs::write(&path, note).unwrap();
    path
}

/// Uploads and deletes files, and makes credentials, until it is told to stop.
fn keep_busy(town: Town, who: Person, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<u32> {
    tokio::spawn(async move {
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            let kept = format!("kept-{round}.pdf");
            town.upload(&who, &kept, &pdf(&kept)).await;
            let gone = town.upload(&who, "gone.pdf", &pdf(&format!("gone {round}"))).await;
            town.credential(&who, &kept).await;
            town.delete(&format!("/v1/files/{gone}"), &who).done().await;
        }
        round
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_beside_a_busy_server_is_whole_and_comes_back() {
    let mut house = House::on_sqlite();
    house.start().await;
    let (anne, file) = lived_in(&house).await;
    let early = checkpoint(&house, "early.txt").await;
    let stop = Arc::new(AtomicBool::new(false));
    let busy = keep_busy(house.town(), anne.clone(), stop.clone());
    let backup = house.folder().join("backup");
    let made = house.run(&["backup", "create", text(&backup)]).await;
    ended_with(&made, 0);
    assert!(out(&made).contains("The master key is not inside"), "{}", out(&made));
    assert!(!backup.join("master.key").exists());
    let second = house.folder().join("second");
    ended_with(&house.run(&["backup", "create", text(&second), "--json"]).await, 0);
    stop.store(true, Ordering::Relaxed);
    assert!(busy.await.unwrap() > 0);

    let (output, found) = report(&house, &backup, &["--checkpoint", text(&early)]).await;
    ended_with(&output, 0);
    for name in
        ["origin", "bytes", "integrity", "tables", "ledger", "log", "files", "keys", "continuity"]
    {
        assert_eq!(outcome(&found, name), "proved", "{name} {found:#}");
    }
    ended_with(&report(&house, &second, &[]).await.0, 0);
    house.stop().await;

    let restored = house.folder().join("restored");
    let answer = house.run(&["restore", text(&backup), "--to", text(&restored)]).await;
    ended_with(&answer, 0);
    assert!(out(&answer).contains("master.key"), "{}", out(&answer));
    std::fs::copy(house.data().join("master.key"), restored.join("master.key")).unwrap();
    // Nothing of the first folder is needed any more.
    std::fs::rename(house.data(), house.folder().join("burnt")).unwrap();
    house.set("VERZA_STORAGE_DATA_DIR", text(&restored));
    house.start().await;
    let town = house.town();
    let anne = town.login(&anne.email).await;
    let content = town.get(&format!("/v1/files/{file}/content"), &anne).answer().await;
    assert_eq!(content.bytes, pdf("the document"));
    for row in town.all("/v1/files", &anne).await {
        let path = format!("/v1/files/{}/content", row["id"].as_str().unwrap());
        assert_eq!(town.get(&path, &anne).answer().await.status, 200, "{row}");
    }
    logged(&town, &anne).await;
    house.stop().await;
    ended_with(&house.run(&["ledger", "check"]).await, 0);
    house.finish().await;
}

/// What a change of a backup is to be caught by.
async fn is_caught(house: &House, backup: &Path, what: &str) {
    let (output, _) = report(house, backup, &[]).await;
    assert_eq!(output.status.code(), Some(1), "{what}: {}{}", out(&output), err(&output));
    let to = house.folder().join("never");
    let restored = house.run(&["restore", text(backup), "--to", text(&to)]).await;
    assert_eq!(restored.status.code(), Some(1), "{what}: {}", out(&restored));
    assert!(!to.exists(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_or_missing_byte_of_any_part_is_caught() {
    let mut house = House::on_sqlite();
    house.start().await;
    lived_in(&house).await;
    house.stop().await;
    let backup = house.folder().join("backup");
    let made = house.run(&["backup", "create", text(&backup), "--with-keys", "--json"]).await;
    ended_with(&made, 0);
    let (output, found) = report(&house, &backup, &[]).await;
    ended_with(&output, 0);
    assert_eq!(outcome(&found, "continuity"), "unproved");

    let list = std::fs::read_to_string(backup.join("contents.txt")).unwrap();
    let listed: Vec<&str> = list.lines().map(|line| line.splitn(3, ' ').nth(2).unwrap()).collect();
    assert_eq!((listed[0], listed[listed.len() - 1]), ("verza.db", "master.key"));
    assert!(listed.len() >= 3, "{list}");
    let of_itself = ["contents.txt", "manifest.json", "manifest.mac"];
    for name in listed.iter().chain(&of_itself) {
        let path = backup.join(name);
        let whole = std::fs::read(&path).unwrap();
        for place in [0, whole.len() / 2, whole.len() - 2] {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            is_caught(&house, &backup, &format!("byte {place} of {name}")).await;
        }
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        is_caught(&house, &backup, &format!("half of {name}")).await;
        if !of_itself.contains(name) {
            std::fs::remove_file(&path).unwrap();
            is_caught(&house, &backup, &format!("no {name}")).await;
        }
        std::fs::write(&path, &whole).unwrap();
    }
    std::fs::write(backup.join("blobs/ab/stray"), "stray").unwrap();
    is_caught(&house, &backup, "a file that nobody listed").await;
    std::fs::remove_file(backup.join("blobs/ab/stray")).unwrap();
    ended_with(&report(&house, &backup, &[]).await.0, 0);

    // Another platform's key proves nothing of this one; no key says nothing.
    let other = house.folder().join("other.key");
    std::fs::write(&other, "0123456789abcdef".repeat(4)).unwrap();
    let (output, found) = report(&house, &backup, &["--master-key", text(&other)]).await;
    ended_with(&output, 1);
    assert_eq!(
        (outcome(&found, "origin"), outcome(&found, "keys")),
        ("broken".into(), "broken".into())
    );
    std::fs::rename(house.data(), house.folder().join("burnt")).unwrap();
    let (output, found) = report(&house, &backup, &[]).await;
    ended_with(&output, 0);
    assert_eq!(outcome(&found, "origin"), "unproved");
    house.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_set_back_is_told_by_a_saved_checkpoint() {
    let mut house = House::on_sqlite();
    house.start().await;
    let (anne, _) = lived_in(&house).await;
    let old = house.folder().join("old");
    ended_with(&house.run(&["backup", "create", text(&old)]).await, 0);
    let town = house.town();
    town.credential(&anne, "Later").await;
    logged(&town, &anne).await;
    let late = checkpoint(&house, "late.txt").await;
    let (output, found) = report(&house, &old, &["--checkpoint", text(&late)]).await;
    ended_with(&output, 1);
    assert_eq!(outcome(&found, "continuity"), "broken");
    assert!(out(&output).contains("older than the checkpoint"), "{}", out(&output));
    let key = house.folder().join("kept.key");
    std::fs::copy(house.data().join("master.key"), &key).unwrap();
    house.stop().await;

    // The old state is served all the same, and other things happen on it.
    let restored = house.folder().join("restored");
    ended_with(&house.run(&["restore", text(&old), "--to", text(&restored)]).await, 0);
    std::fs::copy(&key, restored.join("master.key")).unwrap();
    // On a machine that remembers nothing.
    std::fs::remove_file(restored.join("log.checkpoint")).unwrap();
    house.set("VERZA_STORAGE_DATA_DIR", text(&restored));
    house.start().await;
    let town = house.town();
    let anne = town.login(&anne.email).await;
    for title in ["Another", "And another", "And one more"] {
        town.credential(&anne, title).await;
    }
    logged(&town, &anne).await;
    let forked = house.folder().join("forked");
    ended_with(&house.run(&["backup", "create", text(&forked)]).await, 0);
    let (output, _) = report(&house, &forked, &["--checkpoint", text(&late)]).await;
    ended_with(&output, 1);
    assert!(out(&output).contains("the log has forked"), "{}", out(&output));
    // A checkpoint that nobody of this platform has signed is no checkpoint.
    let note = std::fs::read_to_string(&late).unwrap();
    std::fs::write(&late, note.replacen('\n', "x\n", 1)).unwrap();
    let (output, _) = report(&house, &forked, &["--checkpoint", text(&late)]).await;
    ended_with(&output, 1);
    house.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exported_audit_trail_is_checked_by_its_signed_manifest() {
    let mut house = House::on_sqlite();
    house.start().await;
    let town = house.town();
    let admin = town.set_up(&house.setup_link().await).await;
    let anne = town.join("Anne", "user").await;
    logged(&town, &anne).await;
    let key = town.call(Method::GET, "/v1/audit/key", None).answer().await.text();
    // Nothing happens from here on.
    let end = "2100-01-01T00:00:00Z";
    for (path, who) in [("/v1/admin/audit-logs", &admin), ("/v1/audit/logs", &anne)] {
        for format in ["csv", "jsonl"] {
            let ask = async |format: &str| {
                let path = format!("{path}?to={end}&format={format}");
                town.get(&path, who).answer().await
            };
            let (file, note) = (house.folder().join("trail"), house.folder().join("trail.note"));
            let exported = ask(format).await;
            assert!(exported.is_done() && exported.bytes.len() > 100);
            std::fs::write(&file, &exported.bytes).unwrap();
            let manifest = ask(&format!("{format}.manifest")).await.text();
            std::fs::write(&note, manifest).unwrap();
            let arguments =
                ["verify", text(&file), "--manifest", text(&note), "--log-key", key.trim()];
            let output = house.run(&arguments).await;
            ended_with(&output, 0);
            assert!(out(&output).contains("VALID") && out(&output).contains("leaves then"));
            let mut bytes = exported.bytes.to_vec();
            bytes[60] ^= 1;
            std::fs::write(&file, bytes).unwrap();
            ended_with(&house.run(&arguments).await, 1);
        }
    }
    // Other lists are not signed.
    let refused = town.get("/v1/user/credentials?format=csv.manifest", &anne).answer().await;
    assert!(!refused.is_done());
    house.finish().await;
}

/// The origin of the log that grows, once it has a leaf.
async fn origin(house: &House) -> String {
    let town = house.town();
    until("a checkpoint", async || {
        let answer = town.call(Method::GET, "/v1/audit/checkpoint", None).answer().await;
        let note = answer.is_done().then(|| answer.text())?;
        note.lines().next().map(str::to_owned)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_backup_that_is_restored_is_found_to_be_a_fork_and_goes_on_elsewhere() {
    let mut house = House::on_sqlite();
    house.start().await;
    let (anne, _) = lived_in(&house).await;
    let old = house.folder().join("old");
    ended_with(&house.run(&["backup", "create", "--with-keys", text(&old)]).await, 0);
    house.town().credential(&anne, "Later").await;
    logged(&house.town(), &anne).await;
    let first = origin(&house).await;
    let late = checkpoint(&house, "late.txt").await;
    // What the data folder remembers itself comes within seconds.
    let size = |note: &str| note.lines().nth(1).unwrap().parse::<u64>().unwrap();
    let wanted = size(&std::fs::read_to_string(&late).unwrap());
    let memory = house.data().join("log.checkpoint");
    until("the machine remembers it", async || {
        let kept = std::fs::read_to_string(&memory).ok()?;
        (size(&kept) >= wanted).then_some(())
    })
    .await;
    house.stop().await;

    // Once by what the old folder remembers, and once by a checkpoint that was saved elsewhere.
    for (place, brought) in [("by-memory", false), ("by-checkpoint", true)] {
        let restored = house.folder().join(place);
        let mut arguments = vec!["restore", text(&old), "--to", text(&restored)];
        if brought {
            // A machine that is new to the log.
            let new = house.folder().join("new");
            house.set("VERZA_STORAGE_DATA_DIR", text(&new));
            arguments.extend(["--checkpoint", text(&late)]);
        }
        let output = house.run(&arguments).await;
        ended_with(&output, 0);
        assert!(out(&output).contains("has signed more than this backup"), "{}", out(&output));
        house.set("VERZA_STORAGE_DATA_DIR", text(&restored));
        house.start().await;
        assert_eq!(origin(&house).await, format!("{first}-2"), "{place}");
        let anne = house.town().login(&anne.email).await;
        logged(&house.town(), &anne).await;
        // Whoever has seen the old log sees that it was closed, and not another history of it.
        let closed = format!("/v1/audit/of/{}/checkpoint", first.rsplit('/').next().unwrap());
        let town = house.town();
        let closed = town.call(Method::GET, &closed, None).answer().await.text();
        assert!(size(&closed) < wanted, "{closed}");
        house.stop().await;
    }
    house.finish().await;
}

/// Where the bytes of a file are in a data folder, found by what is in them.
fn blob_with(folder: &Path, bytes: &[u8]) -> PathBuf {
    let folders = std::fs::read_dir(folder.join("blobs")).unwrap();
    let files = folders.flat_map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap());
    let mut paths = files.map(|entry| entry.unwrap().path());
    paths.find(|path| std::fs::read(path).unwrap() == bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_lost_is_named_and_costs_no_other_its_backup() {
    let mut house = House::on_sqlite();
    house.start().await;
    let (anne, whole) = lived_in(&house).await;
    let mut lost = Vec::new();
    for text in ["gone", "cut", "altered"] {
        let file = house.town().upload(&anne, "a.pdf", &pdf(text)).await;
        lost.push((file, blob_with(&house.data(), &pdf(text))));
    }
    house.stop().await;
    std::fs::remove_file(&lost[0].1).unwrap();
    std::fs::write(&lost[1].1, "%PDF").unwrap();
    std::fs::write(&lost[2].1, pdf("ALTERED")).unwrap();

    // Somebody else is still making one of these.
    let [dead, alive] = ["0123abcd", "4567abcd"]
        .map(|chance| house.folder().join(format!(".backup.{chance}.partial")));
    std::fs::create_dir(&dead).unwrap();
    std::fs::create_dir(&alive).unwrap();
    let working = std::fs::File::open(&alive).unwrap();
    working.try_lock().unwrap();

    let backup = house.folder().join("backup");
    let made = house.run(&["backup", "create", text(&backup), "--with-keys"]).await;
    ended_with(&made, 1);
    assert_eq!((dead.exists(), alive.exists()), (false, true));
    for (file, path) in &lost {
        let path = path.strip_prefix(house.data()).unwrap();
        let line = format!("verza: {file}: {}", text(path));
        assert!(err(&made).contains(&line), "{line} in {}", err(&made));
    }
    let (output, found) = report(&house, &backup, &[]).await;
    ended_with(&output, 1);
    assert_eq!(outcome(&found, "originals"), "broken");
    for name in ["origin", "bytes", "files"] {
        assert_eq!(outcome(&found, name), "proved", "{name} {found:#}");
    }
    let named = found["manifest"]["damaged"].as_array().unwrap();
    let what = |file: &str| named.iter().find(|it| it["file"] == file).unwrap()["what"].clone();
    assert_eq!(
        [what(&lost[0].0), what(&lost[1].0), what(&lost[2].0)],
        ["missing", "missing", "altered"]
    );

    let restored = house.folder().join("restored");
    let answer = house.run(&["restore", text(&backup), "--to", text(&restored)]).await;
    ended_with(&answer, 0);
    assert!(out(&answer).contains(&lost[0].0), "{}", out(&answer));
    house.set("VERZA_STORAGE_DATA_DIR", text(&restored));
    house.start().await;
    let content = |file: &str| format!("/v1/files/{file}/content");
    let town = house.town();
    let anne = town.login(&anne.email).await;
    assert_eq!(town.get(&content(&whole), &anne).answer().await.status, 200);
    assert_ne!(town.get(&content(&lost[0].0), &anne).answer().await.status, 200);
    house.finish().await;
}

#[tokio::test]
async fn what_cannot_be_backed_up_or_restored_is_said_in_a_sentence() {
    let mut house = House::on_sqlite();
    house.start().await;
    house.stop().await;
    let full = house.folder().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("file"), "there").unwrap();
    let answer = house.run(&["backup", "create", text(&full)]).await;
    refused(&answer, 1, "is not empty");
    let blocked = full.join("file/backup");
    refused(&house.run(&["backup", "create", text(&blocked)]).await, 4, "cannot be written");
    let nowhere = house.folder().join("no/such/folder/backup");
    refused(&house.run(&["backup", "create", text(&nowhere)]).await, 4, "cannot be written");

    let backup = house.folder().join("backup");
    ended_with(&house.run(&["backup", "create", text(&backup)]).await, 0);
    let answer = house.run(&["restore", text(&backup), "--to", text(&full)]).await;
    refused(&answer, 1, "is not empty");
    let answer = house.run(&["restore", text(&backup), "--to", text(&blocked)]).await;
    refused(&answer, 4, "cannot be written");
    refused(&house.run(&["backup", "verify", text(&full)]).await, 4, "is no backup");
    let left: Vec<_> = std::fs::read_dir(house.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".partial"))
        .collect();
    assert_eq!(left, [""; 0], "what was begun is gone");
    house.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_on_postgres_is_backed_up_and_comes_back_in_a_folder() {
    let mut house = House::on_postgres().await;
    house.start().await;
    let (anne, file) = lived_in(&house).await;
    let stop = Arc::new(AtomicBool::new(false));
    let busy = keep_busy(house.town(), anne.clone(), stop.clone());
    let backup = house.folder().join("backup");
    let made = house.run(&["backup", "create", text(&backup), "--with-keys"]).await;
    stop.store(true, Ordering::Relaxed);
    ended_with(&made, 0);
    assert!(busy.await.unwrap() > 0);
    house.stop().await;
    let (output, found) = report(&house, &backup, &[]).await;
    ended_with(&output, 0);
    assert_eq!(found["manifest"]["engine"], "postgres");
    for name in ["origin", "bytes", "integrity", "tables", "ledger", "log", "files", "keys"] {
        assert_eq!(outcome(&found, name), "proved", "{name} {found:#}");
    }
    let restored = house.folder().join("restored");
    ended_with(&house.run(&["restore", text(&backup), "--to", text(&restored)]).await, 0);

    // Another house, in which nothing is but what was restored.
    let mut other = House::on_sqlite();
    other.set("VERZA_STORAGE_DATA_DIR", text(&restored));
    other.start().await;
    let town = other.town();
    let anne = town.login(&anne.email).await;
    let content = town.get(&format!("/v1/files/{file}/content"), &anne).answer().await;
    assert_eq!(content.bytes, pdf("the document"));
    logged(&town, &anne).await;
    other.finish().await;
    house.finish().await;
}
