//! The signer's shapes, and amounts as chains count them.

use kernel::{Asset, Money};
use serde::Deserialize;

use crate::provider::Failure;

/// An asset on a chain.
pub(super) struct OnChain {
    pub asset: Asset,
    /// Digits behind the point there, of which we keep no more than the asset's own.
    digits: usize,
    /// The token's contract on the main chain; none for the chain's own coin.
    pub contract: Option<&'static str>,
}

pub(super) const ASSETS: [OnChain; 3] = [
    OnChain { asset: Asset::ETH, digits: 18, contract: None },
    OnChain {
        asset: Asset::USDC,
        digits: 6,
        contract: Some("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"),
    },
    OnChain {
        asset: Asset::USDT,
        digits: 6,
        contract: Some("0xdAC17F958D2ee523a2206206994597C13D831ec7"),
    },
];

pub(super) fn on_chain(asset: Asset) -> Result<&'static OnChain, Failure> {
    const TABLE: &[OnChain] = &ASSETS;
    let found = TABLE.iter().find(|it| it.asset == asset);
    found.ok_or_else(|| Failure::Invalid(format!("{asset} is on no chain here")))
}

/// Digits of the chain that we do not keep.
fn dropped(asset: Asset) -> Result<usize, Failure> {
    Ok(on_chain(asset)?.digits - usize::from(asset.scale()))
}

/// The chain's units of an amount.
///
/// # Errors
/// Invalid.
pub(crate) fn raw(amount: Money) -> Result<String, Failure> {
    let zeros = "0".repeat(dropped(amount.asset)?);
    Ok(if amount.minor == 0 { "0".to_owned() } else { format!("{}{zeros}", amount.minor) })
}

/// The amount of a number of the chain's units, and what is left over below our last digit. As
/// text, since a chain's number may have 78 digits; the amount is none where it is too large, or
/// nothing.
///
/// # Errors
/// Invalid when it is no number.
pub(crate) fn counted(raw: &str, asset: Asset) -> Result<(Option<Money>, String), Failure> {
    let digits = raw.trim_start_matches('0');
    if raw.is_empty() || raw.len() > 78 || !raw.bytes().all(|it| it.is_ascii_digit()) {
        return Err(Failure::Invalid(format!("{raw:?} is no amount of {asset}")));
    }
    let (whole, rest) = digits.split_at(digits.len().saturating_sub(dropped(asset)?));
    let minor = whole.parse().ok().filter(|minor| *minor > 0 && *minor <= Money::MAX_MINOR);
    Ok((minor.map(|minor| Money::new(minor, asset)), rest.trim_start_matches('0').to_owned()))
}

/// Which transfer on which chain: `1:0xabc...:0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TransferId<'a> {
    pub chain: &'a str,
    pub tx: &'a str,
    pub index: &'a str,
}

impl<'a> TransferId<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(':');
        let id = Self { chain: parts.next()?, tx: parts.next()?, index: parts.next()? };
        parts.next().is_none().then_some(id)
    }
}

#[derive(Deserialize)]
pub(super) struct Address {
    pub address: String,
    /// A page on which a person can pay, where the signer has one.
    #[serde(default)]
    pub page: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Transfers {
    pub transfers: Vec<Transfer>,
    pub next: String,
}

/// A transfer to one of our addresses.
#[derive(Deserialize)]
pub(super) struct Transfer {
    pub chain: u64,
    pub tx: String,
    pub index: u64,
    pub to: String,
    pub asset: String,
    /// In the chain's units.
    pub amount: String,
    /// How many blocks vouch for it, its own included; zero while it is in none.
    pub confirmations: u64,
    /// Another transaction has taken its place for good.
    pub dropped: bool,
    /// How often a block that held it was replaced by another.
    pub unmined: u64,
}

impl Transfer {
    pub(super) fn id(&self) -> String {
        format!("{}:{}:{}", self.chain, self.tx, self.index)
    }

    pub(super) fn counted(&self) -> Result<(Option<Money>, String), Failure> {
        let asset = self.asset.parse();
        let asset = asset.map_err(|_| Failure::Invalid(format!("a transfer of {}", self.asset)))?;
        counted(&self.amount, asset)
    }
}

#[derive(Deserialize)]
pub(super) struct Withdrawal {
    pub id: String,
    pub asset: String,
    pub amount: String,
    /// `queued`, `broadcast`, `failed` (it never came into a block, and never will) or `dropped`
    /// (it was in one).
    pub state: String,
    #[serde(default)]
    pub tx: Option<String>,
    pub confirmations: u64,
    /// What the chain took, in the chain's units of `fee_asset`.
    #[serde(default)]
    pub fee: Option<Units>,
}

#[derive(Deserialize)]
pub(super) struct Units {
    pub asset: String,
    pub amount: String,
}

impl Units {
    pub(super) fn money(&self) -> Result<Money, Failure> {
        let asset: Asset =
            self.asset.parse().map_err(|_| Failure::Invalid(format!("some {}", self.asset)))?;
        Ok(counted(&self.amount, asset)?.0.unwrap_or(Money::new(0, asset)))
    }
}

#[derive(Deserialize)]
pub(super) struct Balances {
    pub balances: Vec<Units>,
}

#[derive(Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub code: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chains_units_are_cut_and_never_rounded_up() {
        for (units, asset, minor, rest) in [
            ("5000000000000000000", Asset::ETH, Some(5_000_000_000), ""),
            ("1999999999", Asset::ETH, Some(1), "999999999"),
            ("999999999", Asset::ETH, None, "999999999"),
            ("0", Asset::ETH, None, ""),
            ("000123", Asset::USDC, Some(123), ""),
            ("1000000000000001", Asset::USDC, None, ""),
        ] {
            let (amount, left) = counted(units, asset).unwrap();
            assert_eq!((amount.map(|it| it.minor), left.as_str()), (minor, rest), "{units}");
        }
        let widest = "9".repeat(78);
        assert!(counted(&widest, Asset::ETH).unwrap().0.is_none());
        for wrong in ["", "-1", "1.0", "0x1", "1e9", &"9".repeat(79)] {
            assert!(counted(wrong, Asset::ETH).is_err(), "{wrong}");
        }
        assert!(counted("1", Asset::NGN).is_err() && raw(Money::new(1, Asset::NGN)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn m2_what_is_written_in_a_chains_units_is_read_back(
            minor in 1..=Money::MAX_MINOR, at in 0..ASSETS.len()
        ) {
            let amount = Money::new(minor, ASSETS[at].asset);
            let (read, left) = counted(&raw(amount).unwrap(), amount.asset).unwrap();
            proptest::prop_assert_eq!((read, left), (Some(amount), String::new()));
        }
    }
}
