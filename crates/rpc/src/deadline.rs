//! Calls end in time: in the time that their caller gives them (`grpc-timeout`), and in that of the
//! listener. Who is late is answered `DEADLINE_EXCEEDED`; tonic by itself says `CANCELLED`.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// The longest that a call may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Within(pub(crate) Duration);

impl<S> Layer<S> for Within {
    type Service = InTime<S>;

    fn layer(&self, inner: S) -> InTime<S> {
        InTime { inner, most: self.0 }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct InTime<S> {
    inner: S,
    most: Duration,
}

impl<S> Service<Request<Body>> for InTime<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let time = given(request.headers()).map_or(self.most, |given| given.min(self.most));
        let call = self.inner.call(request);
        // Runs from here on, and so ends no later than the one that tonic begins behind us.
        let over = tokio::time::sleep(time);
        async move {
            tokio::select! {
                biased;
                answer = call => answer,
                () = over => {
                    let late = Status::deadline_exceeded("The call was not done in time.");
                    Ok(late.into_http())
                }
            }
        }
        .boxed()
    }
}

/// The time that a caller gives: at most eight digits and a unit (gRPC over HTTP2, Requests).
fn given(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tonic::Code;

    /// A service that never answers, behind a listener's bound.
    async fn ask(most: Duration, given: Option<&str>) -> Code {
        let hangs = tower::service_fn(|_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, Infallible>>()
        });
        let mut request = Request::new(Body::empty());
        if let Some(given) = given {
            request.headers_mut().insert("grpc-timeout", given.parse().unwrap());
        }
        let answer = Within(most).layer(hangs).call(request).await.unwrap();
        Status::from_header_map(answer.headers()).unwrap().code()
    }

    #[tokio::test]
    async fn a_call_that_hangs_is_ended_by_whoever_gives_it_less_time() {
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(3600));
        assert_eq!(ask(short, None).await, Code::DeadlineExceeded);
        assert_eq!(ask(short, Some("1H")).await, Code::DeadlineExceeded);
        assert_eq!(ask(long, Some("1m")).await, Code::DeadlineExceeded);
        // What is no time is none.
        assert_eq!(ask(short, Some("soon")).await, Code::DeadlineExceeded);
    }

    #[test]
    fn a_time_is_read_as_it_is_written() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            given(&headers)
        };
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(read("4m"), Some(Duration::from_millis(4)));
        assert_eq!(read("5u"), Some(Duration::from_micros(5)));
        assert_eq!(read("6n"), Some(Duration::from_nanos(6)));
        for none in ["", "S", "1", "1s", "-1S", "1.5S", "123456789S", "soon"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
