//! The statement: a text that people can read, signed as a C2SP signed note.
//!
//! ```text
//! verza.example/solvency
//! slv_01h455vb4pex5vsknk084sn02q
//! 2026-11-22T00:00:00Z
//! tree NGN 24 12 500000 kHzR...=
//! owed NGN li.wallet 500000
//! book NGN D as.clearing.sandbox 510000
//! book NGN C in.fee.job 10000
//! provider NGN sandbox 510000
//! ```
//!
//! `tree` says leaves, holders, what is owed to all of them, and the root's hash in base64; `owed`
//! what of it stands in which account of the books; `book` every other account, with the side on
//! which it grows; `provider` what a provider said is there, or `-` where it did not say.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Node, SolvencyError};

/// What is owed in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    pub leaves: u64,
    pub holders: u64,
    pub root: Node,
}

/// One line of one currency's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Owed to holders, and so counted in the tree.
    Owed { account: String, amount: u64 },
    /// Any other account: it may be below zero.
    Book { grows_by_debit: bool, account: String, balance: i64 },
    /// What a provider said it has for the platform.
    Provider { name: String, balance: Option<i64> },
}

/// A whole statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Who states it: `host/solvency`, the name of the key.
    pub origin: String,
    pub id: String,
    /// RFC 3339, in UTC.
    pub at: String,
    pub currencies: BTreeMap<String, (Sums, Vec<Line>)>,
}

impl Statement {
    /// Reads a statement's text, and checks what can be checked of it alone: that in every
    /// currency the tree's sum is what the books say is owed, and that debits equal credits.
    ///
    /// # Errors
    /// [`SolvencyError::Malformed`], [`SolvencyError::Books`].
    pub fn parse(text: &str) -> Result<Self, SolvencyError> {
        const SHORT: SolvencyError = SolvencyError::Malformed("origin, id and time are missing");
        let mut lines = text.lines();
        let mut head = || lines.next().filter(|line| !line.is_empty()).ok_or(SHORT);
        let (origin, id, at) = (head()?.to_owned(), head()?.to_owned(), head()?.to_owned());
        let mut currencies = BTreeMap::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            read(&words, &mut currencies).ok_or(SolvencyError::Malformed("a line"))?;
        }
        let statement = Self { origin, id, at, currencies };
        statement.check()?;
        Ok(statement)
    }

    fn check(&self) -> Result<(), SolvencyError> {
        for (currency, (sums, lines)) in &self.currencies {
            let (mut owed, mut balance) = (0_i128, 0_i128);
            for line in lines {
                match line {
                    Line::Owed { amount, .. } => owed += i128::from(*amount),
                    Line::Book { grows_by_debit: true, balance: it, .. } => {
                        balance += i128::from(*it);
                    }
                    Line::Book { balance: it, .. } => balance -= i128::from(*it),
                    Line::Provider { .. } => {}
                }
            }
            let leaves_fit = (sums.leaves == 0) == (sums.holders == 0)
                && sums.holders <= sums.leaves
                && (sums.leaves > 0 || sums.root.sum == 0);
            if owed != i128::from(sums.root.sum) || owed != balance || !leaves_fit {
                return Err(SolvencyError::Books(currency.clone()));
            }
        }
        Ok(())
    }

    /// What stands in accounts of this beginning, such as `as.clearing.`: all that a platform has
    /// at its providers, by its books.
    pub fn booked(&self, currency: &str, prefix: &str) -> i128 {
        let lines = self.currencies.get(currency).map_or(&[][..], |(_, lines)| lines);
        let of = |line: &Line| match line {
            Line::Book { account, balance, .. } if account.starts_with(prefix) => *balance,
            _ => 0,
        };
        lines.iter().map(|line| i128::from(of(line))).sum()
    }
}

fn read(words: &[&str], into: &mut BTreeMap<String, (Sums, Vec<Line>)>) -> Option<()> {
    if let ["tree", currency, leaves, holders, sum, root] = words {
        let hash = STANDARD.decode(root).ok()?.try_into().ok()?;
        let root = Node { hash, sum: number(sum)? };
        let sums = Sums { leaves: number(leaves)?, holders: number(holders)?, root };
        let before = into.insert((*currency).to_owned(), (sums, Vec::new()));
        return before.is_none().then_some(());
    }
    let (currency, line) = match words {
        ["owed", currency, account, amount] => {
            (currency, Line::Owed { account: (*account).to_owned(), amount: number(amount)? })
        }
        ["book", currency, side, account, balance] => {
            let grows_by_debit = match *side {
                "D" => true,
                "C" => false,
                _ => return None,
            };
            let (account, balance) = ((*account).to_owned(), number(balance)?);
            (currency, Line::Book { grows_by_debit, account, balance })
        }
        ["provider", currency, name, balance] => {
            let balance = if *balance == "-" { None } else { Some(number(balance)?) };
            (currency, Line::Provider { name: (*name).to_owned(), balance })
        }
        _ => return None,
    };
    into.get_mut(*currency)?.1.push(line);
    Some(())
}

/// A number as it is written here, and in no other way.
fn number<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.id, self.at)?;
        for (currency, (sums, lines)) in &self.currencies {
            let Sums { leaves, holders, root } = sums;
            let hash = STANDARD.encode(root.hash);
            writeln!(f, "tree {currency} {leaves} {holders} {} {hash}", root.sum)?;
            for line in lines {
                match line {
                    Line::Owed { account, amount } => {
                        writeln!(f, "owed {currency} {account} {amount}")?;
                    }
                    Line::Book { grows_by_debit, account, balance } => {
                        let side = if *grows_by_debit { 'D' } else { 'C' };
                        writeln!(f, "book {currency} {side} {account} {balance}")?;
                    }
                    Line::Provider { name, balance: Some(balance) } => {
                        writeln!(f, "provider {currency} {name} {balance}")?;
                    }
                    Line::Provider { name, balance: None } => {
                        writeln!(f, "provider {currency} {name} -")?;
                    }
                }
            }
        }
        Ok(())
    }
}
