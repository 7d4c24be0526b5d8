//! Calling endpoints.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use kernel::id::kinds::Webhook;
use kernel::{Caller, Error, Id, Result, Secret};
use platform::db::Tx;
use platform::jobs::{NewJob, Run};
use platform::journal::{self, Fact, Recorded};
use platform::outbound::Answer;
use serde_json::{Value as Json, json};

use super::catalogue;
use super::jobs::Wake;
use super::model::{Attempt, Delivery, DeliveryState, Endpoint, Provider};
use super::rules::{self, Verdict};
use super::{Service, service, signature, store};

/// Deliveries that are fetched at once.
const BATCH: i64 = 20;
/// After so long a job makes room: well within its lease, whatever the last call takes.
const TURN: Duration = Duration::from_secs(25);
/// Characters that are kept of an answer.
const EXCERPT: usize = 1000;
const AGENT: HeaderValue = HeaderValue::from_static("Verza-Webhooks/1");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What one call came to.
struct Outcome {
    attempt: Attempt,
    verdict: Verdict,
}

impl Service {
    /// Calls an endpoint with what is due, one after another in the journal's order.
    pub(super) async fn deliver(&self, id: Id<Webhook>, run: &Run) -> Result<()> {
        let started = Instant::now();
        loop {
            let due = store::due(self.db(), id, self.db().world().now(), BATCH).await?;
            if due.is_empty() {
                return self.rest(id, run).await;
            }
            for delivery in due {
                if started.elapsed() > TURN {
                    return self.rest(id, run).await;
                }
                // As it is by now: an address or a key that has leaked is not used once more.
                let now = self.db().world().now();
                let live = store::get(self.db(), id).await?.filter(store::is_live);
                let Some(endpoint) = live.filter(|it| it.resume_at <= now) else {
                    return self.rest(id, run).await;
                };
                let secrets = self.secrets(&endpoint).await?;
                let outcome = self.call(&endpoint, &secrets, &delivery).await?;
                if !self.note(id, &delivery, outcome).await? {
                    return self.rest(id, run).await;
                }
            }
        }
    }

    /// Ends the turn. Where something waits, another one follows when it is due.
    async fn rest(&self, id: Id<Webhook>, run: &Run) -> Result<()> {
        self.db()
            .run("webhook.rest", |tx| async move {
                // First, so that whoever adds something has done so before, or finds the job gone.
                store::touch(&tx, id).await?;
                run.done_in(&tx).await?;
                let Some(it) = store::get(&tx, id).await?.filter(store::is_live) else {
                    return Ok(());
                };
                let Some(due) = store::next_due(&tx, id).await? else { return Ok(()) };
                let next = due.max(it.resume_at);
                if next <= tx.now() {
                    return service::wake(&tx, id).await;
                }
                // One for each time, however often the job comes to rest before it.
                let key = format!("{id}/{}", next.micros());
                let job = NewJob::new(&Wake { endpoint: id })?.after(next.since(tx.now()));
                tx.enqueue(job.unique(key));
                Ok(())
            })
            .await
    }

    /// One call.
    async fn call(
        &self,
        endpoint: &Endpoint,
        secrets: &[Secret<Vec<u8>>],
        delivery: &Delivery,
    ) -> Result<Outcome> {
        let fact = journal::by_id(self.db(), delivery.fact).await?;
        let fact = fact.ok_or_else(|| Error::internal("a delivery of no fact"))?;
        let at = self.db().world().now();
        let (headers, body) = message(endpoint, secrets, &fact, at.seconds())?;
        let clock = Instant::now();
        let answered = match self.address(endpoint, secrets) {
            Ok(address) => {
                let posted = self.client().post(&address, headers, body).await;
                posted.map_err(|failure| failure.to_string())
            }
            Err(error) => Err(error.message().to_owned()),
        };
        let latency = clock.elapsed();
        let result = if answered.is_ok() { "answered" } else { "unanswered" };
        metrics::histogram!("webhook_call_seconds", "result" => result)
            .record(latency.as_secs_f64());
        let [dice] = self.db().world().random::<1>();
        let status = answered.as_ref().ok().map(|answer| answer.status.as_u16());
        let asked = answered.as_ref().ok().and_then(asked);
        let attempt = Attempt {
            delivery: delivery.id,
            number: delivery.attempts + 1,
            at,
            status,
            latency_ms: i64::try_from(latency.as_millis()).unwrap_or(i64::MAX),
            answer: answered.as_ref().map(excerpt).unwrap_or_default(),
            error: answered.err().map(|error| shortened(&error)),
        };
        let verdict = rules::judge(status, asked, delivery.tries + 1, dice);
        Ok(Outcome { attempt, verdict })
    }

