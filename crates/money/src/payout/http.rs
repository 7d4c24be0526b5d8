//! Destinations and withdrawals over HTTP.

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Asset, Error, Id, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, List, Once, Paging, Query, Reply, Route, delete, get,
    post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{self, NewDestination, NewWithdrawal, Saved, Source, Withdrawal};
use super::service::Service;
use crate::provider::{DestinationKind, ProviderName};

// Names without parameters: the schema's derive looks no further than that.
type DestinationId = Id<kinds::Destination>;
type WithdrawalId = Id<kinds::Withdrawal>;
type UserId = Id<kinds::User>;

/// The routes of payouts.
pub fn routes(service: &Service) -> Vec<Route> {
    let mut routes = destinations(service);
    routes.extend(withdrawals(service));
    routes.extend(queue(service));
    routes
}

fn destinations(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Any, "/v1/payout-destinations")
                .summary("Where your money may go")
                .returns::<Vec<DestinationBody>>(200)
                .to(saved),
            post(Audience::Any, "/v1/payout-destinations")
                .summary("Save a place for your money to go to")
                .describe(
                    "The provider looks it up and answers whose it is. It can be used when it \
                     has cooled: see `usableAt`.",
                )
                .in_person()
                .step_up()
                .once(Once::Accepted)
                .takes::<DestinationRequest>()
                .returns::<DestinationBody>(201)
                .to(save),
            delete(Audience::Any, "/v1/payout-destinations/{id}")
                .summary("Remove a saved destination")
                .in_person()
                .returns::<Done>(200)
                .to(remove),
        ],
    )
}

fn withdrawals(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Any, "/v1/user/wallet/withdrawals/quote")
                .summary("What a withdrawal would cost")
                .query::<QuoteQuery>()
                .returns::<QuoteBody>(200)
                .to(quote),
            post(Audience::Any, "/v1/user/wallet/withdraw")
                .summary("Have money paid out of your wallet")
                .describe("The amount arrives whole; the fee comes on top, see the quote.")
                .in_person()
                .step_up()
                .once(Once::Required)
                .takes::<WithdrawRequest>()
                .returns::<WithdrawalBody>(201)
                .to(withdraw),
            post(Audience::Verifier, "/v1/verifier/withdraw")
                .summary("Have your earnings paid out")
                .in_person()
                .step_up()
                .once(Once::Required)
                .takes::<WithdrawRequest>()
                .returns::<WithdrawalBody>(201)
                .to(withdraw_earnings),
            get(Audience::Any, "/v1/user/wallet/withdrawals/{id}")
                .summary("A withdrawal and how it stands")
                .returns::<WithdrawalBody>(200)
                .to(show),
            post(Audience::Any, "/v1/user/wallet/withdrawals/{id}/cancel")
                .summary("Take a withdrawal back that nobody has approved yet")
                .in_person()
                .once(Once::Accepted)
                .returns::<WithdrawalBody>(200)
                .to(cancel),
        ],
    )
}

fn queue(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/withdrawals")
                .summary("Withdrawals, the latest first; those that wait have the status requested")
                .query::<QueueQuery>()
                .paged()
                .returns::<Vec<QueuedBody>>(200)
                .to(list),
            post(Audience::Admin, "/v1/admin/withdrawals/{id}/approve")
                .summary("Let a withdrawal go")
                .in_person()
                .once(Once::Accepted)
                .returns::<QueuedBody>(200)
                .to(approve),
            post(Audience::Admin, "/v1/admin/withdrawals/{id}/reject")
                .summary("Refuse a withdrawal: the money goes back")
                .in_person()
                .once(Once::Accepted)
                .takes::<RejectRequest>()
                .returns::<QueuedBody>(200)
                .to(reject),
        ],
    )
}

