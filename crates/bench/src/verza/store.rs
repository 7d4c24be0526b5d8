//! The database file of a stopped instance: rows put in by the million, statements that repeat
//! Verza's own, and what is there after a crash.
//!
//! The tables are Verza's, made by its own migrations; only the rows come from here. That the
//! API shows them is part of every check.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

use crate::random::Random;
use crate::{Context, Result};

/// The instant of the first row put in, in microseconds: 2024-01-01.
const EPOCH: i64 = 1_704_067_200_000_000;
pub const TITLE: &str = "Diploma";
pub const KIND: &str = "Education";
pub const ISSUER: &str = "University of Lagos";
pub const ORIGIN: &str =
    r#"{"requestId":"01a202442efb7728963d05400cd0faaa","ip":"127.0.0.1","userAgent":null}"#;

/// What the database says of itself, for reading beside a running server.
pub fn open_to_look(file: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(file, flags).context(file.display())
}

/// An id that sorts by its number, as UUIDv7 (RFC 9562, 5.7) sorts by its time: a row a
/// millisecond from 2024 on.
pub fn row_id(number: u64) -> [u8; 16] {
    let milliseconds = EPOCH as u64 / 1000 + number;
    let mut id = [0; 16];
    id[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
    id[6] = 0x70;
    id[8] = 0x80;
    id[8..].copy_from_slice(&(0x8000_0000_0000_0000 | number).to_be_bytes());
    id
}

/// As [`row_id`], but with chance in its last bytes, and after all rows that were put in.
pub fn fresh_id(number: u64, random: &mut Random) -> [u8; 16] {
    const MUCH_LATER: u64 = 1 << 38;
    let mut id = row_id(MUCH_LATER + number);
    id[9..].copy_from_slice(&random.number().to_be_bytes()[1..]);
    id
}

/// The title under which row `number` is recognised; of the same length for all.
pub fn title(number: u64) -> String {
    format!("{TITLE} {number:09}")
}

/// The user with this address.
pub fn user(connection: &Connection, email: &str) -> Result<Vec<u8>> {
    let sql = "SELECT id FROM users WHERE email = ?1";
    connection.query_row(sql, [email], |row| row.get(0)).context(email)
}

/// Puts in rows without waiting for the disk, and folds the log into the file at the end.
pub fn fill(file: &Path, put: impl FnOnce(&Connection) -> Result<()>) -> Result<()> {
    let connection = Connection::open(file).context(file.display())?;
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; BEGIN")?;
    put(&connection)?;
    connection.execute_batch("COMMIT")?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    // What follows is measured: the file's pages are to be on disk and not on their way there.
    std::fs::File::open(file)?.sync_all()?;
    Ok(())
}

/// Verza's statement for a new credential.
const CREDENTIAL: &str =
    "INSERT INTO credentials (id, owner, title, kind, issuer_name, document_number, issue_date,
         expiry_date, status, file, file_sha256, search, version, created_at, updated_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'draft', ?9, ?10, ?11, 1, ?12, ?12)";

/// A draft, as the API makes one of the body that the generator sends.
pub fn insert_credential(
    connection: &Connection,
    id: &[u8],
    owner: &[u8],
    number: u64,
) -> rusqlite::Result<()> {
    let none = None::<&str>;
    let title = title(number);
    let search = format!("{title}\n{ISSUER}\n{KIND}").to_lowercase();
    let at = EPOCH + number as i64;
    let row = params![id, owner, title, KIND, ISSUER, none, none, none, none, none, search, at];
    connection.prepare_cached(CREDENTIAL)?.execute(row)?;
    Ok(())
}

/// A fact to be put in.
pub struct NewFact<'a> {
    pub id: &'a [u8],
    pub verb: &'a str,
    pub actor: &'a [u8],
    pub subject: &'a str,
    pub data: &'a str,
    pub salt: &'a [u8; 32],
    /// Users whom it concerns, its actor among them.
    pub parties: &'a [&'a [u8]],
}

/// Verza's statements for a fact: the row, and one for each whom it concerns.
pub fn insert_fact(connection: &Connection, fact: &NewFact<'_>) -> rusqlite::Result<()> {
    let NewFact { id, verb, actor, subject, data, salt, parties } = fact;
    let mut insert = connection.prepare_cached(
        "INSERT INTO facts (id, at, verb, actor, actor_role, subject, data, origin, salt)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    insert.execute(params![id, EPOCH, verb, actor, "user", subject, data, ORIGIN, salt])?;
    let mut concern =
        connection.prepare_cached("INSERT INTO fact_parties (party, fact) VALUES (?1, ?2)")?;
    for party in *parties {
        concern.execute(params![party, id])?;
    }
    Ok(())
}

/// What Verza writes for one new credential: row, fact and party. The number makes the row.
pub fn credential_unit(
    connection: &Connection,
    owner: &[u8],
    number: u64,
    random: &mut Random,
) -> rusqlite::Result<()> {
    let id = fresh_id(number, random);
    insert_credential(connection, &id, owner, number)?;
    let salt = salt(random);
    insert_fact(
        connection,
        &NewFact {
            id: &fresh_id(number, random),
            verb: "credential.created",
            actor: owner,
            subject: "c_01m8148bqvfkg86z6yna7qb7h0",
            data: r#"{"type":"Education"}"#,
            salt: &salt,
            parties: &[owner],
        },
    )
}

pub fn salt(random: &mut Random) -> [u8; 32] {
    let mut salt = [0; 32];
    for eight in salt.chunks_mut(8) {
        eight.copy_from_slice(&random.number().to_le_bytes());
    }
    salt
}

/// `count` credentials of an owner, oldest first: number 0 has the smallest id.
pub fn put_credentials(connection: &Connection, owner: &[u8], count: u64) -> Result<()> {
    for number in 0..count {
        insert_credential(connection, &row_id(number), owner, number)?;
    }
    Ok(())
}

/// `count` files of an owner, oldest first. Of their bytes there are none.
pub fn put_files(connection: &Connection, owner: &[u8], count: u64) -> Result<()> {
    let mut insert = connection.prepare(
        "INSERT INTO files (id, owner, name, media_type, size, sha256, blob, state, used_by,
             created_at)
         VALUES (?1, ?2, ?3, 'application/pdf', 1, ?4, ?5, 'stored', 0, ?6)",
    )?;
    for number in 0..count {
        let (id, name, blob) =
            (row_id(number), format!("{}.pdf", title(number)), format!("{number:032x}"));
        insert.execute(params![id, owner, name, [0_u8; 32], blob, EPOCH])?;
    }
    Ok(())
}

