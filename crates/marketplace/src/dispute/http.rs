//! Disputes over HTTP: where they are opened, what the sides add, and the admins' room.

use std::sync::Arc;

use axum::extract::State as On;
use axum::response::Response;
use kernel::id::kinds;
use kernel::{Id, Permission, Result, Timestamp};
use platform::http::{
    At, Audience, By, Created, Json, List, Once, Paging, Query, Reply, Route, Versioned, get, post,
    table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{Dispute, Evidence, Ground, NewEvidence, Resolution, Ruling, State};
use super::service::Service;
use crate::verification::model::Text;
use crate::verification::papers::{Paper, Part};

type DisputeId = Id<kinds::Dispute>;
type VerificationId = Id<kinds::Verification>;
type VerifierId = Id<kinds::Verifier>;
type FileId = Id<kinds::File>;
type UserId = Id<kinds::User>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    let mut routes = side_routes(service);
    routes.extend(organization_routes(service));
    routes.extend(admin_routes(service));
    routes
}

fn side_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::User, "/v1/user/verifications/{id}/dispute")
                .summary("Contest a verdict")
                .describe(
                    "Once, and as long as the verifier's earning is not free yet: a week, where \
                     the platform is not set up otherwise. It is kept back till the end of the \
                     dispute.",
                )
                .once(Once::Accepted)
                .takes::<NewDispute>()
                .versioned()
                .returns::<DisputeBody>(201)
                .to(open),
            post(Audience::Verifier, "/v1/verifier/jobs/{id}/dispute")
                .summary("Say that my own verdict was mistaken")
                .describe(
                    "Such as when a forgery is found afterwards. Once, and as long as the earning \
                     is not free yet; an admin decides, as of every dispute. Where the verdict is \
                     overturned, the owner has the price back, and it costs a part of your bond.",
                )
                .once(Once::Accepted)
                .takes::<OwnMistake>()
                .versioned()
                .returns::<DisputeBody>(201)
                .to(open_own),
            get(Audience::Any, "/v1/disputes")
                .summary("List the disputes that I am a side of, newest first")
                .query::<StatusQuery>()
                .paged()
                .returns::<Vec<DisputeBody>>(200)
                .to(list),
            get(Audience::Any, "/v1/disputes/{id}")
                .summary("Read a dispute that I am a side of, with the evidence")
                .versioned()
                .returns::<DisputeDetailBody>(200)
                .to(find),
            post(Audience::Any, "/v1/disputes/{id}/evidence")
                .summary("Say or show something more in a dispute")
                .once(Once::Accepted)
                .takes::<EvidenceRequest>()
                .versioned()
                .returns::<DisputeBody>(201)
                .to(add_evidence),
            post(Audience::Any, "/v1/disputes/{id}/appeal")
                .summary("Contest the decision of a dispute")
                .describe("Once between both sides, till `finalAt`. What follows is for good.")
                .once(Once::Accepted)
                .takes::<EvidenceRequest>()
                .versioned()
                .returns::<DisputeBody>(200)
                .to(appeal),
            get(Audience::Any, "/v1/disputes/{id}/evidence/{file}/content")
                .summary("Download a file of the evidence; whoever has shown it learns of it")
                .returns_media(200, "application/octet-stream", "The file.")
                .to(evidence_content),
        ],
    )
}

/// The same doors for an organization, which members and API keys open for it.
fn organization_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::Key, "/v1/enterprise/verifications/{id}/dispute")
                .summary("Contest a verdict that the organization has paid for")
                .describe("Once, and as long as the verifier's earning is not free yet.")
                .needs(Permission::VerificationsWrite)
                .once(Once::Accepted)
                .takes::<NewDispute>()
                .versioned()
                .returns::<DisputeBody>(201)
                .to(open_of_organization),
            get(Audience::Key, "/v1/enterprise/disputes")
                .summary("List the organization's disputes, newest first")
                .needs(Permission::VerificationsRead)
                .query::<StatusQuery>()
                .paged()
                .returns::<Vec<DisputeBody>>(200)
                .to(list_of_organization),
            get(Audience::Key, "/v1/enterprise/disputes/{id}")
                .summary("Read one of the organization's disputes, with the evidence")
                .needs(Permission::VerificationsRead)
                .versioned()
                .returns::<DisputeDetailBody>(200)
                .to(find_of_organization),
            post(Audience::Key, "/v1/enterprise/disputes/{id}/evidence")
                .summary("Say or show something more in a dispute")
                .describe("The file, where there is one, is the organization's.")
                .needs(Permission::VerificationsWrite)
                .once(Once::Accepted)
                .takes::<EvidenceRequest>()
                .versioned()
                .returns::<DisputeBody>(201)
                .to(add_evidence_of_organization),
            post(Audience::Key, "/v1/enterprise/disputes/{id}/appeal")
                .summary("Contest the decision of a dispute")
                .describe("Once between both sides, till `finalAt`. What follows is for good.")
                .needs(Permission::VerificationsWrite)
                .once(Once::Accepted)
                .takes::<EvidenceRequest>()
                .versioned()
                .returns::<DisputeBody>(200)
                .to(appeal_of_organization),
            get(Audience::Key, "/v1/enterprise/disputes/{id}/evidence/{file}/content")
                .summary("Download a file of the evidence; whoever has shown it learns of it")
                .needs(Permission::VerificationsRead)
                .returns_media(200, "application/octet-stream", "The file.")
                .to(evidence_content_of_organization),
        ],
    )
}

