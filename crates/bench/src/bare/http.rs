//! `bare-axum`: a server that answers with bytes it was given, or with rows of one statement.
//!
//! It runs as a process of its own (`bench serve-bare`), on the default runtime, as Verza does:
//! bound to one core, both get one worker thread.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::serve::ListenerExt;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::net::TcpListener;

use super::rows::Rows;
use crate::{Context, Failure, Result};

/// What a bare server answers with, on every path.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// The same bytes each time. Give it all the headers of the answer it stands for.
    Fixed { headers: Vec<(String, String)>, body: Bytes },
    /// A JSON array of the rows a prepared statement finds: see [`Rows`]. The headers as above.
    Rows { headers: Vec<(String, String)>, database: PathBuf, sql: String },
}

impl Content {
    pub fn fixed(content_type: &str, body: impl Into<Bytes>) -> Content {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Content::Fixed { headers, body: body.into() }
    }

    /// Rows with no more headers than they need.
    pub fn rows(database: PathBuf, sql: &str) -> Content {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Content::Rows { headers, database, sql: sql.to_owned() }
    }

    /// The content as arguments of `bench serve-bare`; what is long goes into files of `folder`.
    pub fn to_arguments(&self, folder: &Path) -> Result<Vec<OsString>> {
        match self {
            Content::Fixed { headers, body } => {
                let file = folder.join("body");
                fs::write(&file, body)?;
                Ok(["fixed".into(), file.into()].into_iter().chain(words(headers)).collect())
            }
            Content::Rows { headers, database, sql } => {
                let file = folder.join("sql");
                fs::write(&file, sql)?;
                let start = ["rows".into(), database.into(), file.into()];
                Ok(start.into_iter().chain(words(headers)).collect())
            }
        }
    }

    fn from_arguments(arguments: &[String]) -> Result<Content> {
        match arguments {
            [kind, body, headers @ ..] if kind == "fixed" => {
                let body = fs::read(body).context(body)?.into();
                Ok(Content::Fixed { headers: named(headers), body })
            }
            [kind, database, sql, headers @ ..] if kind == "rows" => {
                let sql = fs::read_to_string(sql).context(sql)?;
                Ok(Content::Rows { headers: named(headers), database: database.into(), sql })
            }
            _ => Err(Failure::new(
                "serve-bare wants ADDRESS fixed BODY_FILE [HEADER...] or ADDRESS rows DATABASE \
                 SQL_FILE [HEADER...]",
            )),
        }
    }
}

fn words(headers: &[(String, String)]) -> impl Iterator<Item = OsString> {
    headers.iter().map(|(name, value)| format!("{name}: {value}").into())
}

fn named(words: &[String]) -> Vec<(String, String)> {
    let headers = words.iter().filter_map(|word| word.split_once(": "));
    headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn header_map(headers: &[(String, String)]) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().context(name)?;
        map.append(name, HeaderValue::from_str(value).context(value)?);
    }
    Ok(map)
}

/// The content, ready to be given away.
enum Prepared {
    Fixed { headers: HeaderMap, body: Bytes },
    Rows { headers: HeaderMap, rows: Rows },
}

impl Prepared {
    fn new(content: &Content) -> Result<Prepared> {
        match content {
            Content::Fixed { headers, body } => {
                Ok(Prepared::Fixed { headers: header_map(headers)?, body: body.clone() })
            }
            Content::Rows { headers, database, sql } => {
                let rows = Rows::open(database, sql)?;
                Ok(Prepared::Rows { headers: header_map(headers)?, rows })
            }
        }
    }
}

/// `bench serve-bare ADDRESS CONTENT...`: serves until it is killed.
pub fn serve_bare(arguments: &[String]) -> Result<()> {
    let (address, content) =
        arguments.split_first().ok_or_else(|| Failure::new("serve-bare wants an address"))?;
    let address: SocketAddr = address.parse().context(address)?;
    let content = Content::from_arguments(content)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.context(address)?;
        serve(listener, &content).await
    })
}

/// Serves on a listener until the future is dropped.
pub async fn serve(listener: TcpListener, content: &Content) -> Result<()> {
    let prepared = Arc::new(Prepared::new(content)?);
    let router = Router::new().fallback(answer).with_state(prepared);
    let listener = listener.tap_io(|stream| {
        // A connection that refuses this answers late, and is seen in the latencies.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}

async fn answer(State(prepared): State<Arc<Prepared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A body left unread would cost the connection, and nobody who answers well leaves one.
    if !body.is_end_stream() && !drained(body).await {
        return plain(StatusCode::BAD_REQUEST, "the body ended early");
    }
    match prepared.as_ref() {
        Prepared::Fixed { headers, body } => {
            let mut response = Response::new(Body::from(body.clone()));
            *response.headers_mut() = headers.clone();
            response
        }
        // Only the runner asks for this, to learn that the server is up.
        Prepared::Rows { .. } if parts.uri.path() == "/readyz" => plain(StatusCode::OK, "ready"),
        Prepared::Rows { headers, rows } => {
            match rows.json(parts.uri.query().unwrap_or_default()) {
                Ok(json) => {
                    let mut response = Response::new(Body::from(json));
                    *response.headers_mut() = headers.clone();
                    response
                }
                Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            }
        }
    }
}

async fn drained(body: Body) -> bool {
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        if chunk.is_err() {
            return false;
        }
    }
    true
}

fn plain(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A bare server in this process, for tests of whatever speaks to one.
    pub(crate) struct Running {
        pub(crate) address: SocketAddr,
        _runtime: tokio::runtime::Runtime,
    }

    impl Running {
        pub(crate) fn start(content: Content) -> Running {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            let address = listener.local_addr().unwrap();
            runtime.spawn(async move { serve(listener, &content).await.unwrap() });
            Running { address, _runtime: runtime }
        }
    }

    #[test]
    fn content_survives_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Content::Rows {
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            database: "/x/y.db".into(),
            sql: "SELECT 1 -- ü".to_owned(),
        };
        let fixed = Content::Fixed {
            headers: vec![("etag".to_owned(), "\"a: b\"".to_owned())],
            body: Bytes::from_static(b"\0\xff"),
        };
        for content in [rows, fixed] {
            let arguments = content.to_arguments(folder.path()).unwrap();
            let arguments: Vec<String> =
                arguments.into_iter().map(|word| word.into_string().unwrap()).collect();
            assert_eq!(Content::from_arguments(&arguments).unwrap(), content);
        }
        assert!(Content::from_arguments(&[]).is_err());
    }
}