/// As [`put_facts`], but for the log of leaves, which has yet to read them.
pub fn put_unlogged_facts(connection: &Connection, actor: &[u8], count: u64) -> Result<()> {
    let sql = "SELECT seq FROM journal_readers WHERE name = 'trust.log'";
    let read: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    put_facts(connection, actor, count)?;
    let sql = "UPDATE journal_readers SET seq = ?1 WHERE name = 'trust.log'";
    connection.execute(sql, [read])?;
    Ok(())
}

/// `count` facts that all readers have read. The log of leaves does not have them; nothing
/// measured here reads both.
pub fn put_facts(connection: &Connection, actor: &[u8], count: u64) -> Result<()> {
    let mut random = Random::new(count);
    for number in 0..count {
        let salt = salt(&mut random);
        insert_fact(
            connection,
            &NewFact {
                id: &row_id(number),
                verb: "credential.created",
                actor,
                subject: &format!("c_{number:026}"),
                data: r#"{"type":"Education"}"#,
                salt: &salt,
                parties: &[actor],
            },
        )?;
    }
    connection.execute_batch(
        "UPDATE facts SET seq = placed.place FROM (
             SELECT id, (SELECT COALESCE(MAX(seq), 0) FROM facts)
                        + ROW_NUMBER() OVER (ORDER BY id) AS place
             FROM facts WHERE seq IS NULL
         ) AS placed WHERE facts.id = placed.id;
         UPDATE journal_readers SET seq = (SELECT COALESCE(MAX(seq), 0) FROM facts);",
    )?;
    Ok(())
}

/// `count` users, each with a session, none of which anybody will present.
pub fn put_sessions(connection: &Connection, count: u64) -> Result<()> {
    const LATER: i64 = 4_000_000_000_000_000;
    let mut random = Random::new(count);
    let mut user = connection.prepare(
        "INSERT INTO users (id, email, email_shown, name, role, status, approved,
             email_verified_at, password_hash, avatar, preferences, searchable, version,
             created_at, updated_at, last_login_at)
         SELECT ?1, ?2, ?2, name, role, status, approved, email_verified_at,
             password_hash, avatar, preferences, ?2, version, created_at, updated_at, last_login_at
         FROM users LIMIT 1",
    )?;
    let mut session = connection.prepare(
        "INSERT INTO sessions (id, user_id, cookie_hash, refresh_salt, refresh_generation,
             refreshed_at, ip, created_at, last_seen_at, expires_at, proven_at)
         VALUES (?1, ?2, ?3, ?4, 0, ?5, '127.0.0.1', ?5, ?5, ?6, ?5)",
    )?;
    for number in 0..count {
        let id = row_id(number);
        user.execute(params![id, format!("f{number:09}@x.example")])?;
        let (cookie, refresh) = (salt(&mut random), salt(&mut random));
        // Recent, so that no sweep of old sessions takes them.
        session.execute(params![id, id, cookie, refresh, LATER - 1, LATER])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_as_their_numbers_and_are_uuids_of_version_7() {
        let mut random = Random::new(1);
        let mut ids: Vec<[u8; 16]> = [0, 1, 255, 256, 999_999].map(row_id).to_vec();
        ids.push(fresh_id(0, &mut random));
        assert!(ids.is_sorted());
        for id in ids {
            assert_eq!((id[6] >> 4, id[8] >> 6), (7, 2));
        }
        assert_ne!(fresh_id(5, &mut random), fresh_id(5, &mut random));
    }

    #[test]
    fn a_filled_database_has_its_rows_in_the_file_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.db");
        let connection = Connection::open(&file).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 CREATE TABLE credentials (id BLOB PRIMARY KEY, owner, title, kind, issuer_name,
                     document_number, issue_date, expiry_date, status, file, file_sha256, search,
                     version, created_at, updated_at);",
            )
            .unwrap();
        drop(connection);
        fill(&file, |connection| put_credentials(connection, b"owner", 100)).unwrap();
        let log = folder.path().join("x.db-wal");
        assert!(!log.exists() || std::fs::metadata(log).unwrap().len() == 0);
        let connection = open_to_look(&file).unwrap();
        let newest: String = connection
            .query_row("SELECT title FROM credentials ORDER BY id DESC", [], |row| row.get(0))
            .unwrap();
        assert_eq!(newest, title(99));
    }
}
