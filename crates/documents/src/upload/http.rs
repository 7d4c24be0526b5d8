//! Uploads over HTTP: the owner's routes, and the signed addresses of the embedded store.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::header::{self, HeaderMap, HeaderName};
use kernel::id::kinds::File as FileKind;
use kernel::{Error, Id, Result, Timestamp};
use platform::blob::{Form, Presigned};
use platform::http::{
    At, Audience, By, Created, Done, Json, Limit, Query, Reply, Route, delete, get, post, put,
    table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::NewUpload;
use super::service::{Asked, Open, Part, Service};
use super::signed::Terms;
use crate::file::{self, FileBody, OVERHEAD_BYTES};
use crate::links::Links;

// Named without their parameters, which have no schemas of their own.
type FileId = Id<FileKind>;

const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
/// Fields of a form in front of its file.
const FIELDS_MAX: usize = 16;
const FIELD_BYTES_MAX: usize = 4096;

#[derive(Clone)]
struct Api {
    uploads: Service,
    links: Links,
}

pub fn routes(uploads: &Service, links: &Links) -> Vec<Route> {
    let body_max = uploads.files().limits().file_bytes + OVERHEAD_BYTES;
    let body_max = usize::try_from(body_max).unwrap_or(usize::MAX);
    let api = Arc::new(Api { uploads: uploads.clone(), links: links.clone() });
    let mut routes = signed_routes(&api, body_max);
    routes.extend(table(
        &api,
        [
            post(Audience::Any, "/v1/user/uploads")
                .summary("Begin an upload that you send by yourself")
                .describe(
                    "Answers signed addresses. Send each part with the method and exactly the \
                     headers that stand beside its address; then complete the upload. With \
                     `partSize` it has several parts, and whoever is cut off sends only those \
                     that are missing. An upload of one part may be sent as a form instead: the \
                     fields in their order, then the part `file`.",
                )
                .takes::<NewUploadBody>()
                .returns::<UploadBody>(201)
                .to(begin),
            get(Audience::Any, "/v1/user/uploads/{id}")
                .summary("What of an upload is still to be sent, with fresh addresses")
                .returns::<UploadBody>(200)
                .to(show),
            delete(Audience::Any, "/v1/user/uploads/{id}")
                .summary("Give an upload up")
                .returns::<Done>(200)
                .to(cancel),
            post(Audience::Any, "/v1/user/uploads/complete")
                .summary("Make a file of an upload")
                .describe(
                    "Size, checksum and type must be what was announced; what is not is thrown \
                     away and may be sent again. Completing twice answers the same file.",
                )
                .limit(Limit::Heavy)
                .takes::<CompleteBody>()
                .returns::<FileBody>(200)
                .to(complete),
        ],
    ));
    routes
}

/// Where the embedded store takes in what it has signed for. An object store does that itself.
fn signed_routes(api: &Arc<Api>, body_max: usize) -> Vec<Route> {
    table(
        api,
        [
            put(Audience::Public, "/v1/uploads/{id}/{part}")
                .summary("Send a part of an upload to its signed address")
                .limit(Limit::Heavy)
                .streams(body_max)
                .query::<SignatureQuery>()
                .takes_media("application/octet-stream", "The bytes of the part.")
                .returns::<Done>(200)
                .to(receive),
            post(Audience::Public, "/v1/uploads/{id}/{part}")
                .summary("Send an upload to its signed address as a form")
                .limit(Limit::Heavy)
                .streams(body_max)
                .takes_media("multipart/form-data", "The signed fields, then the part `file`.")
                .returns::<Done>(200)
                .to(receive_form),
        ],
    )
}

/// An upload to be begun.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewUpload)]
struct NewUploadBody {
    #[schema(example = "diploma.pdf")]
    name: String,
    #[schema(example = "application/pdf")]
    content_type: String,
    /// In bytes, exactly.
    size: u64,
    /// SHA-256 of the file, in hexadecimal digits.
    sha256: Option<String>,
    /// In bytes; without it the file is one part.
    #[schema(minimum = 262_144)]
    part_size: Option<u64>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = CompleteUpload)]
struct CompleteBody {
    #[schema(value_type = String)]
    id: FileId,
}

/// A request that may be sent, exactly so.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SignedRequest)]
struct SignedBody {
    method: &'static str,
    url: String,
    headers: BTreeMap<String, String>,
}

impl From<Presigned> for SignedBody {
    fn from(it: Presigned) -> Self {
        Self { method: it.method, url: it.url, headers: it.headers.into_iter().collect() }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SignedForm)]
struct FormBody {
    url: String,
    fields: BTreeMap<String, String>,
}

impl From<Form> for FormBody {
    fn from(it: Form) -> Self {
        Self { url: it.url, fields: it.fields.into_iter().collect() }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UploadPart)]
struct PartBody {
    number: u32,
    /// Where it begins in the file, in bytes.
    offset: u64,
    /// In bytes.
    size: u64,
    received: bool,
    /// How it is sent, while it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<SignedBody>,
}

impl From<Part> for PartBody {
    fn from(part: Part) -> Self {
        let Part { number, offset, size, put } = part;
        Self { number, offset, size, received: put.is_none(), request: put.map(Into::into) }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OpenUpload)]
