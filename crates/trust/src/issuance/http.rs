//! What a verdict means, and the check of any verdict by anybody.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use platform::http::{Audience, Json, Limit, Query, Raw, Reply, Route, get, post, table};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::service::achievement_url;
use crate::judging::Judging;
use verify::credential::{badge::Achievement, rdfc::Template};
use verify::judge::{Presented, report};

/// The largest file that is judged online.
const FILE_MAX: usize = 1 << 20;
/// What the public pages know.
#[derive(Clone)]
pub struct Pages {
    pub judging: Judging,
    pub public_url: String,
}

/// A judgement: `valid`, `unproven` or `invalid`, and every check with what came of it.
#[derive(Serialize, ToSchema)]
struct Judgement {
    #[schema(value_type = String)]
    verdict: report::Verdict,
    #[schema(value_type = Vec<serde_json::Value>)]
    checks: Vec<report::Check>,
}

pub fn routes(pages: &Pages) -> Vec<Route> {
    table(
        pages,
        [
            get(Audience::Public, "/v1/achievements/verified-document")
                .summary("What a verdict credential states, and what it does not")
                .returns_media(200, "application/json", "An Open Badges 3.0 Achievement.")
                .to(achievement),
            post(Audience::Public, "/v1/verify")
                .also_for_another()
                .limit(Limit::Heavy)
                .body_max(FILE_MAX)
                .summary("Judges an exported credential: what was proved, and what was not")
                .describe(
                    "Takes a bundle, a bare verdict credential of this issuer, or an SD-JWT or JWT \
                     credential, of other issuers too where their certificates say whose. A \
                     presentation is judged for the `audience` and `nonce` of the query. \
                     `verza verify` makes the same judgement without asking this server.",
                )
                .query::<JudgeQuery>()
                .takes_media("application/octet-stream", "The exported file, byte for byte.")
                .returns::<Judgement>(200)
                .to(judge),
        ],
    )
}

async fn achievement(State(pages): State<Pages>) -> Response {
    let url = achievement_url(&pages.public_url);
    let says = Achievement::verified_document(&url);
    let body = json!({
        "@context": Template::Verdict.contexts(),
        "id": says.id,
        "type": ["Achievement"],
        "name": says.name,
        "description": says.description,
        "criteria": { "id": format!("{url}#criteria"), "narrative": says.criteria },
    });
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, body.to_string()).into_response()
}

/// For whom a presentation was made.
#[derive(Deserialize, IntoParams)]
struct JudgeQuery {
    audience: Option<String>,
    nonce: Option<String>,
}

async fn judge(
    State(pages): State<Pages>,
    Query(query): Query<JudgeQuery>,
    Raw(file): Raw,
) -> Reply<Json<Judgement>> {
    let asked = query.audience.zip(query.nonce);
    let challenge = asked.map(|(audience, nonce)| Presented { audience, nonce });
    let report::Report { verdict, checks } = pages.judging.judge(&file, challenge).await?;
    Ok(Json(Judgement { verdict, checks }))
}
