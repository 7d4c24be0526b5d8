//! Payments over HTTP.

use axum::extract::State;
use http::HeaderMap;
use kernel::id::kinds;
use kernel::{Asset, Id, Money, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, Limit, List, Once, Paging, Query, Raw, Reply, Route,
    get, post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{self, NewCheckout, NewDeposit, Payment};
use super::service::Service;
use crate::provider::ProviderName;

// A name without parameters: the schema's derive looks no further than that.
type PaymentId = Id<kinds::Payment>;
type UserId = Id<kinds::User>;
type InvoiceId = Id<kinds::Invoice>;

/// The routes of payments.
pub fn routes(service: &Service) -> Vec<Route> {
    let mut routes = own(service);
    routes.extend(admin(service));
    routes
}

fn own(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Any, "/v1/user/wallet/config")
                .summary("How money can be paid in: currencies, providers, limits")
                .returns::<ConfigBody>(200)
                .to(config),
            post(Audience::Any, "/v1/user/wallet/deposit")
                .summary("Pay money in: answers the page on which to pay")
                .describe(
                    "The amount is in minor units: 5000 with NGN is fifty naira. The wallet is \
                     credited when the provider confirms; ask `verify` with the reference.",
                )
                .once(Once::Required)
                .takes::<DepositRequest>()
                .returns::<DepositBody>(201)
                .to(deposit),
            post(Audience::Enterprise, "/v1/enterprise/billing/invoices/{id}/checkout")
                .summary("Pay an open invoice through a provider: answers the page on which to pay")
                .describe(
                    "The amount is what the invoice still asks for. The invoice is paid when the \
                     provider confirms; where it was paid meanwhile, the money stays in the wallet.",
                )
                .in_person()
                .once(Once::Required)
                .takes::<CheckoutRequest>()
                .returns::<DepositBody>(201)
                .to(check_out),
            get(Audience::Any, "/v1/user/wallet/verify/{reference}")
                .summary("How a payment stands, as its provider says")
                .returns::<PaymentBody>(200)
                .to(verify),
            get(Audience::Any, "/v1/user/payment/confirm")
                .summary("How a payment stands that its provider names by an id of its own")
                .query::<ConfirmQuery>()
                .returns::<PaymentBody>(200)
                .to(confirm),
            post(Audience::Provider, "/v1/payments/webhook/{provider}")
                .summary("A provider's webhook")
                .limit(Limit::Webhook)
                .takes_media("application/json", "The provider's own event, signed.")
                .returns::<Done>(200)
                .to(webhook),
            post(Audience::Provider, "/v1/payments/webhook")
                .summary("A provider's webhook; its signature header tells whose")
                .limit(Limit::Webhook)
                .takes_media("application/json", "The provider's own event, signed.")
                .returns::<Done>(200)
                .to(any_webhook),
        ],
    )
}

fn admin(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/payments")
                .summary("Payments, the latest first; those that wait have the status suspended")
                .query::<ListQuery>()
                .paged()
                .returns::<Vec<AdminPaymentBody>>(200)
                .to(list),
            get(Audience::Admin, "/v1/admin/payments/{id}")
                .summary("One payment, and what came for it")
                .returns::<AdminPaymentBody>(200)
                .to(inspect),
            post(Audience::Admin, "/v1/admin/payments/{id}/credit")
                .summary("Credit the payer with what came for a suspended payment")
                .in_person()
                .step_up()
                .once(Once::Required)
                .takes::<CreditRequest>()
                .returns::<AdminPaymentBody>(200)
                .to(credit),
        ],
    )
}

