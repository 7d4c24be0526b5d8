//! A lived-in store moved from SQLite to PostgreSQL and back, interrupted wherever it can be.

use std::path::{Path, PathBuf};

use kernel::{Error, Result};
use platform::blob::{Blobs, S3Server};
use platform::db::{Db, SqliteOptions};
use platform::params;
use platform::testing::TestDb;
use verza::custody::relocate::{Files, FilesMoved, Moved, Stage, Step, Store, relocate};
use verza::demo::client::Client;
use verza::demo::story::{self, Stage as Scene};
use verza::wiring::{self, MIGRATIONS};

use crate::house::House;
use crate::town::pdf;
use crate::world::Stage as Platform;

/// More rows than one piece, so that a piece's border is not a table's.
const MAILS: i64 = 1_200;

/// A folder in which the demo's story has been played, and then some.
async fn lived_in() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let place = data.clone();
    let stage = Platform::with(move |config| config.storage.data_dir = place).await;
    let running = &stage.running;
    let scene = Scene {
        client: Client::new(running.local_url()).unwrap(),
        ops_url: format!("http://{}", running.ops_address),
        setup_link: running.platform.first_setup_link().await.unwrap().unwrap(),
        export_to: folder.path().join("diploma.verza.json"),
        password: "seven quiet herons at dusk".into(),
    };
    story::play(&scene, &mut |_| ()).await.unwrap();
    fill_up(&running.platform.db).await;
    stage.finish().await;
    folder
}

