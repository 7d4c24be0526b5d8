//! Any list as a file: `?format=csv` or `?format=jsonl`, or an `Accept` header that asks for one of
//! the two. All of it, page after page from the list's own handler, so that who may see which row is
//! decided in one place, and memory does not grow with the list.
//!
//! Where the route has a [`Signer`], `csv.manifest` and `jsonl.manifest` answer what such a file is,
//! signed, in the place of the file.

use std::sync::{Arc, LazyLock};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{HeaderValue, StatusCode, Uri, header};
use kernel::{Error, PageRequest};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use utoipa::openapi::{RefOr, Schema};

use super::reply::{Failure, Problem};

/// What one page of a list may come to, which is far more than any does.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// A list as it was written into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The list's path, with the query that narrows it.
    pub list: String,
    /// `csv` or `jsonl`.
    pub format: &'static str,
    /// Without a header.
    pub rows: u64,
    pub bytes: u64,
    pub sha256: [u8; 32],
}

/// Who signs what was written; the answer is the signed text. As an extension of requests.
#[derive(Clone)]
pub struct Signer(
    pub Arc<dyn Fn(Written) -> BoxFuture<'static, kernel::Result<String>> + Send + Sync>,
);

/// What a list is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// RFC 4180, with a header. What is no plain value is written as JSON.
    Csv,
    /// One JSON document a line.
    JsonLines,
    /// The same, for clients that know it by its older name.
    NdJson,
}

