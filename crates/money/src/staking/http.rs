//! Bonds over HTTP.

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Asset, Id, Timestamp};
use platform::http::{At, Audience, By, Created, Done, Json, Once, Reply, Route, get, post, table};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{Bond, NewStake, Unstaking};
use super::service::Service;
use crate::payout::Source;

// A name without parameters: the schema's derive looks no further than that.
type UnstakingId = Id<kinds::Unstaking>;

/// The routes of bonds.
pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Verifier, "/v1/verifier/staking")
                .summary("Your bond, its tier and its rewards")
                .returns::<StakingBody>(200)
                .to(show),
            post(Audience::Verifier, "/v1/verifier/staking/stake")
                .summary("Bond money for your work")
                .in_person()
                .once(Once::Required)
                .takes::<StakeRequest>()
                .returns::<StakingBody>(201)
                .to(stake),
            post(Audience::Verifier, "/v1/verifier/staking/unstake")
                .summary("Start to take money out of your bond")
                .describe("It is free at `unlockAt`, and can be slashed until then.")
                .in_person()
                .once(Once::Required)
                .takes::<UnstakeRequest>()
                .returns::<UnstakingBody>(201)
                .to(unstake),
            post(Audience::Verifier, "/v1/verifier/staking/unstakings/{id}/cancel")
                .summary("Bond again what is cooling down")
                .in_person()
                .once(Once::Accepted)
                .returns::<Done>(200)
                .to(cancel),
            post(Audience::Verifier, "/v1/verifier/staking/claim")
                .summary("Move your rewards to your earnings")
                .in_person()
                .once(Once::Required)
                .takes::<ClaimRequest>()
                .returns::<ClaimBody>(200)
                .to(claim),
        ],
    )
}

/// A verifier's bonds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StakingBody {
    /// The tier that the bond in the default currency reaches.
    tier: Option<String>,
    next_tier: Option<TierBody>,
    tiers: Vec<TierBody>,
    /// The default currency first.
    bonds: Vec<BondBody>,
    unstakings: Vec<UnstakingBody>,
    /// Seconds from the wish to unstake until the money is free.
    cool_down_seconds: u64,
    minimum: i64,
    /// Whether bonds earn anything.
    rewards: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct TierBody {
    name: String,
    /// Minor units of the default currency.
    minimum: i64,
}

/// What is bonded of one currency, in whole minor units.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BondBody {
    currency: Asset,
    staked: i64,
    cooling: i64,
    rewards: i64,
    /// What could be staked out of earnings.
    earned: i64,
    display: String,
}

impl From<Bond> for BondBody {
    fn from(bond: Bond) -> Self {
        Self {
            currency: bond.staked.asset,
            staked: bond.staked.minor,
            cooling: bond.cooling.minor,
            rewards: bond.rewards.minor,
            earned: bond.earned.minor,
            display: bond.staked.to_string(),
        }
    }
}

/// Staked money on its way out.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UnstakingBody {
    id: UnstakingId,
    amount: i64,
    /// What slashes have left of it.
    remaining: i64,
    currency: Asset,
    unlock_at: Timestamp,
    created_at: Timestamp,
}

impl From<Unstaking> for UnstakingBody {
    fn from(it: Unstaking) -> Self {
        Self {
            id: it.id,
            amount: it.amount.minor,
            remaining: it.remaining.minor,
            currency: it.amount.asset,
            unlock_at: it.unlock_at,
            created_at: it.created_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StakeRequest {
    /// Whole minor units: 5000 with NGN is fifty naira.
    amount: i64,
    /// The default currency when left out.
    currency: Option<Asset>,
    /// Earnings when left out.
    source: Option<Source>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UnstakeRequest {
    amount: i64,
    currency: Option<Asset>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClaimRequest {
    /// The default currency when left out.
    currency: Option<Asset>,
}

/// What was claimed.
#[derive(Debug, Serialize, ToSchema)]
struct ClaimBody {
    amount: i64,
    currency: Asset,
}

async fn staking(service: &Service, owner: Id<kinds::User>) -> kernel::Result<StakingBody> {
    let bonds = service.bonds(owner).await?;
    let own = bonds.iter().find(|it| it.staked.asset == service.default_currency());
    let policy = service.policy();
    let (tier, next) = policy.tier(own.map_or(0, |it| it.staked.minor));
    let body = |it: &super::Tier| TierBody { name: it.name.clone(), minimum: it.minimum };
    let unstakings = service.cooling(owner).await?;
    Ok(StakingBody {
        tier: tier.map(|it| it.name.clone()),
        next_tier: next.map(body),
        tiers: policy.tiers.iter().map(body).collect(),
        bonds: bonds.into_iter().map(BondBody::from).collect(),
        unstakings: unstakings.into_iter().map(UnstakingBody::from).collect(),
        cool_down_seconds: policy.cooling.as_secs(),
        minimum: policy.minimum,
        rewards: policy.rewards.is_some(),
    })
}

async fn show(State(service): State<Service>, By(caller): By) -> Reply<Json<StakingBody>> {
    Ok(Json(staking(&service, caller.user()?).await?))
}

async fn stake(
    State(service): State<Service>,
    By(caller): By,
    Json(request): Json<StakeRequest>,
) -> Reply<Created<StakingBody>> {
    let StakeRequest { amount, currency, source } = request;
    let source = source.unwrap_or(Source::Earnings);
    service.stake(&caller, NewStake { amount, currency, source }).await?;
    Ok(Created(staking(&service, caller.user()?).await?))
}

async fn unstake(
    State(service): State<Service>,
    By(caller): By,
    Json(request): Json<UnstakeRequest>,
) -> Reply<Created<UnstakingBody>> {
    let started = service.unstake(&caller, request.amount, request.currency).await?;
    Ok(Created(started.into()))
}

async fn cancel(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<UnstakingId>,
) -> Reply<Json<Done>> {
    service.cancel(&caller, id).await?;
    Ok(Done::reply())
}

async fn claim(
    State(service): State<Service>,
    By(caller): By,
    Json(request): Json<ClaimRequest>,
) -> Reply<Json<ClaimBody>> {
    let claimed = service.claim(&caller, request.currency).await?;
    Ok(Json(ClaimBody { amount: claimed.amount, currency: claimed.currency }))
}