/// How money can be paid in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ConfigBody {
    default_currency: Asset,
    /// None where nothing can be paid in.
    default_provider: Option<ProviderName>,
    providers: Vec<ProviderBody>,
    currencies: Vec<CurrencyBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProviderBody {
    name: ProviderName,
    currencies: Vec<Asset>,
    methods: Vec<&'static str>,
    /// Whether real money moves.
    live: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CurrencyBody {
    currency: Asset,
    /// Digits behind the point: an amount of 1 is one of the last digit.
    scale: u8,
    /// The least and the most of one deposit, in minor units.
    minimum: i64,
    maximum: i64,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DepositRequest {
    /// Whole minor units: 5000 with NGN is fifty naira.
    amount: i64,
    /// The default currency when left out.
    currency: Option<Asset>,
    /// The default provider when left out.
    provider: Option<ProviderName>,
    /// How to pay, such as `card`.
    method: Option<String>,
    /// Where the provider sends its receipt.
    email: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CheckoutRequest {
    /// The default provider when left out.
    provider: Option<ProviderName>,
    /// How to pay, such as `card`.
    method: Option<String>,
    /// Where the provider sends its receipt.
    email: Option<String>,
}

/// Where to pay. The first three are the provider's own names, and stand there again in ours.
#[derive(Debug, Serialize, ToSchema)]
struct DepositBody {
    authorization_url: String,
    access_code: String,
    reference: String,
    #[serde(rename = "authorizationUrl")]
    checkout_url: String,
    #[serde(rename = "accessCode")]
    checkout_code: String,
    id: PaymentId,
    provider: ProviderName,
    amount: i64,
    currency: Asset,
    display: String,
    #[serde(rename = "expiresAt")]
    expires_at: Timestamp,
    /// What it pays, where it is to pay an invoice.
    #[serde(rename = "invoiceId", skip_serializing_if = "Option::is_none")]
    invoice_id: Option<InvoiceId>,
}

impl From<Payment> for DepositBody {
    fn from(payment: Payment) -> Self {
        let reference = payment.reference();
        let url = payment.checkout_url.unwrap_or_default();
        let code = payment.access_code.unwrap_or_default();
        Self {
            authorization_url: url.clone(),
            access_code: code.clone(),
            reference,
            checkout_url: url,
            checkout_code: code,
            id: payment.id,
            provider: payment.provider,
            amount: payment.amount.minor,
            currency: payment.amount.asset,
            display: payment.amount.to_string(),
            expires_at: payment.expires_at,
            invoice_id: payment.invoice,
        }
    }
}

/// A payment and how it stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PaymentBody {
    id: PaymentId,
    reference: String,
    status: model::State,
    /// Why it failed or is held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    provider: ProviderName,
    amount: i64,
    currency: Asset,
    display: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    expires_at: Timestamp,
    /// What it pays, where it is to pay an invoice.
    #[serde(skip_serializing_if = "Option::is_none")]
    invoice_id: Option<InvoiceId>,
}

impl From<Payment> for PaymentBody {
    fn from(payment: Payment) -> Self {
        Self {
            id: payment.id,
            reference: payment.reference(),
            status: payment.state,
            reason: payment.reason,
            provider: payment.provider,
            amount: payment.amount.minor,
            currency: payment.amount.asset,
            display: payment.amount.to_string(),
            created_at: payment.created_at,
            updated_at: payment.updated_at,
            expires_at: payment.expires_at,
            invoice_id: payment.invoice,
        }
    }
}

async fn config(State(service): State<Service>) -> Reply<Json<ConfigBody>> {
    let providers = service.providers();
    let mut currencies: Vec<Asset> =
        providers.iter().flat_map(|p| p.capabilities().currencies.iter().copied()).collect();
    currencies.sort_unstable_by_key(|asset| asset.code());
    currencies.dedup();
    let (minimum, maximum) = (service.minimum(), Money::MAX_MINOR);
    let describe =
        |currency: Asset| CurrencyBody { currency, scale: currency.scale(), minimum, maximum };
    Ok(Json(ConfigBody {
        default_currency: service.default_currency(),
        default_provider: providers.first().map(|provider| provider.name()),
        providers: providers
            .iter()
            .map(|provider| ProviderBody {
                name: provider.name(),
                currencies: provider.capabilities().currencies.clone(),
                methods: provider.capabilities().methods.clone(),
                live: provider.capabilities().live,
            })
            .collect(),
        currencies: currencies.into_iter().map(describe).collect(),
    }))
}

async fn deposit(
    State(service): State<Service>,
    By(caller): By,
    Json(request): Json<DepositRequest>,
) -> Reply<Created<DepositBody>> {
    let DepositRequest { amount, currency, provider, method, email } = request;
    let deposit = NewDeposit { amount, currency, provider, method, email };
    Ok(Created(service.deposit(&caller, deposit).await?.into()))
}

async fn check_out(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<InvoiceId>,
    Json(request): Json<CheckoutRequest>,
) -> Reply<Created<DepositBody>> {
    let CheckoutRequest { provider, method, email } = request;
    let checkout = NewCheckout { provider, method, email };
    Ok(Created(service.check_out(&caller, id, checkout).await?.into()))
}

async fn verify(
    State(service): State<Service>,
    By(caller): By,
    At(reference): At<String>,
) -> Reply<Json<PaymentBody>> {
    Ok(Json(service.verify(&caller, &reference).await?.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
struct ConfirmQuery {
    /// The provider's id of the payment (`pi_...`), or our reference.
    payment_intent: String,
}

async fn confirm(
    State(service): State<Service>,
    By(caller): By,
    Query(query): Query<ConfirmQuery>,
) -> Reply<Json<PaymentBody>> {
    Ok(Json(service.confirm(&caller, &query.payment_intent).await?.into()))
}

async fn webhook(
    State(service): State<Service>,
    At(provider): At<ProviderName>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Reply<Json<Done>> {
    service.receive(provider, &headers, &body).await?;
    Ok(Done::reply())
}

async fn any_webhook(
    State(service): State<Service>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Reply<Json<Done>> {
    let provider = service.sender(&headers)?;
    service.receive(provider, &headers, &body).await?;
    Ok(Done::reply())
}

#[derive(Debug, Deserialize, IntoParams)]
struct ListQuery {
    /// One state; all when left out. Of suspended ones, those that wait.
    status: Option<model::State>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreditRequest {
    /// For those who look into it later.
    reason: String,
}

/// A payment, as admins see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AdminPayment)]
struct AdminPaymentBody {
    user_id: UserId,
    /// The provider's own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_reference: Option<String>,
    /// What came, where that is something else than was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<ReceivedBody>,
    #[serde(flatten)]
    payment: PaymentBody,
}

/// Whole minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PaymentReceived)]
struct ReceivedBody {
    amount: i64,
    currency: Asset,
    display: String,
}

impl From<(Payment, Option<Money>)> for AdminPaymentBody {
    fn from((payment, came): (Payment, Option<Money>)) -> Self {
        Self {
            user_id: payment.owner,
            provider_reference: payment.provider_ref.clone(),
            received: came.map(|came| ReceivedBody {
                amount: came.minor,
                currency: came.asset,
                display: came.to_string(),
            }),
            payment: payment.into(),
        }
    }
}

async fn list(
    State(service): State<Service>,
    Query(query): Query<ListQuery>,
    paging: Paging,
) -> Reply<List<AdminPaymentBody>> {
    let page = service.list(query.status, &paging.page).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for payment in page.items {
        items.push(AdminPaymentBody::from(service.with_came(payment).await?));
    }
    Ok(paging.reply(kernel::Page { items, next: page.next }))
}

async fn inspect(
    State(service): State<Service>,
    At(id): At<PaymentId>,
) -> Reply<Json<AdminPaymentBody>> {
    Ok(Json(service.inspect(id).await?.into()))
}

async fn credit(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<PaymentId>,
    Json(request): Json<CreditRequest>,
) -> Reply<Json<AdminPaymentBody>> {
    let payment = service.credit(&caller, id, &request.reason).await?;
    Ok(Json((payment, None).into()))
}
