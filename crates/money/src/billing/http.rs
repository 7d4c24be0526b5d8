//! Bills over HTTP.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use kernel::id::kinds;
use kernel::{Asset, Id, Money, Timestamp};
use platform::http::{
    At, Audience, By, Json, List, Once, Paging, Query, Reply, Route, delete, get, post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{Invoice, InvoiceState, Line, Subscription, SubscriptionState};
use super::service::Service;
use crate::pdf;
use crate::wallet::ReasonRequest;

// Names without parameters: the schema's derive looks no further than that.
type SubscriptionId = Id<kinds::Subscription>;
type InvoiceId = Id<kinds::Invoice>;
type UserId = Id<kinds::User>;

/// The routes of bills.
pub fn routes(service: &Service) -> Vec<Route> {
    let mut routes = own(service);
    routes.extend(admin(service));
    routes
}

fn own(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Enterprise, "/v1/enterprise/billing/subscription")
                .summary("Your plan, what you have used of it, and the plans there are")
                .returns::<BillingBody>(200)
                .to(show),
            post(Audience::Enterprise, "/v1/enterprise/billing/plan")
                .summary("Choose a plan")
                .describe(
                    "A dearer plan starts at once, and what was not served of the old one is \
                     credited; a cheaper one starts with the next period.",
                )
                .in_person()
                .once(Once::Required)
                .takes::<PlanRequest>()
                .returns::<BillingBody>(200)
                .to(choose),
            delete(Audience::Enterprise, "/v1/enterprise/billing/subscription")
                .summary("Cancel your plan")
                .describe(
                    "It goes on until its period is over, and what you have used beyond it is \
                     billed then; a suspended one ends at once. Choosing a plan takes it back.",
                )
                .in_person()
                .returns::<BillingBody>(200)
                .to(cancel),
            get(Audience::Enterprise, "/v1/enterprise/billing/invoices")
                .summary("Your invoices, the latest first")
                .paged()
                .returns::<Vec<InvoiceBody>>(200)
                .to(list),
            get(Audience::Enterprise, "/v1/enterprise/billing/invoices/{id}/pdf")
                .summary("An invoice to print")
                .returns_media(200, "application/pdf", "The invoice.")
                .to(print),
            post(Audience::Enterprise, "/v1/enterprise/billing/invoices/{id}/pay")
                .summary("Pay an open invoice out of your wallet")
                .in_person()
                .once(Once::Accepted)
                .returns::<InvoiceBody>(200)
                .to(pay),
        ],
    )
}

fn admin(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/invoices")
                .summary("Everybody's invoices, the latest first")
                .query::<AllQuery>()
                .paged()
                .returns::<Vec<AdminInvoiceBody>>(200)
                .to(all),
            post(Audience::Admin, "/v1/admin/invoices/{id}/void")
                .summary("Take back an open invoice that should not have been written")
                .in_person()
                .step_up()
                .once(Once::Required)
                .takes::<ReasonRequest>()
                .returns::<AdminInvoiceBody>(200)
                .to(void),
            post(Audience::Admin, "/v1/admin/invoices/{id}/write-off")
                .summary("Give up an open invoice; its subscription ends")
                .in_person()
                .step_up()
                .once(Once::Required)
                .takes::<ReasonRequest>()
                .returns::<AdminInvoiceBody>(200)
                .to(write_off),
        ],
    )
}

/// An enterprise's plan, and the plans there are.
#[derive(Debug, Serialize, ToSchema)]
struct BillingBody {
    /// None before a plan was chosen.
    subscription: Option<SubscriptionBody>,
    currency: Asset,
    plans: Vec<PlanBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SubscriptionView)]
struct SubscriptionBody {
    id: SubscriptionId,
    plan: String,
    /// What starts with the next period.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_plan: Option<String>,
    /// Whether it ends with the period.
    cancel_at_period_end: bool,
    status: SubscriptionState,
    period_start: Timestamp,
    period_end: Timestamp,
    /// Verifications in this period.
    used: i64,
    included: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BillingPlan)]
