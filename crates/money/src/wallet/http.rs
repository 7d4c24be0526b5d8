//! Wallets over HTTP.

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Asset, Id, Money, Timestamp};
use platform::http::{
    At, Audience, By, Created, Json, List, Once, Paging, Query, Reply, Route, get, post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{Balances, Freeze, NewTransfer, Transfer};
use super::service::Service;
use crate::ledger::Entry;

// Names without parameters: the schema's derive looks no further than that.
type TransactionId = Id<kinds::Transaction>;
type UserId = Id<kinds::User>;

/// The routes of wallets.
pub fn routes(service: &Service) -> Vec<Route> {
    let mut routes = own(service);
    routes.extend(admin(service));
    routes
}

fn own(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Any, "/v1/user/wallet")
                .summary("What you have, in each currency")
                .returns::<WalletBody>(200)
                .to(show),
            get(Audience::Any, "/v1/user/wallet/balance")
                .summary("What you have in one currency, now or at a point in time")
                .query::<BalanceQuery>()
                .returns::<BalanceBody>(200)
                .to(balance),
            get(Audience::Any, "/v1/user/wallet/transactions")
                .summary("Your wallet's statement, newest first")
                .query::<StatementQuery>()
                .paged()
                .returns::<Vec<TransactionBody>>(200)
                .to(transactions),
            get(Audience::Any, "/v1/user/wallet/transactions/{id}")
                .summary("One transaction of your wallet")
                .returns::<TransactionBody>(200)
                .to(transaction),
            post(Audience::Any, "/v1/user/wallet/transfers")
                .summary("Send money to another user's wallet")
                .describe("It arrives at once and cannot be called back.")
                .in_person()
                .step_up()
                .once(Once::Required)
                .takes::<TransferRequest>()
                .returns::<TransferBody>(201)
                .to(transfer),
        ],
    )
}

/// The routes of admins.
fn admin(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/wallets/{id}")
                .summary("What a user has, and whether their wallet is frozen")
                .returns::<AdminWalletBody>(200)
                .to(inspect),
            post(Audience::Admin, "/v1/admin/wallets/{id}/freeze")
                .summary("Freeze a wallet: nothing is sent or withdrawn from it")
                .in_person()
                .once(Once::Required)
                .takes::<ReasonRequest>()
                .returns::<AdminWalletBody>(200)
                .to(freeze),
            post(Audience::Admin, "/v1/admin/wallets/{id}/thaw")
                .summary("End the freeze of a wallet")
                .in_person()
                .once(Once::Required)
                .takes::<ReasonRequest>()
                .returns::<AdminWalletBody>(200)
                .to(thaw),
            post(Audience::Admin, "/v1/admin/wallets/{id}/write-off")
                .summary("Give up what a user owes in a currency after charge-backs")
                .in_person()
                .step_up()
                .once(Once::Required)
                .takes::<WriteOffRequest>()
                .returns::<AdminWalletBody>(200)
                .to(write_off),
        ],
    )
}

/// A wallet in all of its currencies.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WalletBody {
    default_currency: Asset,
    /// The default currency first.
    currencies: Vec<BalanceBody>,
}

/// What is in a wallet. All amounts are whole minor units: 5000 with NGN is fifty naira.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BalanceBody {
    currency: Asset,
    /// What can be spent; the same as `available`.
    balance: i64,
    available: i64,
    /// Reserved for jobs that are not finished.
    held: i64,
    /// On its way out.
    pending_withdrawal: i64,
    total: i64,
    /// `available` for people.
    display: String,
}

