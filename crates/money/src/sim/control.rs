//! The control API: what shall go wrong, and what happens next.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use kernel::{Asset, Error, Result};
use platform::http::problem_status;
use serde::Deserialize;
use serde_json::json;

use super::Sim;
use super::post::Mishaps;
use super::world::{Fault, World};

pub(super) fn routes() -> Router<Sim> {
    Router::new()
        .route("/_sim/state", get(state))
        .route("/_sim/faults", post(fault))
        .route("/_sim/mishaps", post(mishaps))
        .route("/_sim/collections/{reference}/{step}", post(collection))
        .route("/_sim/payouts/{reference}/{step}", post(payout))
        .route("/_sim/chain/{step}/{blocks}", post(chain))
        .route("/_sim/chain/transfers", post(arrive))
        .route("/_sim/chain/transfers/{id}/drop", post(drop_transfer))
}

async fn state(State(sim): State<Sim>) -> Response {
    let world = sim.world.lock();
    let shown = json!({
        "collections": world.collections,
        "payouts": world.payouts,
        "webhooksWaiting": world.outbox.len(),
        "faults": world.faults.len(),
    });
    Json(shown).into_response()
}

async fn fault(State(sim): State<Sim>, Json(fault): Json<Fault>) -> StatusCode {
    sim.fault(fault);
    StatusCode::NO_CONTENT
}

async fn mishaps(State(sim): State<Sim>, Json(mishaps): Json<Mishaps>) -> StatusCode {
    sim.mishaps(mishaps);
    StatusCode::NO_CONTENT
}

async fn collection(
    State(sim): State<Sim>,
    Path((reference, step)): Path<(String, String)>,
) -> Response {
    answer(match step.as_str() {
        "approve" => sim.pay(&reference, None),
        "decline" => sim.decline(&reference),
        "expire" => sim.decide(&reference, World::expire),
        "dispute" => sim.dispute(&reference),
        "win" => sim.decide_dispute(&reference, true),
        "lose" => sim.decide_dispute(&reference, false),
        "refund" => {
            sim.decide(&reference, |world, at| world.send_back(at, world.collections[at].paid))
        }
        _ => Err(Error::not_found("step")),
    })
}

async fn payout(
    State(sim): State<Sim>,
    Path((reference, step)): Path<(String, String)>,
) -> Response {
    answer(match step.as_str() {
        "settle" => sim.settle_payout(&reference),
        "fail" => sim.fail_payout(&reference),
        "return" => sim.return_payout(&reference),
        _ => Err(Error::not_found("step")),
    })
}

async fn chain(State(sim): State<Sim>, Path((step, blocks)): Path<(String, u64)>) -> Response {
    answer(match step.as_str() {
        "mine" => {
            sim.mine(blocks);
            Ok(())
        }
        "reorganise" => {
            sim.reorganise(blocks);
            Ok(())
        }
        _ => Err(Error::not_found("step")),
    })
}

/// A transfer, in the chain's units.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewTransfer {
    to: String,
    asset: Asset,
    amount: String,
}

async fn arrive(State(sim): State<Sim>, Json(new): Json<NewTransfer>) -> Response {
    Json(json!({ "id": sim.arrive(&new.to, new.asset, &new.amount) })).into_response()
}

async fn drop_transfer(State(sim): State<Sim>, Path(id): Path<String>) -> Response {
    answer(sim.drop_transfer(&id))
}

pub(super) fn answer(done: Result<()>) -> Response {
    match done {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            let body = json!({ "code": error.code(), "message": error.message() });
            (problem_status(&error), Json(body)).into_response()
        }
    }
}
