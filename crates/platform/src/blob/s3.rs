//! Blobs as objects of an S3 bucket, or of anything that speaks S3.
//!
//! Every request carries its signature in its address (AWS Signature Version 4, unsigned payload)
//! and can be sent again as it is: what fails on the way is tried a few times, also where the store
//! may have done it and the answer was lost, since doing it twice does no harm. A blob of up to
//! [`PART_BYTES`] is one request; a larger one is a multipart upload of parts of that size, so
//! that a writer holds one part in memory however large its blob becomes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode};
use kernel::{Error, Result, Secret, Timestamp, World};
use rusty_s3::actions::{
    CompleteMultipartUpload, CompleteMultipartUploadResponse, CreateMultipartUpload, ListObjectsV2,
};
use rusty_s3::{Bucket, Credentials, Method, UrlStyle, signing};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Key;
use super::inbox::{Form, Presigned, Slot};
use crate::crypto::{hmac_sha256, sha256};

/// One part of a multipart upload: the smallest that S3 takes.
pub(super) const PART_BYTES: usize = 5 * 1024 * 1024;
/// Parts that are sent at the same time. Not the uploads that they are of: those come in as slowly as
/// their senders like, and must not keep others out.
const SENDING_MAX: usize = 32;
/// How often one request is sent before it has failed.
const TRIES: u32 = 4;
/// The first pause between two tries; each further one is three times as long.
const PAUSE: Duration = Duration::from_millis(100);
const CONNECT: Duration = Duration::from_secs(5);
/// The longest pause that a store may ask for; one that asks for more has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest silence of the other side.
const SILENCE: Duration = Duration::from_secs(30);
/// One request that is not streamed.
const CALL: Duration = Duration::from_secs(120);
/// How long the signature of our own requests holds, in seconds.
const OWN_SECONDS: u64 = 900;
/// What is read of an answer that is no blob.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where the bucket is, and who we are to it.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// Such as `https://s3.eu-central-1.amazonaws.com` or `http://minio:9000`.
    pub endpoint: String,
    /// Where clients reach the same, if not there: presigned addresses begin with it.
    pub public_endpoint: Option<String>,
    pub region: String,
    pub bucket: String,
    /// Whether the bucket is named in the path and not in the host's name.
    pub path_style: bool,
    /// What the names of all objects begin with, such as `verza/`.
    pub prefix: String,
    pub access_key: String,
    pub secret_key: Secret<String>,
    pub encryption: Encryption,
}

/// Encryption at rest that each write asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// What the bucket does by itself.
    Bucket,
    /// `AES256`: keys of the store.
    Store,
    /// `aws:kms` with a key of this id, or with the store's default key.
    Kms(Option<String>),
}

impl Encryption {
    fn headers(&self) -> Vec<(&'static str, String)> {
        const NAME: &str = "x-amz-server-side-encryption";
        match self {
            Self::Bucket => Vec::new(),
            Self::Store => vec![(NAME, "AES256".into())],
            Self::Kms(None) => vec![(NAME, "aws:kms".into())],
            Self::Kms(Some(id)) => vec![
                (NAME, "aws:kms".into()),
                ("x-amz-server-side-encryption-aws-kms-key-id", id.clone()),
            ],
        }
    }
}

pub(super) struct S3 {
    client: reqwest::Client,
    bucket: Bucket,
    /// The same bucket as clients reach it.
    public: Bucket,
    credentials: Credentials,
    prefix: String,
    encryption: Encryption,
    world: World,
    sending: Semaphore,
}

