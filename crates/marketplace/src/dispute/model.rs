//! The nouns.

use std::str::FromStr;

use kernel::id::kinds;
use kernel::{Error, Id, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::verification::model::Text;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident at $pointer:literal {
        $($(#[$doc:meta])* $variant:ident = $word:literal,)*
    }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        $(#[$meta])*
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::ALL.iter().copied().find(|it| it.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|it| it.as_str()).collect();
                    Error::field($pointer, "invalid", format!("one of {}", known.join(", ")))
                })
            }
        }
    };
}

words! {
    /// Where a dispute stands.
    #[schema(as = DisputeStatus)]
    State at "/status" {
        /// Waits for an admin.
        Open = "open",
        /// An admin looks into it.
        InReview = "in_review",
        /// Decided, and still open to appeal: nothing has moved yet.
        Resolved = "resolved",
        /// The decision is contested: it is decided once more, and then for good.
        Appealed = "appealed",
        /// What was decided has been done.
        Closed = "closed",
    }
}

words! {
    /// What is said against a verdict.
    #[schema(as = DisputeGround)]
    Ground at "/reason" {
        WrongVerdict = "wrong_verdict",
        PoorWork = "poor_work",
        Misconduct = "misconduct",
        Other = "other",
    }
}

words! {
    /// What an admin decides.
    #[schema(as = DisputeResolution)]
    Resolution at "/resolution" {
        /// The verdict does not stand, and the owner has the price back.
        RefundUser = "refund_user",
        /// The verdict stands.
        PayVerifier = "pay_verifier",
        /// The verdict stands, and the owner has a part of the price back.
        Split = "split",
        /// There was no ground for a dispute; the verdict stands.
        Reject = "reject",
    }
}

impl State {
    /// Whether the parties may still say something.
    pub const fn is_heard(self) -> bool {
        matches!(self, Self::Open | Self::InReview | Self::Appealed)
    }
}

/// A decision with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    pub resolution: Resolution,
    /// The part of the price that the owner has back, in hundredths of a percent.
    pub refund_bps: u16,
    /// Shown to both sides.
    pub reasoning: Text,
}

impl Ruling {
    /// A split says how much goes back; every other decision says so by itself.
    ///
    /// # Errors
    /// Field errors at `/refundBasisPoints` and `/reason`.
    pub fn parse(resolution: Resolution, refund_bps: Option<u16>, reason: &str) -> Result<Self> {
        let at = "/refundBasisPoints";
        let refund_bps = match (resolution, refund_bps) {
            (Resolution::Split, Some(bps @ 1..=9999)) => bps,
            (Resolution::Split, _) => {
                let message = "hundredths of a percent for the owner, from 1 to 9999";
                return Err(Error::field(at, "out_of_range", message));
            }
            (_, Some(_)) => return Err(Error::field(at, "not_allowed", "with split only")),
            (Resolution::RefundUser, None) => 10_000,
            (Resolution::PayVerifier | Resolution::Reject, None) => 0,
        };
        Ok(Self { resolution, refund_bps, reasoning: Text::some("/reason", reason)? })
    }
}

/// A dispute as stored. It is also what an idempotent request remembers, hence the derives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    pub id: Id<kinds::Dispute>,
    pub verification: Id<kinds::Verification>,
    /// Whose credential the verdict is about.
    pub owner: Id<kinds::User>,
    /// Whose verdict it is.
    pub verifier: Id<kinds::Verifier>,
    pub ground: Ground,
    pub state: State,
    /// Grows by one with every change.
    pub version: i64,
    /// The admin who looks into it.
    pub assignee: Option<Id<kinds::User>>,
    pub resolution: Option<Resolution>,
    pub refund_bps: Option<u16>,
    pub reasoning: Option<String>,
    pub decided_by: Option<Id<kinds::User>>,
    pub decided_at: Option<Timestamp>,
    /// When the decision is carried out unless somebody appeals.
    pub final_at: Option<Timestamp>,
    pub appealed_by: Option<Id<kinds::User>>,
    pub appealed_at: Option<Timestamp>,
    pub opened_at: Timestamp,
    pub closed_at: Option<Timestamp>,
    /// Who has opened it, where that was not the owner.
    #[serde(default)]
    pub opened_by: Option<Id<kinds::User>>,
}

impl Dispute {
    pub fn opener(&self) -> Id<kinds::User> {
        self.opened_by.unwrap_or(self.owner)
    }
}

/// What a party says and shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub author: Id<kinds::User>,
    pub text: String,
    /// A file of the author's own.
    pub file: Option<Id<kinds::File>>,
    pub at: Timestamp,
}

/// Evidence about to be given.
#[derive(Debug, Clone)]
pub struct NewEvidence {
    pub text: Text,
    pub file: Option<Id<kinds::File>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_split_says_how_much_goes_back() {
        let parse = |resolution, bps| Ruling::parse(resolution, bps, "Reasons.");
        for (resolution, bps) in [
            (Resolution::RefundUser, 10_000),
            (Resolution::PayVerifier, 0),
            (Resolution::Reject, 0),
        ] {
            assert_eq!(parse(resolution, None).unwrap().refund_bps, bps);
            assert!(parse(resolution, Some(bps)).is_err());
        }
        assert_eq!(parse(Resolution::Split, Some(2_500)).unwrap().refund_bps, 2_500);
        for bps in [None, Some(0), Some(10_000), Some(u16::MAX)] {
            assert!(parse(Resolution::Split, bps).is_err(), "{bps:?}");
        }
        assert!(Ruling::parse(Resolution::Reject, None, "  ").is_err());
    }
}