fn admin_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/disputes")
                .summary("List all disputes, newest first")
                .query::<StatusQuery>()
                .query::<SoughtQuery>()
                .paged()
                .returns::<Vec<DisputeBody>>(200)
                .to(search),
            get(Audience::Admin, "/v1/admin/disputes/{id}")
                .summary("Read any dispute, with the evidence")
                .versioned()
                .returns::<DisputeDetailBody>(200)
                .to(look),
            get(Audience::Admin, "/v1/admin/disputes/{id}/files")
                .summary("List the files that the case of a dispute rests on")
                .describe("The document, what the sides have attached, the report, the evidence.")
                .returns::<Vec<PaperBody>>(200)
                .to(papers),
            get(Audience::Admin, "/v1/admin/disputes/{id}/files/{file}/content")
                .summary("Download a file of the case; whose it is learns of it")
                .describe("Until the dispute is closed, to decide it.")
                .returns_media(200, "application/octet-stream", "The file.")
                .to(paper_content),
            post(Audience::Admin, "/v1/admin/disputes/{id}/assign")
                .summary("Take a dispute on, or give it to another admin")
                .once(Once::Accepted)
                .takes::<AssignBody>()
                .versioned()
                .returns::<DisputeBody>(200)
                .to(assign),
            post(Audience::Admin, "/v1/admin/disputes/{id}/resolve")
                .summary("Decide a dispute")
                .describe(
                    "`refund_user` overturns the verdict: its signed credential is revoked and \
                     the owner has the price back. `split` gives back `refundBasisPoints` \
                     hundredths of a percent of it; `pay_verifier` and `reject` give nothing \
                     back. The first decision is carried out at `finalAt` unless a side appeals; \
                     the decision about an appeal at once.",
                )
                .step_up()
                .once(Once::Required)
                .takes::<RulingBody>()
                .versioned()
                .returns::<DisputeBody>(200)
                .to(resolve),
        ],
    )
}