/// One request: everything that its signature covers, and the body.
struct Call<'a> {
    method: Method,
    object: &'a str,
    /// By name.
    query: Vec<(&'static str, String)>,
    /// By name, in lower case.
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl<'a> Call<'a> {
    fn new(method: Method, object: &'a str) -> Self {
        Self { method, object, query: Vec::new(), headers: Vec::new(), body: Bytes::new() }
    }
}

impl S3 {
    pub(super) fn new(options: S3Options, world: World) -> Result<Self> {
        let S3Options { endpoint, public_endpoint, region, bucket, path_style, prefix, .. } =
            options;
        let at = |endpoint: &str| {
            let wrong = |what: String| {
                let message = format!("The bucket {bucket} at {endpoint} is none: {what}.");
                Error::invalid("invalid_address", message)
            };
            let style = if path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
            let url = endpoint.parse().map_err(|_| wrong("no address".into()))?;
            Bucket::new(url, style, bucket.clone(), region.clone())
                .map_err(|error| wrong(error.to_string()))
        };
        Ok(Self {
            client: crate::outbound::streaming_client(CONNECT, SILENCE)?,
            public: at(public_endpoint.as_deref().unwrap_or(&endpoint))?,
            bucket: at(&endpoint)?,
            credentials: Credentials::new(options.access_key, options.secret_key.expose().clone()),
            prefix,
            encryption: options.encryption,
            world,
            sending: Semaphore::new(SENDING_MAX),
        })
    }

    fn blob(&self, key: &Key) -> String {
        format!("{}blobs/{key}", self.prefix)
    }

    fn slot(&self, name: &str) -> String {
        format!("{}inbox/{name}", self.prefix)
    }

    fn signed(&self, bucket: &Bucket, call: &Call<'_>, seconds: u64) -> Result<reqwest::Url> {
        let now = jiff::Timestamp::from_microsecond(self.world.now().micros())
            .map_err(|error| Error::internal("a time beyond all calendars").because(error))?;
        Ok(signing::sign(
            &now,
            call.method,
            bucket.object_url(call.object),
            self.credentials.key(),
            self.credentials.secret(),
            None,
            bucket.region(),
            seconds,
            call.query.iter().map(|(name, value)| (*name, value.as_str())),
            call.headers.iter().map(|(name, value)| (*name, value.as_str())),
        ))
    }

    /// Sends a request until it is answered with something else than a failure that may pass. An
    /// answer that is not `streamed` is there whole: one that breaks off is a failure of the way.
    async fn send(&self, call: &Call<'_>, streamed: bool) -> Result<Answer> {
        let mut pause = PAUSE;
        let mut tries = 1;
        loop {
            let Failed { why, wait } = match self.send_once(call, streamed).await? {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if tries == TRIES || wait > PATIENCE {
                let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(5);
                return Err(away().retry_after(seconds).because(Answered(why)));
            }
            tracing::debug!(failure = why, tries, "an object store did not answer well");
            tokio::time::sleep(pause.max(wait)).await;
            (tries, pause) = (tries + 1, pause * 3);
        }
    }

    async fn send_once(&self, call: &Call<'_>, streamed: bool) -> Result<Result<Answer, Failed>> {
        let url = self.signed(&self.bucket, call, OWN_SECONDS)?;
        let method = match call.method {
            Method::Head => http::Method::HEAD,
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
            Method::Delete => http::Method::DELETE,
        };
        let mut request = self.client.request(method, url).body(call.body.clone());
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if !streamed {
            request = request.timeout(CALL);
        }
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(Failed::of(error))),
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        if streamed && status.is_success() {
            return Ok(Ok(Answer { status, headers, body: Bytes::new(), rest: Some(answer) }));
        }
        let mut body = BytesMut::new();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Ok(Err(Failed::of(error))),
            }
            if body.len() > ANSWER_BYTES_MAX {
                return Err(away().because(Answered("an endless answer".into())));
            }
        }
        let answer = Answer { status, headers, body: body.freeze(), rest: None };
        Ok(if answer.may_pass() { Err(answer.failed()) } else { Ok(answer) })
    }

    /// [`Self::send`] for what must go well; `None` for 404.
    async fn ask(&self, call: &Call<'_>) -> Result<Option<Answer>> {
        let answer = self.send(call, false).await?;
        match answer.status {
            status if status.is_success() => Ok(Some(answer)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(answer.refused()),
        }
    }

    async fn must(&self, call: &Call<'_>) -> Result<Answer> {
        match self.ask(call).await? {
            Some(answer) => Ok(answer),
            None => Err(away().because(Answered("there is no such bucket or upload".into()))),
        }
    }

    /// Begins a blob. Nothing is sent yet.
    pub(super) fn create(self: &Arc<Self>, key: &Key) -> Upload {
        Upload {
            store: Arc::clone(self),
            object: self.blob(key),
            part: BytesMut::new(),
            id: None,
            etags: Vec::new(),
            size: 0,
        }
    }

    /// Waits for a place among those who are sending.
    async fn place(&self) -> Result<SemaphorePermit<'_>> {
        let place = self.sending.acquire().await;
        place.map_err(|error| Error::internal("sending ended").because(error))
    }

    async fn put(&self, object: &str, body: Bytes) -> Result<()> {
        use base64::Engine;
        let sum = base64::engine::general_purpose::STANDARD.encode(sha256(&body));
        let mut headers = vec![("x-amz-checksum-sha256", sum)];
        headers.extend(self.encryption.headers());
        self.must(&Call { headers, body, ..Call::new(Method::Put, object) }).await.map(drop)
    }

    pub(super) async fn open(self: &Arc<Self>, key: &Key, range: Range<u64>) -> Result<Pieces> {
        if range.is_empty() {
            return Ok(Box::pin(futures_util::stream::empty()));
        }
        let object = self.blob(key);
        let first = self.ranged(&object, &range).await?;
        let download = Download {
            store: Arc::clone(self),
            object,
            left: range,
            coming: Some(first),
            breaks: 0,
            since_break: 0,
        };
        Ok(Box::pin(futures_util::stream::try_unfold(download, Download::next)))
    }

    /// The bytes of a range as they come, which may break off.
    async fn ranged(&self, object: &str, range: &Range<u64>) -> Result<Coming> {
        let last = range.end.saturating_sub(1);
        let headers = vec![("range", format!("bytes={}-{last}", range.start))];
        let answer = self.send(&Call { headers, ..Call::new(Method::Get, object) }, true).await?;
        let begins_there = match answer.status {
            StatusCode::PARTIAL_CONTENT => answer.header("content-range").is_some_and(|text| {
                text.strip_prefix("bytes ")
                    .and_then(|rest| rest.split_once('-'))
                    .is_some_and(|(first, _)| first.parse() == Ok(range.start))
            }),
            // All of it, which is right where the beginning was asked for.
            StatusCode::OK => range.start == 0,
            // A row without its bytes: somebody has been at the bucket.
            StatusCode::NOT_FOUND => return Err(Error::internal("a blob is missing")),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(Error::internal("a blob is shorter than its row says"));
            }
            _ => return Err(answer.refused()),
        };
        match answer.rest {
            Some(rest) if begins_there => Ok(rest.bytes_stream().boxed()),
            _ => Err(away().because(Answered("other bytes than were asked for".into()))),
        }
    }

    async fn remove(&self, object: &str) -> Result<()> {
        self.ask(&Call::new(Method::Delete, object)).await.map(drop)
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<()> {
        self.remove(&self.blob(key)).await
    }

    pub(super) async fn slice(&self, slice: u8, before: Timestamp) -> Result<Vec<Key>> {
        let folder = format!("{}blobs/", self.prefix);
        let objects = self.list(&format!("{folder}{}", hex::encode([slice])), before).await?;
        let key = |object: &String| object.strip_prefix(&folder)?.parse().ok();
        Ok(objects.iter().filter_map(key).collect())
    }

    /// The names of all objects that begin with `prefix` and were written before `before`.
    async fn list(&self, prefix: &str, before: Timestamp) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut token = None;
        loop {
            let mut query = Vec::new();
            if let Some(token) = token {
                query.push(("continuation-token", token));
            }
            query.push(("list-type", "2".to_owned()));
            query.push(("prefix", prefix.to_owned()));
            let answer = self.must(&Call { query, ..Call::new(Method::Get, "") }).await?;
            let listed = ListObjectsV2::parse_response(&answer.text())
                .map_err(|error| away().because(Answered(error.to_string())))?;
            let older = |modified: Option<String>| {
                let modified = modified.and_then(|text| text.parse::<Timestamp>().ok());
                modified.is_some_and(|modified| modified < before)
            };
            let contents = listed.contents.into_iter().filter(|it| older(it.last_modified.clone()));
            names.extend(contents.map(|it| it.key));
            token = listed.next_continuation_token;
            if token.is_none() {
                return Ok(names);
            }
        }
    }

    // What clients send by themselves.

    pub(super) fn put_address(&self, slot: &Slot<'_>, lasts: Duration) -> Result<Presigned> {
        let mut headers = vec![
            ("content-length", slot.size.to_string()),
            ("content-type", slot.media_type.to_owned()),
            // What is there already stays: the address is good for one upload.
            ("if-none-match", "*".to_owned()),
        ];
        headers.extend(slot.checksum().map(|sum| ("x-amz-checksum-sha256", sum)));
        headers.extend(self.encryption.headers());
        let object = self.slot(&slot.name);
        let call = Call { headers, ..Call::new(Method::Put, &object) };
        let url = self.signed(&self.public, &call, lasts.as_secs())?;
        let headers = call.headers.into_iter().map(|(name, value)| (name.to_owned(), value));
        Ok(Presigned { method: "PUT", url: url.into(), headers: headers.collect() })
    }

    /// The form of a POST upload: a policy that names all there is, and the signature over it.
    pub(super) fn post_form(&self, slot: &Slot<'_>, lasts: Duration) -> Result<Form> {
        use base64::Engine;
        let now = self.world.now();
        let basic = |at: Timestamp| -> String {
            at.to_second_text().chars().filter(|letter| !matches!(letter, '-' | ':')).collect()
        };
        let date = basic(now);
        let day = &date[..8];
        let (region, key) = (self.public.region(), self.credentials.key());
        let mut fields = vec![
            ("key", self.slot(&slot.name)),
            ("content-type", slot.media_type.to_owned()),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("x-amz-credential", format!("{key}/{day}/{region}/s3/aws4_request")),
            ("x-amz-date", date.clone()),
        ];
        fields.extend(slot.checksum().map(|sum| ("x-amz-checksum-sha256", sum)));
        fields.extend(self.encryption.headers());
        let mut conditions = vec![
            serde_json::json!({ "bucket": self.public.name() }),
            serde_json::json!(["content-length-range", slot.size, slot.size]),
        ];
        conditions.extend(fields.iter().map(|(name, value)| serde_json::json!({ *name: value })));
        let policy = serde_json::json!({
            "expiration": (now + lasts).to_second_text(), "conditions": conditions,
        });
        let policy = base64::engine::general_purpose::STANDARD.encode(policy.to_string());
        let first = format!("AWS4{}", self.credentials.secret());
        let signing = [day, region, "s3", "aws4_request"]
            .iter()
            .fold(first.into_bytes(), |key, word| hmac_sha256(&key, word.as_bytes()).to_vec());
        let signature = hex::encode(hmac_sha256(&signing, policy.as_bytes()));
        fields.push(("policy", policy));
        fields.push(("x-amz-signature", signature));
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Form { url: self.public.base_url().as_str().to_owned(), fields })
    }

    /// The size of what has come in, if anything has.
    pub(super) async fn slot_size(&self, name: &str) -> Result<Option<u64>> {
        let object = self.slot(name);
        let answer = self.ask(&Call::new(Method::Head, &object)).await?;
        Ok(answer.and_then(|answer| answer.header("content-length")?.parse().ok()))
    }

    /// What has come in, of which nobody knows yet how long it is: it is not begun anew where it
    /// breaks off.
    pub(super) async fn slot_open(&self, name: &str) -> Result<Option<Pieces>> {
        let object = self.slot(name);
        let answer = self.send(&Call::new(Method::Get, &object), true).await?;
        match (answer.status, answer.rest) {
            (_, Some(rest)) => {
                let broken = |error| away().because(crate::outbound::Failure::from(error));
                Ok(Some(Box::pin(rest.bytes_stream().map_err(broken))))
            }
            (StatusCode::NOT_FOUND, None) => Ok(None),
            (_, None) => Err(away().because(Answered("an upload cannot be read".into()))),
        }
    }

    pub(super) async fn slot_sweep(&self, before: Timestamp) -> Result<u64> {
        let mut swept = 0;
        for object in self.list(&self.slot(""), before).await? {
            self.remove(&object).await?;
            swept += 1;
        }
        Ok(swept)
    }

    pub(super) async fn slot_discard(&self, name: &str) -> Result<()> {
        self.remove(&self.slot(name)).await
    }
}