impl Format {
    /// What is asked for; none for the list as it is. What the query says comes before the header,
    /// and of the header's media types the first one that a list can be written as.
    ///
    /// # Errors
    /// A field error at `/format`.
    fn asked(request: &Request) -> kernel::Result<Option<(Self, bool)>> {
        let can_sign = request.extensions().get::<Signer>().is_some();
        let file = |format| Ok(Some((format, false)));
        let query = request.uri().query().unwrap_or_default();
        let mut words = form_urlencoded::parse(query.as_bytes());
        if let Some((_, word)) = words.find(|(name, _)| name == "format") {
            return match &*word {
                "json" => Ok(None),
                "csv" => file(Self::Csv),
                "jsonl" => file(Self::JsonLines),
                "csv.manifest" if can_sign => Ok(Some((Self::Csv, true))),
                "jsonl.manifest" if can_sign => Ok(Some((Self::JsonLines, true))),
                _ => Err(Error::field("/format", "invalid", "json, csv or jsonl")),
            };
        }
        let accepted = request.headers().get_all(header::ACCEPT).into_iter();
        let mut media = accepted
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|range| range.split(';').next());
        let found = media.find_map(|media| Self::of_media_type(media.trim())).flatten();
        Ok(found.map(|format| (format, false)))
    }

    /// What a list is under a media type: `Some(None)` for itself, and `None` where it cannot be.
    fn of_media_type(media: &str) -> Option<Option<Self>> {
        match &*media.to_ascii_lowercase() {
            "text/csv" => Some(Some(Self::Csv)),
            "application/jsonl" => Some(Some(Self::JsonLines)),
            "application/x-ndjson" => Some(Some(Self::NdJson)),
            "application/json" | "application/*" | "*/*" => Some(None),
            _ => None,
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::JsonLines => "application/jsonl",
            Self::NdJson => "application/x-ndjson",
        }
    }

    const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
            Self::NdJson => "ndjson",
        }
    }

    fn head(self, columns: &[String]) -> String {
        match self {
            Self::Csv => line(columns.iter().map(|column| cell(column))),
            Self::JsonLines | Self::NdJson => String::new(),
        }
    }

    fn row(self, columns: &[String], row: &Json) -> String {
        match self {
            Self::Csv => line(columns.iter().map(|column| match &row[column.as_str()] {
                Json::Null => String::new(),
                Json::String(text) => cell(text),
                // Neither begins a formula: a number may have a sign, and no more.
                plain @ (Json::Bool(_) | Json::Number(_)) => plain.to_string(),
                deep => cell(&deep.to_string()),
            })),
            Self::JsonLines | Self::NdJson => format!("{row}\n"),
        }
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut line = cells.collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// A text as a cell. What a spreadsheet would run as a formula begins with an apostrophe, as OWASP
/// advises for CSV injection.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\r', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

/// The columns of a list's file, looked for when the first file is asked for.
pub(super) type Columns = Arc<LazyLock<Vec<String>>>;

/// The columns of a list's rows, as its schema names them; nothing where it is no list of objects.
pub(super) fn columns(list: &RefOr<Schema>, schemas: &[(String, RefOr<Schema>)]) -> Vec<String> {
    let list = serde_json::to_value(list).unwrap_or_default();
    let mut columns = Vec::new();
    gather(&list["items"], schemas, &mut columns, 0);
    columns
}

fn gather(row: &Json, schemas: &[(String, RefOr<Schema>)], columns: &mut Vec<String>, depth: u8) {
    if depth > 8 {
        return;
    }
    if let Some(name) = row["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let found = schemas.iter().find(|(known, _)| known == name);
        let found = found.and_then(|(_, schema)| serde_json::to_value(schema).ok());
        gather(&found.unwrap_or_default(), schemas, columns, depth + 1);
    }
    for part in row["allOf"].as_array().into_iter().flatten() {
        gather(part, schemas, columns, depth + 1);
    }
    for name in row["properties"].as_object().into_iter().flat_map(|it| it.keys()) {
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
}

/// Answers a list as a file where that is asked for, and otherwise as its handler does.
pub(super) async fn exported(
    State(columns): State<Columns>,
    request: Request,
    next: Next,
) -> Response {
    let (format, is_manifest) = match Format::asked(&request) {
        Ok(None) => return next.run(request).await,
        Ok(Some(asked)) => asked,
        Err(error) => return Problem(error).into_response(),
    };
    let (parts, _) = request.into_parts();
    let uri = parts.uri.clone();
    let list = List { parts, next, format, columns };
    // Who may see it at all, and the first page, before anything is answered.
    let first = match list.page(&uri, None).await {
        Ok(first) => first,
        Err(refused) => return *refused,
    };
    if is_manifest {
        return manifest(list, uri, first).await;
    }
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let name = format!("attachment; filename=\"{name}.{}\"", format.ending());
    let (head, after) = (format.head(&list.columns) + &first.text, first.after);
    let pages = stream::unfold(Some((list, head, after)), move |state| {
        let uri = uri.clone();
        async move {
            let (list, text, after) = state?;
            let text = Ok::<_, std::io::Error>(Bytes::from(text));
            let Some(cursor) = after else { return Some((text, None)) };
            match list.page(&uri, Some(&cursor)).await {
                Ok(next) => Some((text, Some((list, next.text, next.after)))),
                // What has been sent cannot be taken back: the file ends in the middle, and the
                // client's connection says so.
                Err(_) => Some((Err(std::io::Error::other("a page could not be read")), None)),
            }
        }
    });
    let mut response = Response::new(Body::from_stream(pages));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

/// Reads the whole list as the file would hold it, and has signed what that comes to.
async fn manifest(list: List, uri: Uri, first: Piece) -> Response {
    let Some(Signer(sign)) = list.parts.extensions.get::<Signer>().cloned() else {
        return Problem(Error::internal("nobody signs this list")).into_response();
    };
    let mut hash = Sha256::new_with_prefix(list.format.head(&list.columns));
    let mut bytes = list.format.head(&list.columns).len() as u64;
    let (mut piece, mut rows) = (first, 0);
    loop {
        hash.update(&piece.text);
        bytes += piece.text.len() as u64;
        rows += piece.rows;
        let Some(cursor) = piece.after else { break };
        piece = match list.page(&uri, Some(&cursor)).await {
            Ok(next) => next,
            Err(refused) => return *refused,
        };
    }
    let sha256 = hash.finalize().into();
    let written =
        Written { list: narrowed(&uri), format: list.format.ending(), rows, bytes, sha256 };
    match sign(written).await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
        Err(error) => Problem(error).into_response(),
    }
}

/// The address of a list without what is about pages and formats.
fn narrowed(uri: &Uri) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept(uri)).finish();
    if query.is_empty() { uri.path().to_owned() } else { format!("{}?{query}", uri.path()) }
}

