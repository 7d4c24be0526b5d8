//! What organizations can be told of: the one table, from which the catalogue's schemas and examples
//! are made, and by which every payload is cut to size.

use kernel::{Error, Result};
use platform::journal::Recorded;
use serde_json::{Map, Value as Json, json};

/// What a field of an event holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Text,
    Integer,
    Time,
    Flag,
    Texts,
}

/// A field of an event's data.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub holds: Holds,
    /// As JSON writes it.
    example: &'static str,
}

/// One kind of event: a verb of the journal.
#[derive(Debug)]
pub struct EventType {
    pub name: &'static str,
    pub description: &'static str,
    /// An id of the kind that it happens to.
    subject: &'static str,
    /// What of the fact's data is told. All else stays here.
    pub fields: &'static [Field],
}

const fn text(name: &'static str, example: &'static str) -> Field {
    Field { name, holds: Holds::Text, example }
}
const fn integer(name: &'static str, example: &'static str) -> Field {
    Field { name, holds: Holds::Integer, example }
}
const fn time(name: &'static str) -> Field {
    Field { name, holds: Holds::Time, example: "\"2026-11-22T06:25:15.5Z\"" }
}

const VERIFICATION: &str = "vrf_01h455vb4pex5vsknk084sn02q";
const STATUS: Field = text("status", "\"pending\"");
const CREDENTIAL: Field = text("credential", "\"c_01h455vb4pex5vsknk084sn02q\"");
const VERIFIER: Field = text("verifier", "\"v_01h455vb4pex5vsknk084sn02q\"");
const OF_VERIFICATION: &[Field] = &[STATUS, CREDENTIAL, VERIFIER];
const AMOUNT: Field = integer("amount", "5000");
const CURRENCY: Field = text("currency", "\"USD\"");
const OF_DISPUTE: &[Field] = &[
    STATUS,
    text("verification", "\"vrf_01h455vb4pex5vsknk084sn02q\""),
    text("resolution", "\"refund_user\""),
];
const OF_INVOICE: &[Field] =
    &[text("number", "\"2026-0001\""), integer("net", "5000"), integer("tax", "950"), CURRENCY];
const OF_SUBSCRIPTION: &[Field] = &[text("plan", "\"business\""), time("periodEnd")];
const OF_DEPOSIT: &[Field] =
    &[AMOUNT, CURRENCY, text("provider", "\"stripe\""), text("reference", "\"VZ-1\"")];
const OF_WITHDRAWAL: &[Field] =
    &[AMOUNT, integer("fee", "25"), CURRENCY, text("provider", "\"paystack\"")];
const OF_KEY: &[Field] = &[
    text("prefix", "\"vz_0123456789\""),
    Field { name: "scopes", holds: Holds::Texts, example: "[\"verifications:read\"]" },
];
const OF_MEMBER: &[Field] = &[text("role", "\"member\"")];

const fn row(
    name: &'static str,
    subject: &'static str,
    fields: &'static [Field],
    description: &'static str,
) -> EventType {
    EventType { name, description, subject, fields }
}

/// The event that `POST ..{id}/test` makes: it goes to the endpoint that it is about, whatever that
/// has asked for.
pub const TESTED: &str = "webhook.tested";

