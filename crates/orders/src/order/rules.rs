//! The state machine, who may, and what it costs.

use kernel::{Caller, Error, Money, Result as Verdict, Role};
use rpc::orders::{NewOrder, Order, Status};

use super::model::Prices;

/// What somebody is to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Relation {
    Owner,
    /// An admin, whoever's the order is.
    Admin,
    Stranger,
}

impl Relation {
    pub(super) fn of(caller: &Caller, order: &Order) -> Self {
        match caller.principal.as_deref() {
            Some(principal) if principal.role == Role::Admin => Self::Admin,
            Some(principal) if principal.user == order.owner => Self::Owner,
            _ => Self::Stranger,
        }
    }
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not theirs to know of.
    NoSuchThing,
    /// They know it, and this is for somebody else to say.
    NotTheirs,
    WrongState {
        is: Status,
        wanted: Status,
    },
    /// It is another admin's.
    AdminProtected,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchThing => Self::not_found("order"),
            Refusal::NotTheirs => {
                let message = "An admin says when an order is done; its owner may cancel it.";
                Self::forbidden("not_yours_to_do", message)
            }
            Refusal::WrongState { is, wanted } => {
                let message = format!("This order is {is}: it cannot become {wanted} any more.");
                Self::conflict("wrong_state", message)
            }
            Refusal::AdminProtected => {
                let message = "This order is another admin's: only they delete it.";
                Self::forbidden("admin_protected", message)
            }
        }
    }
}

/// Whether somebody may see an order.
pub(super) const fn see(by: Relation) -> Result<(), Refusal> {
    match by {
        Relation::Owner | Relation::Admin => Ok(()),
        Relation::Stranger => Err(Refusal::NoSuchThing),
    }
}

/// What becomes of an order that somebody wants in another status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is so already.
    Stay,
    Done,
    Cancel,
}

/// The edges: every status, party and wish is named.
pub(super) const fn step(is: Status, by: Relation, wanted: Status) -> Result<Step, Refusal> {
    use Status::{Cancelled, Done, Processing};
    match (by, wanted) {
        (Relation::Stranger, _) => return Err(Refusal::NoSuchThing),
        (Relation::Owner, Done) => return Err(Refusal::NotTheirs),
        (Relation::Owner, Processing | Cancelled) | (Relation::Admin, _) => {}
    }
    match (is, wanted) {
        (Processing, Processing) | (Done, Done) | (Cancelled, Cancelled) => Ok(Step::Stay),
        (Processing, Done) => Ok(Step::Done),
        (Processing, Cancelled) => Ok(Step::Cancel),
        (Done, Processing | Cancelled) | (Cancelled, Processing | Done) => {
            Err(Refusal::WrongState { is, wanted })
        }
    }
}

/// Whether somebody may delete an order; `owner` is what its owner is now.
pub(super) fn delete(caller: &Caller, order: &Order, owner: Option<Role>) -> Result<(), Refusal> {
    see(Relation::of(caller, order))?;
    let is_own = caller.principal.as_ref().is_some_and(|it| it.user == order.owner);
    if !is_own && owner == Some(Role::Admin) {
        return Err(Refusal::AdminProtected);
    }
    Ok(())
}

/// What an order costs; none where its type costs nothing.
///
/// # Errors
/// A field error at `/quantity` where that is more than one request may move.
pub(super) fn price(new: &NewOrder, prices: &Prices) -> Verdict<Option<Money>> {
    let one = prices.of_one(new.kind);
    if one <= 0 {
        return Ok(None);
    }
    let all = one.checked_mul(i64::from(new.quantity)).filter(|all| *all <= Money::MAX_MINOR);
    let all = all.ok_or_else(|| {
        let message = "so much costs more than can be moved at once";
        Error::field("/quantity", "too_large", message)
    })?;
    Ok(Some(Money::new(all, prices.currency)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: [Relation; 3] = [Relation::Owner, Relation::Admin, Relation::Stranger];

    #[test]
    fn what_is_done_or_cancelled_stays_so_whoever_asks() {
        for is in [Status::Done, Status::Cancelled] {
            for by in BY {
                for wanted in Status::ALL {
                    let moved = matches!(step(is, by, wanted), Ok(Step::Done | Step::Cancel));
                    assert!(!moved, "{is} {by:?} {wanted}");
                }
            }
        }
    }

    #[test]
    fn an_order_that_is_processing_is_moved_by_whom_the_charter_says() {
        let of = |by, wanted| step(Status::Processing, by, wanted);
        assert_eq!(of(Relation::Owner, Status::Cancelled), Ok(Step::Cancel));
        assert_eq!(of(Relation::Owner, Status::Processing), Ok(Step::Stay));
        assert_eq!(of(Relation::Owner, Status::Done), Err(Refusal::NotTheirs));
        assert_eq!(of(Relation::Admin, Status::Cancelled), Ok(Step::Cancel));
        assert_eq!(of(Relation::Admin, Status::Done), Ok(Step::Done));
        for wanted in Status::ALL {
            assert_eq!(of(Relation::Stranger, wanted), Err(Refusal::NoSuchThing));
        }
    }

    proptest::proptest! {
        #[test]
        fn a_price_is_exact_or_refused(one in 0_i64..=Money::MAX_MINOR, quantity in 1_i32..) {
            let (target, service) = ("https://a.example/", "https://b.example/");
            let spelling = rpc::orders::Spelling::Camel;
            let new = NewOrder::parse(spelling, target, service, "likes", quantity.into()).unwrap();
            let prices = Prices { like: one, ..Prices::none(kernel::Asset::USD) };
            let exact = i128::from(one) * i128::from(quantity);
            match price(&new, &prices) {
                Ok(None) => proptest::prop_assert_eq!(one, 0),
                Ok(Some(all)) => proptest::prop_assert_eq!(i128::from(all.minor), exact),
                Err(_) => proptest::prop_assert!(exact > i128::from(Money::MAX_MINOR)),
            }
        }
    }
}