/// A page as text, how many rows that is, and the cursor of the next one.
struct Piece {
    text: String,
    rows: u64,
    after: Option<String>,
}

/// A list that is read page by page from its own handler.
struct List {
    parts: http::request::Parts,
    next: Next,
    format: Format,
    columns: Columns,
}

impl List {
    /// One page; or what the handler has answered instead.
    async fn page(&self, uri: &Uri, cursor: Option<&str>) -> Result<Piece, Box<Response>> {
        let mut parts = self.parts.clone();
        parts.uri = paged(uri, cursor);
        let response = self.next.clone().run(Request::from_parts(parts, Body::empty())).await;
        let is_refused = response.extensions().get::<Failure>().is_some();
        if is_refused || response.status() != StatusCode::OK {
            return Err(Box::new(response));
        }
        let after = response.headers().get(header::LINK).and_then(cursor_of);
        let broken = || {
            let error = Error::internal("a list that is no list of JSON");
            Box::new(Problem(error).into_response())
        };
        let body = to_bytes(response.into_body(), PAGE_BYTES_MAX).await.map_err(|_| broken())?;
        let rows: Vec<Json> = serde_json::from_slice(&body).map_err(|_| broken())?;
        let text = rows.iter().map(|row| self.format.row(&self.columns, row)).collect();
        Ok(Piece { text, rows: rows.len() as u64, after })
    }
}

/// The address of a page: as asked for, but for what is about pages and formats.
fn paged(uri: &Uri, cursor: Option<&str>) -> Uri {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(kept(uri)).append_pair("limit", &PageRequest::MAX_LIMIT.to_string());
    if let Some(cursor) = cursor {
        query.append_pair("cursor", cursor);
    }
    format!("{}?{}", uri.path(), query.finish()).parse().unwrap_or_else(|_| uri.clone())
}

/// What a query says besides pages and formats.
fn kept(uri: &Uri) -> impl Iterator<Item = (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)> {
    let query = uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| !["format", "limit", "page", "cursor"].contains(&&**name))
}

