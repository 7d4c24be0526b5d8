use std::time::Duration;

use kernel::caller::{Acting, Actor, Idempotency, Origin};
use kernel::id::kinds::{ApiKey, Organization, Session, User};
use kernel::{Caller, Error, Id, Permissions, Principal, Result, Role};
use std::sync::Arc;
use uuid::Uuid;

use crate::crypto::MasterKey;
use crate::db::{Db, Migrations, Read};
use crate::journal::{self, Fact, Filter, Recorded};
use crate::on_both_engines;
use crate::testing::ManualClock;

use super::vault::{Memory, Remembered};

const TABLES: &[Migrations] = &[crate::MIGRATIONS];
const PLACE: &str = "things.text";

fn user(number: u128) -> Id<User> {
    Id::from_uuid(Uuid::from_u128(number))
}

fn caller(number: u128) -> Caller {
    let session: Id<Session> = Id::from_uuid(Uuid::from_u128(9));
    let origin = Origin {
        ip: Some("192.0.2.77".parse().unwrap()),
        user_agent: Some("a browser".into()),
        ..Origin::default()
    };
    Caller { origin, ..Caller::of(Principal::new(user(number), Role::User, session)) }
}

fn private(db: &Db) {
    db.keep_private(MasterKey::new([5; 32]));
}

async fn seal(db: &Db, person: Id<User>, clear: &str) -> String {
    db.run("test", |tx| async move { tx.seal(person, PLACE, clear).await }).await.unwrap()
}

async fn destroy(db: &Db, person: Id<User>) {
    db.run("test", |tx| async move { tx.destroy_key(person).await }).await.unwrap();
}

async fn record(db: &Db, fact: Fact) {
    let recorded = db.run("test", |tx| {
        let fact = fact.clone();
        async move {
            tx.record(fact);
            Ok(())
        }
    });
    recorded.await.unwrap();
}

async fn facts(db: &Db, person: Id<User>) -> Vec<Recorded> {
    let page = kernel::PageRequest::default();
    journal::of_party(db, person, &Filter::default(), &page).await.unwrap().items
}

#[test]
fn a_key_that_is_destroyed_while_it_is_read_is_not_remembered() {
    let key = || Remembered { key: MasterKey::new([1; 32]), read_at: ManualClock::START };
    let mut memory = Memory::default();
    let ticket = memory.ticket();
    memory.forget(user(1));
    memory.remember(ticket, user(1), key());
    assert!(memory.get(user(1)).is_none());
    memory.remember(memory.ticket(), user(1), key());
    assert!(memory.get(user(1)).is_some());
    memory.forget(user(1));
    assert!(memory.get(user(1)).is_none());
}

