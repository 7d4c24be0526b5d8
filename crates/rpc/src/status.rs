//! Errors on the wire: the one table from kinds to gRPC codes and back.
//!
//! A status carries `google.rpc.ErrorInfo` with our code as its reason and the kind in its
//! metadata, `google.rpc.BadRequest` with the fields, and `google.rpc.RetryInfo`. Between our own
//! processes nothing is lost; to others the code alone says enough.

use std::collections::HashMap;
use std::time::Duration;

use kernel::{Error, Kind};
use serde_json::{Value as Json, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// Whose reasons stand in `ErrorInfo`.
const DOMAIN: &str = "verza";

/// In the metadata of `ErrorInfo`: what stands beside the code, as JSON.
const MEMBER: &str = "member/";
/// In the metadata of `ErrorInfo`: the place of a field, where gRPC's way to write it loses some.
const POINTER: &str = "pointer/";

/// What a client is told of a defect of ours.
const INTERNAL: &str = "Something went wrong on our side.";

/// The nine kinds. Three of a conflict's codes have a code of their own in gRPC.
fn code_of(error: &Error) -> Code {
    match error.kind() {
        Kind::Invalid => Code::InvalidArgument,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Forbidden => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::Conflict => match error.code() {
            "changed_meanwhile" => Code::Aborted,
            code if code.ends_with("_taken") || code.ends_with("_exists") => Code::AlreadyExists,
            _ => Code::FailedPrecondition,
        },
        Kind::Gone => Code::FailedPrecondition,
        Kind::Limited => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::Internal => Code::Internal,
    }
}

/// What a code means where nothing else is said.
const fn kind_of(code: Code) -> Kind {
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => Kind::Invalid,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::PermissionDenied => Kind::Forbidden,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => Kind::Conflict,
        Code::ResourceExhausted => Kind::Limited,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Kind::Unavailable,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Kind::Internal,
    }
}

/// HTTP's status of a code, as grpc-gateway has it.
const fn http_of(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Cancelled => 499,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
    }
}

fn kind_named(name: &str) -> Option<Kind> {
    serde_json::from_value(Json::from(name)).ok()
}

fn name_of(kind: Kind) -> String {
    match serde_json::to_value(kind) {
        Ok(Json::String(name)) => name,
        _ => String::new(),
    }
}

/// `/lines/0/amount` as gRPC writes it: `lines.0.amount`.
fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

/// The place that [`dotted`] was made of; as good as always.
fn pointed(dotted: &str) -> String {
    format!("/{}", dotted.replace('.', "/"))
}

fn message_of(error: &Error) -> &str {
    // What happened inside stays inside.
    if error.kind() == Kind::Internal { INTERNAL } else { error.message() }
}

fn retry_of(error: &Error) -> Option<Duration> {
    error.retry_after_seconds().map(|seconds| Duration::from_secs(seconds.into()))
}

/// An error as gRPC shows it.
pub(crate) fn to_status(error: &Error) -> Status {
    let mut details = ErrorDetails::new();
    let mut beside = HashMap::from([("kind".to_owned(), name_of(error.kind()))]);
    let members = error.members().iter();
    beside.extend(members.map(|(name, value)| (format!("{MEMBER}{name}"), value.to_string())));
    for (index, field) in error.fields().iter().enumerate() {
        if pointed(&dotted(&field.pointer)) != field.pointer {
            beside.insert(format!("{POINTER}{index}"), field.pointer.clone());
        }
    }
    details.set_error_info(error.code(), DOMAIN, beside);
    if !error.fields().is_empty() {
        let violations = error.fields().iter().map(|field| FieldViolation {
            reason: field.code.clone(),
            ..FieldViolation::new(dotted(&field.pointer), field.message.as_str())
        });
        details.set_bad_request(violations.collect::<Vec<_>>());
    }
    if let Some(after) = retry_of(error) {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(code_of(error), message_of(error), details)
}

/// The error that a status was made of; of somebody else's status, what its code says.
pub fn from_status(status: &Status) -> Error {
    let details = status.get_error_details();
    let ours = details.error_info().filter(|info| info.domain == DOMAIN);
    let kind = ours.and_then(|info| kind_named(info.metadata.get("kind")?));
    let kind = kind.unwrap_or_else(|| kind_of(status.code()));
    let code = ours.map_or_else(|| name_of(kind), |info| info.reason.clone());
    let mut error = Error::new(kind, code, status.message().to_owned());
    if let Some(bad) = details.bad_request() {
        for (index, field) in bad.field_violations.iter().enumerate() {
            let pointer = ours.and_then(|info| info.metadata.get(&format!("{POINTER}{index}")));
            let pointer = pointer.cloned().unwrap_or_else(|| pointed(&field.field));
            error = error.with_field(pointer, field.reason.clone(), field.description.clone());
        }
    }
    for (name, value) in ours.iter().flat_map(|info| &info.metadata) {
        if let Some(name) = name.strip_prefix(MEMBER)
            && let Ok(value) = serde_json::from_str::<Json>(value)
        {
            error = error.with_member(name.to_owned(), value);
        }
    }
    if let Some(after) = details.retry_info().and_then(|info| info.retry_delay) {
        error = error.retry_after(u32::try_from(after.as_secs()).unwrap_or(u32::MAX));
    }
    error
}

/// Whether a status was made by this platform of an error of its own: not by something on the
/// way, nor by the machinery of gRPC.
pub(crate) fn is_ours(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.domain == DOMAIN)
}