#[rustfmt::skip]
pub const EVENTS: &[EventType] = &[
    row("verification.requested", VERIFICATION, &[STATUS, CREDENTIAL, VERIFIER,
        text("service", "\"svc_01h455vb4pex5vsknk084sn02q\""), integer("price", "5000"), CURRENCY],
        "A verification was asked for, and its price is held."),
    row("verification.accepted", VERIFICATION, OF_VERIFICATION, "The verifier has taken it on."),
    row("verification.declined", VERIFICATION, OF_VERIFICATION,
        "The verifier has not taken it on. The price is free again."),
    row("verification.started", VERIFICATION, OF_VERIFICATION, "The verifier is looking at it."),
    row("verification.info_requested", VERIFICATION, OF_VERIFICATION,
        "The verifier asks a question, and goes on when it is answered."),
    row("verification.info_provided", VERIFICATION, OF_VERIFICATION,
        "The verifier's question was answered."),
    row("verification.verified", VERIFICATION, OF_VERIFICATION,
        "The document is what it says. The price is paid."),
    row("verification.rejected", VERIFICATION, OF_VERIFICATION,
        "The document could not be verified; the report says why. The price is paid."),
    row("verification.cancelled", VERIFICATION, OF_VERIFICATION,
        "The organization has taken its request back."),
    row("verification.force_cancelled", VERIFICATION, OF_VERIFICATION,
        "The platform has cancelled it. The price is free again."),
    row("verification.expired", VERIFICATION, OF_VERIFICATION,
        "It was not finished in time. The price is free again."),
    row("verification.disputed", VERIFICATION, OF_VERIFICATION, "Its verdict is contested."),
    row("verification.overturned", VERIFICATION, OF_VERIFICATION,
        "Its verdict was found to be wrong."),
    row("verification.upheld", VERIFICATION, OF_VERIFICATION, "Its verdict stays what it was."),
    row("verification.revoked", VERIFICATION, OF_VERIFICATION,
        "What was verified no longer proves anything."),
    row("credential.issued", "vc_01h455vb4pex5vsknk084sn02q", &[CREDENTIAL,
        text("verification", "\"vrf_01h455vb4pex5vsknk084sn02q\""), time("validUntil")],
        "A verdict was signed as a portable credential."),
    row("credential.revoked", "vc_01h455vb4pex5vsknk084sn02q", &[],
        "A document or a signed credential no longer proves anything."),
    row("dispute.opened", "dsp_01h455vb4pex5vsknk084sn02q", OF_DISPUTE,
        "A verdict is contested."),
    row("dispute.resolved", "dsp_01h455vb4pex5vsknk084sn02q", OF_DISPUTE,
        "A dispute is decided; the decision can be appealed for a while."),
    row("dispute.appealed", "dsp_01h455vb4pex5vsknk084sn02q", OF_DISPUTE,
        "A decision is contested, and decided once more."),
    row("dispute.closed", "dsp_01h455vb4pex5vsknk084sn02q", OF_DISPUTE,
        "A dispute is over, and what was decided is done."),
    row("batch.submitted", "bat_01h455vb4pex5vsknk084sn02q",
        &[integer("good", "120"), integer("bad", "3")], "A table was taken in."),
    row("batch.progressed", "bat_01h455vb4pex5vsknk084sn02q",
        &[integer("done", "80"), integer("failed", "1"), integer("total", "123")],
        "Rows of a batch were done: told at each of the first hundreds, and then each thousand."),
    row("batch.completed", "bat_01h455vb4pex5vsknk084sn02q",
        &[integer("done", "118"), integer("failed", "5")], "No row of a batch waits any more."),
    row("batch.cancelled", "bat_01h455vb4pex5vsknk084sn02q", &[integer("rows", "40")],
        "The rows of a batch that waited were called off."),
    row("presentation.accepted", "pr_01h455vb4pex5vsknk084sn02q", &[],
        "A wallet has shown what was asked for."),
    row("deposit.settled", "pay_01h455vb4pex5vsknk084sn02q", OF_DEPOSIT,
        "A payment has arrived in the organization's wallet."),
    row("deposit.failed", "pay_01h455vb4pex5vsknk084sn02q", OF_DEPOSIT,
        "A payment did not go through."),
    row("deposit.expired", "pay_01h455vb4pex5vsknk084sn02q", OF_DEPOSIT,
        "A payment was not made in time."),
    row("refund.settled", "rf_01h455vb4pex5vsknk084sn02q",
        &[AMOUNT, CURRENCY, text("payment", "\"pay_01h455vb4pex5vsknk084sn02q\"")],
        "A payment went back to where it came from."),
    row("withdrawal.settled", "wd_01h455vb4pex5vsknk084sn02q", OF_WITHDRAWAL,
        "Money has left the wallet and arrived."),
    row("withdrawal.returned", "wd_01h455vb4pex5vsknk084sn02q", OF_WITHDRAWAL,
        "Money that had left the wallet came back."),
    row("subscription.started", "sub_01h455vb4pex5vsknk084sn02q", OF_SUBSCRIPTION,
        "A plan was chosen."),
    row("subscription.changed", "sub_01h455vb4pex5vsknk084sn02q", OF_SUBSCRIPTION,
        "Another plan was chosen."),
    row("subscription.renewed", "sub_01h455vb4pex5vsknk084sn02q", OF_SUBSCRIPTION,
        "A new period of the plan has begun."),
    row("subscription.past_due", "sub_01h455vb4pex5vsknk084sn02q", OF_SUBSCRIPTION,
        "A bill of the plan could not be collected."),
    row("subscription.suspended", "sub_01h455vb4pex5vsknk084sn02q", OF_SUBSCRIPTION,
        "The plan rests until its bills are paid."),
    row("subscription.cancelled", "sub_01h455vb4pex5vsknk084sn02q", OF_SUBSCRIPTION,
        "The plan has ended."),
    row("invoice.finalized", "inv_01h455vb4pex5vsknk084sn02q", OF_INVOICE, "A bill was written."),
    row("invoice.paid", "inv_01h455vb4pex5vsknk084sn02q", OF_INVOICE, "A bill was paid."),
    row("invoice.payment_failed", "inv_01h455vb4pex5vsknk084sn02q", OF_INVOICE,
        "A bill could not be collected."),
    row("invoice.voided", "inv_01h455vb4pex5vsknk084sn02q", OF_INVOICE, "A bill was taken back."),
    row("invoice.written_off", "inv_01h455vb4pex5vsknk084sn02q", OF_INVOICE,
        "A bill was given up, and the plan has ended."),
    row("api_key.created", "ak_01h455vb4pex5vsknk084sn02q", OF_KEY, "An API key was made."),
    row("api_key.revoked", "ak_01h455vb4pex5vsknk084sn02q", OF_KEY, "An API key was revoked."),
    row("member.joined", "u_01h455vb4pex5vsknk084sn02q", OF_MEMBER, "Somebody joined the team."),
    row("member.removed", "u_01h455vb4pex5vsknk084sn02q", OF_MEMBER, "Somebody left the team."),
    row("member.role_changed", "u_01h455vb4pex5vsknk084sn02q", OF_MEMBER,
        "Somebody of the team may do other things now."),
    row(TESTED, "wh_01h455vb4pex5vsknk084sn02q", &[], "Somebody tries the endpoint out."),
];

