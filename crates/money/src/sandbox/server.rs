//! The sandbox as a provider.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use kernel::{Error, Kind, Money, Result, Secret};
use platform::db::{Db, Tx};
use platform::http::problem_status;
use platform::jobs::{Job, NewJob, Registry, Run};
use serde::{Deserialize, Serialize};

use super::store::{self, Kept};
use super::wire::{
    Collection, Envelope, EnvelopeData, NewCollection, PayoutWire, SIGNATURE_HEADER, Status, sign,
};
use super::{Options, page};
use crate::provider::client;

/// References in the letters that providers take; long enough for everybody's.
const REFERENCE_MAX: usize = 100;

/// The sandbox provider. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    db: Db,
    options: Options,
    client: reqwest::Client,
}

/// Sends a webhook. The body is kept as it was first written: what is signed is what is sent,
/// every time.
#[derive(Debug, Serialize, Deserialize)]
struct CallBack {
    body: String,
}

impl Job for CallBack {
    const KIND: &'static str = "sandbox.call_back";
}

impl Server {
    pub(crate) fn new(db: Db, options: Options) -> Result<Self> {
        Ok(Self(Arc::new(Inner { db, options, client: client()? })))
    }

    /// The provider's API under `/sandbox/collections`, for the adapter with its secret, and its
    /// checkout page under `/sandbox/checkout`, for whoever has the link.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/sandbox/collections", post(create))
            .route("/sandbox/collections/{reference}", get(fetch))
            .route("/sandbox/payouts", post(pay_out))
            .route("/sandbox/payouts/{reference}", get(payout))
            .route("/sandbox/checkout/{reference}", get(checkout))
            .route("/sandbox/checkout/{reference}/approve", post(approve))
            .route("/sandbox/checkout/{reference}/decline", post(decline))
            .with_state(self.clone())
    }

    pub(crate) fn jobs(&self, registry: &mut Registry) {
        let server = self.clone();
        registry.on(move |job: CallBack, run| {
            let server = server.clone();
            async move { server.call_back(&job, &run).await }
        });
    }

    async fn make(&self, new: &NewCollection) -> Result<Kept> {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-.=".contains(letter);
        let length = new.reference.len();
        if length == 0 || length > REFERENCE_MAX || !new.reference.chars().all(is_plain) {
            return Err(Error::field("/reference", "invalid", "up to 100 letters, digits, - . ="));
        }
        let amount = Money::requested(new.amount, new.currency)?;
        let kept = self
            .0
            .db
            .run("sandbox.create", |tx| async move {
                let code = URL_SAFE_NO_PAD.encode(tx.world().random::<12>());
                store::insert(&tx, &new.reference, amount, &code).await?;
                store::get(&tx, &new.reference).await
            })
            .await?;
        let kept = kept.ok_or_else(|| Error::internal("a collection is not where it was put"))?;
        if kept.amount != amount {
            let message = "There is another collection of this reference.";
            return Err(Error::conflict("duplicate_reference", message));
        }
        Ok(kept)
    }

    async fn find(&self, reference: &str) -> Result<Kept> {
        let kept = store::get(&self.0.db, reference).await?;
        kept.ok_or_else(|| Error::not_found("collection"))
    }

    /// Decides a collection and tells the platform. What was decided stays decided.
    async fn decide(&self, reference: &str, paid: Option<Money>) -> Result<()> {
        let status = if paid.is_some() { Status::Paid } else { Status::Declined };
        let received = paid.map_or(0, |paid| paid.minor);
        let fee = paid.map_or(0, |paid| paid.share(self.0.options.fee_bps).minor);
        let decide = |tx: Tx| async move {
            if store::decide(&tx, reference, status, received, fee).await? {
                let id = URL_SAFE_NO_PAD.encode(tx.world().random::<12>());
                tx.enqueue(NewJob::new(&CallBack { body: envelope(&id, reference, status)? })?);
            }
            Ok(())
        };
        self.0.db.run("sandbox.decide", decide).await
    }

    async fn call_back(&self, job: &CallBack, run: &Run) -> Result<()> {
        let Options { callback_url, webhook_secret, .. } = &self.0.options;
        let failed = |what: String| Error::unavailable("callback_failed", what);
        let answer = self
            .0
            .client
            .post(callback_url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(SIGNATURE_HEADER, sign(webhook_secret.expose(), job.body.as_bytes()))
            .body(job.body.clone())
            .send()
            .await
            .map_err(|error| failed(format!("a webhook was not taken: {error:?}")))?;
        if !answer.status().is_success() {
            return Err(failed(format!("a webhook was answered with {}", answer.status())));
        }
        self.0.db.run("sandbox.called_back", |tx| async move { run.done_in(&tx).await }).await
    }

    fn show(&self, kept: Kept) -> Collection {
        let public = &self.0.options.public_url;
        Collection {
            checkout_url: format!("{public}/sandbox/checkout/{}", kept.reference),
            reference: kept.reference,
            status: kept.status,
            amount: kept.amount.minor,
            currency: kept.amount.asset,
            paid: kept.paid.minor,
            fee: kept.fee.minor,
            access_code: kept.access_code,
            live: false,
            created_at: kept.created_at,
            decided_at: kept.decided_at,
        }
    }

    fn authorize(&self, headers: &HeaderMap) -> Result<()> {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(|token| Secret::new(token.to_owned()));
        if given.is_some_and(|given| given == self.0.options.secret) {
            return Ok(());
        }
        Err(Error::unauthenticated("invalid_key", "The secret key is not the one."))
    }
}

