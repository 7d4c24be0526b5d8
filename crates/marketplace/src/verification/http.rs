//! The owner's requests, the verifier's jobs and the admin's oversight: one noun, three views.

use std::sync::Arc;

use axum::extract::State as On;
use axum::response::Response;
use kernel::error::Fields;
use kernel::id::kinds;
use kernel::{Asset, Error, Id, Permission, Result, Role, Timestamp};
use platform::http::{
    At, Audience, By, Created, Json, List, Once, Paging, Query, Reply, Route, Versioned, get, post,
    put, table,
};
use platform::journal::Recorded;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::board::Search;
use super::model::{
    BoardTerms, NewPosting, NewVerification, Note, Report, State, Text, Verdict, Verification,
    seen_price,
};
use super::rules::{self, Relation, Urgency};
use super::service::{Dashboard, Job, Service};
use crate::verifier::model::language_code;

type VerificationId = Id<kinds::Verification>;
type CredentialId = Id<kinds::Credential>;
type VerifierId = Id<kinds::Verifier>;
type ServiceId = Id<kinds::Service>;
type FileId = Id<kinds::File>;
type IssuedId = Id<kinds::Issued>;
type UserId = Id<kinds::User>;
type HoldId = Id<kinds::Hold>;
type FactId = Id<kinds::Fact>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    let mut routes = owner_routes(service);
    routes.extend(organization_routes(service));
    routes.extend(verifier_routes(service));
    routes.extend(admin_routes(service));
    routes.extend(super::attachment::http::routes(service));
    routes
}

fn owner_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::User, "/v1/user/verifications")
                .summary("List my verifications")
                .query::<StatusQuery>()
                .paged()
                .returns::<Vec<VerificationBody>>(200)
                .to(list),
            post(Audience::User, "/v1/user/verifications")
                .summary("Ask a verifier, or any who fits, to verify a credential")
                .describe(
                    "The price is held in your wallet until the verdict, and given back when there \
                     is none. A request to a verifier has the price of their service; without a \
                     service, the cheapest one that fits the credential's type is taken. With \
                     `price` and `currency` beside it, that price or none: 409 `price_changed` says \
                     in `price` and `currency` what it is now, and nothing is held. A request \
                     without a verifier stands on the board, for the price that it names, until \
                     one of those who fit has claimed it.",
                )
                .once(Once::Required)
                .takes::<VerificationRequest>()
                .returns::<VerificationBody>(201)
                .to(request),
            get(Audience::User, "/v1/user/verifications/{id}")
                .summary("Read one of my verifications")
                .versioned()
                .returns::<VerificationBody>(200)
                .to(read),
            post(Audience::User, "/v1/user/verifications/{id}/cancel")
                .summary("Take a request back that has not been accepted")
                .once(Once::Accepted)
                .versioned()
                .returns::<VerificationBody>(200)
                .to(cancel),
            post(Audience::User, "/v1/user/verifications/{id}/info")
                .summary("Give the verifier what they have asked for")
                .once(Once::Accepted)
                .takes::<InfoBody>()
                .versioned()
                .returns::<VerificationBody>(200)
                .to(provide_info),
            get(Audience::User, "/v1/user/verifications/{id}/events")
                .summary("Follow what has happened, oldest first")
                .paged()
                .returns::<Vec<EventBody>>(200)
                .to(events),
            get(Audience::User, "/v1/user/verifications/{id}/case-file")
                .summary("Export the whole case, to be checked by anybody without asking")
                .describe(
                    "One JSON file under the issuer's seal: what has happened, each event with its \
                     proof that the log holds it; the receipt, the report's hashes, and the signed \
                     credential with its status list and keys. `verza verify` checks it offline.",
                )
                .returns_media(200, "application/json", "A case file, verza-case/1.")
                .to(case_file),
            get(Audience::User, "/v1/user/verifications/{id}/report/content")
                .summary("Download the report that the verdict rests on; its verifier learns of it")
                .returns_media(200, "application/octet-stream", "The file.")
                .to(report_of_owner),
        ],
    )
}