/// The verbs, for reading the journal.
pub(super) const VERBS: &[&str] = &{
    let mut verbs = [""; EVENTS.len()];
    let mut place = 0;
    while place < EVENTS.len() {
        verbs[place] = EVENTS[place].name;
        place += 1;
    }
    verbs
};

/// The row of a verb.
pub fn find(verb: &str) -> Option<&'static EventType> {
    EVENTS.iter().find(|row| row.name == verb)
}

/// Which events an endpoint is told of: names of the catalogue, all of a noun (`verification.*`), or
/// all there are (`*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted(Vec<String>);

impl Wanted {
    /// # Errors
    /// `Invalid`, naming the first entry that names nothing.
    pub fn parse(entries: &[String]) -> Result<Self> {
        if entries.is_empty() || entries.len() > EVENTS.len() {
            return Err(Error::field("/events", "required", "name some, or \"*\" for all"));
        }
        for (index, entry) in entries.iter().enumerate() {
            let known = EVENTS.iter().any(|row| matches(entry, row.name) && row.name != TESTED);
            if !known {
                let message = "none of GET /v1/enterprise/event-types, \"verification.*\" or \"*\"";
                return Err(Error::field(format!("/events/{index}"), "unknown", message));
            }
        }
        Ok(Self(entries.to_vec()))
    }

    pub fn includes(&self, verb: &str) -> bool {
        self.0.iter().any(|entry| matches(entry, verb))
    }

    pub fn entries(&self) -> &[String] {
        &self.0
    }

    /// As it is stored: no entry has a space.
    pub(super) fn to_text(&self) -> String {
        self.0.join(" ")
    }

    pub(super) fn from_text(text: &str) -> Self {
        Self(text.split(' ').filter(|entry| !entry.is_empty()).map(str::to_owned).collect())
    }
}

fn matches(entry: &str, verb: &str) -> bool {
    match entry.strip_suffix(".*") {
        _ if entry == "*" => true,
        Some(noun) => verb.split('.').next() == Some(noun),
        None => entry == verb,
    }
}

