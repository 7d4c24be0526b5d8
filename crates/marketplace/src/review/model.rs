//! The nouns.

use kernel::error::Fields;
use kernel::id::kinds;
use kernel::{Id, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::verification::model::Text;

/// A review about to be given.
#[derive(Debug, Clone)]
pub struct NewReview {
    /// From 1 to 5.
    pub stars: u8,
    pub text: Text,
}

impl NewReview {
    /// # Errors
    /// Field errors at `/rating` and `/text`.
    pub fn parse(rating: i64, text: &str) -> Result<Self> {
        let mut fields = Fields::new();
        let stars = u8::try_from(rating).ok().filter(|stars| (1..=5).contains(stars));
        if stars.is_none() {
            fields.add("/rating", "out_of_range", "from 1 to 5");
        }
        let text = fields.take(Text::any("/text", text));
        match (stars, text) {
            (Some(stars), Some(text)) => Ok(Self { stars, text }),
            _ => Err(fields.into_error()),
        }
    }
}

/// A review as stored. It is also what an idempotent request remembers, hence the derives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    pub id: Id<kinds::Review>,
    pub verification: Id<kinds::Verification>,
    pub verifier: Id<kinds::Verifier>,
    pub author: Id<kinds::User>,
    pub stars: i64,
    /// May be empty.
    pub text: String,
    pub at: Timestamp,
    pub answer: Option<String>,
    pub answered_at: Option<Timestamp>,
}
