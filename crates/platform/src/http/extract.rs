//! What handlers take: the caller, the body, the path, the query. Every refusal is a problem.

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::Bytes;
use http::request::Parts;
use http::{Uri, header};
use kernel::{Caller, Cursor, Error, Page, PageRequest};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::reply::{List, Problem};

/// The caller, as the gateway has established it.
#[derive(Debug, Clone)]
pub struct By(pub Caller);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Caller>() {
            Some(caller) => Ok(Self(caller.clone())),
            None => Err(Error::internal("the route was served without its edge").into()),
        }
    }
}

/// Path parameters. What does not parse names nothing: 404, as for an id that is not there.
#[derive(Debug, Clone, Copy)]
pub struct At<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_) => Err(Error::not_found("thing").into()),
        }
    }
}

/// Query parameters. Wrong ones are named. Unknown ones are passed over, where the edge has not
/// refused them: it does on rows that change something, by what their description names.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded(query));
        serde_path_to_error::deserialize(pairs).map(Self).map_err(|error| {
            let pointer = format!("/{}", error.path());
            let message = error.into_inner().to_string();
            Error::field(pointer, "invalid", message).into()
        })
    }
}

fn form_urlencoded(query: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.as_bytes())
}

/// A JSON body. Unknown fields, wrong types and repeated keys are refused with their place.
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|media| {
                let media = media.trim().to_ascii_lowercase();
                media == "application/json" || media.ends_with("+json")
            });
        if !is_json {
            let message = "Send the body as JSON, with Content-Type: application/json.";
            return Err(Error::invalid("unsupported_media_type", message).into());
        }
        let Raw(bytes) = Raw::from_request(request, state).await?;
        parse(&bytes).map(Self)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Stated first and for the whole body: serde would only notice it inside of strings.
    if std::str::from_utf8(bytes).is_err() {
        return Err(Error::invalid("invalid_json", "The body is no valid UTF-8.").into());
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(Objects(&mut json)).map_err(|error| {
        let pointer = json_pointer(error.path());
        let inner = error.into_inner();
        if inner.is_data() {
            let message = inner.to_string();
            let code = if message.starts_with("unknown field") { "unknown" } else { "invalid" };
            // Where in the text it stands helps nobody who sends JSON by program.
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            Error::field(pointer, code, message)
        } else {
            Error::invalid("invalid_json", format!("The body is no valid JSON: {inner}."))
        }
    })?;
    json.end().map_err(|error| {
        Error::invalid("invalid_json", format!("The body is no valid JSON: {error}."))
    })?;
    Ok(value)
}

/// Reads structs from objects only: left to itself, serde takes an array of the fields as well.
struct Objects<D>(D);

impl<'de, D: serde::Deserializer<'de>> serde::Deserializer<'de> for Objects<D> {
    type Error = D::Error;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: serde::de::Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// RFC 6901.
fn json_pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => pointer.push_str(variant),
            Segment::Unknown => pointer.push('?'),
        }
    }
    pointer
}

/// The body as it was sent, up to the route's limit.
#[derive(Debug, Clone)]
pub struct Raw(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| {
            let status = axum::response::IntoResponse::into_response(rejection).status();
            if status == http::StatusCode::PAYLOAD_TOO_LARGE {
                Error::invalid("payload_too_large", "The body is larger than is allowed here.")
            } else {
                Error::invalid("broken_body", "The body did not arrive whole.")
            }
            .into()
        })
    }
}

/// A form, as browsers and OAuth clients send it.
#[derive(Debug, Clone)]
pub struct Form<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Raw(bytes) = Raw::from_request(request, state).await?;
        serde_urlencoded::from_bytes(&bytes)
            .map(Self)
            .map_err(|error| Error::invalid("invalid_form", error.to_string()).into())
    }
}

/// A body as JSON or as a form, for addresses whose standard says the one and whose neighbours
/// speak the other.
#[derive(Debug, Clone)]
pub struct JsonOrForm<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonOrForm<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media = request.headers().get(header::CONTENT_TYPE);
        let media = media.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let Form(value) = Form::from_request(request, state).await?;
            return Ok(Self(value));
        }
        let Json(value) = Json::from_request(request, state).await?;
        Ok(Self(value))
    }
}