impl EventType {
    /// What is told of a fact: `{id, type, timestamp, sequence, data}`.
    pub(super) fn payload(&self, fact: &Recorded) -> Json {
        let mut data = Map::from_iter([("subject".to_owned(), json!(fact.subject))]);
        for field in self.fields {
            if let Some(value) = fact.data.get(field.name).filter(|value| !value.is_null()) {
                data.insert(field.name.to_owned(), value.clone());
            }
        }
        json!({
            "id": fact.id,
            "type": self.name,
            "timestamp": fact.at,
            "sequence": fact.seq,
            "data": data,
        })
    }

    /// JSON Schema (2020-12) of the payload.
    pub fn schema(&self) -> Json {
        let text = json!({ "type": "string" });
        let mut data = Map::from_iter([("subject".to_owned(), text.clone())]);
        for field in self.fields {
            let schema = match field.holds {
                Holds::Text => text.clone(),
                Holds::Integer => json!({ "type": "integer" }),
                Holds::Time => json!({ "type": "string", "format": "date-time" }),
                Holds::Flag => json!({ "type": "boolean" }),
                Holds::Texts => json!({ "type": "array", "items": text }),
            };
            data.insert(field.name.to_owned(), schema);
        }
        json!({
            "type": "object",
            "properties": {
                "id": { "type": "string", "description": "The event's id, as in `webhook-id`." },
                "type": { "const": self.name },
                "timestamp": { "type": "string", "format": "date-time" },
                "sequence": {
                    "type": "integer",
                    "description": "Grows with each event: drop what is older than what you know.",
                },
                "data": { "type": "object", "properties": data, "required": ["subject"] },
            },
            "required": ["id", "type", "timestamp", "sequence", "data"],
        })
    }

    /// A payload as it may come.
    pub fn example(&self) -> Json {
        let mut data = Map::from_iter([("subject".to_owned(), json!(self.subject))]);
        for field in self.fields {
            // Written in the table above; the catalogue's test reads them all.
            let value = serde_json::from_str(field.example).unwrap_or_default();
            data.insert(field.name.to_owned(), value);
        }
        json!({
            "id": "evt_01h455vb4pex5vsknk084sn02q",
            "type": self.name,
            "timestamp": "2026-11-22T06:25:15.5Z",
            "sequence": 4711,
            "data": data,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_is_there_once_and_its_example_fits_its_schema() {
        let names: BTreeSet<_> = EVENTS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), EVENTS.len());
        assert_eq!(VERBS.len(), EVENTS.len());
        for row in EVENTS {
            let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
            assert!(row.name.chars().all(plain) && row.name.contains('.'), "{}", row.name);
            assert!(kernel::id::uuid_in(row.subject).is_some(), "{}", row.subject);
            let (schema, example) = (row.schema(), row.example());
            assert_eq!(schema["properties"]["type"]["const"], example["type"]);
            for field in row.fields {
                let value = &example["data"][field.name];
                let fits = match field.holds {
                    Holds::Text | Holds::Time => value.is_string(),
                    Holds::Integer => value.is_i64(),
                    Holds::Flag => value.is_boolean(),
                    Holds::Texts => value.is_array(),
                };
                assert!(fits, "{} {}: {value}", row.name, field.name);
                assert!(schema["properties"]["data"]["properties"][field.name].is_object());
            }
        }
    }

    #[test]
    fn what_is_wanted_is_named_by_name_by_noun_or_all_at_once() {
        let wanted = |entries: &[&str]| {
            Wanted::parse(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>())
        };
        let some = wanted(&["verification.*", "batch.completed"]).unwrap();
        assert!(some.includes("verification.verified") && some.includes("batch.completed"));
        assert!(!some.includes("batch.submitted") && !some.includes("verifications.x"));
        assert_eq!(Wanted::from_text(&some.to_text()), some);
        assert!(wanted(&["*"]).unwrap().includes("member.joined"));
        for entries in [
            &[][..],
            &[""],
            &["verification"],
            &["*.*"],
            &["x.*"],
            &["user.banned"],
            &["webhook.tested"],
            &["batch.completed batch.submitted"],
        ] {
            assert!(wanted(entries).is_err(), "{entries:?}");
        }
    }
}