/// A blob as it comes in.
pub(super) type Pieces = BoxStream<'static, Result<Bytes>>;
/// One answer's body.
type Coming = BoxStream<'static, reqwest::Result<Bytes>>;

/// An answer: whole, or its head and a body that is yet to come.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    rest: Option<reqwest::Response>,
}

/// A failure that may pass.
struct Failed {
    why: String,
    /// How long the store has asked us to wait.
    wait: Duration,
}

impl Failed {
    fn of(error: reqwest::Error) -> Self {
        let why = crate::outbound::Failure::from(error).to_string();
        Self { why, wait: Duration::ZERO }
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What S3 calls the failure, where the answer is one.
    fn code(&self) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once("<Error>")?;
        Some(rest.split_once("<Code>")?.1.split_once("</Code>")?.0.to_owned())
    }

    /// Whether the same request may go well later. S3 says 200 before it has put parts together, and
    /// then perhaps that it could not; and 400 of a request that came too slowly.
    fn may_pass(&self) -> bool {
        match self.status {
            StatusCode::NOT_IMPLEMENTED => false,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => true,
            StatusCode::BAD_REQUEST => self.code().as_deref() == Some("RequestTimeout"),
            status if status.is_success() => self.code().is_some(),
            status => status.is_server_error(),
        }
    }

