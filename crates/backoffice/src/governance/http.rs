//! Proposals over HTTP.

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Id, Timestamp};
use platform::http::{
    At, Audience, By, Created, Json, List, Once, Paging, Query, Reply, Route, get, post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{NewProposal, Status, Tally, Vote};
use super::service::{Seen, Service};
use crate::setting::Changes;

// Named without their parameters, which have no schemas of their own.
type ProposalId = Id<kinds::Proposal>;
type UserId = Id<kinds::User>;

pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/governance/proposals")
                .summary("List proposals, newest first")
                .query::<ProposalQuery>()
                .paged()
                .returns::<Vec<ProposalBody>>(200)
                .to(list),
            post(Audience::Admin, "/v1/admin/governance/proposals")
                .summary("Propose a change of settings")
                .describe(
                    "Of what `GET /v1/admin/settings` shows. Quorum and deadline are those of the \
                     settings `governance.*` at this moment.",
                )
                .once(Once::Accepted)
                .step_up()
                .takes::<NewBody>()
                .returns::<ProposalBody>(201)
                .to(propose),
            get(Audience::Admin, "/v1/admin/governance/proposals/{id}")
                .summary("Look at a proposal, and at your vote")
                .returns::<ProposalBody>(200)
                .to(show),
            post(Audience::Admin, "/v1/admin/governance/proposals/{id}/vote")
                .summary("Vote on a proposal, or change your vote")
                .describe("One vote an admin, until the deadline. `yes` and `no` are read as well.")
                .takes::<VoteBody>()
                .returns::<ProposalBody>(200)
                .to(vote),
            post(Audience::Admin, "/v1/admin/governance/proposals/{id}/execute")
                .summary("Carry out a proposal that has passed, once")
                .step_up()
                .returns::<ProposalBody>(200)
                .to(execute),
        ],
    )
}

#[derive(Debug, Deserialize, IntoParams)]
struct ProposalQuery {
    /// `open`, `closed` (passed or rejected, and not executed), `executed` or `all`.
    #[serde(default)]
    status: String,
}

/// A proposal about to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewProposal)]
struct NewBody {
    /// 3 to 140 characters.
    title: String,
    /// Up to 1000 characters.
    #[serde(default)]
    description: String,
    /// Settings by key; null brings a default back.
    #[schema(value_type = Object)]
    values: Changes,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewProposalVote)]
struct VoteBody {
    #[serde(alias = "choice")]
    #[schema(inline)]
    vote: Vote,
}

/// A change of settings that is voted on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Proposal)]
struct ProposalBody {
    id: ProposalId,
    title: String,
    description: String,
    #[schema(value_type = Object)]
    values: Changes,
    proposer: UserId,
    #[schema(inline)]
    status: Status,
    /// How many must vote.
    quorum: i64,
    #[schema(inline)]
    votes: Tally,
    /// What you have voted; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    my_vote: Option<Vote>,
    /// Until then votes are taken.
    closes_at: Timestamp,
    created_at: Timestamp,
    /// The version of the settings that it has made.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings_version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executed_by: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executed_at: Option<Timestamp>,
}

impl From<Seen> for ProposalBody {
    fn from(Seen { proposal, status, own }: Seen) -> Self {
        Self {
            id: proposal.id,
            title: proposal.title,
            description: proposal.description,
            values: proposal.changes,
            proposer: proposal.proposer,
            status,
            quorum: proposal.quorum,
            votes: proposal.tally,
            my_vote: own,
            closes_at: proposal.closes_at,
            created_at: proposal.created_at,
            settings_version: proposal.settings_version,
            executed_by: proposal.executed_by,
            executed_at: proposal.executed_at,
        }
    }
}

async fn list(
    State(service): State<Service>,
    Query(query): Query<ProposalQuery>,
    paging: Paging,
) -> Reply<List<ProposalBody>> {
    let page = service.list(query.status.parse()?, &paging.page).await?;
    Ok(paging.reply(page.map(ProposalBody::from)))
}

async fn propose(
    State(service): State<Service>,
    By(caller): By,
    Json(body): Json<NewBody>,
) -> Reply<Created<ProposalBody>> {
    let new = NewProposal::parse(&body.title, &body.description, body.values)?;
    Ok(Created(service.propose(&caller, &new).await?.into()))
}

async fn show(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<ProposalId>,
) -> Reply<Json<ProposalBody>> {
    Ok(Json(service.get(&caller, id).await?.into()))
}

async fn vote(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<ProposalId>,
    Json(body): Json<VoteBody>,
) -> Reply<Json<ProposalBody>> {
    Ok(Json(service.vote(&caller, id, body.vote).await?.into()))
}

async fn execute(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<ProposalId>,
) -> Reply<Json<ProposalBody>> {
    Ok(Json(service.execute(&caller, id).await?.into()))
}
