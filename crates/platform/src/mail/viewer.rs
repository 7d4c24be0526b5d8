//! The pages on which a developer reads the mails that were not sent.
//!
//! They show links that let their holder into accounts, to anybody who can reach them. So they are
//! mounted only where the sink is on and the platform is this machine's alone, and they answer
//! only to a request that calls the machine `localhost` or by an address: a page elsewhere whose
//! name is made to lead here (DNS rebinding) would otherwise read them with the developer's own
//! browser. The list of mails for operators is guarded in the same way.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::{Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::{Router, routing::get};
use http::{HeaderValue, StatusCode, header};
use kernel::id::kinds::Mail;
use kernel::{Id, Result};
use serde::{Deserialize, Serialize};

use super::look::{self, Template};
use super::sink::{self, Sunk};
use crate::db::Db;

const SHOWN: i64 = 100;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem;color:#1a1a2e}\
main{max-width:64rem;margin:0 auto}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .8rem .4rem 0;\
border-bottom:1px solid #ddd}dl{display:grid;grid-template-columns:5rem 1fr}dd{margin:0}\
iframe{width:100%;height:32rem;border:1px solid #ddd;border-radius:.4rem}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f4f5f7;padding:1rem;\
border-radius:.4rem}input,button{font:inherit;padding:.3rem}";

/// Pages bring their style along and frame only each other.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; \
form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// A letter runs nothing and loads nothing. Its links open in a page of their own.
const LETTER_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
form-action 'none'; frame-ancestors 'self'; \
sandbox allow-popups allow-popups-to-escape-sandbox";

/// `GET /dev/mail`, `/dev/mail/{id}` and `/dev/mail/{id}/html` over the sink.
pub fn viewer(db: Db) -> Router {
    Router::new()
        .route("/dev/mail", get(inbox))
        .route("/dev/mail/{id}", get(mail))
        .route("/dev/mail/{id}/html", get(letter))
        .layer(middleware::from_fn(by_no_domain))
        .with_state(db)
}

/// Lets through who calls the machine `localhost` or by an address, which no page elsewhere can
/// make its own name. What is answered is kept nowhere.
pub async fn by_no_domain(request: Request, next: Next) -> Response {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let named = named.or_else(|| request.uri().host()).unwrap_or_default();
    if !is_no_domain(named) {
        let message = "The mails are shown only at http://localhost and at addresses such as \
                       http://127.0.0.1.\n";
        return (StatusCode::FORBIDDEN, message).into_response();
    }
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a `Host`, with or without a port, is `localhost` or an address.
fn is_no_domain(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split_once(']').map(|(address, _)| address);
        return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.split(':').next().unwrap_or_default();
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
}

#[derive(Deserialize)]
struct InboxQuery {
    to: Option<String>,
}

async fn inbox(State(db): State<Db>, Query(query): Query<InboxQuery>) -> Response {
    #[derive(Serialize)]
    struct Values<'a> {
        style: &'a str,
        to: &'a str,
        mails: Vec<Sunk>,
    }
    let to = query.to.unwrap_or_default();
    let wanted = (!to.is_empty()).then_some(to.as_str());
    let made = match sink::list(&db, wanted, SHOWN).await {
        Ok(mails) => look::render(Template::Inbox, Values { style: STYLE, to: &to, mails }),
        Err(error) => Err(error),
    };
    page(made.map(Some), PAGE_POLICY)
}

async fn mail(State(db): State<Db>, Path(id): Path<String>) -> Response {
    #[derive(Serialize)]
    struct Values<'a> {
        style: &'a str,
        mail: &'a Sunk,
    }
    let made = find(&db, &id).await.and_then(|mail| {
        mail.map(|mail| look::render(Template::Mail, Values { style: STYLE, mail: &mail }))
            .transpose()
    });
    page(made, PAGE_POLICY)
}

async fn letter(State(db): State<Db>, Path(id): Path<String>) -> Response {
    let in_new_page =
        |mail: Sunk| mail.html.replacen("<head>", "<head><base target=\"_blank\">", 1);
    page(find(&db, &id).await.map(|mail| mail.map(in_new_page)), LETTER_POLICY)
}

async fn find(db: &Db, id: &str) -> Result<Option<Sunk>> {
    match id.parse::<Id<Mail>>() {
        Ok(id) => sink::one(db, id).await,
        Err(_) => Ok(None),
    }
}

fn page(made: Result<Option<String>>, policy: &'static str) -> Response {
    let mut response = match made {
        Ok(Some(html)) => Html(html).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, "There is no such mail.\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "the mails cannot be shown");
            (StatusCode::SERVICE_UNAVAILABLE, "The mails cannot be shown now.\n").into_response()
        }
    };
    let policy = HeaderValue::from_static(policy);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