    fn failed(&self) -> Failed {
        let seconds = self.header("retry-after").and_then(|text| text.trim().parse().ok());
        let code = self.code().unwrap_or_default();
        let why = format!("{} {code}", self.status);
        Failed { why, wait: Duration::from_secs(seconds.unwrap_or_default()) }
    }

    fn refused(&self) -> Error {
        let mut body = self.text();
        body.truncate(body.floor_char_boundary(500));
        away().because(Answered(format!("{} {body}", self.status)))
    }
}

/// A range of a blob on its way here. Where it breaks off it is asked for from there on.
struct Download {
    store: Arc<S3>,
    object: String,
    left: Range<u64>,
    coming: Option<Coming>,
    breaks: u32,
    /// Bytes that have come since it broke off the last time.
    since_break: usize,
}

impl Download {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        while !self.left.is_empty() {
            let coming = match &mut self.coming {
                Some(coming) => coming,
                None => self.coming.insert(self.store.ranged(&self.object, &self.left).await?),
            };
            let broken = match coming.next().await {
                Some(Ok(mut piece)) => {
                    let most = usize::try_from(self.left.end - self.left.start);
                    // A server may send more than was asked for.
                    piece.truncate(most.unwrap_or(usize::MAX));
                    self.left.start += piece.len() as u64;
                    self.since_break = self.since_break.saturating_add(piece.len());
                    return Ok(Some((piece, self)));
                }
                Some(Err(error)) => crate::outbound::Failure::from(error).to_string(),
                None => "the answer was shorter than was asked for".to_owned(),
            };
            self.coming = None;
            // A large download may break off now and then; one that gets nowhere ends.
            self.breaks = if self.since_break >= PART_BYTES { 1 } else { self.breaks + 1 };
            self.since_break = 0;
            if self.breaks == TRIES {
                return Err(away().because(Answered(broken)));
            }
            tracing::debug!(failure = broken, "a download broke off");
            tokio::time::sleep(PAUSE * 3_u32.pow(self.breaks - 1)).await;
        }
        Ok(None)
    }
}

