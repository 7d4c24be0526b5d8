//! Path 3: one row by its key, for the bearer of an EdDSA token, out of a million.

use std::rc::Rc;
use std::time::Duration;

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

const CONNECTIONS: usize = 32;
const ROWS: u64 = 1_000_000;

const STATEMENT: &str = "SELECT id, owner, title, kind, issuer_name, document_number, issue_date,
    expiry_date, status, file, file_sha256, issued, verified_at, valid_until, version, created_at,
    updated_at, deleted_at FROM credentials WHERE id = ?1";

pub const BY_KEY: Declared = Declared {
    spec: Spec {
        name: "GET /v1/user/credentials/{id} by bearer token, any of 1e6, 32 connections",
        reference: "bare-axum and one point read of the same row",
        unit: "req/s",
        reference_unit: "req/s",
        better: Better::Higher,
        floor: 0.75,
        goal: 0.92,
        durable: false,
    },
    prepare: |bench| Ok(Box::new(Read::prepare(bench)?)),
};

/// Asks for any row, and looks for its title in the answer.
struct Looking<W> {
    random: Random,
    write: W,
    number: u64,
}

impl<W: FnMut(&mut Vec<u8>, u64)> Script for Looking<W> {
    fn request<'a>(&'a mut self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        self.number = self.random.below(ROWS);
        (self.write)(scratch, self.number);
        scratch
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        let title = store::title(self.number);
        let found = answer.body.windows(title.len()).any(|part| part == title.as_bytes());
        if answer.status == 200 && found {
            return Ok(());
        }
        let (number, found) = (self.number, answer.describe());
        Err(Failure::new(format!("not the row {number}: {found}")))
    }
}

/// The id of a row as the API writes it behind its kind: Crockford's base32 of its 128 bits.
pub(super) fn typed(kind: &str, id: [u8; 16]) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let bits = u128::from_be_bytes(id);
    let digits = (0..26).rev().map(|place| ALPHABET[(bits >> (5 * place)) as usize & 31]);
    format!("{kind}_{}", digits.map(char::from).collect::<String>())
}

fn drive(server: &Server, write: impl Fn(&mut Vec<u8>, u64) + 'static) -> Result<Driven> {
    let write = Rc::new(write);
    let script = |seed| {
        let write = write.clone();
        let write = move |out: &mut Vec<u8>, number| write(out, number);
        Box::new(Looking { random: Random::new(seed), write, number: 0 }) as Box<dyn Script>
    };
    Driven::new(server.address(), (0..CONNECTIONS as u64).map(script).collect())
}

struct Read {
    _verza: Verza,
    _bare: Server,
    ours: Driven,
    reference: Driven,
}

impl Read {
    fn prepare(bench: &Bench) -> Result<Read> {
        let verza = Verza::start(bench, &bench.folder("read")?)?;
        let owner: Person = people::join(&verza, 1)?.remove(0);
        let stopped = verza.stop()?;
        let database = stopped.database();
        let id = store::user(&store::open_to_look(&database)?, &owner.email)?;
        store::fill(&database, |connection| store::put_credentials(connection, &id, ROWS))?;
        let verza = Verza::start(bench, &stopped.folder)?;
        let template = Template::new("GET", verza.address()).bearer(&owner.bearer);
        // The same work on the wire: the reference is asked, and answers, with the same headers.
        let path = format!("/v1/user/credentials/{}", typed("c", store::row_id(0)));
        let mut first = Generator::connect(verza.address(), 1)?;
        let first = first.call(&template.request(&path, None, b""))?;
        first.json(200)?;
        let (headers, sql) = (first.given_headers(), STATEMENT.to_owned());
        let bare = bench.spawn_bare(&Content::Rows { headers, database, sql })?;
        let ours = drive(verza.server(), move |out, number| {
            let path = format!("/v1/user/credentials/{}", typed("c", store::row_id(number)));
            template.write(out, &path, None, b"");
        })?;
        let template = Template::new("GET", bare.address()).bearer(&owner.bearer);
        let reference = drive(&bare, move |out, number| {
            let id = bytes_parameter(&store::row_id(number));
            template.write(out, &format!("/?{id}"), None, b"");
        })?;
        Ok(Read { _verza: verza, _bare: bare, ours, reference })
    }
}

impl Workload for Read {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        let driven = side.pick(&mut self.ours, &mut self.reference);
        Ok(Slice::rate(driven.run(length)?))
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        // Each answer was judged to hold its own row.
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_typeid_does() {
        // TypeID 0.3, valid.json: the suffix of "prefix_01h455vb4pex5vsknk084sn02q".
        let id = 0x0189_0a5d_ac96_774b_bcce_b302_099a_8057_u128.to_be_bytes();
        assert_eq!(typed("c", id), "c_01h455vb4pex5vsknk084sn02q");
    }
}
