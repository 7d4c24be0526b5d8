//! Credentials over HTTP: the owner's routes, and the admins'.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderValue};
use kernel::id::kinds::{Credential as CredentialKind, File, Issued, User};
use kernel::{Error, Id, Result, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, List, Once, Paging, Query, Reply, Route, delete, get,
    patch, post, table,
};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::judgement::Shown as Automatic;
use super::model::{Credential, Date, Edit, EditTexts, Filter, NewCredential, Status, Texts, line};
use super::service::Service;
use crate::links::Links;

// Named without their parameters, which have no schemas of their own.
type FileId = Id<File>;
type IssuedId = Id<Issued>;
type CredentialId = Id<CredentialKind>;
type UserId = Id<User>;

const REASON_CHARS_MAX: usize = 200;
const SEARCH_CHARS_MAX: usize = 100;

/// What the handlers need.
#[derive(Clone)]
struct Api {
    credentials: Service,
    links: Links,
}

pub fn routes(credentials: &Service, links: &Links) -> Vec<Route> {
    let api = Arc::new(Api { credentials: credentials.clone(), links: links.clone() });
    let mut routes = table(
        &api,
        [
            get(Audience::User, "/v1/user/credentials")
                .summary("Your credentials, newest first")
                .query::<ListQuery>()
                .paged()
                .returns::<Vec<CredentialBody>>(200)
                .to(list),
            post(Audience::User, "/v1/user/credentials")
                .summary("Make a credential of a file that was uploaded")
                .once(Once::Accepted)
                .takes::<NewBody>()
                .returns::<CredentialBody>(201)
                .to(create),
            get(Audience::User, "/v1/user/credentials/{id}")
                .summary("One of your credentials")
                .versioned()
                .returns::<CredentialBody>(200)
                .to(show),
            patch(Audience::User, "/v1/user/credentials/{id}")
                .summary("Change a draft or a rejected credential")
                .describe(
                    "`version` in the body is another way to say `If-Match`, refused with 409.",
                )
                .versioned()
                .takes::<EditBody>()
                .returns::<CredentialBody>(200)
                .to(edit),
            delete(Audience::User, "/v1/user/credentials/{id}")
                .summary("Delete a credential, its shares and its grants")
                .returns::<Done>(200)
                .to(remove),
            post(Audience::User, "/v1/user/credentials/{id}/revoke")
                .summary("Take back what a verdict said, for good")
                .versioned()
                .takes::<RevokeBody>()
                .returns::<CredentialBody>(200)
                .to(revoke),
            get(Audience::User, "/v1/user/credentials/{id}/verdicts")
                .summary("Everything that was signed of it, the newest first")
                .describe("A newer verdict supersedes the older one, which is revoked with it.")
                .returns::<Vec<VerdictBody>>(200)
                .to(verdicts),
            get(Audience::User, "/v1/user/credentials/{id}/signed")
                .summary("What the verdict issued, to be checked by anybody")
                .query::<SignedQuery>()
                .returns_media(200, "application/vc", "The signed credential, or the bundle.")
                .to(signed),
        ],
    );
    routes.extend(admin_routes(&api));
    routes
}

fn admin_routes(api: &Arc<Api>) -> Vec<Route> {
    table(
        api,
        [
            get(Audience::Admin, "/v1/admin/credentials")
                .summary("Everybody's credentials, newest first, the deleted ones among them")
                .query::<ListQuery>()
                .paged()
                .returns::<Vec<AdminBody>>(200)
                .to(admin_list),
            get(Audience::Admin, "/v1/admin/credentials/{id}")
                .summary("Any credential")
                .returns::<AdminBody>(200)
                .to(admin_show),
            post(Audience::Admin, "/v1/admin/credentials/{id}/revoke")
                .summary("Take back what a verdict said of anybody's credential, for good")
                .step_up()
                .takes::<RevokeBody>()
                .returns::<AdminBody>(200)
                .to(admin_revoke),
            post(Audience::Admin, "/v1/admin/credentials/{id}/restore")
                .summary("Bring a deleted credential back, without its file")
                .returns::<AdminBody>(200)
                .to(admin_restore),
        ],
    )
}

/// What a list of credentials is narrowed to.
#[derive(Debug, Deserialize, IntoParams)]
struct ListQuery {
    status: Option<Status>,
    /// The credential's own type, as it was given.
    r#type: Option<String>,
    /// Part of title, issuer or type.
    q: Option<String>,
}