/// An error as grpc-gateway shows it: its HTTP status, and `{code, message, details}`.
pub fn to_http(error: &Error) -> (u16, Json) {
    let code = code_of(error);
    let mut details = vec![json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": error.code(),
        "domain": DOMAIN,
    })];
    if !error.fields().is_empty() {
        let violations = error.fields().iter().map(|field| {
            json!({
                "field": dotted(&field.pointer),
                "description": field.message,
                "reason": field.code,
            })
        });
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "field_violations": violations.collect::<Vec<_>>(),
        }));
    }
    if let Some(after) = retry_of(error) {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retry_delay": format!("{}s", after.as_secs()),
        }));
    }
    let body = json!({ "code": code as i32, "message": message_of(error), "details": details });
    // The edge's own refusals keep what HTTP has a status for.
    let status = match error.code() {
        "payload_too_large" => 413,
        "request_timeout" => 408,
        _ => http_of(code),
    };
    (status, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 9] = [
        Kind::Invalid,
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::Conflict,
        Kind::Gone,
        Kind::Limited,
        Kind::Unavailable,
        Kind::Internal,
    ];

    #[test]
    fn an_error_survives_the_wire() {
        for kind in KINDS {
            for code in ["some_code", "email_taken", "changed_meanwhile"] {
                let error = Error::new(kind, code, "What went wrong.")
                    .with_field("/lines/0/amount", "too_much", "at most 7")
                    .with_field("/a.b", "odd", "a dot")
                    .with_field("", "whole", "all of it")
                    .with_member("methods", json!(["totp", { "x": 1 }]))
                    .retry_after(9);
                let back = from_status(&to_status(&error));
                assert_eq!((back.kind(), back.code()), (kind, code));
                assert_eq!(back.fields(), error.fields());
                assert_eq!(back.members(), error.members());
                assert_eq!(back.retry_after_seconds(), Some(9));
                let said = if kind == Kind::Internal { INTERNAL } else { "What went wrong." };
                assert_eq!(back.message(), said);
            }
        }
    }

    #[test]
    fn somebody_else_s_status_is_what_its_code_says() {
        for (code, kind) in [
            (Code::Cancelled, Kind::Unavailable),
            (Code::Unknown, Kind::Internal),
            (Code::InvalidArgument, Kind::Invalid),
            (Code::DeadlineExceeded, Kind::Unavailable),
            (Code::NotFound, Kind::NotFound),
            (Code::AlreadyExists, Kind::Conflict),
            (Code::PermissionDenied, Kind::Forbidden),
            (Code::ResourceExhausted, Kind::Limited),
            (Code::FailedPrecondition, Kind::Conflict),
            (Code::Aborted, Kind::Conflict),
            (Code::OutOfRange, Kind::Invalid),
            (Code::Unimplemented, Kind::Invalid),
            (Code::Internal, Kind::Internal),
            (Code::Unavailable, Kind::Unavailable),
            (Code::DataLoss, Kind::Internal),
            (Code::Unauthenticated, Kind::Unauthenticated),
        ] {
            assert_eq!(from_status(&Status::new(code, "theirs")).kind(), kind, "{code:?}");
        }
    }

    #[test]
    fn what_happened_inside_stays_inside() {
        let error = Error::internal("SELECT broke").because(Error::internal("the disk"));
        let status = to_status(&error);
        assert!(!format!("{status:?}").contains("SELECT"));
        let (code, body) = to_http(&error);
        assert_eq!((code, &body["code"]), (500, &json!(13)));
        assert!(!body.to_string().contains("SELECT"));
    }

    #[test]
    fn the_gateway_s_shape_names_the_fields() {
        let (status, body) = to_http(&Error::field("/full_name", "invalid", "two words"));
        assert_eq!((status, &body["code"]), (400, &json!(3)));
        let violation = &body["details"][1]["field_violations"][0];
        assert_eq!(violation["field"], "full_name");
    }
}