on_both_engines! { TABLES;
    async fn what_is_sealed_opens_until_the_key_is_destroyed(t: &TestDb) {
        private(&t.db);
        let hers = seal(&t.db, user(1), "born in Lagos").await;
        let his = seal(&t.db, user(2), "born in Abuja").await;
        assert!(!hers.contains("Lagos"));
        assert_ne!(seal(&t.db, user(1), "born in Lagos").await, hers);
        let open = async |sealed: &str| t.db.unseal(PLACE, sealed).await.unwrap();
        assert_eq!(open(&hers).await.as_deref(), Some("born in Lagos"));
        destroy(&t.db, user(1)).await;
        assert_eq!(open(&hers).await, None);
        assert_eq!(open(&his).await.as_deref(), Some("born in Abuja"));
        // Destroyed once more, and written to once more: it does not come back.
        destroy(&t.db, user(1)).await;
        let later = seal(&t.db, user(1), "born in Kano").await;
        assert_eq!(open(&later).await, None);
        assert!(later.len() < 10, "{later}");
        assert_eq!(open(&hers).await, None);
    }

    async fn what_was_never_sealed_is_what_it_is(t: &TestDb) {
        let clear = seal(&t.db, user(1), "before there were keys").await;
        assert_eq!(clear, "before there were keys");
        private(&t.db);
        for text in ["before there were keys", "", "sealed: a word", "sealed:x:y"] {
            let open = t.db.unseal(PLACE, text).await.unwrap();
            assert_eq!(open.as_deref(), Some(text));
        }
    }

    async fn a_sealed_text_opens_in_its_place_only(t: &TestDb) {
        private(&t.db);
        let sealed = seal(&t.db, user(1), "hers").await;
        assert!(t.db.unseal("things.other", &sealed).await.is_err());
        let (_, box_) = sealed.rsplit_once(':').unwrap();
        let stolen = format!("sealed:{}:{box_}", user(2).uuid().simple());
        seal(&t.db, user(2), "so that he has a key").await;
        assert!(t.db.unseal(PLACE, &stolen).await.is_err());
    }

    async fn nothing_is_sealed_under_a_key_that_was_rolled_back(t: &TestDb) {
        private(&t.db);
        let undone: Result<()> = t.db.run("test", |tx| async move {
            tx.seal(user(1), PLACE, "lost").await?;
            Err(Error::conflict("no", "No."))
        }).await;
        assert!(undone.is_err());
        let sealed = seal(&t.db, user(1), "kept").await;
        // Another process, which remembers nothing; on the embedded store it is the same one.
        let other = t.replica();
        private(&other);
        assert_eq!(other.unseal(PLACE, &sealed).await.unwrap().as_deref(), Some("kept"));
        let keys = "SELECT CAST(COUNT(*) AS BIGINT) FROM person_keys";
        assert_eq!(t.db.one(keys, &[], |row| row.take::<i64>()).await.unwrap(), 1);
    }

    async fn many_who_seal_for_somebody_at_once_use_one_key(t: &TestDb) {
        private(&t.db);
        let texts: Vec<String> = (0..20).map(|number| format!("text {number}")).collect();
        let sealed = futures_util::future::join_all(
            texts.iter().map(|text| seal(&t.db, user(1), text))).await;
        for (sealed, text) in sealed.iter().zip(&texts) {
            assert_eq!(t.db.unseal(PLACE, sealed).await.unwrap().as_ref(), Some(text));
        }
    }

    async fn another_replica_s_destruction_is_known_within_a_second(t: &TestDb) {
        private(&t.db);
        let sealed = seal(&t.db, user(1), "hers").await;
        let other = t.replica();
        if !t.is_postgres() {
            return;
        }
        private(&other);
        assert!(other.unseal(PLACE, &sealed).await.unwrap().is_some());
        destroy(&t.db, user(1)).await;
        t.clock.advance(Duration::from_secs(1));
        assert_eq!(other.unseal(PLACE, &sealed).await.unwrap(), None);
    }

    async fn a_key_that_is_destroyed_while_somebody_seals_is_not_remembered(t: &TestDb) {
        private(&t.db);
        let sealed = &seal(&t.db, user(1), "hers").await;
        let other = &t.replica();
        // The embedded store has one writer: nobody else commits meanwhile.
        if !t.is_postgres() {
            return;
        }
        private(other);
        let sealing = other.run("test", |tx| async move {
            tx.seal(user(1), PLACE, "hers too").await?;
            destroy(other, user(1)).await;
            Ok(())
        });
        sealing.await.unwrap();
        assert_eq!(other.unseal(PLACE, sealed).await.unwrap(), None);
    }

    async fn where_a_request_came_from_is_sealed_for_who_sent_it(t: &TestDb) {
        private(&t.db);
        record(&t.db, Fact::by(&caller(1), "thing.made").on("thing_1").about(user(2))).await;
        let anonymous = Caller { principal: None, ..caller(1) };
        record(&t.db, Fact::by(&anonymous, "thing.asked_for").on("thing_1").about(user(2))).await;
        let stored = "SELECT origin FROM facts";
        for origin in t.db.all(stored, &[], |row| row.take::<String>()).await.unwrap() {
            assert!(!origin.contains("192.0.2.77") && !origin.contains("browser"), "{origin}");
        }
        let made = &facts(&t.db, user(1)).await[0];
        let open = made.origin.open(&t.db).await.unwrap();
        assert_eq!(open.ip.as_deref(), Some("192.0.2.77"));
        assert_eq!(open.user_agent.as_deref(), Some("a browser"));
        destroy(&t.db, user(1)).await;
        let erased = made.origin.open(&t.db).await.unwrap();
        assert_eq!((erased.ip, erased.user_agent, erased.sealed), (None, None, None));
        // What nobody asked for about him is his, and is still there.
        let asked = &facts(&t.db, user(2)).await[0];
        assert_eq!(asked.verb, "thing.asked_for");
        assert!(asked.origin.open(&t.db).await.unwrap().ip.is_some());
    }

    async fn a_person_s_key_is_read_once(t: &TestDb) {
        private(&t.db);
        for _ in 0..2 {
            record(&t.db, Fact::by(&caller(1), "thing.made").on("thing_1")).await;
        }
        let before = t.db.counts();
        record(&t.db, Fact::by(&caller(1), "thing.made").on("thing_1")).await;
        let cost = t.db.counts().statements - before.statements;
        // The fact and its one party; on PostgreSQL nothing is counted.
        assert!(cost <= 2, "{cost}");
    }

    async fn a_remembered_reply_is_sealed_and_repeated(t: &TestDb) {
        private(&t.db);
        let idempotency = Some(Arc::new(Idempotency::new([1; 32], [2; 32])));
        let caller = Caller { idempotency, ..caller(1) };
        let answer = async || {
            let made = t.db.once(&caller, "test", |_| async { Ok("a secret title".to_owned()) });
            made.await.unwrap()
        };
        assert_eq!(answer().await, "a secret title");
        assert_eq!(answer().await, "a secret title");
        assert!(caller.idempotency.as_ref().unwrap().is_replayed());
        let stored = "SELECT reply FROM idempotency";
        let reply: String = t.db.one(stored, &[], |row| row.take()).await.unwrap();
        assert!(!reply.contains("secret"), "{reply}");
    }

    async fn an_admin_in_somebody_s_name_is_the_actor(t: &TestDb) {
        let session: Id<Session> = Id::from_uuid(Uuid::from_u128(9));
        let anne = Principal::new(user(1), Role::User, session);
        let seen = Caller::of(Principal { impersonator: Some(user(7)), ..anne });
        record(&t.db, Fact::by(&seen, "thing.made").on("thing_1")).await;
        let made = &facts(&t.db, user(1)).await[0];
        assert_eq!((made.actor, made.role), (Some(user(7)), Some(Role::Admin)));
        assert_eq!(made.data["impersonating"], user(1).to_string());
    }

    async fn who_acts_for_an_organization_is_named_and_the_organization_learns_of_it(t: &TestDb) {
        let session: Id<Session> = Id::from_uuid(Uuid::from_u128(9));
        let organization = Principal::new(user(1), Role::Enterprise, session);
        let by = |by| {
            let acting = Some(Acting { by, may: Permissions::NONE });
            Caller::of(Principal { acting, ..organization.clone() })
        };
        let key: Id<ApiKey> = Id::from_uuid(Uuid::from_u128(3));
        record(&t.db, Fact::by(&by(Actor::Member(user(2))), "thing.made").on("thing_1")).await;
        record(&t.db, Fact::by(&by(Actor::Key(key)), "thing.made").on("thing_2")).await;
        let mut made = facts(&t.db, user(1)).await;
        made.sort_by(|one, other| one.subject.cmp(&other.subject));
        assert_eq!(made.iter().map(|fact| fact.actor).collect::<Vec<_>>(), [
            Some(user(2)),
            Some(user(1))
        ]);
        let id: Id<Organization> = user(1).same_as();
        assert_eq!(made[0].data["organization"], id.to_string());
        assert_eq!(made[1].data["apiKey"], key.to_string());
        assert_eq!(facts(&t.db, user(2)).await.len(), 1);
    }
}