#[derive(Debug, Default, Deserialize, IntoParams)]
struct StatusQuery {
    /// `open`, `in_review`, `resolved`, `appealed` or `closed`.
    status: Option<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
struct SoughtQuery {
    /// The id of a dispute, of its verification, or of a side; or a reason, such as
    /// `wrong_verdict`.
    q: Option<String>,
}

impl StatusQuery {
    fn parse(&self) -> Result<Option<State>> {
        self.status.as_deref().filter(|text| !text.is_empty()).map(str::parse).transpose()
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewDispute {
    #[schema(inline)]
    reason: Ground,
    /// What is wrong with the verdict; up to 2000 characters.
    description: String,
    /// A file of your own.
    file_id: Option<FileId>,
}

/// Why a verifier's own verdict was mistaken.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewVerifierDispute)]
struct OwnMistake {
    /// What is wrong with the verdict; up to 2000 characters.
    description: String,
    /// A file of your own.
    file_id: Option<FileId>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewDisputeEvidence)]
struct EvidenceRequest {
    /// Up to 2000 characters.
    message: String,
    /// A file of your own.
    file_id: Option<FileId>,
}

impl EvidenceRequest {
    fn parse(&self) -> Result<NewEvidence> {
        Ok(NewEvidence { text: Text::some("/message", &self.message)?, file: self.file_id })
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DisputeAssignment)]
struct AssignBody {
    /// An admin; yourself when left out.
    assignee_id: Option<UserId>,
}

/// What an admin decides.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DisputeRuling)]
struct RulingBody {
    /// `refund_user`, `pay_verifier`, `split` or `reject`; `approve_refund` and `partial` are
    /// other names of `refund_user` and `split`.
    resolution: String,
    /// With `split`: how much of the price the owner has back, from 1 to 9999 of 10000.
    refund_basis_points: Option<u16>,
    /// Shown to both sides; up to 2000 characters.
    reason: String,
}

impl RulingBody {
    fn parse(&self) -> Result<Ruling> {
        let resolution = match self.resolution.as_str() {
            "approve_refund" => Resolution::RefundUser,
            "partial" => Resolution::Split,
            other => other.parse()?,
        };
        Ruling::parse(resolution, self.refund_basis_points, &self.reason)
    }
}

/// A dispute.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Dispute)]
struct DisputeBody {
    id: DisputeId,
    verification_id: VerificationId,
    status: State,
    /// Grows by one with every change; the `ETag`, where one is told of.
    version: i64,
    reason: Ground,
    /// Who has opened it: the owner, or the verifier themselves.
    filed_by: UserId,
    /// Whose verdict it is.
    against: VerifierId,
    created_at: Timestamp,
    /// The admin who looks into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    assignee_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<Resolution>,
    /// How much of the price the owner has back, of 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_basis_points: Option<u16>,
    /// Why it was decided so.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<Timestamp>,
    /// When the decision is carried out unless somebody appeals.
    #[serde(skip_serializing_if = "Option::is_none")]
    final_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    appealed_by: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    appealed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<Timestamp>,
}

impl From<Dispute> for DisputeBody {
    fn from(one: Dispute) -> Self {
        Self {
            id: one.id,
            verification_id: one.verification,
            status: one.state,
            version: one.version,
            reason: one.ground,
            filed_by: one.opener(),
            against: one.verifier,
            created_at: one.opened_at,
            assignee_id: one.assignee,
            resolution: one.resolution,
            refund_basis_points: one.refund_bps,
            resolution_reason: one.reasoning,
            decided_at: one.decided_at,
            final_at: one.final_at,
            appealed_by: one.appealed_by,
            appealed_at: one.appealed_at,
            closed_at: one.closed_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DisputeEvidence)]
struct EvidenceBody {
    author_id: UserId,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<FileId>,
    at: Timestamp,
}

/// A dispute with all that was said, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DisputeDetail)]
struct DisputeDetailBody {
    #[serde(flatten)]
    dispute: DisputeBody,
    evidence: Vec<EvidenceBody>,
}

impl From<(Dispute, Vec<Evidence>)> for DisputeDetailBody {
    fn from((dispute, evidence): (Dispute, Vec<Evidence>)) -> Self {
        let show = |one: Evidence| EvidenceBody {
            author_id: one.author,
            message: one.text,
            file_id: one.file,
            at: one.at,
        };
        Self { dispute: dispute.into(), evidence: evidence.into_iter().map(show).collect() }
    }
}

/// A file that the case of a dispute rests on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DisputeFile)]
struct PaperBody {
    file_id: FileId,
    author_id: UserId,
    #[schema(inline)]
    part: Part,
    /// Absent, as all that follows, when its author has deleted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<&'static str>,
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// In hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl From<Paper> for PaperBody {
    fn from(paper: Paper) -> Self {
        let content = paper.content.as_ref();
        Self {
            file_id: paper.file,
            author_id: paper.author,
            part: paper.part,
            media_type: content.map(|file| file.media_type.as_str()),
            size: content.map(|file| file.size),
            sha256: content.map(|file| hex::encode(file.sha256)),
            name: paper.content.map(|file| file.name),
        }
    }
}

/// A dispute with its version.
fn versioned(dispute: Dispute) -> Versioned<Json<DisputeBody>> {
    Versioned(dispute.version, Json(dispute.into()))
}

/// One that has come to be, or has got something more.
fn created(dispute: Dispute) -> Versioned<Created<DisputeBody>> {
    Versioned(dispute.version, Created(dispute.into()))
}

/// One with all that was said.
fn detailed(found: (Dispute, Vec<Evidence>)) -> Versioned<Json<DisputeDetailBody>> {
    Versioned(found.0.version, Json(found.into()))
}

type OfFile = At<(DisputeId, FileId)>;

async fn open(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): At<VerificationId>,
    Json(body): Json<NewDispute>,
) -> Reply<Versioned<Created<DisputeBody>>> {
    let text = Text::some("/description", &body.description)?;
    let evidence = NewEvidence { text, file: body.file_id };
    Ok(created(service.open(&caller, id, body.reason, &evidence).await?))
}

async fn open_own(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): At<VerificationId>,
    Json(body): Json<OwnMistake>,
) -> Reply<Versioned<Created<DisputeBody>>> {
    let text = Text::some("/description", &body.description)?;
    let evidence = NewEvidence { text, file: body.file_id };
    Ok(created(service.open(&caller, id, Ground::WrongVerdict, &evidence).await?))
}

async fn list(
    On(service): On<Arc<Service>>,
    By(caller): By,
    Query(query): Query<StatusQuery>,
    paging: Paging,
) -> Reply<List<DisputeBody>> {
    let page = service.list(&caller, query.parse()?, &paging.page).await?;
    Ok(paging.reply(page.map(DisputeBody::from)))
}

async fn find(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): At<DisputeId>,
) -> Reply<Versioned<Json<DisputeDetailBody>>> {
    Ok(detailed(service.find(&caller, id).await?))
}

