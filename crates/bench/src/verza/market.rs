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

/// The id under which a row is told of: a TypeID over the row's sixteen bytes.
pub fn id(prefix: &str, number: u64) -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let bits = u128::from_be_bytes(row_id(number));
    let letter = |place: u32| char::from(LETTERS[(bits >> (5 * place)) as usize & 31]);
    let letters: String = (0..26).rev().map(letter).collect();
    format!("{prefix}_{letters}")
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
    put_judged(connection, owner, &verifier, count)
}

/// `count` jobs that this user was paid for, who becomes a verifier.
pub fn put_paid(connection: &Connection, user: &[u8], count: u64) -> Result<()> {
    put_shops(connection, &[user.to_vec()])?;
    put_judged(connection, &row_id(1 << 30), user, count)
}

/// `count` disputes over the verdicts of this user, who becomes a verifier.
pub fn put_disputes(connection: &Connection, user: &[u8], count: u64) -> Result<()> {
    put_shops(connection, &[user.to_vec()])?;
    let owner = row_id(1 << 30);
    let mut insert = connection.prepare(
        "INSERT INTO disputes (id, verification, owner, verifier, ground, state, version, opened_at)
         VALUES (?1, ?1, ?2, ?3, 'other', 'open', 1, ?4)",
    )?;
    for number in 0..count {
        insert.execute(params![row_id(number), owner, user, EPOCH + number as i64])?;
    }
    Ok(())
}

/// `count` reviews of this user, who becomes a verifier.
pub fn put_reviews(connection: &Connection, user: &[u8], count: u64) -> Result<()> {
    put_shops(connection, &[user.to_vec()])?;
    let author = row_id(1 << 30);
    let mut insert = connection.prepare(
        "INSERT INTO reviews (id, verification, verifier, author, stars, text, at)
         VALUES (?1, ?1, ?2, ?3, 4, 'Good.', ?4)",
    )?;
    for number in 0..count {
        insert.execute(params![row_id(number), user, author, EPOCH + number as i64])?;
    }
    Ok(())
}

fn put_judged(connection: &Connection, owner: &[u8], verifier: &[u8], count: u64) -> Result<()> {
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

/// These users as verifiers, each with a service.
pub fn put_shops(connection: &Connection, users: &[Vec<u8>]) -> Result<()> {
    for (number, user) in (0..).zip(users) {
        let turn = "UPDATE users SET role = 'verifier', approved = 1 WHERE id = ?1";
        connection.execute(turn, [user])?;
        put_verifier(connection, user, &name(number), 0)?;
    }
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
