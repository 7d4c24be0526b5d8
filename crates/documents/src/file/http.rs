//! Files over HTTP.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use kernel::error::PRECONDITION_FAILED;
use kernel::id::kinds::File as FileKind;
use kernel::{Caller, Error, Id, Permission, Result, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, ErrorShape, Json, Limit, List, Paging, Problem, Reply, Route,
    delete, get, post, table,
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::model::{File, Inspection};
use super::rules::{Answer, Conditions};
use super::service::Service;
use super::{name, receive, rules};
use crate::links::Links;

// Named without their parameters, which have no schemas of their own.
type FileId = Id<FileKind>;

/// What the handlers need.
#[derive(Clone)]
struct Api {
    files: Service,
    links: Links,
}

pub fn routes(files: &Service, links: &Links) -> Vec<Route> {
    let body_max = files.limits().file_bytes + receive::OVERHEAD_BYTES;
    let body_max = usize::try_from(body_max).unwrap_or(usize::MAX);
    let form = "The file, in a part named `file`: PDF, PNG, JPEG, WebP or DOCX.";
    let api = Arc::new(Api { files: files.clone(), links: links.clone() });
    let mut routes = compat_routes(&api, body_max, form);
    routes.extend(table(
        &api,
        [
            post(Audience::Any, "/v1/files")
                .summary("Upload a file")
                .limit(Limit::Heavy)
                .streams(body_max)
                .takes_media("multipart/form-data", form)
                .returns::<FileBody>(201)
                .to(create),
            post(Audience::Key, "/v1/enterprise/files")
                .summary("Upload a file of the organization's, to have it verified")
                .needs(Permission::VerificationsWrite)
                .limit(Limit::Heavy)
                .streams(body_max)
                .takes_media("multipart/form-data", form)
                .returns::<FileBody>(201)
                .to(create_for_organization),
            post(Audience::Any, "/v1/upload")
                .summary("Upload a file and learn its address")
                .limit(Limit::Heavy)
                .streams(body_max)
                .takes_media("multipart/form-data", form)
                .returns::<UploadBody>(201)
                .to(upload),
            get(Audience::Any, "/v1/files")
                .summary("Your files, newest first")
                .paged()
                .returns::<Vec<FileBody>>(200)
                .to(list),
            get(Audience::Any, "/v1/files/{id}")
                .summary("What a file is")
                .returns::<FileBody>(200)
                .to(show),
            get(Audience::Any, "/v1/files/{id}/content")
                .summary("Download a file")
                .describe(
                    "Takes `Range` with one range of bytes, `If-Range`, `If-Match` and \
                     `If-None-Match`. \
                     Several ranges at once are answered with the whole file.",
                )
                .returns_media(200, "application/octet-stream", "The file.")
                .returns_media(206, "application/octet-stream", "The range that was asked for.")
                .returns_nothing(304)
                .to(content),
            delete(Audience::Any, "/v1/files/{id}")
                .summary("Delete a file that no credential refers to")
                .returns::<Done>(200)
                .to(remove),
        ],
    ));
    routes
}

/// The same files under the paths, names and error shape of the older document API.
fn compat_routes(api: &Arc<Api>, body_max: usize, form: &'static str) -> Vec<Route> {
    table(
        api,
        [
            post(Audience::Any, "/api/files")
                .summary("Upload a file")
                .unproved()
                .errors(ErrorShape::Text)
                .limit(Limit::Heavy)
                .streams(body_max)
                .takes_media("multipart/form-data", form)
                .returns::<CompatBody>(201)
                .to(compat_create),
            get(Audience::Any, "/api/files")
                .summary("Your files, newest first")
                .describe("Stands in the log as FILE_LIST.")
                .unproved()
                .errors(ErrorShape::Text)
                .paged()
                .returns::<Vec<CompatBody>>(200)
                .to(compat_list),
            get(Audience::Any, "/api/files/{id}")
                .summary("Download a file")
                .describe("Stands in the log as FILE_DOWNLOAD.")
                .unproved()
                .errors(ErrorShape::Text)
                .returns_media(200, "application/octet-stream", "The file.")
                .returns_media(206, "application/octet-stream", "The range that was asked for.")
                .returns_nothing(304)
                .to(compat_content),
        ],
    )
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = File)]
pub(crate) struct FileBody {
    id: FileId,
    name: String,
    /// Of the content, as its first bytes say.
    #[schema(example = "application/pdf")]
    media_type: &'static str,
    /// In bytes.
    size: u64,
    /// SHA-256 of the content, in hexadecimal digits.
    sha256: String,
    /// `stored`, or `scanning` while a virus scanner has to look at it and nobody can read it.
    state: &'static str,
    /// What is known of the signatures in a PDF: `state` is `pending`, `failed` or `checked`, and
    /// of each of `found` there are three facts apart, `integrity` (`valid`, `invalid`,
    /// `unsupported`), `coversWholeFile`, and `signer` (`anchored`, `unknown`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    signatures: Option<Inspection>,
    created_at: Timestamp,
    /// Where the content is, for those who may read it.
    url: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Upload)]