async fn add_evidence(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): At<DisputeId>,
    Json(body): Json<EvidenceRequest>,
) -> Reply<Versioned<Created<DisputeBody>>> {
    Ok(created(service.add_evidence(&caller, id, &body.parse()?).await?))
}

async fn appeal(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): At<DisputeId>,
    Json(body): Json<EvidenceRequest>,
) -> Reply<Versioned<Json<DisputeBody>>> {
    Ok(versioned(service.appeal(&caller, id, &body.parse()?).await?))
}

async fn evidence_content(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(of): OfFile,
) -> Reply<Response> {
    let file = service.view_evidence(&caller, of).await?;
    Ok(service.files.whole(&file).await?)
}

async fn open_of_organization(
    service: On<Arc<Service>>,
    by: By,
    id: At<VerificationId>,
    body: Json<NewDispute>,
) -> Reply<Versioned<Created<DisputeBody>>> {
    open(service, by, id, body).await
}

async fn list_of_organization(
    service: On<Arc<Service>>,
    by: By,
    query: Query<StatusQuery>,
    paging: Paging,
) -> Reply<List<DisputeBody>> {
    list(service, by, query, paging).await
}

async fn find_of_organization(
    service: On<Arc<Service>>,
    by: By,
    id: At<DisputeId>,
) -> Reply<Versioned<Json<DisputeDetailBody>>> {
    find(service, by, id).await
}

async fn add_evidence_of_organization(
    service: On<Arc<Service>>,
    by: By,
    id: At<DisputeId>,
    body: Json<EvidenceRequest>,
) -> Reply<Versioned<Created<DisputeBody>>> {
    add_evidence(service, by, id, body).await
}

async fn appeal_of_organization(
    service: On<Arc<Service>>,
    by: By,
    id: At<DisputeId>,
    body: Json<EvidenceRequest>,
) -> Reply<Versioned<Json<DisputeBody>>> {
    appeal(service, by, id, body).await
}

async fn evidence_content_of_organization(
    service: On<Arc<Service>>,
    by: By,
    of: OfFile,
) -> Reply<Response> {
    evidence_content(service, by, of).await
}

async fn papers(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): At<DisputeId>,
) -> Reply<Json<Vec<PaperBody>>> {
    let papers = service.papers(&caller, id).await?;
    Ok(Json(papers.into_iter().map(PaperBody::from).collect()))
}

async fn paper_content(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(of): OfFile,
) -> Reply<Response> {
    let file = service.view_paper(&caller, of).await?;
    Ok(service.files.whole(&file).await?)
}

async fn search(
    On(service): On<Arc<Service>>,
    Query(query): Query<StatusQuery>,
    Query(sought): Query<SoughtQuery>,
    paging: Paging,
) -> Reply<List<DisputeBody>> {
    let sought = sought.q.as_deref().filter(|text| !text.trim().is_empty());
    let page = service.search(sought, query.parse()?, &paging.page).await?;
    Ok(paging.reply(page.map(DisputeBody::from)))
}

async fn look(
    On(service): On<Arc<Service>>,
    At(id): At<DisputeId>,
) -> Reply<Versioned<Json<DisputeDetailBody>>> {
    Ok(detailed(service.look(id).await?))
}

async fn assign(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): At<DisputeId>,
    Json(body): Json<AssignBody>,
) -> Reply<Versioned<Json<DisputeBody>>> {
    let assignee = match body.assignee_id {
        Some(assignee) => assignee,
        None => caller.user()?,
    };
    Ok(versioned(service.assign(&caller, id, assignee).await?))
}

async fn resolve(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): At<DisputeId>,
    Json(body): Json<RulingBody>,
) -> Reply<Versioned<Json<DisputeBody>>> {
    Ok(versioned(service.resolve(&caller, id, &body.parse()?).await?))
}