    /// Writes down how a call went; answers whether to go on with the endpoint.
    async fn note(&self, id: Id<Webhook>, of: &Delivery, outcome: Outcome) -> Result<bool> {
        let Outcome { attempt, verdict } = &outcome;
        self.db()
            .run("webhook.note", |tx| async move {
                // Waits for whoever changes the endpoint, and sees what they have made of it.
                store::touch(&tx, id).await?;
                let Some(endpoint) = store::get(&tx, id).await? else { return Ok(false) };
                let (state, next_at) = match verdict {
                    Verdict::Delivered => (DeliveryState::Delivered, tx.now()),
                    Verdict::Again(pause) => (DeliveryState::Waiting, tx.now() + *pause),
                    Verdict::Exhausted | Verdict::Gone => (DeliveryState::Failed, tx.now()),
                };
                if !store::note(&tx, of, attempt, state, next_at).await? {
                    return Ok(false);
                }
                if *verdict == Verdict::Delivered {
                    store::is_well(&tx, id).await?;
                    return Ok(store::is_live(&endpoint));
                }
                ails(&tx, endpoint, *verdict == Verdict::Gone, attempt).await
            })
            .await
    }
}

/// Notes a failure of the endpoint; disables it where that was one too many. Answers whether to go
/// on with it now.
async fn ails(tx: &Tx, endpoint: Endpoint, is_gone: bool, attempt: &Attempt) -> Result<bool> {
    let mut it = endpoint;
    let since = it.failing_since.unwrap_or(tx.now());
    let lasts = tx.now().since(since);
    it.failures += 1;
    it.failing_since = Some(since);
    let breather = rules::breather(it.failures);
    it.resume_at = tx.now() + breather;
    let is_over = is_gone || lasts >= rules::DISABLE_AFTER;
    let is_news = !is_over && !it.warned && lasts >= rules::WARN_AFTER;
    it.warned |= is_news;
    store::fails(tx, &it).await?;
    if is_news {
        tx.record(trouble("webhook.failing", &it, attempt).with("since", since));
    }
    if is_over {
        let reason = store::reason_of(is_gone);
        if store::disable(tx, it.id, reason).await? {
            tx.record(trouble("webhook.disabled", &it, attempt).with("reason", reason));
        }
        return Ok(false);
    }
    Ok(store::is_live(&it) && breather.is_zero())
}

fn trouble(verb: &'static str, it: &Endpoint, attempt: &Attempt) -> Fact {
    let fact = Fact::by(&Caller::nobody(), verb).on(it.id).about(it.organization);
    fact.with("provider", it.provider.as_str()).with("lastStatus", attempt.status)
}

/// What is sent of a fact. The body of a fact is the same at every attempt.
fn message(
    endpoint: &Endpoint,
    secrets: &[Secret<Vec<u8>>],
    fact: &Recorded,
    at: i64,
) -> Result<(HeaderMap, Bytes)> {
    let event = catalogue::find(&fact.verb);
    let event = event.ok_or_else(|| Error::internal("a delivery of no known event"))?;
    let payload = match endpoint.provider {
        Provider::Webhook => event.payload(fact),
        channel => words(channel, event, fact),
    };
    let json = |error| Error::internal("an event cannot be written").because(error);
    let body = serde_json::to_vec(&payload).map_err(json)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(USER_AGENT, AGENT);
    if endpoint.provider == Provider::Webhook {
        let id = fact.id.to_string();
        let signed: Vec<_> =
            secrets.iter().map(|key| signature::sign(key.expose(), &id, at, &body)).collect();
        let text = |text: &str| {
            HeaderValue::from_str(text)
                .map_err(|error| Error::internal("a header cannot be written").because(error))
        };
        headers.insert(ID, text(&id)?);
        headers.insert(TIMESTAMP, HeaderValue::from(at));
        headers.insert(SIGNATURE, text(&signed.join(" "))?);
    }
    Ok((headers, body.into()))
}

/// An event in words, as each chat takes them.
fn words(provider: Provider, event: &catalogue::EventType, fact: &Recorded) -> Json {
    let line = format!("{}: {} ({})", event.name, event.description, fact.subject);
    match provider {
        Provider::Discord => json!({ "content": line }),
        Provider::Teams => json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        { "type": "TextBlock", "weight": "bolder", "text": event.name },
                        { "type": "TextBlock", "wrap": true, "text": event.description },
                        { "type": "TextBlock", "isSubtle": true, "text": fact.subject },
                    ],
                },
            }],
        }),
        Provider::Webhook | Provider::Slack | Provider::Incoming => json!({ "text": line }),
    }
}

/// The pause that an answer asks for, where it says so in seconds (RFC 9110 section 10.2.3).
fn asked(answer: &Answer) -> Option<Duration> {
    let text = answer.headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// How an answer began. Both stores hold text, and neither a NUL in it.
fn excerpt(answer: &Answer) -> String {
    shortened(&String::from_utf8_lossy(&answer.body))
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(EXCERPT).collect()
}
