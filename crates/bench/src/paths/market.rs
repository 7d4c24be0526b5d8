//! Path 16, of the marketplace: pages of verifiers and searches for one, pages of an owner's verifications and of the board.

use std::rc::Rc;

use crate::client::{Answer, Template};
use crate::failure::{Failure, Result};
use crate::load::{Driven, Script};
use crate::random::Random;
use crate::verza::people::Person;
use crate::verza::{Verza, market};

use super::list::{CONNECTIONS, PAGE, cursor, cursor_at};

/// Which list.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Of {
    Verifiers,
    /// One of them, by a word of the name.
    Search,
    Verdicts,
    Board,
    /// A verifier's paid jobs.
    Paid,
    /// Disputes of one side.
    Disputes,
    /// What was said of a verifier.
    Reviews,
}

impl Of {
    /// The path of the page after a row, and what its first row must say.
    fn ask(self, after: u64, rows: u64) -> (String, String) {
        match self {
            Of::Verifiers => {
                let rank = 5_000 * after as i64 / rows as i64;
                let path = "/v1/marketplace/verifiers";
                (page(path, &cursor_at(rank, after)), market::name(after - 1))
            }
            Of::Search => {
                let path = format!("/v1/marketplace/verifiers?limit={PAGE}&search=");
                (path + market::word(after - 1).as_str(), market::name(after - 1))
            }
            Of::Verdicts => {
                (page("/v1/user/verifications", &cursor(after)), market::notes(after - 1))
            }
            Of::Paid => {
                let path = "/v1/verifier/earnings/transactions";
                (page(path, &cursor(after)), market::id("vrf", after - 1))
            }
            Of::Disputes => (page("/v1/disputes", &cursor(after)), market::id("dsp", after - 1)),
            Of::Reviews => {
                (page("/v1/verifier/reviews", &cursor(after)), market::id("rv", after - 1))
            }
            // Every tenth row is of what the verifier does.
            Of::Board => {
                let first = (after - 1) / 10 * 10;
                (page("/v1/verifier/jobs/available", &cursor(after)), market::notes(first))
            }
        }
    }

    /// The rows that a full page begins behind.
    fn deepest(self) -> u64 {
        if self == Of::Board { (PAGE + 1) * 10 } else { PAGE + 1 }
    }
}

fn page(path: &str, cursor: &str) -> String {
    format!("{path}?limit={PAGE}&cursor={cursor}")
}

/// Asks for full pages at any depth, and looks for their first row.
struct Pages {
    of: Of,
    random: Random,
    rows: u64,
    template: Rc<Template>,
    wanted: String,
}

impl Script for Pages {
    fn request<'a>(&'a mut self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let deepest = self.of.deepest();
        let after = deepest + self.random.below(self.rows - deepest);
        let (path, wanted) = self.of.ask(after, self.rows);
        self.wanted = wanted;
        self.template.write(scratch, &path, None, b"");
        scratch
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        // The first row stands in front, so that judging costs less than the page.
        let start = &answer.body[..answer.body.len().min(700)];
        let is_there =
            start.windows(self.wanted.len()).any(|window| window == self.wanted.as_bytes());
        if answer.status == 200 && is_there {
            return Ok(());
        }
        Err(Failure::new(format!("no {} in {}", self.wanted, answer.describe())))
    }
}

/// Connections that turn the pages of a list.
pub(super) fn drive(verza: &Verza, person: &Person, rows: u64, of: Of) -> Result<Driven> {
    let template = Template::new("GET", verza.address()).header("cookie", &person.cookie);
    let template = Rc::new(template);
    let script = |seed| {
        let (random, template) = (Random::new(seed), template.clone());
        Box::new(Pages { of, random, rows, template, wanted: String::new() }) as Box<dyn Script>
    };
    Driven::new(verza.address(), (0..CONNECTIONS as u64).map(script).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_of_a_page_is_the_one_before_its_cursor() {
        assert_eq!(Of::Verdicts.ask(30, 100).1, market::notes(29));
        assert_eq!(Of::Board.ask(30, 100).1, market::notes(20));
        assert_eq!(Of::Board.ask(31, 100).1, market::notes(30));
        assert!(Of::Board.ask(Of::Board.deepest(), 1_000).1 >= market::notes(190));
    }
}
