//! Refunds over HTTP.

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Asset, Id, Timestamp};
use platform::http::{
    At, Audience, By, Created, Json, List, Once, Paging, Query, Reply, Route, get, post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{self, NewRefund, Refund, Source};
use super::service::Service;
use crate::provider::ProviderName;

// Names without parameters: the schema's derive looks no further than that.
type RefundId = Id<kinds::Refund>;
type PaymentId = Id<kinds::Payment>;
type UserId = Id<kinds::User>;

/// The routes of refunds.
pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::Admin, "/v1/admin/payments/{id}/refund")
                .summary("Send money of a payment back to where it came from")
                .describe(
                    "Of a settled payment, out of its payer's wallet, all that is left of it or a \
                     part. Of a suspended one, all that came.",
                )
                .in_person()
                .step_up()
                .once(Once::Required)
                .takes::<RefundRequest>()
                .returns::<RefundBody>(201)
                .to(request),
            get(Audience::Admin, "/v1/admin/refunds")
                .summary("Refunds, the latest first")
                .query::<ListQuery>()
                .paged()
                .returns::<Vec<RefundBody>>(200)
                .to(list),
        ],
    )
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RefundRequest {
    /// Whole minor units; all that is left of the payment when left out.
    amount: Option<i64>,
    /// For those who look into it later.
    reason: String,
}

#[derive(Debug, Deserialize, IntoParams)]
struct ListQuery {
    /// One state; all when left out.
    status: Option<model::State>,
}

/// A refund and how it stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Refund)]
struct RefundBody {
    id: RefundId,
    payment_id: PaymentId,
    user_id: UserId,
    status: model::State,
    source: Source,
    provider: ProviderName,
    amount: i64,
    currency: Asset,
    display: String,
    reason: String,
    /// Why it was not paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    requested_by: UserId,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Refund> for RefundBody {
    fn from(it: Refund) -> Self {
        Self {
            id: it.id,
            payment_id: it.payment,
            user_id: it.owner,
            status: it.state,
            source: it.source,
            provider: it.provider,
            amount: it.amount.minor,
            currency: it.amount.asset,
            display: it.amount.to_string(),
            reason: it.reason,
            failure: it.failure,
            requested_by: it.requested_by,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

async fn request(
    State(service): State<Service>,
    By(caller): By,
    At(payment): At<PaymentId>,
    Json(request): Json<RefundRequest>,
) -> Reply<Created<RefundBody>> {
    let RefundRequest { amount, reason } = request;
    let new = NewRefund { payment, amount, reason };
    Ok(Created(service.request(&caller, new).await?.into()))
}

async fn list(
    State(service): State<Service>,
    Query(query): Query<ListQuery>,
    paging: Paging,
) -> Reply<List<RefundBody>> {
    let page = service.list(query.status, &paging.page).await?;
    Ok(paging.reply(page.map(RefundBody::from)))
}