struct UploadBody {
    /// Also the id of the file that becomes of it.
    #[schema(value_type = String)]
    id: FileId,
    name: String,
    content_type: &'static str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// When it is given up unless it is complete.
    expires_at: Timestamp,
    parts: Vec<PartBody>,
    /// The same as a form, while an upload of one part is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<FormBody>,
}

impl From<Open> for UploadBody {
    fn from(open: Open) -> Self {
        let Open { upload, parts, form } = open;
        Self {
            id: upload.id,
            name: upload.name,
            content_type: upload.media_type.as_str(),
            size: upload.size,
            sha256: upload.sha256.map(hex::encode),
            expires_at: upload.expires_at,
            parts: parts.into_iter().map(Into::into).collect(),
            form: form.map(Into::into),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
struct SignatureQuery {
    expires: i64,
    signature: String,
}

async fn begin(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Json(body): Json<NewUploadBody>,
) -> Reply<Created<UploadBody>> {
    let NewUploadBody { name, content_type, size, sha256, part_size } = body;
    let limits = api.uploads.files().limits();
    let new = NewUpload::parse(&name, &content_type, size, sha256.as_deref(), part_size, limits)?;
    Ok(Created(api.uploads.begin(&caller, &new).await?.into()))
}

async fn show(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<FileId>,
) -> Reply<Json<UploadBody>> {
    Ok(Json(api.uploads.get(caller.user()?, id).await?.into()))
}

async fn cancel(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<FileId>,
) -> Reply<Json<Done>> {
    api.uploads.cancel(&caller, id).await?;
    Ok(Done::reply())
}

async fn complete(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Json(body): Json<CompleteBody>,
) -> Reply<Json<FileBody>> {
    let file = api.uploads.complete(&caller, body.id).await?;
    Ok(Json(FileBody::of(file, &api.links)))
}

async fn receive(
    State(api): State<Arc<Api>>,
    At((upload, part)): At<(FileId, u32)>,
    Query(query): Query<SignatureQuery>,
    request: Request,
) -> Reply<Json<Done>> {
    let (parts, body) = request.into_parts();
    let size = text(&parts.headers, &header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let terms = Terms {
        method: "PUT",
        upload,
        part,
        size: size.ok_or_else(length_required)?,
        media_type: text(&parts.headers, &header::CONTENT_TYPE).unwrap_or_default(),
        checksum: text(&parts.headers, &CHECKSUM),
        expires: query.expires,
    };
    api.uploads.check(Asked { terms, signature: &query.signature }).await?;
    let broken = |error: axum::Error| {
        Error::invalid("broken_body", "The body did not arrive whole.").because(error)
    };
    let body = body.into_data_stream().map(move |chunk| chunk.map_err(broken)).boxed();
    api.uploads.receive(terms, body).await?;
    Ok(Done::reply())
}

fn length_required() -> Error {
    Error::invalid("length_required", "Send the header content-length that was signed.")
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The signed fields stand in front of the file, as with S3: nothing of a file is read for a form
/// that was not signed.
async fn receive_form(
    State(api): State<Arc<Api>>,
    At((upload, part)): At<(FileId, u32)>,
    request: Request,
) -> Reply<Json<Done>> {
    let (parts, body) = request.into_parts();
    let content_type = text(&parts.headers, &header::CONTENT_TYPE).unwrap_or_default();
    let file_max = api.uploads.files().limits().file_bytes;
    let (mut form, unread) = file::form(content_type, body, file_max)?;
    let mut fields = BTreeMap::new();
    while let Some(field) = form.next_field().await.map_err(file::broken)? {
        let mut field = file::Part::new(field, &unread);
        let name = field.field.name().unwrap_or_default().to_owned();
        if name != "file" {
            fields.insert(name, small(&mut field).await?);
            if fields.len() > FIELDS_MAX {
                return Err(Error::invalid("invalid_multipart", "Too many fields.").into());
            }
            continue;
        }
        let value = |name: &str| fields.get(name).map(String::as_str);
        // A form has no length of its own for its file: what was announced is what was signed.
        let size = api.uploads.announced(upload, part).await?;
        let terms = Terms {
            method: "POST",
            upload,
            part,
            size,
            media_type: value("content-type").unwrap_or_default(),
            checksum: value("x-amz-checksum-sha256"),
            expires: value("expires").and_then(|text| text.parse().ok()).unwrap_or_default(),
        };
        let signature = value("signature").unwrap_or_default();
        api.uploads.check(Asked { terms, signature }).await?;
        api.uploads.receive(terms, pieces(field)).await?;
        return Ok(Done::reply());
    }
    Err(Error::field("/file", "required", "there is no part named \"file\"").into())
}

fn pieces(field: file::Part<'_>) -> BoxStream<'_, Result<Bytes>> {
    stream::unfold(field, next_piece).boxed()
}

async fn next_piece(mut field: file::Part<'_>) -> Option<(Result<Bytes>, file::Part<'_>)> {
    let piece = field.chunk().await.transpose()?;
    Some((piece, field))
}

async fn small(field: &mut file::Part<'_>) -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > FIELD_BYTES_MAX {
            return Err(Error::invalid("invalid_multipart", "A field of the form is too long."));
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| Error::invalid("invalid_multipart", "A field of the form is no text."))
}
