//! W3C trace context: which trace a piece of work belongs to, carried from whoever asks, through
//! what is asked and what is left to be done later (<https://www.w3.org/TR/trace-context/>).
//!
//! [`within`] runs work as part of a trace, and [`current`] says which one that is wherever work is
//! handed on: to another service, or to a job. Where traces are exported, the exporter is the
//! [`Bridge`], and each span takes its place in the tree. Without one a context is passed on as it
//! came.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use kernel::caller::RequestId;
use tracing::{Instrument, Span};

/// The header, in HTTP and in gRPC's metadata.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// One place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Names the trace; never all zero.
    pub trace: [u8; 16],
    /// Names the span that the work is a part of; never all zero.
    pub span: [u8; 8],
    /// Whether whoever came before keeps the trace.
    pub is_sampled: bool,
}

impl TraceContext {
    /// What a request carries. One that cannot be read counts as none (section 4.3).
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        value.to_str().ok()?.parse().ok()
    }

    /// The name of the trace, 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        hex::encode(self.trace)
    }

    /// The value to send on.
    pub fn header(&self) -> HeaderValue {
        // Hexadecimal digits and dashes always fit.
        HeaderValue::from_str(&self.to_string()).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, is_sampled } = self;
        let flags = u8::from(*is_sampled);
        write!(f, "00-{}-{}-{flags:02x}", hex::encode(trace), hex::encode(span))
    }
}

/// A text that is no `traceparent`.
#[derive(Debug, PartialEq, Eq)]
pub struct NoTraceContext;

impl FromStr for TraceContext {
    type Err = NoTraceContext;

    /// `version-trace-parent-flags` in lower case hexadecimal digits; later versions may have more
    /// behind that (section 4.3).
    fn from_str(text: &str) -> Result<Self, NoTraceContext> {
        let is_lower = |text: &str| !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let mut parts = text.splitn(5, '-');
        let mut next = |length: usize| {
            let part = parts.next().filter(|part| part.len() == length && is_lower(part));
            part.ok_or(NoTraceContext)
        };
        let [version] = digits(next(2)?)?;
        let trace: [u8; 16] = digits(next(32)?)?;
        let span: [u8; 8] = digits(next(16)?)?;
        let [flags] = digits(next(2)?)?;
        let is_whole = version != 0xff && (version > 0 || parts.next().is_none());
        if !is_whole || trace == [0; 16] || span == [0; 8] {
            return Err(NoTraceContext);
        }
        Ok(Self { trace, span, is_sampled: flags & 1 == 1 })
    }
}

fn digits<const N: usize>(text: &str) -> Result<[u8; N], NoTraceContext> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| NoTraceContext)?;
    Ok(bytes)
}

/// What exports traces.
pub trait Bridge: Send + Sync {
    /// Puts a span below its parent, or at the head of a new trace, and says where it stands;
    /// nothing where the span is not exported.
    fn begin(&self, span: &Span, parent: Option<&TraceContext>) -> Option<TraceContext>;
}

static BRIDGE: OnceLock<Box<dyn Bridge>> = OnceLock::new();

tokio::task_local! {
    static CURRENT: (RequestId, Option<TraceContext>);
}

/// From here on traces are exported. There is one exporter a process; a second one is not taken.
pub fn export_through(bridge: impl Bridge + 'static) {
    let _ = BRIDGE.set(Box::new(bridge));
}

/// Where the work that runs now stands, if it is part of a trace.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|(_, context)| *context).ok().flatten()
}

/// The id of the client's request that the work that runs now is for.
pub fn current_request() -> RequestId {
    CURRENT.try_with(|(request, _)| request.clone()).unwrap_or_default()
}

/// Runs work for a client's request, in a span that stands below `parent`. The field `trace_id` of
/// the span, if it has one, is filled in.
///
/// Not an `async fn`: that would hold the work twice, where it came in and where it runs.
pub fn within<F: Future>(
    span: Span,
    request: RequestId,
    parent: Option<TraceContext>,
    work: F,
) -> impl Future<Output = F::Output> {
    let begun = BRIDGE.get().and_then(|bridge| bridge.begin(&span, parent.as_ref()));
    let context = begun.or(parent);
    if let Some(context) = &context {
        span.record("trace_id", tracing::field::display(context.trace_id()));
    }
    CURRENT.scope((request, context), work.instrument(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_standard_s_example_is_read_and_written() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert!(context.is_sampled);
        assert_eq!(context.to_string(), EXAMPLE);
        let later: TraceContext = EXAMPLE.replacen("00", "cc", 1).parse().unwrap();
        assert_eq!(later, context);
        let longer = format!("{}-what-comes-later", EXAMPLE.replacen("00", "cc", 1));
        assert_eq!(longer.parse(), Ok(context));
    }

    #[test]
    fn what_is_no_trace_context_counts_as_none() {
        let zero_trace = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        let zero_span = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16));
        for text in [
            "",
            "00",
            &EXAMPLE[..54],
            &format!("{EXAMPLE}-x"),
            &EXAMPLE.to_uppercase(),
            &EXAMPLE.replacen("00", "ff", 1),
            &EXAMPLE.replace('-', "_"),
            &zero_trace,
            &zero_span,
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(NoTraceContext), "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, EXAMPLE.parse().unwrap());
        assert!(TraceContext::of(&headers).is_some());
        headers.append(TRACEPARENT, EXAMPLE.parse().unwrap());
        assert!(TraceContext::of(&headers).is_none(), "two of them");
    }

    #[tokio::test]
    async fn work_knows_its_trace_and_what_runs_beside_it_does_not() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert_eq!(current(), None);
        let inside =
            within(Span::none(), RequestId::None, Some(context), async { current() }).await;
        assert_eq!(inside, Some(context));
        assert_eq!(current(), None);
    }
}
