//! Whether what several callers saw can have come about one after the other.

use std::collections::BTreeMap;

use super::deed::{Deed, Saw};
use super::model::Model;

/// What everybody has in the end, without empty accounts.
#[derive(Debug)]
pub(super) struct End {
    pub own: Vec<BTreeMap<&'static str, i64>>,
    pub platform: BTreeMap<&'static str, i64>,
}

/// The model after the deeds, in an order in which it gives the answers that were seen and comes to
/// this end; none when there is no such order.
pub(super) fn explain(model: &Model, deeds: &[(Deed, Saw)], end: &End) -> Option<Model> {
    let mut left: Vec<&(Deed, Saw)> = deeds.iter().collect();
    search(model, &mut left, end)
}

fn search(model: &Model, left: &mut Vec<&(Deed, Saw)>, end: &End) -> Option<Model> {
    if left.is_empty() {
        let is_own = (0..end.own.len()).all(|who| model.shown(who) == end.own[who]);
        return (is_own && model.shown_platform() == end.platform).then(|| model.clone());
    }
    for at in 0..left.len() {
        let one = left.remove(at);
        let (deed, saw) = one;
        let mut next = model.clone();
        let mut found = if next.plays(deed, saw) { search(&next, left, end) } else { None };
        if found.is_none() && matches!(saw, Saw::Nothing | Saw::Never) {
            // It came to nothing.
            found = search(model, left, end);
        }
        if found.is_some() {
            return found;
        }
        left.insert(at, one);
    }
    None
}