/// What an organization asks for and reads of one by its own word stands with the commissions.
fn organization_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Key, "/v1/enterprise/verifications/{id}/events")
                .summary("Follow what has happened, oldest first")
                .needs(Permission::VerificationsRead)
                .paged()
                .returns::<Vec<EventBody>>(200)
                .to(events_of_organization),
            get(Audience::Key, "/v1/enterprise/verifications/{id}/case-file")
                .summary("Export the whole case, to be checked by anybody without asking")
                .needs(Permission::VerificationsRead)
                .returns_media(200, "application/json", "A case file, verza-case/1.")
                .to(case_file_of_organization),
            get(Audience::Key, "/v1/enterprise/verifications/{id}/report/content")
                .summary("Download the report that the verdict rests on; its verifier learns of it")
                .needs(Permission::VerificationsRead)
                .returns_media(200, "application/octet-stream", "The file.")
                .to(report_of_organization),
        ],
    )
}

fn verifier_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Verifier, "/v1/verifier/dashboard")
                .summary("Read my work at a glance")
                .returns::<DashboardBody>(200)
                .to(dashboard),
            get(Audience::Verifier, "/v1/verifier/jobs/available")
                .summary("List requests that wait for my answer, and what the board offers me")
                .query::<AvailableQuery>()
                .paged()
                .returns::<Vec<JobBody>>(200)
                .to(available),
            get(Audience::Verifier, "/v1/verifier/jobs/active")
                .summary("List jobs that I am working on")
                .paged()
                .returns::<Vec<JobBody>>(200)
                .to(active),
            get(Audience::Verifier, "/v1/verifier/jobs/{id}")
                .summary("Read one of my jobs")
                .describe("The credential and its file are shown while you work on the job.")
                .versioned()
                .returns::<JobDetailBody>(200)
                .to(job),
            post(Audience::Verifier, "/v1/verifier/jobs/{id}/accept")
                .summary("Take a job")
                .describe(
                    "A job of the board's goes to whoever is first; the others get 409 with the \
                     state that it is in. Begin it soon: a claim that lies still goes back to the \
                     board.",
                )
                .once(Once::Accepted)
                .versioned()
                .returns::<JobBody>(200)
                .to(accept),
            post(Audience::Verifier, "/v1/verifier/jobs/{id}/decline")
                .summary("Refuse a job; the owner gets the price back")
                .once(Once::Accepted)
                .versioned()
                .returns::<JobBody>(200)
                .to(decline),
            post(Audience::Verifier, "/v1/verifier/jobs/{id}/release")
                .summary("Give a job back to the board that I have claimed there")
                .describe("You will not be offered it again.")
                .once(Once::Accepted)
                .versioned()
                .returns::<JobBody>(200)
                .to(release),
            put(Audience::Verifier, "/v1/verifier/jobs/{id}/status")
                .summary("Say how a job stands")
                .describe(
                    "`in_progress` and `in_review` say that you are at work; `needs_info` puts \
                     the question in `message` to the owner, twenty times at most. Your time goes on meanwhile, and \
                     begins anew with the owner's answer.",
                )
                .takes::<JobStatusBody>()
                .versioned()
                .returns::<JobBody>(200)
                .to(set_status),
            post(Audience::Verifier, "/v1/verifier/jobs/{id}/notes")
                .summary("Write a note that the owner does not see")
                .describe("At most a hundred on one job.")
                .once(Once::Accepted)
                .takes::<NewNoteBody>()
                .versioned()
                .returns::<JobBody>(201)
                .to(note),
            post(Audience::Verifier, "/v1/verifier/jobs/{id}/complete")
                .summary("Give the verdict")
                .describe(
                    "The price is paid out to you less the platform's fee, whichever the verdict \
                     is. A positive one becomes a signed credential of the owner.",
                )
                .once(Once::Required)
                .takes::<ReportBody>()
                .versioned()
                .returns::<JobBody>(200)
                .to(complete),
            get(Audience::Verifier, "/v1/verifier/jobs/{id}/report/content")
                .summary("Download the report of my verdict")
                .returns_media(200, "application/octet-stream", "The file.")
                .to(report_of_verifier),
        ],
    )
}

