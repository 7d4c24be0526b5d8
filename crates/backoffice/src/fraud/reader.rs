//! Who follows the journal and applies the rules.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::{Organization, User, Verifier};
use kernel::{Caller, Id, Result, Secret};
use platform::crypto::hmac_sha256;
use platform::db::{Db, Tx};
use platform::journal::{Fact, Reader, Recorded};

use super::model::{Finding, Mode, Modes, Rule};
use super::places::{Place, Places};
use super::rules;
use super::service::Brake;
use super::store::{self, Signal};

/// Applies the rules to each fact, once.
pub struct Watcher {
    pub(crate) db: Db,
    pub(crate) modes: Modes,
    pub(crate) key: Secret<[u8; 32]>,
    pub(crate) places: Places,
    pub(crate) brake: Arc<dyn Brake>,
}

impl Reader for Watcher {
    fn name(&self) -> &'static str {
        "backoffice.fraud"
    }

    fn read<'a>(&'a self, tx: &'a Tx, facts: &'a [Recorded]) -> BoxFuture<'a, Result<()>> {
        async move {
            for fact in facts {
                self.follow(tx, fact).await?;
            }
            self.count(tx, facts).await
        }
        .boxed()
    }
}

impl Watcher {
    async fn follow(&self, tx: &Tx, fact: &Recorded) -> Result<()> {
        match fact.verb.as_str() {
            "file.duplicated" => self.duplicated(tx, fact).await,
            // The upload's own fact follows the one of its being a duplicate, and says whose it is.
            "file.uploaded" => match fact.actor {
                Some(owner) => store::name(tx, &fact.subject, owner).await,
                None => Ok(()),
            },
            "flag.raised" => self.flagged(tx, fact).await,
            "session.started" => self.signed_in(tx, fact).await,
            "withdrawal.requested" => self.touched(tx, fact, "a withdrawal", 70).await,
            "payout_destination.saved" => {
                self.touched(tx, fact, "a new place to withdraw to", 60).await
            }
            "user.password_changed" => self.touched(tx, fact, "a new password", 60).await,
            "user.email_changed" => self.touched(tx, fact, "a new mail address", 60).await,
            "verification.requested" => self.requested(tx, fact).await,
            "verification.accepted" => self.accepted(tx, fact).await,
            "verification.verified" | "verification.rejected" => self.judged(tx, fact).await,
            _ => Ok(()),
        }
    }

    async fn duplicated(&self, tx: &Tx, fact: &Recorded) -> Result<()> {
        let found = Finding {
            rule: Rule::DuplicateDocument,
            key: fact.subject.clone(),
            subject: fact.subject.clone(),
            person: None,
            other: None,
            score: 60,
            reasons: vec!["another account has a file of the same bytes".to_owned()],
        };
        self.raise(tx, found).await
    }

    /// What people make, by the minute: once for all of it that comes together, because the
    /// journal is written no faster than its readers read.
    async fn count(&self, tx: &Tx, facts: &[Recorded]) -> Result<()> {
        let mut made: BTreeMap<_, i64> = BTreeMap::new();
        for fact in facts {
            // What an admin or the platform does is no traffic of a user's.
            let person = fact.actor.filter(|_| fact.role != Some(kernel::Role::Admin));
            if let (Some(person), Some(kind)) = (person, kind_made(&fact.verb)) {
                *made.entry((person, kind, rules::minute_of(fact.at))).or_default() += 1;
            }
        }
        let most = self.modes.velocity_per_hour.get();
        for ((person, kind, minute), more) in made {
            let count = store::made(tx, person, kind, minute, more).await?;
            let Some(score) = rules::velocity(count, most) else { continue };
            let found = Finding {
                rule: Rule::Velocity,
                key: format!("{person} {kind}"),
                subject: person.to_string(),
                person: Some(person),
                other: None,
                score,
                reasons: vec![format!(
                    "{count} {kind}s in an hour, where {most} are usual at most"
                )],
            };
            self.raise(tx, found).await?;
        }
        Ok(())
    }

    async fn flagged(&self, tx: &Tx, fact: &Recorded) -> Result<()> {
        let (Some(person), Some(subject)) = (fact.actor, fact.data["subject"].as_str()) else {
            return Ok(());
        };
        let signal = Signal { subject: subject.to_owned(), ..bare(fact, "flag", person) };
        store::insert(tx, &signal).await?;
        let people = store::flaggers(tx, subject, fact.at).await?;
        let Some(score) = rules::flagged(people) else { return Ok(()) };
        let found = Finding {
            rule: Rule::Flagged,
            key: subject.to_owned(),
            subject: subject.to_owned(),
            person: None,
            other: None,
            score,
            reasons: vec![format!("{people} people have flagged it within 30 days")],
        };
        self.raise(tx, found).await
    }

    async fn signed_in(&self, tx: &Tx, fact: &Recorded) -> Result<()> {
        // An admin who looks through somebody's eyes is not them.
        let Some(person) = fact.actor.filter(|_| fact.data.get("impersonator").is_none()) else {
            return Ok(());
        };
        let origin = fact.origin.open(&self.db).await.unwrap_or_default();
        let ip: Option<IpAddr> = origin.ip.and_then(|ip| ip.parse().ok());
        let address = ip.map(|ip| self.hash(&network(ip)));
        let device = origin.user_agent.map(|agent| self.hash(&agent));
        let seen = store::seen_before(tx, person, address.as_ref(), device.as_ref()).await?;
        let (known, here, same) = seen;
        let told = address.is_some() && device.is_some();
        let fresh = told && known && !here && !same;
        let place = ip.and_then(|ip| self.places.find(ip));
        if let Some(place) = &place {
            self.travelled(tx, fact, person, place, !same).await?;
        }
        let signal = Signal { address, device, place, fresh, ..bare(fact, "session", person) };
        store::insert(tx, &signal).await
    }