impl From<Balances> for BalanceBody {
    fn from(balances: Balances) -> Self {
        Self {
            currency: balances.available.asset,
            balance: balances.available.minor,
            available: balances.available.minor,
            held: balances.held.minor,
            pending_withdrawal: balances.pending_withdrawal.minor,
            total: balances.total.minor,
            display: balances.available.to_string(),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
struct BalanceQuery {
    /// The default currency when left out.
    currency: Option<Asset>,
    /// A point in time, RFC 3339; now when left out.
    at: Option<Timestamp>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct StatementQuery {
    /// All currencies when left out.
    currency: Option<Asset>,
}

/// One line of a statement.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TransactionBody {
    id: TransactionId,
    /// deposit, transfer, hold, release, reversal ...
    kind: String,
    currency: Asset,
    /// Whole minor units, never negative.
    amount: i64,
    direction: Direction,
    /// The signed amount for people.
    display: String,
    /// What could be spent right after.
    balance_after: i64,
    /// What it was about: the id of a payment, a verification, a user.
    subject: String,
    /// The user on the other side, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    counterparty: Option<UserId>,
    at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Direction {
    In,
    Out,
}

impl TransactionBody {
    fn of(entry: Entry, owner: UserId) -> Self {
        let Money { minor, asset } = entry.delta;
        Self {
            id: entry.transaction,
            kind: entry.kind,
            currency: asset,
            amount: minor.abs(),
            direction: if minor < 0 { Direction::Out } else { Direction::In },
            display: entry.delta.to_string(),
            balance_after: entry.balance_after.minor,
            subject: entry.subject,
            counterparty: entry.other_owner.filter(|other| *other != owner),
            at: entry.recorded_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TransferRequest {
    /// Who gets it.
    to: UserId,
    /// Whole minor units: 5000 with NGN is fifty naira.
    amount: i64,
    /// The default currency when left out.
    currency: Option<Asset>,
}

/// A transfer that was made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TransferBody {
    id: TransactionId,
    to: UserId,
    amount: i64,
    currency: Asset,
    display: String,
    /// What you have left to spend.
    available: i64,
    at: Timestamp,
}

impl From<Transfer> for TransferBody {
    fn from(transfer: Transfer) -> Self {
        let Transfer { id, to, amount, currency, available, at } = transfer;
        let display = Money::new(amount, currency).to_string();
        Self { id, to, amount, currency, display, available, at }
    }
}

async fn show(State(service): State<Service>, By(caller): By) -> Reply<Json<WalletBody>> {
    let balances = service.balances(caller.user()?).await?;
    Ok(Json(WalletBody {
        default_currency: service.default_currency(),
        currencies: balances.into_iter().map(BalanceBody::from).collect(),
    }))
}

async fn balance(
    State(service): State<Service>,
    By(caller): By,
    Query(query): Query<BalanceQuery>,
) -> Reply<Json<BalanceBody>> {
    let asset = query.currency.unwrap_or(service.default_currency());
    Ok(Json(service.balance(caller.user()?, asset, query.at).await?.into()))
}

async fn transactions(
    State(service): State<Service>,
    By(caller): By,
    Query(query): Query<StatementQuery>,
    paging: Paging,
) -> Reply<List<TransactionBody>> {
    let owner = caller.user()?;
    let page = service.transactions(owner, query.currency, &paging.page).await?;
    Ok(paging.reply(page.map(|entry| TransactionBody::of(entry, owner))))
}

async fn transaction(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<TransactionId>,
) -> Reply<Json<TransactionBody>> {
    let owner = caller.user()?;
    Ok(Json(TransactionBody::of(service.transaction(owner, id).await?, owner)))
}

async fn transfer(
    State(service): State<Service>,
    By(caller): By,
    Json(request): Json<TransferRequest>,
) -> Reply<Created<TransferBody>> {
    let asset = request.currency.unwrap_or(service.default_currency());
    let amount = Money::requested(request.amount, asset)?;
    let transfer = NewTransfer { to: request.to, amount };
    Ok(Created(service.transfer(&caller, transfer).await?.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DebtWriteOff)]
struct WriteOffRequest {
    /// The default currency when left out.
    currency: Option<Asset>,
    /// For those who look into it later.
    reason: String,
}

async fn write_off(
    State(service): State<Service>,
    By(caller): By,
    At(owner): At<UserId>,
    Json(request): Json<WriteOffRequest>,
) -> Reply<Json<AdminWalletBody>> {
    let asset = request.currency.unwrap_or(service.default_currency());
    service.write_off_by(&caller, owner, asset, &request.reason).await?;
    Ok(Json(shown(&service, owner).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReasonRequest {
    /// For those who look into it later.
    pub(crate) reason: String,
}

/// A user's wallet, as admins see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AdminWallet)]
struct AdminWalletBody {
    user_id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen: Option<FreezeBody>,
    currencies: Vec<AdminCurrencyBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WalletFreeze)]
struct FreezeBody {
    reason: String,
    since: Timestamp,
}

/// Whole minor units.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AdminWalletCurrency)]
struct AdminCurrencyBody {
    currency: Asset,
    available: i64,
    held: i64,
    pending_withdrawal: i64,
    display: String,
}

impl From<Balances> for AdminCurrencyBody {
    fn from(it: Balances) -> Self {
        Self {
            currency: it.available.asset,
            available: it.available.minor,
            held: it.held.minor,
            pending_withdrawal: it.pending_withdrawal.minor,
            display: it.total.to_string(),
        }
    }
}

async fn shown(service: &Service, owner: UserId) -> kernel::Result<AdminWalletBody> {
    let frozen = service.freeze_of(service.db(), owner).await?;
    let balances = service.balances(owner).await?;
    Ok(AdminWalletBody {
        user_id: owner,
        frozen: frozen.map(|Freeze { reason, since }| FreezeBody { reason, since }),
        currencies: balances.into_iter().map(AdminCurrencyBody::from).collect(),
    })
}

async fn inspect(
    State(service): State<Service>,
    At(owner): At<UserId>,
) -> Reply<Json<AdminWalletBody>> {
    Ok(Json(shown(&service, owner).await?))
}

async fn freeze(
    State(service): State<Service>,
    By(caller): By,
    At(owner): At<UserId>,
    Json(request): Json<ReasonRequest>,
) -> Reply<Json<AdminWalletBody>> {
    service.freeze_by(&caller, owner, &request.reason).await?;
    Ok(Json(shown(&service, owner).await?))
}

async fn thaw(
    State(service): State<Service>,
    By(caller): By,
    At(owner): At<UserId>,
    Json(request): Json<ReasonRequest>,
) -> Reply<Json<AdminWalletBody>> {
    service.thaw_by(&caller, owner, &request.reason).await?;
    Ok(Json(shown(&service, owner).await?))
}