fn admin_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/verifications")
                .summary("List all verifications")
                .query::<StatusQuery>()
                .paged()
                .returns::<Vec<AdminVerificationBody>>(200)
                .to(search),
            get(Audience::Admin, "/v1/admin/verifications/{id}")
                .summary("Read any verification")
                .versioned()
                .returns::<AdminVerificationBody>(200)
                .to(find),
            get(Audience::Admin, "/v1/admin/verifications/{id}/report/content")
                .summary("Download the report of any verdict; its verifier learns of it")
                .returns_media(200, "application/octet-stream", "The file.")
                .to(report_of_any),
            post(Audience::Admin, "/v1/admin/verifications/{id}/force-cancel")
                .summary("End a verification; the owner gets the price back")
                .describe("The reason is shown to both sides and kept in the audit trail.")
                .step_up()
                .once(Once::Accepted)
                .takes::<ForceCancelBody>()
                .versioned()
                .returns::<AdminVerificationBody>(200)
                .to(force_cancel),
        ],
    )
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct StatusQuery {
    /// `open`, `pending`, `in_review`, `needs_info`, `verified`, `rejected`, `declined`, `cancelled`,
    /// `expired`, `force_cancelled`, `disputed`, `upheld`, `overturned` or `revoked`.
    status: Option<String>,
}