/// The cursor in `<..?..cursor=x>; rel="next"`.
fn cursor_of(link: &HeaderValue) -> Option<String> {
    let (address, _) = link.to_str().ok()?.strip_prefix('<')?.split_once('>')?;
    let (_, query) = address.split_once('?')?;
    let mut words = form_urlencoded::parse(query.as_bytes());
    words.find(|(name, _)| name == "cursor").map(|(_, cursor)| cursor.into_owned())
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use tower::ServiceExt;
    use utoipa::ToSchema;

    use super::super::{Audience, List, Paging, Reply, get, table};
    use super::*;

    #[derive(Serialize, ToSchema)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        name: String,
        amount_due: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        tags: Vec<&'static str>,
    }

    async fn rows(State(count): State<i64>, paging: Paging) -> Reply<List<Row>> {
        let from = paging.page.after.map_or(0, |cursor| cursor.key);
        let row = |n: i64| Row {
            name: format!("row \"{n}\""),
            amount_due: -n,
            note: (n % 2 == 1).then(|| "=1+1".to_owned()),
            tags: vec!["a", "b"],
        };
        if from > 500 {
            return Err(Error::conflict("enough", "That is enough.").into());
        }
        let rows = (from + 1..=count).take(usize::try_from(paging.page.fetch()).unwrap());
        let page =
            paging.page.page(rows.collect(), |n| kernel::Cursor { key: *n, id: uuid::Uuid::nil() });
        Ok(paging.reply(page.map(row)))
    }

    async fn ask(
        count: i64,
        query: &str,
        accept: &str,
    ) -> (StatusCode, String, Result<String, ()>) {
        let row = get(Audience::Public, "/v1/rows").summary("Rows").paged();
        let row = row.returns::<Vec<Row>>(200).to(rows);
        let route = table(&count, [row]).remove(0);
        let router = axum::Router::new().route("/v1/rows", route.handler);
        let request = Request::get(format!("/v1/rows{query}")).header(header::ACCEPT, accept);
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let media = answer.headers().get(header::CONTENT_TYPE);
        let media = media.map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await;
        (status, media, body.map(|it| String::from_utf8(it.to_vec()).unwrap()).map_err(drop))
    }

    #[tokio::test]
    async fn a_list_is_written_whole_as_csv_with_a_header() {
        let (status, media, text) = ask(250, "?format=csv&limit=3&page=2", "*/*").await;
        assert_eq!((status, &*media), (StatusCode::OK, Format::Csv.media_type()));
        let text = text.unwrap();
        let lines: Vec<_> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 251);
        let mut header: Vec<_> = lines[0].split(',').collect();
        header.sort_unstable();
        assert_eq!(header, ["amountDue", "name", "note", "tags"]);
        assert!(
            lines[1].contains("\"row \"\"1\"\"\"") && lines[1].contains("'=1+1"),
            "{}",
            lines[1]
        );
        assert!(lines[250].contains("-250") && !lines[250].contains('='), "{}", lines[250]);
        assert!(lines[1].contains(r#""[""a"",""b""]""#), "{}", lines[1]);
        let (_, _, none) = ask(0, "?format=csv", "*/*").await;
        assert_eq!(none.unwrap().lines().count(), 1, "a header, and no rows");
    }

    #[tokio::test]
    async fn a_list_is_written_as_json_lines_where_the_header_asks_for_it() {
        let (_, media, _) = ask(1, "", "application/jsonl").await;
        assert_eq!(media, "application/jsonl");
        let (_, media, text) = ask(101, "", "text/html, Application/X-NDJSON;q=0.9").await;
        assert_eq!(media, "application/x-ndjson");
        let text = text.unwrap();
        let rows: Vec<Json> = text.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
        assert_eq!((rows.len(), &rows[100]["amountDue"]), (101, &Json::from(-101)));
        let (_, media, text) = ask(101, "", "application/json, text/csv").await;
        assert_eq!(media, "application/json");
        assert_eq!(serde_json::from_str::<Vec<Json>>(&text.unwrap()).unwrap().len(), 20);
    }

    #[tokio::test]
    async fn a_manifest_says_what_the_file_of_the_same_list_is() {
        let row = get(Audience::Public, "/v1/rows").summary("Rows").paged();
        let route = table(&250_i64, [row.returns::<Vec<Row>>(200).to(rows)]).remove(0);
        let sign = |written: Written| {
            let text = format!("{written:?}");
            Box::pin(async move { Ok(text) }) as BoxFuture<'static, kernel::Result<String>>
        };
        let signer = Signer(Arc::new(sign));
        let router = axum::Router::new().route("/v1/rows", route.handler);
        let signing = router.clone().layer(axum::Extension(signer));
        let ask = async |router: &axum::Router, query: &str| {
            let request = Request::get(format!("/v1/rows?{query}")).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            let status = answer.status();
            (status, to_bytes(answer.into_body(), usize::MAX).await.unwrap())
        };
        for format in ["csv", "jsonl"] {
            let (_, file) = ask(&signing, &format!("format={format}&a=b")).await;
            let (_, told) = ask(&signing, &format!("limit=7&format={format}.manifest&a=b")).await;
            let sha256: [u8; 32] = Sha256::digest(&file).into();
            let list = "/v1/rows?a=b".to_owned();
            let bytes = file.len() as u64;
            let written = Written { list, format, rows: 250, bytes, sha256 };
            assert_eq!(told, format!("{written:?}"));
        }
        let (status, _) = ask(&router, "format=csv.manifest").await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "nobody signs it");
    }

    #[tokio::test]
    async fn what_cannot_be_asked_for_or_read_is_no_file() {
        let (status, _, _) = ask(1, "?format=xml", "*/*").await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        let (status, media, _) = ask(1, "?format=json", "text/csv").await;
        assert_eq!((status, &*media), (StatusCode::OK, "application/json"));
        // A list that fails on the way ends in the middle, and not as if it were whole.
        let (status, _, text) = ask(900, "?format=jsonl", "*/*").await;
        assert_eq!((status, text), (StatusCode::OK, Err(())));
    }
}
