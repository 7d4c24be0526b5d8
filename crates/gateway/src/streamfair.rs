//! Streamfair's RPCs as JSON over HTTP, as its own gateway has them: one route for each row of
//! [`rpc::streamfair::ROWS`], and one handler for all of them.
//!
//! The fields of a request message come from the body (a JSON object, which may be missing), the
//! query, and the path, of which the later ones win. Unknown fields are passed over.

use std::collections::HashMap;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use kernel::{Caller, Error, Kind, Result};
use platform::http::{
    At, Audience, By, ErrorShape, Limit, Query, Raw, Rendered, Reply, Route, RouteBuilder, delete,
    get, patch, post,
};
use rpc::server::Door;
use rpc::streamfair::{ROWS, Row, Streamfair, Verb};
use serde_json::{Map, Value as Json, json};

/// The largest request message, in bytes.
const BODY_MAX: usize = 64 * 1024;

type Texts = HashMap<String, String>;

/// The routes over the services; `admin_second_factor` as for [`Door::check`].
pub fn routes(services: &Streamfair, admin_second_factor: bool) -> Vec<Route> {
    let route = |row| route(services, row, admin_second_factor);
    let mut routes: Vec<Route> = ROWS.iter().map(route).collect();
    routes.push(
        get(Audience::Public, "/streamfair/v1/healthz")
            .summary("Whether Streamfair's services answer")
            .limit(Limit::Free)
            .errors(ErrorShape::Own(render))
            .returns_media(200, "application/json", "`{\"status\": \"SERVING\"}`")
            .to(healthz),
    );
    routes.push(
        post(Audience::Any, "/streamfair/v1/{rpc}")
            .summary("An RPC that Streamfair does not have, or not by POST")
            .unproved()
            .errors(ErrorShape::Own(render))
            .body_max(BODY_MAX)
            .takes_media("application/json", "The request message in the JSON of proto3.")
            .returns_media(404, "application/json", "There is no such RPC; which there are.")
            .to(unknown),
    );
    routes
}

/// Says how the RPC is called that was meant, or which there are.
async fn unknown(At(path): At<Texts>) -> Reply<Response> {
    let asked = path.get("rpc").map_or("", String::as_str);
    let message = match ROWS.iter().find(|row| row.name == asked) {
        Some(row) => format!("{} is asked for by {} {}.", row.rpc, row.verb.as_str(), row.path),
        None => {
            let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            format!("There is no such RPC. There are: {}.", names.join(", "))
        }
    };
    Err(Error::new(Kind::NotFound, "unknown_rpc", message).into())
}

fn route(services: &Streamfair, row: &'static Row, admin_second_factor: bool) -> Route {
    let services = services.clone();
    let handler =
        move |By(caller): By, At(path): At<Texts>, Query(query): Query<Texts>, Raw(body): Raw| {
            let services = services.clone();
            async move {
                // What the edge has seen to by the route's audience, and what it cannot know.
                row.door.check(caller.principal.as_deref(), row.reads(), admin_second_factor)?;
                answer(&services, row, &caller, (path, query), &body).await
            }
        };
    let mut route = builder(row).to::<_, _, ()>(handler);
    row.name.clone_into(&mut route.name);
    route.name.insert_str(0, "streamfair::");
    route
}

fn builder(row: &'static Row) -> RouteBuilder {
    let audience = match row.door {
        Door::Login | Door::Register => Audience::Public,
        Door::Any | Door::Unproved => Audience::Any,
        Door::Admin => Audience::Admin,
    };
    let builder = match row.verb {
        Verb::Get => get(audience, row.path),
        Verb::Post => post(audience, row.path),
        Verb::Patch => patch(audience, row.path),
        Verb::Delete => delete(audience, row.path),
    };
    let builder = builder
        .summary(format!("{} of Streamfair's {}", row.rpc, row.service))
        .errors(ErrorShape::Own(render))
        .body_max(BODY_MAX)
        .returns_media(200, "application/json", "The reply message in the JSON of proto3.");
    let builder = match row.verb {
        Verb::Post | Verb::Patch => {
            builder.takes_media("application/json", "The request message in the JSON of proto3.")
        }
        Verb::Get | Verb::Delete => builder,
    };
    // Many of these ask by POST.
    let builder = if row.reads() { builder.also_for_another() } else { builder };
    match row.door {
        Door::Login => builder.limit(Limit::Login),
        Door::Register => builder.limit(Limit::Register),
        Door::Unproved => builder.unproved(),
        Door::Any | Door::Admin => builder,
    }
}

async fn answer(
    services: &Streamfair,
    row: &Row,
    caller: &Caller,
    (path, query): (Texts, Texts),
    body: &[u8],
) -> Reply<Response> {
    let mut fields = object(body)?;
    let texts = query.into_iter().chain(path);
    fields.extend(texts.map(|(name, text)| (name, Json::String(text))));
    let reply = rpc::streamfair::call(services, row.rpc, caller, fields).await?;
    let mut response = reply.to_string().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The body as an object; an empty one has no fields.
fn object(body: &[u8]) -> Result<Map<String, Json>> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let wrong =
        |what| Error::invalid("invalid_json", format!("The body is no JSON object: {what}"));
    match serde_json::from_slice(body) {
        Ok(Json::Object(fields)) => Ok(fields),
        Ok(_) => Err(wrong("it is something else.".to_owned())),
        Err(error) => Err(wrong(format!("{error}."))),
    }
}

/// `{code, message, details}`, as grpc-gateway renders a status.
fn render(error: &Error) -> Rendered {
    let (status, body) = rpc::status::to_http(error);
    Rendered {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        content_type: "application/json",
        body: body.to_string().into_bytes(),
        retry_after: error.retry_after_seconds(),
    }
}

async fn healthz() -> Response {
    let body = json!({ "status": "SERVING" }).to_string();
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object_or_nothing() {
        assert!(object(b"").unwrap().is_empty());
        assert!(object(b" \n").unwrap().is_empty());
        assert_eq!(object(br#"{"id":"7"}"#).unwrap()["id"], "7");
        for body in [&b"[]"[..], b"7", b"{", b"null", b"\xff"] {
            assert_eq!(object(body).unwrap_err().code(), "invalid_json");
        }
    }
}