impl StatusQuery {
    pub(crate) fn parse(&self) -> Result<Option<State>> {
        self.status.as_deref().filter(|text| !text.is_empty()).map(str::parse).transpose()
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
struct AvailableQuery {
    /// The credential's type, such as `Education`.
    r#type: Option<String>,
    /// `high` when less than a day is left to answer, else `normal`.
    #[param(inline)]
    urgency: Option<Urgency>,
    /// Only what asks for this language, such as `en`.
    language: Option<String>,
    /// Only what asks for this jurisdiction.
    jurisdiction: Option<String>,
    /// Only what is paid in this currency.
    currency: Option<String>,
    /// At least so many minor units of `currency`.
    min_price: Option<i64>,
    /// At most so many minor units of `currency`.
    max_price: Option<i64>,
}

impl AvailableQuery {
    fn parse(self) -> Result<Search> {
        let stated = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let currency = stated(self.currency).as_deref().map(str::parse::<Asset>).transpose()?;
        let has_bounds = self.min_price.is_some() || self.max_price.is_some();
        if has_bounds && currency.is_none() {
            let message = "amounts of two currencies have no order";
            return Err(Error::field("/currency", "required", message));
        }
        let language = stated(self.language);
        Ok(Search {
            kind: stated(self.r#type),
            urgency: self.urgency,
            language: language.map(|code| language_code("/language", &code)).transpose()?,
            jurisdiction: stated(self.jurisdiction),
            currency,
            price_from: self.min_price,
            price_to: self.max_price,
        })
    }
}

/// A request for a verification.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VerificationRequest {
    credential_id: CredentialId,
    /// Left out for a request that stands on the board.
    verifier_id: Option<VerifierId>,
    /// One of the verifier's services for the credential's type.
    service_id: Option<ServiceId>,
    /// Sooner, for the service's `expeditedPrice`.
    #[serde(default)]
    expedited: bool,
    /// Minor units. Without a verifier, what the request pays; with one, the price that you have
    /// seen: where the service costs something else by now, nothing is done (409 `price_changed`).
    price: Option<i64>,
    /// Of the price.
    currency: Option<Asset>,
    /// Where a verifier is to be at home who claims it from the board.
    #[serde(default)]
    jurisdiction: String,
    /// What a verifier is to read who claims it from the board, such as `en`.
    #[serde(default)]
    language: String,
    /// For the verifier; up to 2000 characters.
    #[serde(default)]
    notes: String,
}

/// To whom a request goes.
enum Asked {
    Verifier(NewVerification),
    Board(NewPosting),
}

impl VerificationRequest {
    fn parse(&self) -> Result<Asked> {
        let notes = Text::any("/notes", &self.notes)?;
        let Some(verifier) = self.verifier_id else { return self.posting(notes) };
        let mut fields = Fields::new();
        for (pointer, is_there) in [
            ("/jurisdiction", !self.jurisdiction.is_empty()),
            ("/language", !self.language.is_empty()),
        ] {
            if is_there {
                fields.add(pointer, "not_allowed", "without a verifier only");
            }
        }
        let seen = fields.take(seen_price(self.price, self.currency)).flatten();
        fields.check()?;
        Ok(Asked::Verifier(NewVerification {
            credential: self.credential_id,
            verifier,
            service: self.service_id,
            expedited: self.expedited,
            seen,
            notes,
        }))
    }

    fn posting(&self, notes: Text) -> Result<Asked> {
        let mut fields = Fields::new();
        if self.service_id.is_some() {
            fields.add("/serviceId", "not_allowed", "with a verifier only");
        }
        if self.expedited {
            fields.add("/expedited", "not_allowed", "with a verifier only");
        }
        let wanted = (self.jurisdiction.as_str(), self.language.as_str());
        let terms = fields.take(BoardTerms::parse((self.price, self.currency), wanted));
        let Some(terms) = terms else { return Err(fields.into_error()) };
        fields.check()?;
        Ok(Asked::Board(NewPosting { credential: self.credential_id, terms, notes }))
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = VerificationInfo)]
pub(crate) struct InfoBody {
    /// Up to 2000 characters.
    pub(crate) message: String,
}

/// How a job stands, as its verifier says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = VerifierJobStatus)]
struct JobStatusBody {
    #[schema(inline)]
    status: WorkStatus,
    /// What is asked of the owner, with `needs_info`.
    message: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WorkStatus {
    InProgress,
    InReview,
    NeedsInfo,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewVerifierJobNote)]
struct NewNoteBody {
    /// Up to 2000 characters.
    note: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = VerdictReport)]
struct ReportBody {
    #[schema(inline)]
    verdict: Verdict,
    /// Where a report can be read: an https address. It is shown, and never fetched.
    report_url: Option<String>,
    /// A file of your own. The owner can read it, and it cannot be deleted from then on.
    report_file_id: Option<FileId>,
    /// For the owner; up to 2000 characters.
    comments: Option<String>,
}

impl ReportBody {
    fn parse(self) -> Result<Report> {
        let comments = self.comments.as_deref();
        Report::parse(self.verdict, comments, self.report_url, self.report_file_id)
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ForceCancelRequest)]
struct ForceCancelBody {
    /// Up to 2000 characters.
    reason: String,
}

/// A verification as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Verification)]
pub(crate) struct VerificationBody {
    id: VerificationId,
    status: State,
    /// Grows by one with every change; the `ETag`, where one is told of.
    version: i64,
    credential_id: CredentialId,
    /// The credential's type when it was requested.
    r#type: String,
    /// Absent while it stands on the board.
    #[serde(skip_serializing_if = "Option::is_none")]
    verifier_id: Option<VerifierId>,
    verifier_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_id: Option<ServiceId>,
    /// Where its verifier is to be at home; of requests on the board.
    #[serde(skip_serializing_if = "String::is_empty")]
    jurisdiction: String,
    /// What its verifier is to read; of requests on the board.
    #[serde(skip_serializing_if = "String::is_empty")]
    language: String,
    /// The service's title when it was requested or claimed.
    service: String,
    /// Minor units.
    price: i64,
    currency: Asset,
    /// The price for people.
    display: String,
    notes: String,
    created_at: Timestamp,
    /// When it expires unless the verifier acts; while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<Timestamp>,
    /// What the verifier has asked for last.
    #[serde(skip_serializing_if = "Option::is_none")]
    info_requested: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_provided: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comments: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report_file_id: Option<FileId>,
    /// What the verifier found, whatever has become of it.
    #[schema(inline)]
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    /// What came back by a dispute, in minor units.
    #[serde(skip_serializing_if = "is_nothing")]
    refunded: i64,
    /// The signed credential that the verdict has become.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_id: Option<IssuedId>,
    /// Why an admin ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<Verification> for VerificationBody {
    fn from(one: Verification) -> Self {
        Self {
            id: one.id,
            status: one.state,
            version: one.version,
            credential_id: one.credential,
            verifier_id: one.verifier,
            service_id: one.service,
            price: one.price,
            currency: one.currency,
            display: one.price().to_string(),
            created_at: one.requested_at,
            due_at: one.state.is_open().then_some(one.due_at),
            accepted_at: one.accepted_at,
            completed_at: one.ended_at,
            r#type: one.kind,
            jurisdiction: one.jurisdiction,
            language: one.language,
            verifier_name: one.verifier_name,
            service: one.service_title,
            notes: one.notes,
            info_requested: one.info_asked,
            info_provided: one.info_given,
            comments: one.comments,
            report_url: one.report_url,
            report_file_id: one.report_file,
            verdict: one.verdict,
            refunded: one.refunded,
            issued_id: one.issued,
            reason: one.reason,
        }
    }
}

const fn is_nothing(amount: &i64) -> bool {
    *amount == 0
}

/// A job as its verifier sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifierJob)]
struct JobBody {
    id: VerificationId,
    status: State,
    /// Grows by one with every change; the `ETag`, where one is told of.
    version: i64,
    credential_id: CredentialId,
    /// The credential's type.
    r#type: String,
    /// Absent while it stands on the board.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_id: Option<ServiceId>,
    service: String,
    /// Where you are to be at home for it; of jobs of the board.
    #[serde(skip_serializing_if = "String::is_empty")]
    jurisdiction: String,
    /// What you are to read for it; of jobs of the board.
    #[serde(skip_serializing_if = "String::is_empty")]
    language: String,
    /// Minor units, before the platform's fee.
    price: i64,
    currency: Asset,
    /// The price for people.
    display: String,
    /// The platform's part in minor units, once there is a verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    fee: Option<i64>,
    /// What the owner wrote.
    notes: String,
    created_at: Timestamp,
    /// When it expires unless you act; while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    #[schema(inline)]
    #[serde(skip_serializing_if = "Option::is_none")]
    urgency: Option<Urgency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_requested: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_provided: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comments: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report_file_id: Option<FileId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_id: Option<IssuedId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl JobBody {
    fn of(one: Verification, now: Timestamp) -> Self {
        let is_open = one.state.is_open();
        // Said between the owner and one verifier: not for all to whom the board offers it again.
        let is_offered = one.state == State::Open;
        Self {
            id: one.id,
            status: one.state,
            version: one.version,
            credential_id: one.credential,
            service_id: one.service,
            price: one.price,
            currency: one.currency,
            display: one.price().to_string(),
            fee: one.fee,
            created_at: one.requested_at,
            due_at: is_open.then_some(one.due_at),
            urgency: is_open.then(|| rules::urgency(&one, now)),
            accepted_at: one.accepted_at,
            started_at: one.started_at,
            completed_at: one.ended_at,
            r#type: one.kind,
            jurisdiction: one.jurisdiction,
            language: one.language,
            service: one.service_title,
            notes: one.notes,
            info_requested: one.info_asked.filter(|_| !is_offered),
            info_provided: one.info_given.filter(|_| !is_offered),
            comments: one.comments,
            report_url: one.report_url,
            report_file_id: one.report_file,
            issued_id: one.issued,
            reason: one.reason,
        }
    }
}

/// A job with what its verifier needs to judge.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifierJobDetail)]
struct JobDetailBody {
    #[serde(flatten)]
    job: JobBody,
    /// While you work on the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<JobCredentialBody>,
    /// Whose credential it is; while you work on the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_name: Option<String>,
    /// Your own notes, oldest first.
    work_notes: Vec<NoteBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifierJobCredential)]
struct JobCredentialBody {
    id: CredentialId,
    title: String,
    r#type: String,
    issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issue_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<FileId>,
    /// Where the file can be downloaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_url: Option<String>,
    /// SHA-256 of the file, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_sha256: Option<String>,
}

impl From<documents::credential::Credential> for JobCredentialBody {
    fn from(credential: documents::credential::Credential) -> Self {
        Self {
            id: credential.id,
            title: credential.title,
            r#type: credential.kind,
            issuer: credential.issuer_name,
            document_number: credential.document_number,
            issue_date: credential.issue_date.map(|date| date.to_string()),
            expiry_date: credential.expiry_date.map(|date| date.to_string()),
            file_id: credential.file,
            file_url: credential.file.map(|file| format!("/v1/files/{file}/content")),
            file_sha256: credential.file_sha256.map(hex::encode),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifierJobNote)]
struct NoteBody {
    note: String,
    author_id: UserId,
    created_at: Timestamp,
}

impl From<Note> for NoteBody {
    fn from(note: Note) -> Self {
        Self { note: note.text, author_id: note.author, created_at: note.at }
    }
}

/// A verification as an admin sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AdminVerification)]
struct AdminVerificationBody {
    #[serde(flatten)]
    verification: VerificationBody,
    owner_id: UserId,
    hold_id: HoldId,
    #[serde(skip_serializing_if = "Option::is_none")]
    fee: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    /// The verifier's notes, oldest first; in the reply about one verification.
    #[serde(skip_serializing_if = "Option::is_none")]
    work_notes: Option<Vec<NoteBody>>,
}

impl From<Verification> for AdminVerificationBody {
    fn from(one: Verification) -> Self {
        Self {
            owner_id: one.owner,
            hold_id: one.hold,
            fee: one.fee,
            started_at: one.started_at,
            work_notes: None,
            verification: one.into(),
        }
    }
}

/// Something that happened to a verification.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerificationEvent)]
struct EventBody {
    id: FactId,
    /// Such as `verification.accepted`.
    r#type: String,
    created_at: Timestamp,
    /// What the one who did it is; absent where the platform itself did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_role: Option<Role>,
    /// Ids, states and amounts.
    data: serde_json::Value,
}

impl From<Recorded> for EventBody {
    fn from(fact: Recorded) -> Self {
        Self {
            id: fact.id,
            r#type: fact.verb,
            created_at: fact.at,
            actor_role: fact.role,
            data: fact.data,
        }
    }
}

/// A verifier's work at a glance.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifierDashboard)]
struct DashboardBody {
    waiting_jobs: i64,
    active_jobs: i64,
    completed_jobs: i64,
    /// For people: what was earned after fees, in whole units of `currency`.
    earnings: f64,
    /// The currency with the most jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<Asset>,
    /// What was earned after fees, exactly.
    earnings_by_currency: Vec<EarnedBody>,
    /// From 0 to 100; 50 before the first rating.
    reputation: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifierEarnings)]
struct EarnedBody {
    /// Minor units.
    amount: i64,
    currency: Asset,
    display: String,
}

impl From<Dashboard> for DashboardBody {
    fn from(dashboard: Dashboard) -> Self {
        let first = dashboard.earnings.first();
        let whole = |money: &kernel::Money| {
            money.minor as f64 / 10_f64.powi(i32::from(money.asset.scale()))
        };
        Self {
            waiting_jobs: dashboard.waiting_jobs,
            active_jobs: dashboard.active_jobs,
            completed_jobs: dashboard.completed_jobs,
            earnings: first.map_or(0.0, whole),
            currency: first.map(|money| money.asset),
            earnings_by_currency: dashboard
                .earnings
                .iter()
                .map(|money| EarnedBody {
                    amount: money.minor,
                    currency: money.asset,
                    display: money.to_string(),
                })
                .collect(),
            reputation: dashboard.reputation,
        }
    }
}

type Of = At<VerificationId>;

/// One answer in each of the three views, with the verification's version.
type Answer<T> = Reply<Versioned<Json<T>>>;

fn versioned<T: From<Verification>>(one: Verification) -> Versioned<Json<T>> {
    Versioned(one.version, Json(one.into()))
}

fn job_of(one: Verification, service: &Service) -> Versioned<Json<JobBody>> {
    Versioned(one.version, Json(JobBody::of(one, service.now())))
}

async fn list(
    On(service): On<Arc<Service>>,
    By(caller): By,
    Query(query): Query<StatusQuery>,
    paging: Paging,
) -> Reply<List<VerificationBody>> {
    let page = service.list(&caller, query.parse()?, &paging.page).await?;
    Ok(paging.reply(page.map(VerificationBody::from)))
}

async fn request(
    On(service): On<Arc<Service>>,
    By(caller): By,
    Json(body): Json<VerificationRequest>,
) -> Reply<Versioned<Created<VerificationBody>>> {
    let made = match body.parse()? {
        Asked::Verifier(asked) => service.request(&caller, &asked).await?,
        Asked::Board(asked) => service.post(&caller, &asked).await?,
    };
    Ok(Versioned(made.version, Created(made.into())))
}

async fn read(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
) -> Answer<VerificationBody> {
    Ok(versioned(service.owned(&caller, id).await?))
}

async fn cancel(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
) -> Answer<VerificationBody> {
    Ok(versioned(service.cancel(&caller, id).await?))
}

async fn provide_info(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
    Json(body): Json<InfoBody>,
) -> Answer<VerificationBody> {
    let info = Text::some("/message", &body.message)?;
    Ok(versioned(service.provide_info(&caller, id, &info).await?))
}

async fn events(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
    paging: Paging,
) -> Reply<List<EventBody>> {
    let events = service.events(&caller, id, &paging.page).await?;
    Ok(paging.reply(events.map(EventBody::from)))
}

async fn case_file(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
) -> Reply<Json<serde_json::Value>> {
    Ok(Json(service.case_file(&caller, id).await?))
}

async fn events_of_organization(
    service: On<Arc<Service>>,
    by: By,
    id: Of,
    paging: Paging,
) -> Reply<List<EventBody>> {
    events(service, by, id, paging).await
}

async fn case_file_of_organization(
    service: On<Arc<Service>>,
    by: By,
    id: Of,
) -> Reply<Json<serde_json::Value>> {
    case_file(service, by, id).await
}

async fn report_of_owner(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
) -> Reply<Response> {
    let file = service.view_report(&caller, Relation::Owner, id).await?;
    Ok(service.files.whole(&file).await?)
}

async fn report_of_organization(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
) -> Reply<Response> {
    let file = service.view_report(&caller, Relation::Owner, id).await?;
    Ok(service.files.whole(&file).await?)
}

async fn report_of_verifier(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
) -> Reply<Response> {
    let file = service.view_report(&caller, Relation::Verifier, id).await?;
    Ok(service.files.whole(&file).await?)
}

async fn report_of_any(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
) -> Reply<Response> {
    let file = service.view_report(&caller, Relation::Admin, id).await?;
    Ok(service.files.whole(&file).await?)
}

async fn dashboard(On(service): On<Arc<Service>>, By(caller): By) -> Reply<Json<DashboardBody>> {
    Ok(Json(service.dashboard(&caller).await?.into()))
}

async fn available(
    On(service): On<Arc<Service>>,
    By(caller): By,
    Query(query): Query<AvailableQuery>,
    paging: Paging,
) -> Reply<List<JobBody>> {
    let page = service.available(&caller, &query.parse()?, &paging.page).await?;
    let now = service.now();
    Ok(paging.reply(page.map(|one| JobBody::of(one, now))))
}

async fn active(
    On(service): On<Arc<Service>>,
    By(caller): By,
    paging: Paging,
) -> Reply<List<JobBody>> {
    let page = service.active(&caller, &paging.page).await?;
    let now = service.now();
    Ok(paging.reply(page.map(|one| JobBody::of(one, now))))
}

async fn job(On(service): On<Arc<Service>>, By(caller): By, At(id): Of) -> Answer<JobDetailBody> {
    let Job { verification, credential, owner_name, notes } = service.job(&caller, id).await?;
    let version = verification.version;
    let body = JobDetailBody {
        job: JobBody::of(verification, service.now()),
        credential: credential.map(JobCredentialBody::from),
        owner_name,
        work_notes: notes.into_iter().map(NoteBody::from).collect(),
    };
    Ok(Versioned(version, Json(body)))
}

async fn accept(On(service): On<Arc<Service>>, By(caller): By, At(id): Of) -> Answer<JobBody> {
    Ok(job_of(service.accept(&caller, id).await?, &service))
}

async fn decline(On(service): On<Arc<Service>>, By(caller): By, At(id): Of) -> Answer<JobBody> {
    Ok(job_of(service.decline(&caller, id).await?, &service))
}

async fn release(On(service): On<Arc<Service>>, By(caller): By, At(id): Of) -> Answer<JobBody> {
    Ok(job_of(service.release(&caller, id).await?, &service))
}

async fn set_status(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
    Json(body): Json<JobStatusBody>,
) -> Answer<JobBody> {
    let verification = match body.status {
        WorkStatus::InProgress | WorkStatus::InReview => service.start(&caller, id).await?,
        WorkStatus::NeedsInfo => {
            let question = Text::some("/message", body.message.as_deref().unwrap_or_default())?;
            service.request_info(&caller, id, &question).await?
        }
    };
    Ok(job_of(verification, &service))
}

async fn note(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
    Json(body): Json<NewNoteBody>,
) -> Reply<Versioned<Created<JobBody>>> {
    let text = Text::some("/note", &body.note)?;
    let noted = service.note(&caller, id, &text).await?;
    Ok(Versioned(noted.version, Created(JobBody::of(noted, service.now()))))
}

async fn complete(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
    Json(body): Json<ReportBody>,
) -> Answer<JobBody> {
    let verification = service.complete(&caller, id, &body.parse()?).await?;
    Ok(job_of(verification, &service))
}

async fn search(
    On(service): On<Arc<Service>>,
    Query(query): Query<StatusQuery>,
    paging: Paging,
) -> Reply<List<AdminVerificationBody>> {
    let page = service.search(query.parse()?, &paging.page).await?;
    Ok(paging.reply(page.map(AdminVerificationBody::from)))
}

async fn find(On(service): On<Arc<Service>>, At(id): Of) -> Answer<AdminVerificationBody> {
    let (verification, notes) = service.find(id).await?;
    let Versioned(version, Json(mut body)) = versioned::<AdminVerificationBody>(verification);
    body.work_notes = Some(notes.into_iter().map(NoteBody::from).collect());
    Ok(Versioned(version, Json(body)))
}

async fn force_cancel(
    On(service): On<Arc<Service>>,
    By(caller): By,
    At(id): Of,
    Json(body): Json<ForceCancelBody>,
) -> Answer<AdminVerificationBody> {
    let reason = Text::some("/reason", &body.reason)?;
    Ok(versioned(service.force_cancel(&caller, id, &reason).await?))
}
