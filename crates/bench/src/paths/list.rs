//! Path 5: a page of an owner's rows, at any depth of a million.

use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Connection;

use crate::bare::http::Content;
use crate::bare::rows::bytes_parameter;
use crate::bench::Bench;
use crate::client::{Answer, Template};
use crate::failure::{Failure, Result};
use crate::load::{Driven, Generator, Script};
use crate::process::Server;
use crate::random::Random;
use crate::verza::people::{self, Person};
use crate::verza::{Verza, store};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

pub(super) const CONNECTIONS: usize = 32;
const ROWS: u64 = 1_000_000;
pub(super) const CREDENTIALS: &str = "/v1/user/credentials";
pub(super) const FILES: &str = "/v1/files";
pub(super) const PAGE: u64 = 20;

/// The statement that Verza prepares for a page without a filter. It asks for one row more than it
/// shows, to know whether a page follows.
const STATEMENT: &str = "SELECT id, owner, title, kind, issuer_name, document_number, issue_date,
    expiry_date, status, file, file_sha256, issued, verified_at, valid_until, version, created_at,
    updated_at, deleted_at FROM credentials
    WHERE id < ?1 AND owner = ?2 AND deleted_at IS NULL ORDER BY id DESC LIMIT ?3 OFFSET ?4";

pub const PAGES: Declared = Declared {
    spec: Spec {
        name: "GET /v1/user/credentials?limit=20 at uniform depth of 1e6, 32 connections",
        reference: "bare-axum, the same prepared statement, 21 rows as JSON",
        unit: "pages/s",
        reference_unit: "pages/s",
        better: Better::Higher,
        floor: 0.75,
        goal: 0.92,
        durable: false,
    },
    prepare: |bench| Ok(Box::new(List::prepare(bench)?)),
};

/// What the generator asks for: any page that is full.
pub(super) struct Depths {
    random: Random,
    rows: u64,
}

impl Depths {
    pub(super) fn new(seed: u64, rows: u64) -> Depths {
        Depths { random: Random::new(seed), rows }
    }

    /// The number of the row after which the page begins; the page holds the twenty below it.
    fn next(&mut self) -> u64 {
        PAGE + 1 + self.random.below(self.rows - PAGE - 1)
    }
}

/// The cursor that Verza gives out after a row.
pub(super) fn cursor(number: u64) -> String {
    cursor_at(0, number)
}

/// As [`cursor`], of a list that is sorted by a key before the id.
pub(super) fn cursor_at(key: i64, number: u64) -> String {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&key.to_be_bytes());
    bytes[8..].copy_from_slice(&store::row_id(number));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Asks for pages, and looks for the first and the last title that have to be in the answer.
struct Paging<W> {
    depths: Depths,
    write: W,
    after: u64,
    /// How many rows the answer has.
    rows: u64,
}

impl<W: FnMut(&mut Vec<u8>, u64)> Script for Paging<W> {
    fn request<'a>(&'a mut self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        self.after = self.depths.next();
        (self.write)(scratch, self.after);
        scratch
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        // Near the ends, so that judging costs less than the page.
        const NEAR: usize = 700;
        let (start, end) = (answer.body.len().min(NEAR), answer.body.len().saturating_sub(NEAR));
        let first = store::title(self.after - 1);
        let last = store::title(self.after - self.rows);
        let found = contains(&answer.body[..start], &first) && contains(&answer.body[end..], &last);
        if answer.status == 200 && found {
            return Ok(());
        }
        let (after, found) = (self.after, answer.describe());
        Err(Failure::new(format!("not the page after row {after}: {found}")))
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Connections that turn the pages of an owner's list.
pub(super) fn drive(
    verza: &Verza,
    owner: &Person,
    rows: u64,
    list: &'static str,
) -> Result<Driven> {
    let template = Template::new("GET", verza.address()).header("cookie", &owner.cookie);
    let template = Rc::new(template);
    let script = |seed| {
        let template = template.clone();
        let write = move |out: &mut Vec<u8>, after| {
            let path = format!("{list}?limit={PAGE}&cursor={}", cursor(after));
            template.write(out, &path, None, b"");
        };
        let depths = Depths::new(seed, rows);
        Box::new(Paging { depths, write, after: 0, rows: PAGE }) as Box<dyn Script>
    };
    Driven::new(verza.address(), (0..CONNECTIONS as u64).map(script).collect())
}

fn drive_bare(server: &Server, owner: &[u8], cookie: &str, rows: u64) -> Result<Driven> {
    const FETCHED: u64 = PAGE + 1;
    let template = Rc::new(Template::new("GET", server.address()).header("cookie", cookie));
    let owner: Rc<str> = bytes_parameter(owner).into();
    let script = |seed| {
        let (template, owner) = (template.clone(), owner.clone());
        let write = move |out: &mut Vec<u8>, after| {
            let after = bytes_parameter(&store::row_id(after));
            template.write(out, &format!("/?{after}&{owner}&p=i:{FETCHED}&p=i:0"), None, b"");
        };
        let depths = Depths::new(seed, rows);
        Box::new(Paging { depths, write, after: 0, rows: FETCHED }) as Box<dyn Script>
    };
    Driven::new(server.address(), (0..CONNECTIONS as u64).map(script).collect())
}

struct List {
    verza: Verza,
    _bare: Server,
    ours: Driven,
    reference: Driven,
    owner: Person,
}

impl List {
    fn prepare(bench: &Bench) -> Result<List> {
        let verza = Verza::start(bench, &bench.folder("list")?)?;
        let owner = people::join(&verza, 1)?.remove(0);
        let stopped = verza.stop()?;
        let database = stopped.database();
        let id = store::user(&store::open_to_look(&database)?, &owner.email)?;
        store::fill(&database, |connection| store::put_credentials(connection, &id, ROWS))?;
        let verza = Verza::start(bench, &stopped.folder)?;
        // The same work on the wire: the reference is asked, and answers, with the same headers.
        let template = Template::new("GET", verza.address()).header("cookie", &owner.cookie);
        let path = format!("/v1/user/credentials?limit={PAGE}&cursor={}", cursor(ROWS / 2));
        let mut first = Generator::connect(verza.address(), 1)?;
        let first = first.call(&template.request(&path, None, b""))?;
        first.json(200)?;
        let (headers, sql) = (first.given_headers(), STATEMENT.to_owned());
        let bare = bench.spawn_bare(&Content::Rows { headers, database, sql })?;
        let ours = drive(&verza, &owner, ROWS, CREDENTIALS)?;
        let reference = drive_bare(&bare, &id, &owner.cookie, ROWS)?;
        Ok(List { verza, _bare: bare, ours, reference, owner })
    }