struct PlanBody {
    code: String,
    name: String,
    /// Minor units, for a period.
    price: i64,
    display: String,
    /// Verifications that are in the price.
    included: i64,
    /// Minor units, for each one more.
    overage: i64,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlanRequest {
    /// The plan's code.
    plan: String,
}

/// A bill.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = InvoiceView)]
struct InvoiceBody {
    id: InvoiceId,
    number: String,
    status: InvoiceState,
    lines: Vec<Line>,
    net: i64,
    tax: i64,
    total: i64,
    /// Taken off again.
    credited: i64,
    currency: Asset,
    display: String,
    period_start: Timestamp,
    period_end: Timestamp,
    issued_at: Timestamp,
    due_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_at: Option<Timestamp>,
}

/// A bill, and whose it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AdminInvoice)]
struct AdminInvoiceBody {
    owner: UserId,
    #[serde(flatten)]
    invoice: InvoiceBody,
}

fn admin_body(it: Invoice) -> kernel::Result<AdminInvoiceBody> {
    Ok(AdminInvoiceBody { owner: it.owner, invoice: body(it)? })
}

#[derive(Debug, Deserialize, IntoParams)]
struct AllQuery {
    /// One state; all when left out.
    status: Option<InvoiceState>,
}

fn body(it: Invoice) -> kernel::Result<InvoiceBody> {
    let (total, number) = (it.total()?, it.label());
    Ok(InvoiceBody {
        id: it.id,
        number,
        status: it.state,
        lines: it.lines,
        net: it.net.minor,
        tax: it.tax.minor,
        total: total.minor,
        credited: it.credited.minor,
        currency: total.asset,
        display: total.to_string(),
        period_start: it.period_start,
        period_end: it.period_end,
        issued_at: it.issued_at,
        due_at: it.due_at,
        paid_at: it.paid_at,
    })
}

async fn billing(
    service: &Service,
    subscription: Option<Subscription>,
) -> kernel::Result<BillingBody> {
    let (policy, asset) = (service.policy(), service.asset());
    let subscription = match subscription {
        Some(it) => Some(SubscriptionBody {
            id: it.id,
            used: service.used(&it).await?,
            included: policy.plan(&it.plan).map_or(0, |plan| plan.included),
            plan: it.plan,
            next_plan: it.next_plan,
            cancel_at_period_end: it.ends,
            status: it.state,
            period_start: it.period_start,
            period_end: it.period_end,
        }),
        None => None,
    };
    let plans = policy.plans.iter().map(|plan| PlanBody {
        code: plan.code.clone(),
        name: plan.name.clone(),
        price: plan.price,
        display: Money::new(plan.price, asset).to_string(),
        included: plan.included,
        overage: plan.overage,
    });
    Ok(BillingBody { subscription, currency: asset, plans: plans.collect() })
}

async fn show(State(service): State<Service>, By(caller): By) -> Reply<Json<BillingBody>> {
    let subscription = service.subscription(caller.user()?).await?;
    Ok(Json(billing(&service, subscription).await?))
}

async fn choose(
    State(service): State<Service>,
    By(caller): By,
    Json(request): Json<PlanRequest>,
) -> Reply<Json<BillingBody>> {
    let subscription = service.choose(&caller, &request.plan).await?;
    Ok(Json(billing(&service, Some(subscription)).await?))
}

async fn cancel(State(service): State<Service>, By(caller): By) -> Reply<Json<BillingBody>> {
    let subscription = service.cancel(&caller).await?;
    Ok(Json(billing(&service, Some(subscription)).await?))
}

async fn all(
    State(service): State<Service>,
    Query(query): Query<AllQuery>,
    paging: Paging,
) -> Reply<List<AdminInvoiceBody>> {
    let page = service.all_invoices(query.status, &paging.page).await?;
    let bodies = page.items.into_iter().map(admin_body).collect::<kernel::Result<_>>()?;
    Ok(paging.reply(kernel::Page { items: bodies, next: page.next }))
}

async fn void(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<InvoiceId>,
    Json(request): Json<ReasonRequest>,
) -> Reply<Json<AdminInvoiceBody>> {
    Ok(Json(admin_body(service.void(&caller, id, &request.reason).await?)?))
}

async fn write_off(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<InvoiceId>,
    Json(request): Json<ReasonRequest>,
) -> Reply<Json<AdminInvoiceBody>> {
    Ok(Json(admin_body(service.write_off(&caller, id, &request.reason).await?)?))
}

async fn list(
    State(service): State<Service>,
    By(caller): By,
    paging: Paging,
) -> Reply<List<InvoiceBody>> {
    let page = service.invoices(caller.user()?, &paging.page).await?;
    let bodies = page.items.into_iter().map(body).collect::<kernel::Result<_>>()?;
    Ok(paging.reply(kernel::Page { items: bodies, next: page.next }))
}

async fn pay(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<InvoiceId>,
) -> Reply<Json<InvoiceBody>> {
    Ok(Json(body(service.pay(&caller, id).await?)?))
}

async fn print(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<InvoiceId>,
) -> Reply<Response> {
    let invoice = service.invoice(&caller, id).await?;
    let name = format!("attachment; filename=\"{}.pdf\"", invoice.label());
    let headers =
        [(header::CONTENT_TYPE, "application/pdf".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, pdf::document(&printed(&invoice)?)).into_response())
}

/// An invoice as lines of text.
fn printed(it: &Invoice) -> kernel::Result<Vec<String>> {
    let asset = it.net.asset;
    let plain = |minor: i64| plain(Money::new(minor, asset));
    let mut lines = vec![
        format!("Invoice {}", it.label()),
        String::new(),
        format!("Issued  {}", it.issued_at.to_second_text()),
        format!("Period  {}", it.period_start.to_second_text()),
        format!("     to {}", it.period_end.to_second_text()),
        format!("Status  {}", it.state.as_str()),
        String::new(),
    ];
    for line in &it.lines {
        let Line { description, quantity, amount } = line;
        lines.push(format!("{description:40} {quantity:>6} {:>24}", plain(*amount)));
    }
    lines.push(String::new());
    lines.push(format!("{:47} {:>24}", "Net", plain(it.net.minor)));
    lines.push(format!("{:47} {:>24}", "Tax", plain(it.tax.minor)));
    lines.push(format!("{:47} {:>24}", "Total", plain(it.total()?.minor)));
    if it.credited.minor > 0 {
        lines.push(format!("{:47} {:>24}", "Credited", plain(-it.credited.minor)));
    }
    Ok(lines)
}

/// An amount with its code in place of a sign that fonts may lack.
fn plain(money: Money) -> String {
    let text = money.to_string();
    let digits: String =
        text.chars().filter(|it| it.is_ascii_digit() || "-.,".contains(*it)).collect();
    format!("{} {digits}", money.asset)
}
