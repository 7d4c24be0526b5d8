//! Bonds.

use kernel::id::kinds::{Unstaking as UnstakingKind, User};
use kernel::{Asset, Id, Money, Timestamp};
use serde::{Deserialize, Serialize};

use crate::payout::Source;

/// What a verifier wants to stake.
#[derive(Debug, Clone, Copy)]
pub struct NewStake {
    /// Whole minor units.
    pub amount: i64,
    pub currency: Option<Asset>,
    pub source: Source,
}

/// What a verifier has bonded of one asset.
#[derive(Debug, Clone)]
pub struct Bond {
    pub staked: Money,
    pub cooling: Money,
    pub rewards: Money,
    /// What could be staked out of earnings.
    pub earned: Money,
}

/// Staked money on its way out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unstaking {
    pub id: Id<UnstakingKind>,
    pub owner: Id<User>,
    /// What was asked for.
    #[serde(with = "crate::kept")]
    pub amount: Money,
    /// What slashes have left of it.
    #[serde(with = "crate::kept")]
    pub remaining: Money,
    pub unlock_at: Timestamp,
    pub created_at: Timestamp,
}
