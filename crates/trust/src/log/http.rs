//! The log as anybody may read it: checkpoint, tiles, proofs.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;
use kernel::id::kinds::Fact;
use kernel::{Error, Id};
use platform::db::Db;
use platform::http::{At, Audience, By, Json, Problem, Query, Reply, Route, get, table};
use platform::journal;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::service::{Inclusion, Service};
use verify::log::note::VerifierKey;

/// What the log's routes need.
#[derive(Clone)]
pub struct Pages {
    pub log: Service,
    pub db: Db,
}

pub fn routes(pages: &Pages) -> Vec<Route> {
    table(
        pages,
        [
            get(Audience::Public, "/v1/audit/checkpoint")
                .summary("The signed head of the transparency log (C2SP tlog-checkpoint)")
                .describe(
                    "With the signatures of witnesses (C2SP tlog-cosignature), where there are \
                     any: then it is the newest that one of them has signed.",
                )
                .returns_media(200, "text/plain", "A signed note: origin, size, root.")
                .to(checkpoint),
            get(Audience::Public, "/v1/audit/key")
                .summary("The keys of the transparency log, as vkeys")
                .describe("Pin them: a key that comes with the proof it checks proves little.")
                .returns_media(200, "text/plain", "One C2SP vkey a line, the newest last.")
                .to(key),
            get(Audience::Public, "/v1/audit/tile/{level}/{*index}")
                .summary("A tile of the transparency log (C2SP tlog-tiles)")
                .returns_media(200, "application/octet-stream", "Hashes, or log entries.")
                .to(tile),
            get(Audience::Public, "/v1/audit/of/{log}/checkpoint")
                .summary("The signed head of the log of a year, such as 2026")
                .describe("A log ends with its year; its head and tiles stay where they are.")
                .returns_media(200, "text/plain", "A signed note: origin, size, root.")
                .to(checkpoint_of),
            get(Audience::Public, "/v1/audit/of/{log}/tile/{level}/{*index}")
                .summary("A tile of the log of a year")
                .returns_media(200, "application/octet-stream", "Hashes, or log entries.")
                .to(tile_of),
            get(Audience::Public, "/v1/audit/witnesses")
                .summary("The witnesses who sign the log's checkpoints as well, as vkeys")
                .describe("Learn from elsewhere that they are not the operator's own people.")
                .returns_media(200, "text/plain", "One C2SP vkey a line.")
                .to(witnesses),
            get(Audience::Public, "/v1/audit/proof/consistency")
                .query::<ConsistencyQuery>()
                .summary("The proof that an older tree is the beginning of a newer one")
                .returns::<ConsistencyBody>(200)
                .to(consistency),
            get(Audience::Any, "/v1/audit/proof/inclusion")
                .query::<InclusionQuery>()
                .summary("The proof that an event of yours is in the log")
                .returns::<InclusionBody>(200)
                .to(inclusion),
        ],
    )
}

async fn checkpoint(State(pages): State<Pages>) -> Result<Response, Problem> {
    Ok(note(pages.log.checkpoint(None).await?))
}

async fn checkpoint_of(
    State(pages): State<Pages>,
    At(log): At<String>,
) -> Result<Response, Problem> {
    Ok(note(pages.log.checkpoint(Some(&log)).await?))
}

fn note(note: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, note).into_response()
}

async fn key(State(pages): State<Pages>) -> Result<Response, Problem> {
    Ok(vkeys(&pages.log.verifier_keys().await?))
}

async fn witnesses(State(pages): State<Pages>) -> Result<Response, Problem> {
    Ok(vkeys(&pages.log.witness_keys()))
}

fn vkeys(keys: &[VerifierKey]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=600"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
    (headers, lines).into_response()
}

async fn tile(
    State(pages): State<Pages>,
    At((level, index)): At<(String, String)>,
) -> Result<Response, Problem> {
    Ok(hashes(pages.log.resource(None, &format!("tile/{level}/{index}")).await?))
}

async fn tile_of(
    State(pages): State<Pages>,
    At((log, level, index)): At<(String, String, String)>,
) -> Result<Response, Problem> {
    Ok(hashes(pages.log.resource(Some(&log), &format!("tile/{level}/{index}")).await?))
}

fn hashes(bytes: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        // A tile of a given width never changes.
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, bytes).into_response()
}

#[derive(Deserialize, IntoParams)]
struct ConsistencyQuery {
    /// The size of the older tree.
    from: u64,
    /// The size of the newer tree.
    to: u64,
    /// The log, such as 2026; without it, the one that grows.
    log: Option<String>,
}

/// RFC 6962 section 2.1.2.
#[derive(Serialize, ToSchema)]
struct ConsistencyBody {
    from: u64,
    to: u64,
    /// Base64, in the order of the RFC.
    hashes: Vec<String>,
}

async fn consistency(
    State(pages): State<Pages>,
    Query(ConsistencyQuery { from, to, log }): Query<ConsistencyQuery>,
) -> Reply<Json<ConsistencyBody>> {
    let hashes = pages.log.consistency(log.as_deref(), from, to).await?;
    let hashes = hashes.iter().map(|hash| STANDARD.encode(hash)).collect();
    Ok(Json(ConsistencyBody { from, to, hashes }))
}

#[derive(Deserialize, IntoParams)]
struct InclusionQuery {
    /// The event, as the audit log names it.
    #[param(value_type = String)]
    event: Id<Fact>,
}

/// A proof that stands by itself: `entry` commits to `row` through `salt`, and `proof` leads
/// from the entry to a signed checkpoint.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InclusionBody {
    index: u64,
    size: u64,
    entry: String,
    /// Hexadecimal.
    salt: String,
    row: serde_json::Value,
    /// The text of a C2SP tlog-proof.
    proof: String,
    /// The log's key as a vkey.
    key: String,
}

impl From<Inclusion> for InclusionBody {
    fn from(inclusion: Inclusion) -> Self {
        let Inclusion { index, size, entry, salt, row, proof, key } = inclusion;
        Self { index, size, entry, salt: hex::encode(salt), row, proof, key }
    }
}

async fn inclusion(
    State(pages): State<Pages>,
    By(caller): By,
    Query(query): Query<InclusionQuery>,
) -> Reply<Json<InclusionBody>> {
    let principal = caller.principal()?;
    let fact = pages.log.fact(query.event).await?;
    let fact = fact.ok_or_else(|| Error::not_found("event"))?;
    // What does not concern the caller is not there for them.
    if !caller.is_admin() && !journal::concerns(&pages.db, fact.id, principal.user).await? {
        return Err(Error::not_found("event").into());
    }
    let inclusion = pages.log.inclusion(&fact).await?.ok_or_else(|| {
        Error::conflict("not_logged_yet", "The log takes events in batches: ask again in a moment.")
            .retry_after(1)
    })?;
    Ok(Json(inclusion.into()))
}