async fn fill_up(db: &Db) {
    db.run("fill", |tx| async move {
        for number in 0..MAILS {
            let id = uuid::Uuid::from_u64_pair(9, number.unsigned_abs());
            let sql = "INSERT INTO mail_sink
                           (id, recipient, template, subject, text, html, created_at)
                       VALUES ($1, 'x@example.com', 't', 's', $2, '\u{fc}', $3)";
            tx.execute(sql, params![id, format!("mail {number}"), number]).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

async fn postgres() -> (TestDb, Store) {
    let test = TestDb::postgres(MIGRATIONS).await;
    let store = Store::parse(&test.postgres_url().unwrap()).unwrap();
    (test, store)
}

fn sqlite(folder: &Path) -> Store {
    Store::parse(&format!("sqlite:{}", folder.display())).unwrap()
}

async fn once(from: &Store, to: &Store) -> Result<Moved> {
    run(from, to, |_| Ok(())).await
}

/// One run. A server takes a moment to notice that a connection has gone.
async fn run(
    from: &Store,
    to: &Store,
    tell: impl Fn(Step<'_>) -> Result<()> + Copy,
) -> Result<Moved> {
    run_with(from, to, None, tell).await
}

async fn run_with(
    from: &Store,
    to: &Store,
    files: Option<&Files>,
    tell: impl Fn(Step<'_>) -> Result<()> + Copy,
) -> Result<Moved> {
    loop {
        let moved = relocate(from, to, files, &platform::world::system(), tell).await;
        match moved {
            Err(error) if error.code() == "store_in_use" => tokio::task::yield_now().await,
            moved => return moved,
        }
    }
}

/// Cut off as soon as something has arrived.
fn cut(step: Step<'_>) -> Result<()> {
    match step.stage {
        Stage::Copy => Err(Error::unavailable("cut", "the cable")),
        Stage::Begin | Stage::Compare | Stage::Files => Ok(()),
    }
}

/// Moves everything; each run is cut off behind the first piece that it brings over.
async fn in_pieces(from: &Store, to: &Store) -> (u32, Moved) {
    for number in 0.. {
        match run(from, to, cut).await {
            Ok(moved) => return (number, moved),
            Err(error) => assert_eq!(error.code(), "cut", "{error}"),
        }
        if number == 3 {
            is_served_by_nobody(to).await;
        }
    }
    unreachable!("every run brings something over")
}

/// A half-filled store is no platform.
async fn is_served_by_nobody(store: &Store) {
    let mut config = verza::config::Config::default();
    let folder = tempfile::tempdir().unwrap();
    config.storage.data_dir = folder.path().join("data");
    match store {
        Store::Sqlite(folder) => config.storage.data_dir.clone_from(folder),
        Store::Postgres(url) => config.database.url = Some(url.clone()),
    }
    config.secrets.master_key = Some("0123456789abcdef".repeat(4).into());
    let refused = wiring::open_platform(&config).await.err().expect("it is not whole");
    assert_eq!(refused.code(), "store_half_filled");
}

fn sums(moved: &Moved) -> Vec<(&str, u64, &str)> {
    let tables = moved.tables.iter();
    tables.map(|table| (table.table.as_str(), table.rows, table.sha256.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lived_in_store_moves_to_postgres_and_back_in_pieces() {
    let folder = lived_in().await;
    let old = sqlite(&folder.path().join("data"));
    let (test, new) = postgres().await;
    let (runs, moved) = in_pieces(&old, &new).await;
    assert!(moved.is_whole() && moved.resumed, "{moved:#?}");
    assert_eq!(moved.copied, 0, "the last run only compares");
    let of = |name: &str| moved.tables.iter().find(|table| table.table == name).unwrap().rows;
    assert!(of("mail_sink") >= 1_200 && of("facts") > 20 && of("ledger_entry") > 5, "{moved:#?}");
    assert!(runs > 30, "every table and every piece was a border: {runs}");

    let again = once(&old, &new).await.unwrap_err();
    assert_eq!(again.code(), "target_not_empty");
    let home: PathBuf = folder.path().join("home");
    let (_, back) = in_pieces(&new, &sqlite(&home)).await;
    assert!(back.is_whole(), "{back:#?}");
    assert_eq!(sums(&back).len(), sums(&moved).len());
    let mut there = sums(&moved);
    let mut here = sums(&back);
    there.sort_unstable();
    here.sort_unstable();
    assert_eq!(there, here);
    test.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_moved_is_said_and_left_alone() {
    let folder = lived_in().await;
    let data = folder.path().join("data");
    let old = sqlite(&data);
    let (test, new) = postgres().await;

    let nothing = sqlite(&folder.path().join("nothing"));
    assert_eq!(once(&nothing, &new).await.unwrap_err().code(), "no_database");
    assert!(!folder.path().join("nothing").exists());
    // Another Verza has the folder.
    let lock = std::fs::File::open(data.join("verza.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(once(&old, &new).await.unwrap_err().code(), "data_dir_in_use");
    lock.unlock().unwrap();

    // The source changes between two runs.
    assert_eq!(run(&old, &new, cut).await.unwrap_err().code(), "cut");
    let options = SqliteOptions::at(data.join("verza.db"));
    let db = Db::open_sqlite(&options, platform::world::system()).unwrap();
    let drop_one = "DELETE FROM mail_sink WHERE created_at = 7";
    db.run("drop", |tx| async move { Ok(tx.execute(drop_one, &[]).await?) }).await.unwrap();
    db.close().await;
    drop(db);
    assert_eq!(once(&old, &new).await.unwrap_err().code(), "another_move");
    test.finish().await;

    // A row of the target is altered on the way: both sides are compared.
    let (test, new) = postgres().await;
    let altered =
        run(&old, &new, |step| if step.table == "mail_sink" { cut(step) } else { Ok(()) });
    assert_eq!(altered.await.unwrap_err().code(), "cut");
    let sql = "UPDATE mail_sink SET text = 'other' WHERE created_at = 3";
    test.db.run("alter", |tx| async move { Ok(tx.execute(sql, &[]).await?) }).await.unwrap();
    test.db.close().await;
    let moved = once(&old, &new).await.unwrap();
    let differing: Vec<_> = moved.tables.iter().filter(|table| table.differs.is_some()).collect();
    assert!(!moved.is_whole());
    assert_eq!(differing.len(), 1, "{differing:#?}");
    assert_eq!(differing[0].table, "mail_sink");
    is_served_by_nobody(&new).await;
    test.finish().await;
}

/// What a target store of files holds, and when each file was written.
fn written(folder: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let files = files_below(&folder.join("blobs")).into_iter();
    let mut files: Vec<_> =
        files.map(|path| (path.clone(), path.metadata().unwrap().modified().unwrap())).collect();
    files.sort();
    files
}

/// Makes files of the platform by its own service, one of them larger than any buffer.
async fn upload_some(data: &Path) {
    let place = data.to_owned();
    let stage = Platform::with(move |config| config.storage.data_dir = place).await;
    let town = stage.town();
    let anne = town.join("Anne", "user").await;
    for number in 0..6 {
        let words = "a page ".repeat(if number == 3 { 300_000 } else { 10 * number + 1 });
        town.upload(&anne, "diploma.pdf", &pdf(&words)).await;
    }
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_goes_on_among_the_files_and_copies_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    upload_some(&data).await;
    let world = platform::world::system;
    let (old, place) = (sqlite(&data), folder.path().join("files"));
    let blobs = |folder: &Path| Blobs::on_disk(folder, world()).unwrap();
    let files = Files { from: blobs(&data), to: blobs(&place) };
    let (test, new) = postgres().await;
    // Killed behind the last row, then behind the second and the fourth file.
    let killed_at = |count: u64| {
        move |step: Step<'_>| match step.stage {
            Stage::Files if step.rows == count => Err(Error::unavailable("cut", "the cable")),
            Stage::Compare if count == 0 => Err(Error::unavailable("cut", "the cable")),
            _ => Ok(()),
        }
    };
    let mut before = Vec::new();
    for count in [0, 2, 4] {
        let cut = run_with(&old, &new, Some(&files), killed_at(count)).await.unwrap_err();
        assert_eq!(cut.code(), "cut", "{cut:?}");
        let now = written(&place);
        assert_eq!(now.len() as u64, count, "nothing is there but whole files");
        assert!(before.iter().all(|file| now.contains(file)), "none was written again");
        before = now;
        is_served_by_nobody(&new).await;
    }
    // Killed in the middle of a file: what kill -9 leaves of a writer.
    let mut writer = files.to.writer(1 << 20).await.unwrap();
    writer.write(vec![7; 400_000].into()).await.unwrap();
    std::mem::forget(writer);
    // A file that was damaged since is none that is there.
    let (damaged, _) = before[0].clone();
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[9] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();

    let moved = run_with(&old, &new, Some(&files), |_| Ok(())).await.unwrap();
    assert!(moved.is_whole() && moved.resumed, "{moved:#?}");
    assert_eq!(moved.copied, 0, "no row was copied again");
    assert_eq!(moved.files, Some(FilesMoved { copied: 3, there: 3 }));
    let now = written(&place);
    assert!(before[1..].iter().all(|file| now.contains(file)), "only the damaged one again");
    let contents = |folder: &Path| {
        let files = files_below(&folder.join("blobs")).into_iter();
        let name = |path: &Path| path.file_name().unwrap().to_owned();
        let files = files.map(|path| (name(&path), std::fs::read(&path).unwrap()));
        files.collect::<std::collections::BTreeMap<_, _>>()
    };
    assert!(contents(&data) == contents(&place), "both sides hold the same bytes");
    assert_eq!(files_below(&place).len(), 6, "nothing half written is left");
    assert_eq!(once(&old, &new).await.unwrap_err().code(), "target_not_empty");
    test.finish().await;
}

/// Every file below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_moves_its_files_into_a_bucket_and_is_backed_up_from_there() {
    let mut house = House::on_sqlite();
    house.start().await;
    let town = house.town();
    let anne = town.join("Anne", "user").await;
    let file = town.upload(&anne, "diploma.pdf", &pdf("the document")).await;
    house.stop().await;
    let bucket = S3Server::start().await;
    let options = bucket.options();
    for (name, value) in [
        ("VERZA_FILES_S3_BUCKET", options.bucket.as_str()),
        ("VERZA_FILES_S3_ENDPOINT", &options.endpoint),
        ("VERZA_FILES_S3_REGION", &options.region),
        ("VERZA_FILES_S3_PATH_STYLE", "true"),
        ("VERZA_FILES_S3_ACCESS_KEY", &options.access_key),
        ("VERZA_FILES_S3_SECRET_KEY", "a forged one"),
    ] {
        house.set(name, value);
    }
    let test = TestDb::postgres(MIGRATIONS).await;
    let (from, to) = (format!("sqlite:{}", house.data().display()), test.postgres_url().unwrap());
    let arguments = ["migrate-data", "--from", &from, "--to", &to, "--files-to", "s3"];
    // The bucket's server looks at signatures.
    let refused = house.run(&arguments).await;
    assert_ne!(refused.status.code(), Some(0), "{refused:?}");
    assert!(files_below(bucket.folder.path()).iter().all(|path| !holds(path, "the document")));
    house.set("VERZA_FILES_S3_SECRET_KEY", options.secret_key.expose());
    let moved = house.run(&arguments).await;
    let told = String::from_utf8_lossy(&moved.stdout).into_owned();
    assert_eq!(moved.status.code(), Some(0), "{told}{}", String::from_utf8_lossy(&moved.stderr));
    assert!(told.contains("1 files copied"), "{told}");
    assert!(files_below(bucket.folder.path()).iter().any(|path| holds(path, "the document")));

    let key = std::fs::read_to_string(house.data().join("master.key")).unwrap();
    std::fs::rename(house.data(), house.folder().join("old")).unwrap();
    house.set("VERZA_DATABASE_URL", &to);
    house.set("VERZA_SECRETS_MASTER_KEY", &key);
    house.start().await;
    let town = house.town();
    let anne = town.login(&anne.email).await;
    let content = town.get(&format!("/v1/files/{file}/content"), &anne).answer().await;
    assert_eq!(content.bytes, pdf("the document"));
    let (backup, back) = (house.folder().join("backup"), house.folder().join("back"));
    let (backup, back) = (backup.to_str().unwrap(), back.to_str().unwrap());
    for arguments in [
        &["backup", "create", backup][..],
        &["backup", "verify", backup],
        &["restore", backup, "--to", back],
    ] {
        let done = house.run(arguments).await;
        assert_eq!(done.status.code(), Some(0), "{arguments:?} {done:?}");
    }
    assert!(files_below(Path::new(back)).iter().any(|path| holds(path, "the document")));
    house.finish().await;
    test.finish().await;
}

fn holds(path: &Path, words: &str) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes == pdf(words))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_goes_on_in_postgres_where_it_was() {
    let mut house = House::on_sqlite();
    house.start().await;
    let town = house.town();
    let anne = town.join("Anne", "user").await;
    let file = town.upload(&anne, "diploma.pdf", &pdf("the document")).await;
    let test = TestDb::postgres(MIGRATIONS).await;
    let (from, to) = (format!("sqlite:{}", house.data().display()), test.postgres_url().unwrap());
    let files = house.folder().join("files");
    let arguments = ["migrate-data", "--from", &from, "--to", &to, "--files-to"];
    let arguments: Vec<&str> = arguments.into_iter().chain(files.to_str()).collect();
    let refused = house.run(&arguments).await;
    assert_eq!(refused.status.code(), Some(4), "a server runs: {refused:?}");
    house.stop().await;

    let moved = house.run(&arguments).await;
    let told = String::from_utf8_lossy(&moved.stdout).into_owned();
    assert_eq!(moved.status.code(), Some(0), "{told}{}", String::from_utf8_lossy(&moved.stderr));
    assert!(told.contains("same on both sides") && told.contains("1 files copied"), "{told}");
    assert!(!told.contains("DIFFERS"), "{told}");
    let key = std::fs::read_to_string(house.data().join("master.key")).unwrap();
    std::fs::rename(house.data(), house.folder().join("old")).unwrap();
    house.set("VERZA_DATABASE_URL", &to);
    house.set("VERZA_SECRETS_MASTER_KEY", &key);
    house.set("VERZA_STORAGE_FILES_DIR", files.to_str().unwrap());
    house.start().await;
    let town = house.town();
    let anne = town.login(&anne.email).await;
    let content = town.get(&format!("/v1/files/{file}/content"), &anne).answer().await;
    assert_eq!(content.bytes, pdf("the document"));
    // Nobody takes a database away from under a server.
    let back = format!("sqlite:{}", house.folder().join("back").display());
    let refused = house.run(&["migrate-data", "--from", &to, "--to", &back]).await;
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    house.stop().await;
    let check = house.run(&["ledger", "check"]).await;
    assert_eq!(check.status.code(), Some(0));
    house.finish().await;
    test.finish().await;
}
