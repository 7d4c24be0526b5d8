use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use http::StatusCode;
use kernel::id::kinds::User;
use kernel::{Caller, Id, Kind, Result, Role};
use platform::db::{Read, Tx};
use platform::on_both_engines;
use platform::params;
use platform::privacy::{Erasure, Holder, Own, Person, Stake, Table};
use platform::testing::TestDb;
use rpc::users::Status;
use serde_json::json;

use super::{Held, Policy};
use crate::account::Command;
use crate::testing::{House, PASSWORD, TABLES, house_of, options};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A context of which a test decides what it holds.
#[derive(Default)]
struct Elsewhere {
    is_open: AtomicBool,
    erased: [AtomicUsize; 2],
}

impl Holder for Elsewhere {
    fn name(&self) -> &'static str {
        "elsewhere"
    }

    fn tables(&self) -> &'static [Table] {
        &[]
    }

    fn stakes<'a>(&'a self, _: &'a Tx, _: Id<User>) -> BoxFuture<'a, Result<Vec<Stake>>> {
        let stake = self.is_open.load(Ordering::SeqCst).then(|| Stake {
            code: "balance",
            subject: "USD".into(),
            message: "There is money left.".into(),
        });
        async move { Ok(stake.into_iter().collect()) }.boxed()
    }

    fn erase<'a>(
        &'a self,
        _: &'a Tx,
        person: &'a Person,
        what: Erasure,
    ) -> BoxFuture<'a, Result<()>> {
        let is_tombstone = person.email.ends_with("@closed.invalid");
        assert_eq!(is_tombstone, what == Erasure::Records, "{}", person.email);
        self.erased[usize::from(what == Erasure::Records)].fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }.boxed()
    }
}

impl Elsewhere {
    fn erased(&self) -> [usize; 2] {
        self.erased.each_ref().map(|count| count.load(Ordering::SeqCst))
    }
}

fn house(t: &TestDb, policy: Policy) -> (House<'_>, Arc<Elsewhere>) {
    t.db.keep_private(crate::testing::master());
    let mut options = options(t);
    options.closing = policy;
    let house = house_of(t, options);
    let elsewhere = Arc::new(Elsewhere::default());
    // It comes before the tombstones are set, as the contexts do that need the address.
    house.identity.closing.know(vec![elsewhere.clone(), Arc::new(Own), Arc::new(Held)]);
    (house, elsewhere)
}

async fn signed_in(house: &House<'_>, email: &str, role: Role) -> Caller {
    let signed_in = house.signed_in(email, role).await;
    house.caller(&signed_in).await
}

fn text(house: &House<'_>, id: Id<User>, column: &str) -> impl Future<Output = String> {
    let sql = format!("SELECT {column} FROM users WHERE id = $1");
    let db = house.t.db.clone();
    async move { db.one(&sql, params![id], |row| row.take()).await.unwrap() }
}

