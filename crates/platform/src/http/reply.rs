//! What handlers answer, and the one place where an error becomes HTTP.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use kernel::error::PRECONDITION_FAILED;
use kernel::{Error, FieldError, Kind, Secret};
use serde::Serialize;
use utoipa::ToSchema;

use super::ErrorShape;

/// What a handler answers.
pub type Reply<T> = Result<T, Problem>;

/// An error on its way out. It carries the [`Error`] to the edge, which renders it in the
/// route's shape with the request's id, and logs it once.
#[derive(Debug)]
pub struct Problem(pub Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// The access token that the edge has issued in the place of one that was over, for handlers whose
/// answer carries a token: among the request's extensions.
#[derive(Debug, Clone)]
pub struct NewToken(pub Secret<String>);

/// The error inside a response that is still to be rendered.
#[derive(Debug, Clone)]
pub struct Failure(pub Error);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = problem_status(&self.0).into_response();
        response.extensions_mut().insert(Failure(self.0));
        response
    }
}

/// The status of an error: the one table from kinds to HTTP, and the codes that HTTP itself has
/// a status for.
pub fn problem_status(error: &Error) -> StatusCode {
    match error.code() {
        "method_not_allowed" => StatusCode::METHOD_NOT_ALLOWED,
        "payload_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "unsupported_media_type" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "range_not_satisfiable" => StatusCode::RANGE_NOT_SATISFIABLE,
        "upgrade_required" => StatusCode::UPGRADE_REQUIRED,
        PRECONDITION_FAILED => StatusCode::PRECONDITION_FAILED,
        "request_timeout" => StatusCode::REQUEST_TIMEOUT,
        // Whoever should have answered us has not, in this process or behind it.
        "deadline_exceeded" => StatusCode::GATEWAY_TIMEOUT,
        "idempotency_key_reused" => StatusCode::UNPROCESSABLE_ENTITY,
        _ => match error.kind() {
            // What cannot be read is 400; what is read and makes no sense is 422.
            Kind::Invalid if error.fields().is_empty() => StatusCode::BAD_REQUEST,
            Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Gone => StatusCode::GONE,
            Kind::Limited => StatusCode::TOO_MANY_REQUESTS,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

/// RFC 9457, with the members that every problem of this platform has.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Where the code is described.
    r#type: String,
    /// The status in words.
    title: &'a str,
    status: u16,
    /// What is wrong, and what to do.
    detail: &'a str,
    /// What is wrong, for programs.
    code: &'a str,
    /// Names this request in the server's log.
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
    /// What some codes tell programs beside (RFC 9457 section 3.2).
    #[serde(flatten)]
    #[schema(ignore)]
    members: Members<'a>,
}

#[derive(Debug)]
struct Members<'a>(&'a [(Cow<'static, str>, serde_json::Value)]);

impl Serialize for Members<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// An error as bytes on the wire.
pub struct Rendered {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    pub retry_after: Option<u32>,
}

/// Renders an error. Internal text stays inside.
pub fn render(error: &Error, request_id: &str, shape: ErrorShape) -> Rendered {
    if let ErrorShape::Own(render) = shape {
        return render(error);
    }
    let status = match (shape, problem_status(error)) {
        // The older documents know one status for all that is wrong with a request's fields.
        (ErrorShape::Text | ErrorShape::Plain, StatusCode::UNPROCESSABLE_ENTITY) => {
            StatusCode::BAD_REQUEST
        }
        (_, status) => status,
    };
    let detail = if error.kind() == Kind::Internal {
        "Something went wrong on our side. Tell support the request's id."
    } else {
        error.message()
    };
    let title = status.canonical_reason().unwrap_or_default();
    let body = match shape {
        ErrorShape::Problem => serde_json::to_vec(&ProblemBody {
            r#type: format!("urn:verza:problem:{}", error.code()),
            title,
            status: status.as_u16(),
            detail,
            code: error.code(),
            request_id,
            errors: error.fields(),
            members: Members(error.members()),
        }),
        ErrorShape::Text => {
            serde_json::to_vec(&serde_json::json!({ "error": in_one_text(detail, error) }))
        }
        ErrorShape::Plain | ErrorShape::Own(_) => {
            Ok((in_one_text(detail, error) + "\n").into_bytes())
        }
        ErrorShape::Kratos => serde_json::to_vec(&kratos(error, detail, status, request_id)),
    };
    Rendered {
        status,
        content_type: match shape {
            ErrorShape::Problem => "application/problem+json",
            ErrorShape::Text | ErrorShape::Kratos => "application/json",
            ErrorShape::Plain | ErrorShape::Own(_) => "text/plain; charset=utf-8",
        },
        // Strings and numbers always serialise.
        body: body.unwrap_or_default(),
        retry_after: error.retry_after_seconds(),
    }
}

/// What is wrong, where there is one text for all of it: the fields by name, when it is them.
fn in_one_text(detail: &str, error: &Error) -> String {
    let fields = error.fields();
    if fields.is_empty() || error.kind() == Kind::Internal {
        return detail.to_owned();
    }
    let one = |field: &FieldError| match field.pointer.trim_start_matches('/') {
        "" => field.message.clone(),
        name => format!("{name}: {}", field.message),
    };
    fields.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// An error as Ory Kratos shows it (`errorGeneric` of its API). Its clients branch on two ids;
/// where it has none, our code stands.
fn kratos(error: &Error, detail: &str, status: StatusCode, request_id: &str) -> serde_json::Value {
    let (id, message) = match (error.kind(), error.code()) {
        (Kind::Unauthenticated, _) => ("session_inactive", "The request could not be authorized"),
        (Kind::Forbidden, "second_factor_required") => (
            "session_aal2_required",
            "Session does not fulfill the requested Authenticator Assurance Level",
        ),
        (Kind::NotFound, code) => (code, "The requested resource could not be found"),
        (_, code) => (code, detail),
    };
    serde_json::json!({ "error": {
        "id": id,
        "code": status.as_u16(),
        "status": status.canonical_reason().unwrap_or_default(),
        "request": request_id,
        "reason": detail,
        "message": message,
    } })
}

/// 200 with nothing to tell but that it is done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Done {
    success: bool,
}

impl Done {
    pub fn reply() -> super::extract::Json<Self> {
        super::extract::Json(Self { success: true })
    }
}

impl<T: Serialize> IntoResponse for super::extract::Json<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self.0)
    }
}

/// 201 with what was made.
#[derive(Debug)]
pub struct Created<T>(pub T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        json(StatusCode::CREATED, &self.0)
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let media = HeaderValue::from_static("application/json");
            (status, [(header::CONTENT_TYPE, media)], body).into_response()
        }
        Err(error) => {
            Problem(Error::internal("a reply cannot be written").because(error)).into_response()
        }
    }
}

/// One page of a list: a bare array, and the next page in `Link`.
#[derive(Debug)]
pub struct List<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

impl<T: Serialize> IntoResponse for List<T> {
    fn into_response(self) -> Response {
        let mut response = json(StatusCode::OK, &self.items);
        if let Some(link) = self.next.and_then(|link| HeaderValue::from_str(&link).ok()) {
            response.headers_mut().insert(HeaderName::from_static("link"), link);
        }
        response
    }
}