impl ListQuery {
    fn filter(self) -> Result<Filter> {
        if self.q.as_ref().is_some_and(|text| text.chars().count() > SEARCH_CHARS_MAX) {
            let message = format!("at most {SEARCH_CHARS_MAX} characters");
            return Err(Error::field("/q", "too_long", message));
        }
        let text = self.q.filter(|text| !text.trim().is_empty());
        Ok(Filter { status: self.status, kind: self.r#type, text })
    }
}

/// A credential to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewCredential)]
struct NewBody {
    #[schema(example = "University Diploma", max_length = 200)]
    title: String,
    #[schema(example = "Education", max_length = 60)]
    r#type: String,
    /// Who gave the document out.
    #[schema(example = "University X", max_length = 200)]
    issuer: String,
    /// The file, by the address that its upload answered.
    file_url: Option<String>,
    /// The file, by its id; instead of `fileUrl`.
    file_id: Option<FileId>,
    document_number: Option<String>,
    issue_date: Option<Date>,
    expiry_date: Option<Date>,
}

impl NewBody {
    fn parse(&self, links: &Links) -> Result<NewCredential> {
        let file = match (&self.file_url, self.file_id) {
            (None, id) => id,
            (Some(url), given) => {
                let id = links.parse_file(url).filter(|id| given.is_none_or(|given| given == *id));
                let message = "not the address of a file that was uploaded here";
                Some(id.ok_or_else(|| Error::field("/fileUrl", "invalid", message))?)
            }
        };
        NewCredential::parse(&Texts {
            title: &self.title,
            kind: &self.r#type,
            issuer_name: &self.issuer,
            document_number: self.document_number.as_deref(),
            issue_date: self.issue_date,
            expiry_date: self.expiry_date,
            file,
        })
    }
}

/// Changes of a draft. What is left out stays as it is; null clears a number or a date.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = CredentialEdit)]
struct EditBody {
    title: Option<String>,
    issuer: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    document_number: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Date>)]
    issue_date: Option<Option<Date>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Date>)]
    expiry_date: Option<Option<Date>>,
    /// The version that was read.
    version: Option<i64>,
}

/// Tells a field that is null from one that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl EditBody {
    fn parse(&self) -> Result<Edit> {
        Edit::parse(&EditTexts {
            title: self.title.as_deref(),
            issuer_name: self.issuer.as_deref(),
            document_number: self.document_number.as_ref().map(Option::as_deref),
            issue_date: self.issue_date,
            expiry_date: self.expiry_date,
            expected_version: self.version,
        })
    }
}

/// Why something is taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RevokeCredential)]
struct RevokeBody {
    /// One line; those who check the credential may see it.
    #[schema(max_length = 200)]
    reason: Option<String>,
}

