//! What a verdict means, and the check of any verdict by anybody.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use kernel::World;
use platform::http::{Audience, Json, Limit, Raw, Reply, Route, get, post, table};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::badge::Achievement;
use super::service::achievement_url;
use crate::key::service::Service as Keys;
use crate::log::service::Service as Log;
use crate::verify::{self, Options, trust::Trust};

/// The largest file that is judged online.
const FILE_MAX: usize = 1 << 20;
/// How old a status list in a file may be: a day more than an edition's life.
const STATUS_AGE_MAX: Duration = Duration::from_secs(48 * 3600);

/// What the public pages know.
#[derive(Clone)]
pub struct Pages {
    pub keys: Keys,
    pub log: Log,
    pub world: World,
    pub public_url: String,
}

/// A judgement: `valid`, `unproven` or `invalid`, and every check with what came of it.
#[derive(Serialize, ToSchema)]
struct Judgement {
    #[schema(value_type = String)]
    verdict: verify::report::Verdict,
    #[schema(value_type = Vec<serde_json::Value>)]
    checks: Vec<verify::report::Check>,
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
                .limit(Limit::Heavy)
                .body_max(FILE_MAX)
                .summary("Judges an exported credential: what was proved, and what was not")
                .describe(
                    "Takes a bundle or a bare verdict credential of this issuer. `verza verify` \
                     makes the same judgement without asking this server.",
                )
                .takes_media("application/json", "The exported file, byte for byte.")
                .returns::<Judgement>(200)
                .to(judge),
        ],
    )
}

async fn achievement(State(pages): State<Pages>) -> Response {
    let url = achievement_url(&pages.public_url);
    let says = Achievement::verified_document(&url);
    let body = json!({
        "@context": super::rdfc::Template::Verdict.contexts(),
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

async fn judge(State(pages): State<Pages>, Raw(file): Raw) -> Reply<Json<Judgement>> {
    let mut trust = Trust::default();
    // Our own documents are always pins.
    let _ = trust.pin(&pages.keys.did_document().to_string());
    for key in pages.log.verifier_keys().await? {
        let _ = trust.pin(&key.to_string());
    }
    let options = Options {
        now: pages.world.now().seconds(),
        trust,
        status_age_max: STATUS_AGE_MAX.as_secs().cast_signed(),
        document_sha256: None,
    };
    let verify::report::Report { verdict, checks } = verify::verify(&file, &options);
    Ok(Json(Judgement { verdict, checks }))
}
