use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::key::multikey::PublicKey;
use crate::log::note::{Note, VerifierKey};

const ORIGIN: &str = "verza.example/solvency";

fn leaves(amounts: &[u64]) -> Vec<Node> {
    let leaf = |(index, amount): (usize, &u64)| {
        Node::leaf(&[index as u8; 32], *amount, &format!("u_{index}"))
    };
    amounts.iter().enumerate().map(leaf).collect()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn known() -> Vec<VerifierKey> {
    vec![VerifierKey::new(ORIGIN, PublicKey::of(&key())).unwrap()]
}

fn statement(amounts: &[u64]) -> Statement {
    let leaves = leaves(amounts);
    let root = tree::root(&leaves).unwrap().unwrap();
    let count = leaves.len() as u64;
    let sum = root.sum;
    let sums = Sums { leaves: count, holders: count, root };
    let lines = vec![
        Line::Owed { account: "li.wallet".into(), amount: sum },
        Line::Book {
            grows_by_debit: true,
            account: "as.clearing.sandbox".into(),
            balance: i64::try_from(sum).unwrap() + 5,
        },
        Line::Book { grows_by_debit: false, account: "in.fee.job".into(), balance: 5 },
        Line::Provider { name: "sandbox".into(), balance: None },
    ];
    Statement {
        origin: ORIGIN.into(),
        id: "slv_1".into(),
        at: "2026-11-22T00:00:00Z".into(),
        currencies: BTreeMap::from([("NGN".to_owned(), (sums, lines))]),
    }
}

fn proof(amounts: &[u64], place: usize) -> Proof {
    let mut note = Note::new(statement(amounts).to_string()).unwrap();
    note.sign(ORIGIN, &key()).unwrap();
    let path = tree::path(&leaves(amounts), place).unwrap();
    let part = Part {
        currency: "NGN".into(),
        amount: amounts[place],
        blind: hex::encode([place as u8; 32]),
        place: place as u64,
        path: path.into_iter().map(Step::from).collect(),
    };
    Proof {
        kind: proof::TYPE.into(),
        statement: note.to_string(),
        holder: format!("u_{place}"),
        parts: vec![part],
    }
}

#[test]
fn a_statement_is_read_as_it_is_written() {
    let statement = statement(&[1, 2, 3]);
    assert_eq!(Statement::parse(&statement.to_string()).unwrap(), statement);
    assert_eq!(statement.booked("NGN", "as.clearing."), 11);
}

#[test]
fn books_that_contradict_themselves_are_refused() {
    let text = statement(&[1, 2, 3]).to_string();
    for (what, other) in [
        ("li.wallet 6", "li.wallet 5"),
        ("sandbox 11", "sandbox 12"),
        ("in.fee.job 5", "in.fee.job -5"),
        ("tree NGN 3 3 6", "tree NGN 3 3 5"),
        ("tree NGN 3 3 6", "tree NGN 3 4 6"),
    ] {
        let changed = text.replace(what, other);
        assert_ne!(changed, text, "{what}");
        assert_eq!(Statement::parse(&changed), Err(SolvencyError::Books("NGN".into())), "{other}");
    }
    for (what, other) in [(" 6", " 06"), (" 6", " +6"), ("book NGN D", "book NGN X"), ("owed", "x")]
    {
        let changed = text.replace(what, other);
        assert_eq!(Statement::parse(&changed), Err(SolvencyError::Malformed("a line")), "{other}");
    }
}

#[test]
fn a_key_of_another_name_does_not_sign_solvency() {
    let mut one = proof(&[4, 5], 1);
    let mut note = Note::new(statement(&[4, 5]).to_string()).unwrap();
    note.sign("verza.example/audit/2026", &key()).unwrap();
    one.statement = note.to_string();
    let log = VerifierKey::new("verza.example/audit/2026", PublicKey::of(&key())).unwrap();
    assert!(matches!(one.check(&[log]), Err(SolvencyError::Signature(_))));
}

#[test]
fn a_leaf_shown_twice_is_not_counted_twice() {
    let mut one = proof(&[4, 5, 6], 2);
    one.parts.push(one.parts[0].clone());
    assert_eq!(one.check(&known()), Err(SolvencyError::Path(2)));
}

#[test]
fn sums_that_come_round_are_refused() {
    let all = leaves(&[u64::MAX, 2]);
    assert_eq!(tree::root(&all), Err(SolvencyError::Overflow));
}

proptest! {
    #[test]
    fn every_leaf_is_proved_and_no_changed_one_is(
        amounts in prop::collection::vec(0_u64..1_000_000, 1..70),
        which in any::<prop::sample::Index>(),
        change in 0_usize..6,
    ) {
        let place = which.index(amounts.len());
        let good = proof(&amounts, place);
        let counted = good.check(&known()).unwrap();
        prop_assert_eq!(counted.amounts, vec![("NGN".to_owned(), amounts[place])]);
        let mut bad = good.clone();
        let part = &mut bad.parts[0];
        match change {
            0 => part.amount += 1,
            1 => part.place = (part.place + 1) % (amounts.len() as u64 + 1),
            2 => part.blind = hex::encode([0xff; 32]),
            3 => bad.holder.push('x'),
            4 => match part.path.first_mut() {
                Some(step) => step.sum += 1,
                None => part.path.push(Step { hash: hex::encode([0; 32]), sum: 0 }),
            },
            _ => match part.path.pop() {
                Some(_) => {}
                None => part.amount += 1,
            },
        }
        prop_assert!(bad.check(&known()).is_err());
    }
}
