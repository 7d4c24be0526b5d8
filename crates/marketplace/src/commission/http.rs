//! Commissions over HTTP.

use std::sync::Arc;

use axum::extract::State as On;
use documents::credential::{Date, Texts};
use kernel::error::Fields;
use kernel::id::kinds;
use kernel::{Asset, Id, Money, Permission, Result};
use platform::http::{
    At, Audience, By, Created, Json, List, Once, Paging, Query, Reply, Route, Versioned, get, post,
    table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{self, Commission, Draft, NewCommission};
use super::service::Service;
use crate::verification::http::{InfoBody, StatusQuery, VerificationBody};
use crate::verification::model::{BoardTerms, Text, seen_price};

// Named without their parameters, which have no schemas of their own.
type VerificationId = Id<kinds::Verification>;
type CredentialId = Id<kinds::Credential>;
type VerifierId = Id<kinds::Verifier>;
type ServiceId = Id<kinds::Service>;
type FileId = Id<kinds::File>;
type BatchId = Id<kinds::Batch>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::Key, "/v1/enterprise/verifications")
                .summary("Ask a verifier to verify a document about somebody")
                .describe(
                    "Names a credential of the organization's, or describes a document, of which \
                     one is made. Without a verifier it stands on the board, with a price, until \
                     one claims it. The document's file is uploaded before with POST /v1/enterprise/files. The \
                     price is held in the organization's wallet until the verdict.",
                )
                .needs(Permission::VerificationsWrite)
                .once(Once::Required)
                .takes::<RequestBody>()
                .returns::<CommissionBody>(201)
                .to(request),
            get(Audience::Key, "/v1/enterprise/verifications")
                .summary("List the organization's verifications, newest first")
                .needs(Permission::VerificationsRead)
                .query::<StatusQuery>()
                .query::<NamedQuery>()
                .paged()
                .returns::<Vec<CommissionBody>>(200)
                .to(list),
            get(Audience::Key, "/v1/enterprise/verifications/{id}")
                .summary("Read one of the organization's verifications")
                .needs(Permission::VerificationsRead)
                .versioned()
                .returns::<CommissionBody>(200)
                .to(read),
            post(Audience::Key, "/v1/enterprise/verifications/{id}/cancel")
                .summary("Take a request back that has not been accepted")
                .needs(Permission::VerificationsWrite)
                .once(Once::Accepted)
                .versioned()
                .returns::<CommissionBody>(200)
                .to(cancel),
            post(Audience::Key, "/v1/enterprise/verifications/{id}/info")
                .summary("Give the verifier what they have asked for")
                .needs(Permission::VerificationsWrite)
                .once(Once::Accepted)
                .takes::<InfoBody>()
                .versioned()
                .returns::<CommissionBody>(200)
                .to(provide_info),
        ],
    )
}

/// A request of an organization.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = EnterpriseVerificationRequest)]
struct RequestBody {
    /// A credential of the organization's. Either this or `document`.
    credential_id: Option<CredentialId>,
    document: Option<DocumentBody>,
    /// Left out for a request that stands on the board.
    verifier_id: Option<VerifierId>,
    /// One of the verifier's services; the cheapest that fits the document's type where it is left
    /// out.
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
    /// Whom the document is about.
    #[serde(default)]
    subject: String,
    /// Your own word for the case, to find it by.
    #[serde(default)]
    reference: String,
    /// For the verifier; up to 2000 characters.
    #[serde(default)]
    notes: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = EnterpriseDocument)]
struct DocumentBody {
    #[schema(example = "Bachelor of Science")]
    title: String,
    #[schema(example = "Education")]
    r#type: String,
    /// Who has given it out.
    #[schema(example = "University X")]
    issuer: String,
    document_number: Option<String>,
    issue_date: Option<Date>,
    expiry_date: Option<Date>,
    /// A file of the organization's.
    file_id: Option<FileId>,
}