    /// Every row of many pages, the first and the last page among them.
    fn check_contents(&self) -> Result<()> {
        const PAGES: usize = 500;
        let mut api = Generator::connect(self.verza.address(), CONNECTIONS)?;
        let mut depths = Depths::new(7, ROWS);
        let mut after: Vec<u64> = (0..PAGES).map(|_| depths.next()).collect();
        after.extend([ROWS, PAGE + 1, 7]);
        let template = Template::new("GET", api.address()).header("cookie", &self.owner.cookie);
        let ask = |after: &u64| {
            let path = format!("/v1/user/credentials?limit={PAGE}&cursor={}", cursor(*after));
            template.request(&path, None, b"")
        };
        let requests: Vec<_> = after.iter().map(ask).collect();
        for (after, answer) in after.iter().zip(api.call_all(&requests)?) {
            let page = answer.json(200)?;
            let titles = page.as_array().into_iter().flatten().map(|row| row["title"].as_str());
            let wanted: Vec<String> =
                (after.saturating_sub(PAGE)..*after).rev().map(store::title).collect();
            if !titles.eq(wanted.iter().map(|title| Some(title.as_str()))) {
                return Err(Failure::new(format!("the page after row {after} is {page}")));
            }
        }
        Ok(())
    }
}

/// Whether a page is found by the index in page order: then it visits the rows it fetches and no
/// others, whatever its depth.
fn is_found_in_order(connection: &Connection) -> Result<bool> {
    let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {STATEMENT}"))?;
    let mut rows = plan.query([[0_u8; 16].as_slice(), &[0; 16], &[], &[]])?;
    let mut steps = Vec::new();
    while let Some(row) = rows.next()? {
        steps.push(row.get::<_, String>(3)?);
    }
    Ok(steps.len() == 1 && steps[0].contains("USING INDEX credentials_owner (owner=? AND id<?)"))
}

impl Workload for List {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        let driven = side.pick(&mut self.ours, &mut self.reference);
        Ok(Slice::rate(driven.run(length)?))
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        self.check_contents()?;
        let connection = store::open_to_look(&self.verza.database())?;
        if !is_found_in_order(&connection)? {
            return Err(Failure::new("a page is not found by the index alone"));
        }
        Ok(vec![Gauge {
            name: "rows visited a page, by the statement's plan and limit",
            unit: "",
            value: (PAGE + 1) as f64,
            better: Better::Lower,
            floor: 21.0,
            goal: 21.0,
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_key_of_zero_and_the_id_of_the_last_row() {
        let bytes = URL_SAFE_NO_PAD.decode(cursor(77)).unwrap();
        assert_eq!((&bytes[..8], &bytes[8..]), (&[0; 8][..], &store::row_id(77)[..]));
    }

    #[test]
    fn every_page_that_is_asked_for_is_a_full_one() {
        let mut depths = Depths::new(1, 30);
        let drawn: Vec<u64> = (0..1000).map(|_| depths.next()).collect();
        assert_eq!(drawn.iter().min(), Some(&(PAGE + 1)));
        assert_eq!(drawn.iter().max(), Some(&29));
    }
}