/// A saved destination. The account itself is shown to nobody any more.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DestinationBody {
    id: DestinationId,
    kind: DestinationKind,
    currency: Asset,
    provider: ProviderName,
    /// What tells it from your others: the last digits.
    mask: String,
    /// Whose it is, as the provider says.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    usable_at: Timestamp,
    created_at: Timestamp,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DestinationRequest {
    kind: DestinationKind,
    currency: Asset,
    /// The account number, mail address or chain address.
    account: String,
    /// The bank's code; for bank accounts.
    bank: Option<String>,
    /// Whose it is; the provider's word counts for more.
    name: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct QuoteQuery {
    /// Whole minor units.
    amount: i64,
    /// The default currency when left out.
    currency: Option<Asset>,
}

/// What a withdrawal would cost.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QuoteBody {
    /// What arrives.
    amount: i64,
    fee: i64,
    /// What leaves the wallet.
    total: i64,
    currency: Asset,
    display: String,
    /// To what kinds of destinations this currency is paid out.
    kinds: Vec<DestinationKind>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WithdrawRequest {
    /// Whole minor units: 5000 with NGN is fifty naira. The fee comes on top.
    amount: i64,
    /// The destination's currency when left out.
    currency: Option<Asset>,
    /// One of your saved destinations.
    destination_id: Option<DestinationId>,
    /// A saved chain address, in place of its id.
    address: Option<String>,
}

/// A withdrawal and how it stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WithdrawalBody {
    id: WithdrawalId,
    status: model::State,
    source: Source,
    amount: i64,
    fee: i64,
    currency: Asset,
    display: String,
    destination_id: DestinationId,
    destination: String,
    /// Why it failed, came back or was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Withdrawal> for WithdrawalBody {
    fn from(it: Withdrawal) -> Self {
        Self {
            id: it.id,
            status: it.state,
            source: it.source,
            amount: it.amount.minor,
            fee: it.fee.minor,
            currency: it.amount.asset,
            display: it.amount.to_string(),
            destination_id: it.destination,
            destination: it.mask,
            reason: it.reason,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A withdrawal, as admins see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QueuedBody {
    owner: UserId,
    /// Why somebody has to look: `large_amount` or `new_session`.
    review: Option<String>,
    provider: ProviderName,
    #[serde(flatten)]
    withdrawal: WithdrawalBody,
}

impl From<Withdrawal> for QueuedBody {
    fn from(it: Withdrawal) -> Self {
        let (owner, review, provider) = (it.owner, it.review.clone(), it.provider);
        Self { owner, review, provider, withdrawal: it.into() }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
struct QueueQuery {
    /// One state; all when left out.
    status: Option<model::State>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RejectRequest {
    /// For the owner to read.
    reason: String,
}

async fn body(service: &Service, saved: Saved) -> kernel::Result<DestinationBody> {
    let name = service.name(&saved).await?;
    Ok(DestinationBody {
        id: saved.id,
        kind: saved.kind,
        currency: saved.asset,
        provider: saved.provider,
        mask: saved.mask,
        name,
        usable_at: saved.usable_at,
        created_at: saved.created_at,
    })
}

async fn saved(
    State(service): State<Service>,
    By(caller): By,
) -> Reply<Json<Vec<DestinationBody>>> {
    let mut bodies = Vec::new();
    for saved in service.destinations(&caller).await? {
        bodies.push(body(&service, saved).await?);
    }
    Ok(Json(bodies))
}

async fn save(
    State(service): State<Service>,
    By(caller): By,
    Json(request): Json<DestinationRequest>,
) -> Reply<Created<DestinationBody>> {
    let DestinationRequest { kind, currency: asset, account, bank, name } = request;
    let new = NewDestination { kind, asset, account, bank, name };
    let saved = service.save(&caller, new).await?;
    Ok(Created(body(&service, saved).await?))
}

async fn remove(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<DestinationId>,
) -> Reply<Json<Done>> {
    service.remove(&caller, id).await?;
    Ok(Done::reply())
}

async fn quote(
    State(service): State<Service>,
    Query(query): Query<QuoteQuery>,
) -> Reply<Json<QuoteBody>> {
    let (amount, fee) = service.fee(query.amount, query.currency)?;
    let total = amount.plus(fee)?;
    let kinds = service.offers().into_iter().filter(|(_, asset)| *asset == amount.asset);
    Ok(Json(QuoteBody {
        amount: amount.minor,
        fee: fee.minor,
        total: total.minor,
        currency: amount.asset,
        display: total.to_string(),
        kinds: kinds.map(|(kind, _)| kind).collect(),
    }))
}

async fn withdraw(
    State(service): State<Service>,
    By(caller): By,
    Json(request): Json<WithdrawRequest>,
) -> Reply<Created<WithdrawalBody>> {
    ask(&service, &caller, request, Source::Wallet).await
}

async fn withdraw_earnings(
    State(service): State<Service>,
    By(caller): By,
    Json(request): Json<WithdrawRequest>,
) -> Reply<Created<WithdrawalBody>> {
    ask(&service, &caller, request, Source::Earnings).await
}

async fn ask(
    service: &Service,
    caller: &kernel::Caller,
    request: WithdrawRequest,
    source: Source,
) -> Reply<Created<WithdrawalBody>> {
    let WithdrawRequest { amount, currency, destination_id, address } = request;
    let destination = match (destination_id, address) {
        (Some(id), None) => id,
        (None, Some(address)) => service.at_address(caller, &address, currency).await?,
        _ => {
            let message = "either this or the address of a saved destination";
            return Err(Error::field("/destinationId", "required", message).into());
        }
    };
    let new = NewWithdrawal { source, amount, currency, destination };
    Ok(Created(service.withdraw(caller, new).await?.into()))
}

async fn show(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<WithdrawalId>,
) -> Reply<Json<WithdrawalBody>> {
    Ok(Json(service.own(&caller, id).await?.into()))
}

async fn cancel(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<WithdrawalId>,
) -> Reply<Json<WithdrawalBody>> {
    Ok(Json(service.cancel(&caller, id).await?.into()))
}

async fn list(
    State(service): State<Service>,
    Query(query): Query<QueueQuery>,
    paging: Paging,
) -> Reply<List<QueuedBody>> {
    let page = service.list(query.status, &paging.page).await?;
    Ok(paging.reply(page.map(QueuedBody::from)))
}

async fn approve(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<WithdrawalId>,
) -> Reply<Json<QueuedBody>> {
    Ok(Json(service.approve(&caller, id).await?.into()))
}

async fn reject(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<WithdrawalId>,
    Json(request): Json<RejectRequest>,
) -> Reply<Json<QueuedBody>> {
    Ok(Json(service.reject(&caller, id, &request.reason).await?.into()))
}