struct UploadBody {
    url: String,
    id: FileId,
}

/// A file in the names of the older API, with bare UUIDs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CompatFile)]
struct CompatBody {
    id: String,
    user_id: String,
    name: String,
    size: u64,
    mime_type: &'static str,
    created: Timestamp,
}

impl From<File> for CompatBody {
    fn from(file: File) -> Self {
        Self {
            id: file.id.uuid().to_string(),
            user_id: file.owner.uuid().to_string(),
            name: file.name,
            size: file.size,
            mime_type: file.media_type.as_str(),
            created: file.created_at,
        }
    }
}

impl FileBody {
    pub(crate) fn of(file: File, links: &Links) -> Self {
        Self {
            url: links.file(file.id),
            id: file.id,
            name: file.name,
            media_type: file.media_type.as_str(),
            size: file.size,
            sha256: hex::encode(file.sha256),
            state: if file.scanning { "scanning" } else { "stored" },
            signatures: file.signatures,
            created_at: file.created_at,
        }
    }
}

impl Api {
    fn body(&self, file: File) -> FileBody {
        FileBody::of(file, &self.links)
    }

    async fn receive(&self, caller: &Caller, request: Request) -> Result<File> {
        let content_type = text(request.headers(), header::CONTENT_TYPE).unwrap_or_default();
        let content_type = content_type.to_owned();
        self.files.upload(caller, &content_type, request.into_body()).await
    }
}

async fn create(
    State(api): State<Arc<Api>>,
    By(caller): By,
    request: Request,
) -> Reply<Created<FileBody>> {
    let file = api.receive(&caller, request).await?;
    Ok(Created(api.body(file)))
}

async fn create_for_organization(
    State(api): State<Arc<Api>>,
    By(caller): By,
    request: Request,
) -> Reply<Created<FileBody>> {
    let file = api.receive(&caller, request).await?;
    Ok(Created(api.body(file)))
}

async fn upload(
    State(api): State<Arc<Api>>,
    By(caller): By,
    request: Request,
) -> Reply<Created<UploadBody>> {
    let file = api.receive(&caller, request).await?;
    Ok(Created(UploadBody { url: api.links.file(file.id), id: file.id }))
}

async fn list(
    State(api): State<Arc<Api>>,
    By(caller): By,
    paging: Paging,
) -> Reply<List<FileBody>> {
    let page = api.files.list(caller.user()?, &paging.page).await?;
    Ok(paging.reply(page.map(|file| api.body(file))))
}

async fn show(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<FileId>,
) -> Reply<Json<FileBody>> {
    let file = api.files.get(api.files.db(), caller.user()?, id).await?;
    Ok(Json(api.body(file)))
}

async fn remove(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<FileId>,
) -> Reply<Json<Done>> {
    api.files.delete(&caller, id).await?;
    Ok(Done::reply())
}

async fn content(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<FileId>,
    method: Method,
    headers: HeaderMap,
) -> Reply<Response> {
    Ok(api.download(&caller, id, &method, &headers).await?)
}

async fn compat_create(
    State(api): State<Arc<Api>>,
    By(caller): By,
    request: Request,
) -> Reply<Created<CompatBody>> {
    Ok(Created(api.receive(&caller, request).await?.into()))
}

