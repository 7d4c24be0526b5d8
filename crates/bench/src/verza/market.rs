//! Rows of the marketplace, put in by the million.

use rusqlite::{Connection, params};

use super::store::row_id;
use crate::Result;

/// The instant of all that is put in, in microseconds: 2024-01-01.
const EPOCH: i64 = 1_704_067_200_000_000;
/// Long after it.
const LATER: i64 = 4_000_000_000_000_000;
const KIND: &str = "education";

/// The name under which verifier `number` is recognised.
pub fn name(number: u64) -> String {
    format!("Verifier {number:09}")
}

/// A word of that name which nobody else has.
pub fn word(number: u64) -> String {
    format!("{number:09}")
}

/// What a request says by which it is recognised.
pub fn notes(number: u64) -> String {
    format!("Request {number:09}")
}

/// `count` verifiers whom the marketplace shows, each with a service. They rank as they are numbered.
pub fn put_verifiers(connection: &Connection, count: u64) -> Result<()> {
    for number in 0..count {
        let rank = 5_000 * number as i64 / count.max(1) as i64;
        put_verifier(connection, &row_id(number), &name(number), rank)?;
    }
    Ok(())
}

/// A verifier with one service.
fn put_verifier(connection: &Connection, id: &[u8], name: &str, rank: i64) -> rusqlite::Result<()> {
    let text = name.to_lowercase();
    let mut verifier = connection.prepare_cached(
        "INSERT INTO verifiers (id, name, headline, bio, categories, jurisdiction, licence, status,
             approved, suspended, rating_sum, rating_count, rating_rank, jobs_done, search_text,
             search_name, category_keys, since, updated_at)
         VALUES (?1, ?2, '', '', '[]', '', '', 'listed', 1, 0, ?3, 1000, ?3, 0, ?4, ?4, '|', ?5,
             ?5)",
    )?;
    verifier.execute(params![id, name, rank, text, EPOCH])?;
    let mut service = connection.prepare_cached(
        "INSERT INTO services (id, verifier, place, title, title_key, category, category_key, price,
             currency, sla_hours, active)
         VALUES (?1, ?1, 0, 'Diplomas', 'diplomas', 'Education', ?2, 5000, 'USD', 72, 1)",
    )?;
    service.execute(params![id, KIND])?;
    Ok(())
}

const VERIFICATION: &str =
    "INSERT INTO verifications (id, owner, credential, kind, kind_key, verifier, service,
         service_title, price, currency, sla_hours, hold, state, was, version, notes, requested_at,
         due_at, board_until, jurisdiction, jurisdiction_key, language, ended_at, verdict, fee,
         refunded)
     VALUES (?1, ?2, ?1, 'Education', ?3, ?4, ?4, 'Diplomas', 5000, 'USD', 72, ?1, ?5, ?6, 1, ?7,
         ?8, ?9, ?10, '', '', '', ?11, ?12, ?13, 0)";

/// `count` verifications of an owner's that have had their verdict.
pub fn put_verdicts(connection: &Connection, owner: &[u8], count: u64) -> Result<()> {
    let verifier = row_id(1 << 30);
    put_verifier(connection, &verifier, "Global Verify", 0)?;
    let mut insert = connection.prepare(VERIFICATION)?;
    for number in 0..count {
        let at = EPOCH + number as i64;
        insert.execute(params![
            row_id(number),
            owner,
            KIND,
            verifier,
            "verified",
            "in_review",
            notes(number),
            at,
            at,
            None::<i64>,
            at,
            "verified",
            125
        ])?;
    }
    Ok(())
}

/// An enterprise of this user, with a verifier who verifies for it.
pub fn put_enterprise(connection: &Connection, user: &[u8]) -> Result<()> {
    let turn = "UPDATE users SET role = 'enterprise', approved = 1 WHERE id = ?1";
    connection.execute(turn, [user])?;
    put_verifier(connection, &row_id(0), "Global Verify", 0)?;
    Ok(())
}

/// A board of `count` requests, of which one in ten is of what this user verifies, who becomes a
/// verifier.
pub fn put_board(connection: &Connection, user: &[u8], count: u64) -> Result<()> {
    let turn = "UPDATE users SET role = 'verifier', approved = 1 WHERE id = ?1";
    connection.execute(turn, [user])?;
    put_verifier(connection, user, "Vera", 0)?;
    let others = row_id(1 << 30);
    let mut insert = connection.prepare(VERIFICATION)?;
    for number in 0..count {
        let kind = if number % 10 == 0 { KIND } else { "employment" };
        let (none, at) = (None::<&[u8]>, EPOCH + number as i64);
        insert.execute(params![
            row_id(number),
            others,
            kind,
            none,
            "open",
            "",
            notes(number),
            at,
            LATER,
            LATER,
            None::<i64>,
            None::<&str>,
            None::<i64>
        ])?;
    }
    Ok(())
}