impl RequestBody {
    fn parse(&self) -> Result<NewCommission> {
        let document = self.document.as_ref().map(|it| Texts {
            title: &it.title,
            kind: &it.r#type,
            issuer_name: &it.issuer,
            document_number: it.document_number.as_deref(),
            issue_date: it.issue_date,
            expiry_date: it.expiry_date,
            file: it.file_id,
        });
        let draft = Draft {
            credential: self.credential_id,
            document,
            verifier: self.verifier_id,
            service: self.service_id,
            expedited: self.expedited,
            seen: self.seen()?,
            board: self.board()?,
            reference: &self.reference,
            subject: &self.subject,
            notes: &self.notes,
        };
        NewCommission::parse(&draft, "/document")
    }

    /// The price that was seen, of a request to a verifier.
    fn seen(&self) -> Result<Option<Money>> {
        match self.verifier_id {
            Some(_) => seen_price(self.price, self.currency),
            None => Ok(None),
        }
    }

    /// The terms of a request without a verifier.
    fn board(&self) -> Result<Option<BoardTerms>> {
        let wanted = (self.jurisdiction.as_str(), self.language.as_str());
        let with_price = self.price.is_some() || self.currency.is_some();
        let is_for_board = with_price || wanted != ("", "");
        let mut fields = Fields::new();
        match self.verifier_id {
            Some(_) if wanted != ("", "") => {
                let message = "jurisdiction and language: without a verifier only";
                fields.add("/verifierId", "not_allowed", message);
            }
            None if self.service_id.is_some() || self.expedited => {
                fields.add("/serviceId", "not_allowed", "with a verifier only");
            }
            _ => {}
        }
        fields.check()?;
        if self.verifier_id.is_some() || !is_for_board {
            return Ok(None);
        }
        BoardTerms::parse((self.price, self.currency), wanted).map(Some)
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
struct NamedQuery {
    /// Your own word for the case, as it was given.
    reference: Option<String>,
}

/// A verification as its organization sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EnterpriseVerification)]
struct CommissionBody {
    #[serde(flatten)]
    verification: VerificationBody,
    /// Whom the document is about.
    subject: String,
    reference: String,
    /// The batch that it came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<BatchId>,
}

impl From<Commission> for CommissionBody {
    fn from(of: Commission) -> Self {
        Self {
            verification: of.verification.into(),
            subject: of.subject,
            reference: of.reference,
            batch_id: of.batch,
        }
    }
}

type State = On<Arc<Service>>;

/// A commission with its verification's version.
fn versioned(of: Commission) -> Versioned<Json<CommissionBody>> {
    Versioned(of.verification.version, Json(of.into()))
}

async fn request(
    On(service): State,
    By(caller): By,
    Json(body): Json<RequestBody>,
) -> Reply<Versioned<Created<CommissionBody>>> {
    let made = service.request(&caller, &body.parse()?).await?;
    Ok(Versioned(made.verification.version, Created(made.into())))
}

async fn list(
    On(service): State,
    By(caller): By,
    Query(status): Query<StatusQuery>,
    Query(named): Query<NamedQuery>,
    paging: Paging,
) -> Reply<List<CommissionBody>> {
    let (state, reference) = (status.parse()?, model::reference(named.reference.as_deref())?);
    let page = service.list(&caller, state, reference.as_deref(), &paging.page).await?;
    Ok(paging.reply(page.map(CommissionBody::from)))
}

async fn read(
    On(service): State,
    By(caller): By,
    At(id): At<VerificationId>,
) -> Reply<Versioned<Json<CommissionBody>>> {
    Ok(versioned(service.owned(&caller, id).await?))
}

async fn cancel(
    On(service): State,
    By(caller): By,
    At(id): At<VerificationId>,
) -> Reply<Versioned<Json<CommissionBody>>> {
    Ok(versioned(service.cancel(&caller, id).await?))
}

async fn provide_info(
    On(service): State,
    By(caller): By,
    At(id): At<VerificationId>,
    Json(body): Json<InfoBody>,
) -> Reply<Versioned<Json<CommissionBody>>> {
    let info = Text::some("/message", &body.message)?;
    Ok(versioned(service.provide_info(&caller, id, &info).await?))
}