    /// Somebody signs in at a place; where they were before may be too far away.
    async fn travelled(
        &self,
        tx: &Tx,
        fact: &Recorded,
        person: Id<User>,
        to: &Place,
        new_device: bool,
    ) -> Result<()> {
        let Some((from, left)) = store::last_place(tx, person).await? else { return Ok(()) };
        let between = fact.at.since(left);
        let Some((score, reasons)) = rules::travel(&from, to, between, new_device) else {
            return Ok(());
        };
        let found = Finding {
            rule: Rule::Travel,
            key: person.to_string(),
            subject: fact.subject.clone(),
            person: Some(person),
            other: None,
            score,
            reasons,
        };
        self.raise(tx, found).await
    }

    /// Something was done that whoever has stolen a password would do.
    async fn touched(&self, tx: &Tx, fact: &Recorded, what: &str, score: i64) -> Result<()> {
        let Some(person) = fact.actor else { return Ok(()) };
        if !store::fresh_session(tx, person, fact.at).await? {
            return Ok(());
        }
        let found = Finding {
            rule: Rule::Takeover,
            key: person.to_string(),
            subject: fact.subject.clone(),
            person: Some(person),
            other: None,
            score,
            reasons: vec![
                "signed in from a network and with a device that were never seen before".to_owned(),
                format!("and within a day: {what}"),
            ],
        };
        self.raise(tx, found).await
    }

    /// Who asks for an organization is one of its people: what is seen of them is seen of it.
    async fn requested(&self, tx: &Tx, fact: &Recorded) -> Result<()> {
        let named = || fact.data["organization"].as_str()?.parse::<Id<Organization>>().ok();
        let (Some(person), Some(organization)) = (fact.actor, named()) else { return Ok(()) };
        let account = organization.same_as();
        // Once a day says it: a batch asks a hundred thousand times.
        if person == account || store::is_member(tx, person, account, fact.at).await? {
            return Ok(());
        }
        let signal = Signal { other: Some(account), ..bare(fact, "member", person) };
        store::insert(tx, &signal).await
    }

    /// What a verifier's own rules accept is done by nobody; the fact says whose rules they are.
    async fn accepted(&self, tx: &Tx, fact: &Recorded) -> Result<()> {
        let named = || fact.data["verifier"].as_str()?.parse::<Id<Verifier>>().ok();
        match fact.actor.or_else(|| named().map(Id::same_as)) {
            Some(verifier) => store::insert(tx, &bare(fact, "accepted", verifier)).await,
            None => Ok(()),
        }
    }

    async fn judged(&self, tx: &Tx, fact: &Recorded) -> Result<()> {
        let Some(verifier) = fact.actor else { return Ok(()) };
        let parties = fact.parties(tx).await?;
        let Some(owner) = parties.into_iter().find(|party| *party != verifier) else {
            return Ok(());
        };
        let accepted = store::accepted_at(tx, &fact.subject).await?;
        let seconds = accepted.map(|accepted| fact.at.since(accepted).as_secs());
        let signal = Signal {
            other: Some(owner),
            verified: fact.verb == "verification.verified",
            seconds: seconds.and_then(|seconds| i64::try_from(seconds).ok()),
            ..bare(fact, "verdict", verifier)
        };
        store::insert(tx, &signal).await?;
        let pair = store::pair(tx, verifier, owner, fact.at).await?;
        let Some((score, reasons)) = rules::collusion(pair) else { return Ok(()) };
        let found = Finding {
            rule: Rule::Collusion,
            key: format!("{verifier} {owner}"),
            subject: fact.subject.clone(),
            person: Some(verifier),
            other: Some(owner),
            score,
            reasons,
        };
        self.raise(tx, found).await
    }

    async fn raise(&self, tx: &Tx, found: Finding) -> Result<()> {
        let mode = self.modes.of(found.rule);
        if mode == Mode::Off || store::is_quiet(tx, &found).await? {
            return Ok(());
        }
        let enforced = mode == Mode::Enforce && found.person.is_some();
        let (id, is_new) = store::raise(tx, &found, enforced).await?;
        if is_new {
            // About nobody: whom it is about must not learn of it, nor of the other.
            let fact = Fact::by(&Caller::nobody(), "alert.raised").on(id);
            let fact = fact.with("rule", found.rule).with("score", found.score);
            tx.record(fact.with("enforced", enforced));
        }
        if let Some(person) = found.person.filter(|_| enforced) {
            self.brake.freeze(tx, person).await?;
        }
        Ok(())
    }

    fn hash(&self, text: &str) -> [u8; 32] {
        hmac_sha256(self.key.expose(), text.as_bytes())
    }
}

/// What the velocity rule counts.
fn kind_made(verb: &str) -> Option<&'static str> {
    match verb {
        "credential.created" => Some("credential"),
        "verification.requested" => Some("verification"),
        "deposit.initiated" => Some("deposit"),
        _ => None,
    }
}

/// The network that an address is in, as far as it is one household's or one office's.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}")
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}")
        }
    }
}

fn bare(fact: &Recorded, kind: &'static str, person: Id<User>) -> Signal {
    Signal {
        fact: fact.id.uuid(),
        kind,
        person,
        other: None,
        subject: fact.subject.clone(),
        at: fact.at,
        address: None,
        device: None,
        place: None,
        fresh: false,
        verified: false,
        seconds: None,
    }
}
