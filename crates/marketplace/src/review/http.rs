//! Reviews over HTTP.

use std::sync::Arc;

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Id, Permission, Timestamp};
use platform::http::{
    At, Audience, By, Created, Json, List, Once, Paging, Reply, Route, get, post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{NewReview, Review};
use super::service::Service;
use crate::verification::model::Text;

type ReviewId = Id<kinds::Review>;
type VerificationId = Id<kinds::Verification>;
type VerifierId = Id<kinds::Verifier>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::User, "/v1/user/verifications/{id}/review")
                .summary("Review the verifier of a verdict")
                .describe("Once a verification, and not while its verdict is contested.")
                .once(Once::Accepted)
                .takes::<ReviewRequest>()
                .returns::<OwnReviewBody>(201)
                .to(write),
            post(Audience::Key, "/v1/enterprise/verifications/{id}/review")
                .summary("Review the verifier of a verdict that the organization has paid for")
                .describe("Once a verification, and not while its verdict is contested.")
                .needs(Permission::VerificationsWrite)
                .once(Once::Accepted)
                .takes::<ReviewRequest>()
                .returns::<OwnReviewBody>(201)
                .to(write_of_organization),
            get(Audience::Any, "/v1/marketplace/verifiers/{id}/reviews")
                .summary("Read what was said of a verifier, newest first")
                .paged()
                .returns::<Vec<ReviewBody>>(200)
                .to(of),
            get(Audience::Verifier, "/v1/verifier/reviews")
                .summary("Read what was said of me, newest first")
                .paged()
                .returns::<Vec<OwnReviewBody>>(200)
                .to(own),
            post(Audience::Verifier, "/v1/verifier/reviews/{id}/answer")
                .summary("Answer a review, once")
                .once(Once::Accepted)
                .takes::<AnswerRequest>()
                .returns::<OwnReviewBody>(200)
                .to(answer),
        ],
    )
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewReview)]
struct ReviewRequest {
    /// Stars, from 1 to 5.
    rating: i64,
    /// Up to 2000 characters.
    #[serde(default)]
    text: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewReviewAnswer)]
struct AnswerRequest {
    /// Up to 2000 characters.
    text: String,
}

/// A review as everybody sees it: without a name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Review)]
struct ReviewBody {
    id: ReviewId,
    rating: i64,
    text: String,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<Timestamp>,
}

impl From<Review> for ReviewBody {
    fn from(review: Review) -> Self {
        Self {
            id: review.id,
            rating: review.stars,
            text: review.text,
            created_at: review.at,
            answer: review.answer,
            answered_at: review.answered_at,
        }
    }
}

/// A review as its two sides see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OwnReview)]
struct OwnReviewBody {
    #[serde(flatten)]
    review: ReviewBody,
    verification_id: VerificationId,
    verifier_id: VerifierId,
}

impl From<Review> for OwnReviewBody {
    fn from(review: Review) -> Self {
        let (verification_id, verifier_id) = (review.verification, review.verifier);
        Self { review: review.into(), verification_id, verifier_id }
    }
}

async fn write(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<VerificationId>,
    Json(body): Json<ReviewRequest>,
) -> Reply<Created<OwnReviewBody>> {
    let new = NewReview::parse(body.rating, &body.text)?;
    Ok(Created(service.write(&caller, id, &new).await?.into()))
}

async fn write_of_organization(
    service: State<Arc<Service>>,
    by: By,
    id: At<VerificationId>,
    body: Json<ReviewRequest>,
) -> Reply<Created<OwnReviewBody>> {
    write(service, by, id, body).await
}

async fn of(
    State(service): State<Arc<Service>>,
    At(id): At<VerifierId>,
    paging: Paging,
) -> Reply<List<ReviewBody>> {
    let page = service.of(id, &paging.page).await?;
    Ok(paging.reply(page.map(ReviewBody::from)))
}

async fn own(
    State(service): State<Arc<Service>>,
    By(caller): By,
    paging: Paging,
) -> Reply<List<OwnReviewBody>> {
    let page = service.own(&caller, &paging.page).await?;
    Ok(paging.reply(page.map(OwnReviewBody::from)))
}

async fn answer(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<ReviewId>,
    Json(body): Json<AnswerRequest>,
) -> Reply<Json<OwnReviewBody>> {
    let text = Text::some("/text", &body.text)?;
    Ok(Json(service.answer(&caller, id, &text).await?.into()))
}