/// Which page of a list, and where the next one is found.
#[derive(Debug, Clone)]
pub struct Paging {
    pub page: PageRequest,
    uri: Uri,
}

/// The paging parameters of every list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
pub(super) struct PagingQuery {
    /// Rows a page, 1 to 100; 20 when left out.
    limit: Option<i64>,
    /// Where the last page ended, from its `Link` header.
    cursor: Option<String>,
    /// A page's number, counted from 1; prefer `cursor`, which costs the same on every page.
    page: Option<i64>,
    /// `csv` or `jsonl`: all of the list as a file, whatever `limit`, `cursor` and `page` say.
    #[serde(rename = "format")]
    _format: Option<String>,
}

impl PagingQuery {
    fn request(self) -> kernel::Result<PageRequest> {
        let limit = self.limit.unwrap_or(PageRequest::DEFAULT_LIMIT);
        if !(1..=PageRequest::MAX_LIMIT).contains(&limit) {
            return Err(Error::field("/limit", "out_of_range", "from 1 to 100"));
        }
        let page = self.page.unwrap_or(1);
        if !(1..=PageRequest::MAX_PAGE).contains(&page) {
            let message = "from 1 to 1000; follow the Link header to go further";
            return Err(Error::field("/page", "out_of_range", message));
        }
        let after = self.cursor.as_deref().map(Cursor::decode).transpose()?;
        Ok(PageRequest { limit, after, offset: (page - 1) * limit })
    }
}

impl<S: Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<PagingQuery>::from_request_parts(parts, state).await?;
        Ok(Self { page: query.request()?, uri: parts.uri.clone() })
    }
}

impl Paging {
    /// The reply: the rows, and the next page's address in `Link` (RFC 8288).
    pub fn reply<T>(&self, page: Page<T>) -> List<T> {
        let next = page.next.map(|cursor| self.link(cursor));
        List { items: page.items, next }
    }

    /// The same query with the cursor set and the page number gone.
    fn link(&self, cursor: Cursor) -> String {
        let query = self.uri.query().unwrap_or_default();
        let mut out = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded(query) {
            if name != "cursor" && name != "page" {
                out.append_pair(&name, &value);
            }
        }
        out.append_pair("cursor", &cursor.encode());
        format!("<{}?{}>; rel=\"next\"", self.uri.path(), out.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Order {
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Line {
        amount: i64,
    }

    fn refusal(body: &[u8]) -> (String, Option<kernel::FieldError>) {
        let error = parse::<Order>(body).unwrap_err().0;
        (error.code().to_owned(), error.fields().first().cloned())
    }

    #[test]
    fn a_wrong_field_is_named_by_its_place() {
        let (code, field) = refusal(br#"{"lines":[{"amount":1},{"amount":1.5}]}"#);
        let field = field.unwrap();
        assert_eq!((code.as_str(), field.pointer.as_str()), ("invalid_fields", "/lines/1/amount"));
        let (_, field) = refusal(br#"{"lines":[{"amount":1,"a/b":2}]}"#);
        assert_eq!(field.unwrap().code, "unknown");
    }

    #[test]
    fn what_is_no_json_says_so() {
        for body in [&b"{"[..], b"", b"\xff", b"{\"lines\":[]} x", b"{\"lines\":[],}"] {
            assert_eq!(refusal(body).0, "invalid_json", "{body:?}");
        }
        assert!(parse::<Order>(br#"{"lines":[],"lines":[]}"#).is_err());
        assert!(parse::<Order>(b"[[]]").is_err(), "an array is no object");
    }

    #[test]
    fn the_next_page_keeps_the_filter() {
        let paging = Paging {
            page: PageRequest::default(),
            uri: "/v1/things?status=a%20b&page=2&limit=5".parse().unwrap(),
        };
        let link = paging.link(Cursor { key: 0, id: uuid::Uuid::nil() });
        assert!(link.starts_with("</v1/things?status=a+b&limit=5&cursor=AAAA"), "{link}");
    }
}