on_both_engines! { TABLES;
    async fn who_goes_is_gone_at_once(t: &TestDb) {
        let (house, elsewhere) = house(t, Policy::default());
        let anne = house.signed_in("anne@example.org", Role::User).await;
        let caller = house.caller(&anne).await;
        let id = anne.account.id;
        let closed = house.send("DELETE", "/v1/me", &caller, Some(json!({}))).await;
        assert_eq!((closed.status, &closed.json["erased"]), (StatusCode::OK, &json!(true)));
        assert!(house.authenticate(anne.tokens.access.expose()).await.is_err());
        let login = house.login_with("anne@example.org", PASSWORD).await.unwrap_err();
        assert_eq!(login.code(), "invalid_credentials");
        assert_eq!(elsewhere.erased(), [1, 1]);
        assert_eq!(text(&house, id, "name").await, "Closed account");
        assert!(text(&house, id, "email").await.ends_with("@closed.invalid"));
        let left = "SELECT CAST(COUNT(*) AS BIGINT) FROM users WHERE password_hash IS NOT NULL
                        OR searchable <> '' OR email_verified_at IS NOT NULL";
        assert_eq!(house.count(left).await, 0);
        let devices = "SELECT CAST(COUNT(*) AS BIGINT) FROM sessions WHERE ip IS NOT NULL";
        assert_eq!(house.count(devices).await, 0);
        assert_eq!(house.count("SELECT CAST(COUNT(*) AS BIGINT) FROM mail_sink").await, 0);
        let facts = house.facts().await;
        let end = &facts[facts.len() - 3..];
        assert_eq!(end, ["user.closed", "user.erased", "user.records_erased"]);
        // The address is free for whoever proves it.
        let again = house.signed_in("anne@example.org", Role::User).await;
        assert_ne!(again.account.id, id);
    }

    async fn nobody_goes_while_something_is_open(t: &TestDb) {
        let (house, elsewhere) = house(t, Policy::default());
        let anne = signed_in(&house, "anne@example.org", Role::User).await;
        elsewhere.is_open.store(true, Ordering::SeqCst);
        let refused = house.send("DELETE", "/v1/me", &anne, Some(json!({}))).await.error.unwrap();
        assert_eq!((refused.kind(), refused.code()), (Kind::Conflict, "account_in_use"));
        let [field] = refused.fields() else { panic!("{refused}") };
        assert_eq!((field.pointer.as_str(), &*field.code), ("/USD", "balance"));
        assert_eq!(text(&house, anne.user().unwrap(), "status").await, "active");
        assert_eq!(elsewhere.erased(), [0, 0]);
        elsewhere.is_open.store(false, Ordering::SeqCst);
        house.identity.closing.close_own(&anne, None).await.unwrap();
    }

    async fn going_needs_the_password_or_a_session_just_proved(t: &TestDb) {
        let (house, _) = house(t, Policy::default());
        let anne = signed_in(&house, "anne@example.org", Role::User).await;
        t.clock.advance(Duration::from_secs(5 * 60 + 1));
        let send = async |body| house.send("DELETE", "/v1/me", &anne, Some(body)).await;
        let needed = send(json!({})).await.error.unwrap();
        assert_eq!((needed.kind(), needed.code()), (Kind::Forbidden, "proof_needed"));
        let wrong = send(json!({ "password": "not that one" })).await.error.unwrap();
        assert_eq!((wrong.fields()[0].pointer.as_str(), &*wrong.fields()[0].code), ("/password", "wrong"));
        for _ in 0..4 {
            send(json!({ "password": "not that one" })).await;
        }
        let limited = send(json!({ "password": PASSWORD })).await.error.unwrap();
        assert_eq!(limited.kind(), Kind::Limited);
        t.clock.advance(Duration::from_secs(60));
        assert_eq!(send(json!({ "password": PASSWORD })).await.status, StatusCode::OK);
    }

    async fn with_an_authenticator_app_the_password_alone_closes_nothing(t: &TestDb) {
        let (house, _) = house(t, Policy::default());
        let anne = signed_in(&house, "anne@example.org", Role::User).await;
        let id = anne.user().unwrap();
        t.db.run("enrol", |tx| async move {
            let sql = "INSERT INTO totp_factors (user_id, sealed_secret, last_step, created_at)
                       VALUES ($1, $2, 0, $3)";
            Ok(tx.execute(sql, params![id, [1_u8; 8], tx.now()]).await?)
        }).await.unwrap();
        t.clock.advance(Duration::from_secs(5 * 60 + 1));
        let body = json!({ "password": PASSWORD });
        let refused = house.send("DELETE", "/v1/me", &anne, Some(body)).await.error.unwrap();
        assert_eq!(refused.code(), "proof_needed");
        assert_eq!(text(&house, id, "status").await, "active");
    }

    async fn within_the_grace_an_admin_opens_the_account_again(t: &TestDb) {
        let (house, elsewhere) = house(t, Policy { grace: 7 * DAY, ..Policy::default() });
        let admin = signed_in(&house, "admin@example.org", Role::Admin).await;
        let anne = signed_in(&house, "anne@example.org", Role::User).await;
        let id = anne.user().unwrap();
        let closed = house.identity.closing.close_own(&anne, None).await.unwrap();
        assert_eq!((closed.is_erased, closed.erased_at), (false, t.db.world().now() + 7 * DAY));
        assert!(house.login_with("anne@example.org", PASSWORD).await.is_err());
        t.clock.advance(6 * DAY);
        assert_eq!(house.identity.closing.erase_due().await.unwrap(), 0);
        let path = format!("/v1/admin/users/{id}/reopen");
        let opened = house.send("POST", &path, &admin, None).await;
        assert_eq!((&opened.json["status"], &opened.json["name"]), (&json!("active"), &json!("Anne Cooper")));
        assert_eq!(house.send("POST", &path, &admin, None).await.status, StatusCode::CONFLICT);

        let anne = signed_in_again(&house, "anne@example.org").await;
        house.identity.closing.close_own(&anne, None).await.unwrap();
        t.clock.advance(7 * DAY);
        house.worker.drain().await.unwrap();
        assert_eq!(elsewhere.erased(), [1, 1]);
        assert_eq!(house.send("POST", &path, &admin, None).await.status, StatusCode::CONFLICT);
    }

    async fn a_ban_outlives_being_closed_and_opened_again(t: &TestDb) {
        let (house, _) = house(t, Policy { grace: 7 * DAY, ..Policy::default() });
        let admin = signed_in(&house, "root@example.org", Role::Admin).await;
        let id = house.member("anne@example.org", Role::User).await;
        house.identity.accounts.command(&admin, id, Command::Ban).await.unwrap();
        house.identity.closing.close_other(&admin, id).await.unwrap();
        let opened = house.identity.closing.reopen(&admin, id).await.unwrap();
        assert_eq!(opened.status, Status::Banned);
    }

    async fn another_s_account_is_closed_by_who_has_just_shown_who_they_are(t: &TestDb) {
        let (house, _) = house(t, Policy::default());
        let admin = signed_in(&house, "root@example.org", Role::Admin).await;
        let id = house.member("anne@example.org", Role::User).await;
        t.clock.advance(Duration::from_secs(301));
        let refused = house.identity.closing.close_other(&admin, id).await.unwrap_err();
        assert_eq!(refused.code(), "step_up_required");
        let mut fresh = kernel::Principal::clone(admin.principal().unwrap());
        fresh.proven_at = t.db.world().now();
        house.identity.closing.close_other(&Caller::of(fresh), id).await.unwrap();
    }

    async fn records_are_kept_for_as_long_as_they_have_to_be(t: &TestDb) {
        let (house, elsewhere) = house(t, Policy { retention: 30 * DAY, ..Policy::default() });
        let anne = signed_in(&house, "anne@example.org", Role::User).await;
        house.identity.closing.close_own(&anne, None).await.unwrap();
        assert_eq!(elsewhere.erased(), [1, 0]);
        t.clock.advance(29 * DAY);
        house.worker.drain().await.unwrap();
        assert_eq!(elsewhere.erased(), [1, 0]);
        t.clock.advance(DAY);
        house.worker.drain().await.unwrap();
        assert_eq!(elsewhere.erased(), [1, 1]);
        t.clock.advance(DAY);
        house.worker.drain().await.unwrap();
        assert_eq!(elsewhere.erased(), [1, 1]);
    }

    async fn the_last_admin_stays(t: &TestDb) {
        let (house, _) = house(t, Policy::default());
        let mut admins = Vec::new();
        for number in 0..4 {
            let email = format!("admin{number}@example.org");
            admins.push(signed_in(&house, &email, Role::Admin).await);
        }
        // At once: closing, and taking the role from the next one.
        let closing = &house.identity.closing;
        let outcomes = join_all(admins.iter().map(|admin| closing.close_own(admin, None))).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), admins.len() - 1);
        let lost = outcomes.into_iter().find_map(Result::err).unwrap();
        assert_eq!(lost.code(), "last_admin");
    }

    async fn an_admin_closes_a_user_s_account_and_no_admin_s(t: &TestDb) {
        let (house, _) = house(t, Policy::default());
        let admin = signed_in(&house, "admin@example.org", Role::Admin).await;
        let other = house.member("other@example.org", Role::Admin).await;
        let anne = signed_in(&house, "anne@example.org", Role::User).await;
        let ben = signed_in(&house, "ben@example.org", Role::User).await;
        let path = |id: Id<User>| format!("/v1/users/{id}");
        let send = async |caller: &Caller, id| {
            house.send("DELETE", &path(id), caller, Some(json!({}))).await
        };
        assert_eq!(send(&ben, anne.user().unwrap()).await.status, StatusCode::NOT_FOUND);
        assert_eq!(send(&admin, other).await.error.unwrap().code(), "admin_protected");
        assert_eq!(send(&admin, anne.user().unwrap()).await.status, StatusCode::OK);
        assert_eq!(send(&admin, anne.user().unwrap()).await.error.unwrap().code(), "wrong_state");
        assert_eq!(send(&ben, ben.user().unwrap()).await.status, StatusCode::OK);
    }

    async fn closing_twice_at_once_closes_once(t: &TestDb) {
        let (house, elsewhere) = house(t, Policy::default());
        let anne = signed_in(&house, "anne@example.org", Role::User).await;
        let tries = (0..10).map(|_| house.identity.closing.close_own(&anne, None));
        let outcomes = join_all(tries).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert_eq!(elsewhere.erased(), [1, 1]);
    }

    async fn an_export_is_one_document_of_all_rows(t: &TestDb) {
        let (house, _) = house(t, Policy::default());
        let anne = signed_in(&house, "anne@example.org", Role::User).await;
        // More rows than are read at once.
        for number in 0..1_100 {
            let name = format!("Anne {number}");
            let change = crate::account::ProfileChange {
                name: Some(crate::account::Name::parse(&name).unwrap()),
                ..Default::default()
            };
            house.identity.accounts.change_profile(&anne, &change).await.unwrap();
        }
        house.login("anne@example.org").await;
        let export = house.send("GET", "/v1/me/export", &anne, None).await;
        assert_eq!(export.headers["cache-control"], "no-store");
        let holds = &export.json["holds"];
        assert_eq!(export.json["person"], anne.user().unwrap().to_string());
        assert_eq!(holds["identity"]["users"][0]["email"], "anne@example.org");
        assert_eq!(holds["identity"]["users"][0]["name"], "Anne 1099");
        assert_eq!(holds["identity"]["sessions"].as_array().unwrap().len(), 2);
        let facts = holds["platform"]["facts"].as_array().unwrap();
        let mut ids: Vec<&str> = facts.iter().map(|fact| fact["id"].as_str().unwrap()).collect();
        let changed = facts.iter().filter(|fact| fact["verb"] == "user.profile_changed");
        assert_eq!(changed.count(), 1_100);
        ids.dedup();
        assert_eq!(ids.len(), facts.len());
        assert_eq!(facts.last().unwrap()["origin"]["ip"], "192.0.2.1");
        let shown = export.json.to_string();
        for secret in ["argon2", "cookieHash", "refreshSalt", "passwordHash", "sealed"] {
            assert!(!shown.contains(secret), "{secret}");
        }
    }

    async fn a_process_that_knows_no_holders_lets_nobody_go(t: &TestDb) {
        let house = house_of(t, options(t));
        let anne = signed_in(&house, "anne@example.org", Role::User).await;
        for (method, path, body) in
            [("GET", "/v1/me/export", None), ("DELETE", "/v1/me", Some(json!({})))]
        {
            let refused = house.send(method, path, &anne, body).await.error.unwrap();
            assert_eq!(refused.code(), "not_ready");
        }
        assert_eq!(text(&house, anne.user().unwrap(), "status").await, "active");
    }
}

async fn signed_in_again(house: &House<'_>, email: &str) -> Caller {
    let signed_in = house.login(email).await;
    house.caller(&signed_in).await
}