impl RevokeBody {
    fn reason(&self) -> Result<String> {
        match &self.reason {
            Some(reason) => line("/reason", reason, REASON_CHARS_MAX),
            None => Ok("not given".to_owned()),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
struct SignedQuery {
    /// `vc` or `openbadge`, which are the same document; `jwt`, the document as a JWT; `sd-jwt`,
    /// claims to be shown one by one; or `bundle`, which holds all that is needed to check the
    /// document offline. `vc` when left out.
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Vc,
    OpenBadge,
    Bundle,
    Jwt,
    #[serde(rename = "sd-jwt")]
    SdJwt,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Credential)]
struct CredentialBody {
    id: CredentialId,
    title: String,
    r#type: String,
    issuer: String,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issue_date: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_date: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<FileId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_url: Option<String>,
    /// What the last positive verdict issued; see `/signed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_id: Option<IssuedId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_at: Option<Timestamp>,
    /// Until when the last positive verdict holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<Timestamp>,
    /// What software found out about a file that is itself a signed credential. It is no verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    automatic_check: Option<Automatic>,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A verdict that was signed, and what has become of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VerdictBody {
    issued_id: IssuedId,
    verified_at: Timestamp,
    valid_until: Timestamp,
    /// `valid`, `expired`, `superseded` or `revoked`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    /// The verdict whose place it has taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    supersedes: Option<IssuedId>,
    /// The verdict that has taken its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<IssuedId>,
}

impl VerdictBody {
    fn of(issued: trust::issuance::service::Issued, now: Timestamp) -> Self {
        let status = match (issued.superseded_by, issued.revoked_at) {
            (Some(_), _) => "superseded",
            (None, Some(_)) => "revoked",
            (None, None) if issued.valid_until <= now => "expired",
            (None, None) => "valid",
        };
        Self {
            issued_id: issued.id,
            verified_at: issued.valid_from,
            valid_until: issued.valid_until,
            status,
            revoked_at: issued.revoked_at,
            supersedes: issued.supersedes,
            superseded_by: issued.superseded_by,
        }
    }
}

/// A credential as admins see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AdminCredential)]
struct AdminBody {
    owner: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
    #[serde(flatten)]
    credential: CredentialBody,
}

impl Api {
    fn body(&self, credential: Credential) -> CredentialBody {
        CredentialBody {
            id: credential.id,
            title: credential.title,
            r#type: credential.kind,
            issuer: credential.issuer_name,
            status: credential.status,
            document_number: credential.document_number,
            issue_date: credential.issue_date,
            expiry_date: credential.expiry_date,
            file_id: credential.file,
            file_url: credential.file.map(|id| self.links.file(id)),
            issued_id: credential.issued,
            verified_at: credential.verified_at,
            valid_until: credential.valid_until,
            automatic_check: credential.judgement.map(Into::into),
            version: credential.version,
            created_at: credential.created_at,
            updated_at: credential.updated_at,
        }
    }

    fn admin_body(&self, credential: Credential) -> AdminBody {
        let (owner, deleted_at) = (credential.owner, credential.deleted_at);
        AdminBody { owner, deleted_at, credential: self.body(credential) }
    }
}

/// A credential with its version.
type Versioned = platform::http::Versioned<Json<CredentialBody>>;

impl Api {
    fn versioned(&self, credential: Credential) -> Versioned {
        platform::http::Versioned(credential.version, Json(self.body(credential)))
    }
}

async fn list(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Query(query): Query<ListQuery>,
    paging: Paging,
) -> Reply<List<CredentialBody>> {
    let filter = query.filter()?;
    let page = api.credentials.list(caller.user()?, &filter, &paging.page).await?;
    Ok(paging.reply(page.map(|credential| api.body(credential))))
}

async fn create(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Json(body): Json<NewBody>,
) -> Reply<Created<CredentialBody>> {
    let new = body.parse(&api.links)?;
    let credential = api.credentials.create(&caller, &new).await?;
    Ok(Created(api.body(credential)))
}

async fn show(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<CredentialId>,
) -> Reply<Versioned> {
    let credentials = &api.credentials;
    let credential = credentials.owned(credentials.db(), caller.user()?, id).await?;
    Ok(api.versioned(credential))
}

async fn edit(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<CredentialId>,
    Json(body): Json<EditBody>,
) -> Reply<Versioned> {
    Ok(api.versioned(api.credentials.edit(&caller, id, &body.parse()?).await?))
}

async fn remove(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<CredentialId>,
) -> Reply<Json<Done>> {
    api.credentials.delete(&caller, id).await?;
    Ok(Done::reply())
}

async fn revoke(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<CredentialId>,
    Json(body): Json<RevokeBody>,
) -> Reply<Versioned> {
    let revoked = api.credentials.revoke(&caller, id, &body.reason()?).await?;
    Ok(api.versioned(revoked))
}

async fn verdicts(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<CredentialId>,
) -> Reply<Json<Vec<VerdictBody>>> {
    let now = api.credentials.db().world().now();
    let verdicts = api.credentials.verdicts(caller.user()?, id).await?;
    Ok(Json(verdicts.into_iter().map(|issued| VerdictBody::of(issued, now)).collect()))
}

async fn signed(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<CredentialId>,
    Query(query): Query<SignedQuery>,
) -> Reply<Response> {
    let owner = caller.user()?;
    let (document, media) = match query.format {
        Format::Vc | Format::OpenBadge => {
            (api.credentials.signed(owner, id).await?, "application/vc")
        }
        Format::Bundle => (api.credentials.bundle(owner, id).await?, "application/json"),
        Format::Jwt => {
            let text = api.credentials.vc_jwt(owner, id).await?;
            return Ok(([(header::CONTENT_TYPE, "application/vc+jwt")], text).into_response());
        }
        Format::SdJwt => {
            let text = api.credentials.sd_jwt(owner, id).await?;
            return Ok(([(header::CONTENT_TYPE, "application/dc+sd-jwt")], text).into_response());
        }
    };
    let mut response = Json(document).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    Ok(response)
}

async fn admin_list(
    State(api): State<Arc<Api>>,
    Query(query): Query<ListQuery>,
    paging: Paging,
) -> Reply<List<AdminBody>> {
    let filter = query.filter()?;
    let page = api.credentials.search(&filter, &paging.page).await?;
    Ok(paging.reply(page.map(|credential| api.admin_body(credential))))
}

async fn admin_show(
    State(api): State<Arc<Api>>,
    At(id): At<CredentialId>,
) -> Reply<Json<AdminBody>> {
    Ok(Json(api.admin_body(api.credentials.find(id).await?)))
}

async fn admin_revoke(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<CredentialId>,
    Json(body): Json<RevokeBody>,
) -> Reply<Json<AdminBody>> {
    let revoked = api.credentials.revoke_any(&caller, id, &body.reason()?).await?;
    Ok(Json(api.admin_body(revoked)))
}

async fn admin_restore(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<CredentialId>,
) -> Reply<Json<AdminBody>> {
    Ok(Json(api.admin_body(api.credentials.restore(&caller, id).await?)))
}
