//! Receipts and statements over HTTP.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use kernel::id::kinds;
use kernel::{Asset, Id};
use platform::http::{At, Audience, By, Limit, Query, Reply, Route, get, table};
use serde::Deserialize;
use utoipa::IntoParams;

use super::model::{Format, Month};
use super::service::Service;

// A name without parameters: the schema's derive looks no further than that.
type TransactionId = Id<kinds::Transaction>;

/// The routes of receipts and statements.
pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Any, "/v1/user/wallet/transactions/{id}/receipt")
                .summary("The receipt of a transaction of your wallet")
                .describe(
                    "As PDF, as CSV, or as lines of JSON: `format` decides, and without it `Accept`.",
                )
                .query::<PaperQuery>()
                .returns_media(
                    200,
                    "application/pdf",
                    "The receipt; or `text/csv`, or `application/x-ndjson`.",
                )
                .to(receipt),
            get(Audience::Any, "/v1/user/wallet/statements/{month}")
                .summary("The statement of your wallet of a month such as 2026-01, in UTC")
                .describe(
                    "Opening balance, every entry with the balance after it, what came in and went \
                     out in all, closing balance; of the month that runs, up to now. As PDF, as CSV, \
                     or as lines of JSON: `format` decides, and without it `Accept`. What has more \
                     than 10000 entries is not printed on pages.",
                )
                .limit(Limit::Heavy)
                .query::<StatementQuery>()
                .returns_media(
                    200,
                    "application/pdf",
                    "The statement; or `text/csv`, or `application/x-ndjson`.",
                )
                .to(statement),
        ],
    )
}

#[derive(Debug, Deserialize, IntoParams)]
struct PaperQuery {
    format: Option<Format>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct StatementQuery {
    format: Option<Format>,
    /// The default currency when left out.
    currency: Option<Asset>,
}

/// What the client wants: what its address says, else what it accepts, else pages.
fn wanted(format: Option<Format>, headers: &HeaderMap) -> Format {
    let accepts = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    format.unwrap_or_else(|| {
        let types = accepts.split([',', ';']).map(str::trim);
        let known = types.filter_map(|media| match media {
            "text/csv" => Some(Format::Csv),
            "application/pdf" => Some(Format::Pdf),
            "application/x-ndjson" | "application/jsonl" => Some(Format::Jsonl),
            _ => None,
        });
        known.into_iter().next().unwrap_or(Format::Pdf)
    })
}

fn paper(format: Format, name: &str, body: Body) -> Response {
    let name = format!("attachment; filename=\"{name}.{}\"", format.extension());
    let headers = [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::VARY, "accept".to_owned()),
    ];
    (headers, body).into_response()
}

async fn receipt(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<TransactionId>,
    Query(query): Query<PaperQuery>,
    headers: HeaderMap,
) -> Reply<Response> {
    let format = wanted(query.format, &headers);
    let written = service.receipt(&caller, id, format).await?;
    Ok(paper(format, &format!("receipt-{id}"), written.into()))
}

async fn statement(
    State(service): State<Service>,
    By(caller): By,
    At(month): At<Month>,
    Query(query): Query<StatementQuery>,
    headers: HeaderMap,
) -> Reply<Response> {
    let format = wanted(query.format, &headers);
    let span = service.span(&caller, month, query.currency, format).await?;
    let name = format!("statement-{month}-{}", span.opening.asset);
    Ok(paper(format, &name, Body::from_stream(service.write(span, format))))
}
