//! One error for the whole house, free of any transport: it says what went wrong in a code for
//! programs and in a sentence for people, and is turned into HTTP or gRPC in the last step.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The code of a refusal for what the sender had not seen: [`crate::Caller::expect`].
pub const PRECONDITION_FAILED: &str = "precondition_failed";

/// The members that every problem has already (RFC 9457 section 3.1, and ours).
const RESERVED: [&str; 8] =
    ["type", "title", "status", "detail", "instance", "code", "requestId", "errors"];

/// What kind of answer an error is. Every transport has one table from these nine to its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The request itself is wrong; sending it again unchanged cannot help.
    Invalid,
    /// Nobody is signed in, or not well enough.
    Unauthenticated,
    /// Signed in, and not allowed.
    Forbidden,
    /// There is no such thing, or it is not the caller's to know of.
    NotFound,
    /// The thing is not in a state that allows this.
    Conflict,
    /// It was there, and is over for good: expired, revoked, used.
    Gone,
    /// Too many requests, too much at once.
    Limited,
    /// Not possible right now; trying again may help.
    Unavailable,
    /// Our fault. The message stays inside.
    Internal,
}

/// One field of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Where, as a JSON Pointer (RFC 6901) into the body, or `/name` of a query parameter.
    pub pointer: String,
    /// What is wrong, for programs.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
}

/// An error, with everything that a client may be told, and beside it what it may not.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    fields: Vec<FieldError>,
    members: Vec<(Cow<'static, str>, serde_json::Value)>,
    retry_after_seconds: Option<u32>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(
        kind: Kind,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Inner {
            kind,
            code: code.into(),
            message: message.into(),
            fields: Vec::new(),
            members: Vec::new(),
            retry_after_seconds: None,
            source: None,
        }))
    }

    pub fn invalid(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Invalid, code, message)
    }

    /// One field is wrong and nothing else is.
    pub fn field(
        pointer: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Kind::Invalid, "invalid_fields", "Some fields are not as they should be.")
            .with_field(pointer, code, message)
    }

    pub fn unauthenticated(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unauthenticated, code, message)
    }

    pub fn forbidden(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Forbidden, code, message)
    }

    /// `noun` as in "There is no such credential."
    pub fn not_found(noun: &str) -> Self {
        Self::new(Kind::NotFound, "not_found", format!("There is no such {noun}."))
    }

    pub fn conflict(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Conflict, code, message)
    }

    pub fn gone(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Gone, code, message)
    }

    pub fn limited(retry_after_seconds: u32) -> Self {
        let message = format!("Too many requests. Try again in {retry_after_seconds} s.");
        Self::new(Kind::Limited, "rate_limited", message).retry_after(retry_after_seconds)
    }

    pub fn unavailable(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unavailable, code, message)
    }

    /// Our fault: `message` goes to the log and never to a client.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Internal, "internal", message)
    }

    #[must_use]
    pub fn with_field(
        mut self,
        pointer: impl Into<String>,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        self.0.fields.push(FieldError {
            pointer: pointer.into(),
            code: code.into(),
            message: message.into(),
        });
        self
    }

    #[must_use]
    pub fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.0.fields.extend(fields);
        self
    }

    /// Something more for programs, beside the code: a member of its own in the problem (RFC 9457
    /// section 3.2). It may be a secret of whoever asked, so it is in no log line.
    #[must_use]
    pub fn with_member(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        let name = name.into();
        debug_assert!(!RESERVED.contains(&&*name), "{name} is a member of every problem");
        self.0.members.push((name, value.into()));
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// Keeps the cause, for the log.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The sentence for people. Of an [`Kind::Internal`] error it is meant for the log only.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn fields(&self) -> &[FieldError] {
        &self.0.fields
    }

    /// What [`Error::with_member`] has added.
    pub fn members(&self) -> &[(Cow<'static, str>, serde_json::Value)] {
        &self.0.members
    }

    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.0.retry_after_seconds
    }

    /// The cause, where it is a `T`.
    pub fn cause<T: std::error::Error + 'static>(&self) -> Option<&T> {
        self.0.source.as_deref().and_then(|source| source.downcast_ref())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for field in &self.0.fields {
            write!(f, " {}: {}.", field.pointer, field.message)?;
        }
        let mut source = self.0.source.as_deref().map(|e| e as &dyn std::error::Error);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {self}", self.0.kind, self.0.code)
    }
}

// The causes are part of `Display`, so that one `{error}` in a log line tells the whole story.
impl std::error::Error for Error {}

/// Gathers what is wrong with a request, so that a client learns of all of it at once.
#[derive(Debug, Default)]
pub struct Fields(Vec<FieldError>);

impl Fields {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(&mut self, pointer: &str, code: &str, message: impl Into<String>) {
        self.0.push(FieldError {
            pointer: pointer.to_owned(),
            code: code.to_owned(),
            message: message.into(),
        });
    }

    /// Keeps the value of a constructor, or what it complained of.
    pub fn take<T>(&mut self, parsed: Result<T>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(error) if error.fields().is_empty() => {
                self.add("", error.code(), error.message());
                None
            }
            Err(error) => {
                self.0.extend_from_slice(error.fields());
                None
            }
        }
    }

    /// An error that names them all, or nothing when there is nothing to complain of.
    pub fn check(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }

    pub fn into_error(self) -> Error {
        Error::new(Kind::Invalid, "invalid_fields", "Some fields are not as they should be.")
            .with_fields(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_tells_the_whole_story_and_a_message_only_its_own() {
        let cause = Error::internal("disk full");
        let error = Error::unavailable("storage", "Cannot store the file now.").because(cause);
        assert_eq!(error.message(), "Cannot store the file now.");
        assert_eq!(error.to_string(), "Cannot store the file now.: disk full");
    }

    #[test]
    fn a_member_is_for_whoever_asked_and_not_for_the_log() {
        let error = Error::unauthenticated("mfa_required", "More is needed.")
            .with_member("challenge", "secret");
        assert_eq!(error.members(), [("challenge".into(), serde_json::Value::from("secret"))]);
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[test]
    fn an_error_is_one_word_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }
}