fn envelope(id: &str, reference: &str, status: Status) -> Result<String> {
    let r#type = match status {
        Status::Paid => "collection.paid",
        Status::Declined | Status::Pending => "collection.declined",
    };
    let data = EnvelopeData { reference: reference.to_owned() };
    serde_json::to_string(&Envelope { id: id.to_owned(), r#type: r#type.to_owned(), data })
        .map_err(|error| Error::internal("a webhook cannot be written").because(error))
}

/// An error in the provider's own shape.
struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let message = if error.kind() == Kind::Internal {
            tracing::error!(%error, "the sandbox failed");
            "Something went wrong in the sandbox.".to_owned()
        } else {
            error.to_string()
        };
        let body = serde_json::json!({ "error": { "code": error.code(), "message": message } });
        (problem_status(&error), axum::Json(body)).into_response()
    }
}

async fn create(
    State(server): State<Server>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    server.authorize(&headers)?;
    let new: NewCollection = serde_json::from_slice(&body)
        .map_err(|error| Error::invalid("invalid_json", error.to_string()))?;
    let kept = server.make(&new).await?;
    Ok((StatusCode::CREATED, axum::Json(server.show(kept))).into_response())
}

async fn fetch(
    State(server): State<Server>,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    server.authorize(&headers)?;
    let kept = server.find(&reference).await?;
    Ok(axum::Json(server.show(kept)).into_response())
}

/// Pays out, once for each reference: what was asked for first is what counts.
async fn pay_out(
    State(server): State<Server>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    server.authorize(&headers)?;
    let new: PayoutWire = serde_json::from_slice(&body)
        .map_err(|error| Error::invalid("invalid_json", error.to_string()))?;
    Money::requested(new.amount, new.currency)?;
    let made = &new;
    let kept = server
        .0
        .db
        .run("sandbox.pay_out", |tx| async move {
            store::insert_payout(&tx, made).await?;
            store::payout(&tx, &made.reference).await
        })
        .await?;
    if kept.as_ref() != Some(&new) {
        let message = "There is another payout of this reference.";
        return Err(Error::conflict("duplicate_reference", message).into());
    }
    Ok((StatusCode::CREATED, axum::Json(kept)).into_response())
}

async fn payout(
    State(server): State<Server>,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    server.authorize(&headers)?;
    let kept = store::payout(&server.0.db, &reference).await?;
    Ok(axum::Json(kept.ok_or_else(|| Error::not_found("payout"))?).into_response())
}

async fn checkout(
    State(server): State<Server>,
    Path(reference): Path<String>,
) -> Result<Response, Refusal> {
    let kept = server.find(&reference).await?;
    let headers = [
        (header::CONTENT_SECURITY_POLICY, page::POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    Ok((headers, Html(page::checkout(&kept))).into_response())
}

/// What the checkout page's form sends.
#[derive(Debug, Default, Deserialize)]
struct Approval {
    /// In minor units; all that was asked for when left out.
    amount: Option<i64>,
}

async fn approve(
    State(server): State<Server>,
    Path(reference): Path<String>,
    platform::http::Form(approval): platform::http::Form<Approval>,
) -> Result<Response, Refusal> {
    let asked = server.find(&reference).await?.amount;
    let paid = Money::requested(approval.amount.unwrap_or(asked.minor), asked.asset)?;
    server.decide(&reference, Some(paid)).await?;
    Ok(back_to(&reference))
}

async fn decline(
    State(server): State<Server>,
    Path(reference): Path<String>,
) -> Result<Response, Refusal> {
    server.find(&reference).await?;
    server.decide(&reference, None).await?;
    Ok(back_to(&reference))
}

/// To the checkout page, which shows what was decided. Relative, so that it holds wherever the
/// sandbox is mounted; a known reference has no letters that a URL would read otherwise.
fn back_to(reference: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, format!("../{reference}"))]).into_response()
}