async fn compat_list(
    State(api): State<Arc<Api>>,
    By(caller): By,
    paging: Paging,
) -> Reply<List<CompatBody>> {
    let page = api.files.list(caller.user()?, &paging.page).await?;
    api.files.note_listed(&caller).await?;
    Ok(paging.reply(page.map(CompatBody::from)))
}

async fn compat_content(
    State(api): State<Arc<Api>>,
    By(caller): By,
    At(id): At<String>,
    method: Method,
    headers: HeaderMap,
) -> Reply<Response> {
    let id = Uuid::parse_str(&id).map_err(|_| Error::not_found("file"))?;
    let id = Id::from_uuid(id);
    let response = api.download(&caller, id, &method, &headers).await?;
    let range = text(response.headers(), header::CONTENT_RANGE);
    if method != Method::HEAD && rules::is_downloaded(response.status(), range) {
        api.files.note_downloaded(&caller, id).await?;
    }
    Ok(response)
}

impl Api {
    async fn download(
        &self,
        caller: &Caller,
        id: FileId,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response> {
        // Asking for the headers alone shows nobody the document, and has no ranges (RFC 9110
        // section 14.2).
        let is_head = method == Method::HEAD;
        let file = if is_head {
            self.files.get(self.files.db(), caller.user()?, id).await?
        } else {
            self.files.view(caller, id).await?
        };
        let etag = format!("\"{}\"", hex::encode(file.sha256));
        let asked = Conditions {
            if_match: text(headers, header::IF_MATCH),
            if_none_match: text(headers, header::IF_NONE_MATCH),
            if_range: text(headers, header::IF_RANGE),
            range: text(headers, header::RANGE).filter(|_| !is_head),
        };
        let (status, range) = match rules::answer(asked, &etag, file.size) {
            Answer::Whole => (StatusCode::OK, 0..file.size),
            Answer::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Answer::NotModified => (StatusCode::NOT_MODIFIED, 0..0),
            Answer::Failed => return Err(Error::conflict(PRECONDITION_FAILED, CHANGED)),
            Answer::Unsatisfiable => return Ok(unsatisfiable(file.size)),
        };
        let mut response = if is_head || range.is_empty() {
            Body::empty().into_response()
        } else {
            Body::new(self.files.open(&file, range.clone()).await?).into_response()
        };
        *response.status_mut() = status;
        let headers = response.headers_mut();
        describe(headers, &file, &etag);
        if status == StatusCode::PARTIAL_CONTENT {
            let place = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
            insert(headers, header::CONTENT_RANGE, &place);
        }
        if status != StatusCode::NOT_MODIFIED {
            headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
            insert(headers, header::CONTENT_TYPE, file.media_type.served_as());
        }
        Ok(response)
    }
}

impl Service {
    /// The whole of a file as a download, for a caller who has seen to who may read it.
    pub async fn whole(&self, file: &File) -> Result<Response> {
        Self::check_scanned(file)?;
        let content = self.open(file, 0..file.size).await?;
        let mut response = Body::new(content).into_response();
        let headers = response.headers_mut();
        describe(headers, file, &format!("\"{}\"", hex::encode(file.sha256)));
        // Only all of it can be had here.
        headers.remove(header::ACCEPT_RANGES);
        headers.insert(header::CONTENT_LENGTH, file.size.into());
        insert(headers, header::CONTENT_TYPE, file.media_type.served_as());
        Ok(response)
    }
}

/// Whatever a file holds, no browser runs it in our name, and nobody but its reader keeps it.
fn describe(headers: &mut HeaderMap, file: &File, etag: &str) {
    insert(headers, header::ETAG, etag);
    insert(headers, header::ACCEPT_RANGES, "bytes");
    insert(headers, header::CONTENT_DISPOSITION, &name::disposition(&file.name));
    insert(headers, header::CACHE_CONTROL, "private, no-cache, no-transform");
    insert(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert(headers, header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'");
    insert(headers, HeaderName::from_static("cross-origin-resource-policy"), "same-site");
}

const CHANGED: &str =
    "The file is not the one that If-Match names. Download it without that header.";

fn unsatisfiable(size: u64) -> Response {
    let message = format!("The file has {size} bytes; the range lies behind its end.");
    let mut response = Problem(Error::invalid("range_not_satisfiable", message)).into_response();
    insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
    response
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // All of them are ASCII by their making.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