/// A blob on its way to the bucket. Dropped before its end it is given up.
pub(super) struct Upload {
    store: Arc<S3>,
    object: String,
    part: BytesMut,
    /// Of the multipart upload, from the second part on.
    id: Option<String>,
    etags: Vec<String>,
    size: u64,
}

impl Upload {
    pub(super) async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        self.size += chunk.len() as u64;
        while !chunk.is_empty() {
            if self.part.len() == PART_BYTES {
                self.send_part().await?;
            }
            let room = PART_BYTES - self.part.len();
            self.part.extend_from_slice(&chunk.split_to(room.min(chunk.len())));
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<()> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.begin().await?,
        };
        let _place = self.store.place().await?;
        let number = (self.etags.len() + 1).to_string();
        let query = vec![("partNumber", number), ("uploadId", id)];
        let body = self.part.split().freeze();
        let call = Call { query, body, ..Call::new(Method::Put, &self.object) };
        let answer = self.store.must(&call).await?;
        let etag = answer
            .header("etag")
            .ok_or_else(|| away().because(Answered("a part without a tag".into())))?
            .to_owned();
        self.etags.push(etag);
        Ok(())
    }

    async fn begin(&mut self) -> Result<String> {
        let query = vec![("uploads", "1".to_owned())];
        let headers = self.store.encryption.headers();
        let call = Call { query, headers, ..Call::new(Method::Post, &self.object) };
        let answer = self.store.must(&call).await?;
        let begun = CreateMultipartUpload::parse_response(&answer.text())
            .map_err(|error| away().because(Answered(error.to_string())))?;
        Ok(self.id.insert(begun.upload_id().to_owned()).clone())
    }

    /// Answers when the store has all of it. Where the answer was lost it is asked for: nobody else
    /// writes this object, and no part of it is visible.
    pub(super) async fn finish(mut self) -> Result<()> {
        if self.id.is_none() {
            let _place = self.store.place().await?;
            let body = self.part.split().freeze();
            return match self.store.put(&self.object, body).await {
                Err(_) if self.is_there().await => Ok(()),
                done => done,
            };
        }
        self.send_part().await?;
        let Some(id) = self.id.take() else { return Ok(()) };
        match self.complete(&id).await {
            Err(_) if self.is_there().await => Ok(()),
            Err(error) => {
                self.id = Some(id);
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    async fn complete(&self, id: &str) -> Result<()> {
        let tags = self.etags.iter().map(String::as_str);
        let complete =
            CompleteMultipartUpload::new(&self.store.bucket, None, &self.object, id, tags);
        let body = Bytes::from(complete.body());
        let query = vec![("uploadId", id.to_owned())];
        let call = Call { query, body, ..Call::new(Method::Post, &self.object) };
        let answer = self.store.ask(&call).await?;
        // It may have gone well before, and that answer was lost on the way.
        let gone = || away().because(Answered("the upload is gone".into()));
        CompleteMultipartUploadResponse::parse(&answer.ok_or_else(gone)?.text())
            .map(drop)
            .map_err(|error| away().because(Answered(error.to_string())))
    }

    async fn is_there(&self) -> bool {
        let answer = self.store.ask(&Call::new(Method::Head, &self.object)).await;
        let length = answer.ok().flatten().and_then(|answer| {
            answer.header("content-length").and_then(|length| length.parse::<u64>().ok())
        });
        length == Some(self.size)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (store, object) = (Arc::clone(&self.store), std::mem::take(&mut self.object));
        runtime.spawn(async move {
            let query = vec![("uploadId", id)];
            let call = Call { query, ..Call::new(Method::Delete, &object) };
            if let Err(error) = store.ask(&call).await {
                tracing::warn!(%error, "a cut-off upload stays in the bucket");
            }
        });
    }
}

/// What the store said, for the log.
#[derive(Debug)]
struct Answered(String);

impl std::fmt::Display for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the object store: {}", self.0)
    }
}

impl std::error::Error for Answered {}

fn away() -> Error {
    let message = "The store for files does not answer as it should. Try again in a moment.";
    Error::unavailable("storage_unavailable", message).retry_after(5)
}
