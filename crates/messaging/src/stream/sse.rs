//! A feed as server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, header};

use super::feed::{Feed, Step};
use super::model::{End, Thing};

const MEDIA: &str = "text/event-stream";
/// How long a client waits before it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// Whether the client wants a stream rather than a page.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted.filter_map(|value| value.to_str().ok()).any(|value| value.contains(MEDIA))
}

/// The stream. `show` makes the JSON of a thing.
pub(crate) fn respond(feed: Feed, show: fn(&Thing) -> Option<String>) -> Response {
    // Its cursor first: whoever is cut off before anything has happened resumes here.
    let retry = RETRY.as_millis();
    let hello = Bytes::from(format!("retry: {retry}\nid: {}\n\n", feed.place()));
    let frames = stream::unfold(Some(feed), move |feed| async move {
        let mut feed = feed?;
        let step = feed.next().await;
        let frame = frame(&step, show);
        let goes_on = !matches!(step, Step::End(_));
        Some((frame, goes_on.then_some(feed)))
    });
    let frames = stream::once(async { hello }).chain(frames).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that gathers answers before it hands them on would keep it all to itself.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn frame(step: &Step, show: fn(&Thing) -> Option<String>) -> Bytes {
    match step {
        Step::Tell(thing) => match (thing.seq(), show(thing)) {
            (Some(seq), Some(json)) => Bytes::from(format!("id: {seq}\ndata: {json}\n\n")),
            _ => Bytes::from_static(b":\n\n"),
        },
        Step::Beat => Bytes::from_static(b":\n\n"),
        Step::End(end) => last(*end),
    }
}

fn last(end: End) -> Bytes {
    let (reason, message) = (end.as_str(), end.message());
    let said = serde_json::json!({ "reason": reason, "message": message });
    Bytes::from(format!("event: end\ndata: {said}\n\n"))
}
