use std::sync::Arc;
use std::time::Duration;

use kernel::{Caller, Error, Kind, Role, Timestamp};
use platform::db::Read;
use platform::on_both_engines;
use platform::privacy::Own;
use platform::testing::TestDb;
use serde_json::{Value as Json, json};

use super::number;
use crate::IdentityOptions;
use crate::facade::{Policy, Registration};
use crate::session::Locator;
use crate::testing::{House, PASSWORD, TABLES, from, options};

fn nobody() -> Caller {
    from("192.0.2.1")
}

fn house(t: &TestDb) -> House<'_> {
    house_of(t, options(t))
}

/// A house that knows what is held of people, so that they can go.
fn house_of(t: &TestDb, options: IdentityOptions) -> House<'_> {
    t.db.keep_private(crate::testing::master());
    let house = crate::testing::house_of(t, options);
    house.identity.closing.know(vec![Arc::new(Own), Arc::new(crate::closing::Held)]);
    house
}

fn anne() -> Json {
    json!({
        "username": "Anne.C", "full_name": "Anne Cooper", "email": "anne@example.org",
        "password": PASSWORD, "country_code": "NG", "role_id": 1, "status": "active",
        "account_type": 2, "account_name": "The Herons", "account_bio": "Seven of them.",
        "account_plan": 1, "account_avatar_uri": "https://example.org/herons.png",
    })
}

/// The same with other values for some fields.
fn with(base: Json, changes: Json) -> Json {
    let mut all = base;
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

fn number_of(json: &Json) -> i64 {
    json.as_str().unwrap().parse().unwrap()
}

fn field(error: &Error) -> (&str, &str) {
    let field = error.fields().first().unwrap_or_else(|| panic!("no field: {error:?}"));
    (field.pointer.as_str(), field.code.as_str())
}

impl House<'_> {
    /// Calls an RPC and looks through what it answers for anything of a password's hash.
    async fn rpc(&self, caller: &Caller, rpc: &str, fields: Json) -> Result<Json, Error> {
        let fields = fields.as_object().unwrap().clone();
        let services = self.identity.streamfair.ports();
        let reply = rpc::streamfair::call(&services, rpc, caller, fields).await;
        let shown = match &reply {
            Ok(reply) => reply.to_string(),
            Err(error) => format!("{error:?} {}", rpc::status::to_http(error).1),
        };
        assert!(!shown.contains("$argon2"), "{rpc} shows how a password is kept: {shown}");
        for hash in self.hashes().await {
            assert!(!shown.contains(&hash), "{rpc} shows a hash");
        }
        reply
    }

    async fn ok(&self, caller: &Caller, rpc: &str, fields: Json) -> Json {
        self.rpc(caller, rpc, fields).await.unwrap_or_else(|error| panic!("{rpc}: {error:?}"))
    }

    async fn refused(&self, caller: &Caller, rpc: &str, fields: Json) -> Error {
        self.rpc(caller, rpc, fields).await.expect_err(rpc)
    }

    /// The last parts of all hashes that are stored.
    async fn hashes(&self) -> Vec<String> {
        let sql = "SELECT password_hash FROM users WHERE password_hash IS NOT NULL";
        let hashes: Vec<String> = self.t.db.all(sql, &[], |row| row.take()).await.unwrap();
        hashes.iter().filter_map(|hash| hash.rsplit('$').next().map(str::to_owned)).collect()
    }

    /// Somebody who registered here, has proved the address, and signed in.
    async fn streamer(&self, username: &str, email: &str) -> (Caller, Json) {
        let fields = with(anne(), json!({ "username": username, "email": email }));
        self.ok(&nobody(), "RegisterUserAccount", fields).await;
        let token = self.mail_token(email).await;
        self.identity.accounts.verify_email(&Caller::nobody(), &token, None).await.unwrap();
        self.enter(username).await
    }

    async fn enter(&self, username: &str) -> (Caller, Json) {
        let fields = json!({ "username": username, "password": PASSWORD });
        let signed_in = self.ok(&nobody(), "LoginUserAccount", fields).await;
        let token = signed_in["session"]["access_token"].as_str().unwrap();
        let principal = self.authenticate(token).await.unwrap();
        (Caller { principal: Some(principal), ..nobody() }, signed_in)
    }

    /// How many rows a registration has made, by table, in one look.
    async fn made(&self) -> Vec<i64> {
        let count = |table: &str| format!("(SELECT CAST(COUNT(*) AS BIGINT) FROM {table})");
        let letters = "jobs WHERE kind = 'mail.send'";
        let of = ["users", "handles", "holdings", "holding_types", "mail_tokens", letters];
        let counts: Vec<String> = of.iter().map(|table| count(table)).collect();
        let facts = "(SELECT CAST(COUNT(*) AS BIGINT) FROM facts
                      WHERE verb IN ('user.registered', 'account.created'))";
        let sql = format!("SELECT {}, {facts}", counts.join(", "));
        self.t
            .db
            .one(&sql, &[], |row| (0..7).map(|_| row.take()).collect::<Result<Vec<i64>, _>>())
            .await
            .unwrap()
    }
}

fn confirmed(t: &TestDb) -> IdentityOptions {
    let facades = Policy { registration: Registration::Confirmed, ..Policy::default() };
    IdentityOptions { facades, ..options(t) }
}

on_both_engines! { TABLES;
    async fn registration_makes_user_account_and_type_as_one(t: &TestDb) {
        let house = house(t);
        let made = house.ok(&nobody(), "RegisterUserAccount", anne()).await["user_account"].clone();
        assert_eq!(house.made().await, [1, 1, 1, 1, 1, 1, 2]);
        let (user, account, kind) = (&made["user"], &made["account"], &made["account_type"]);
        for (shown, field, value) in [
            (user, "username", json!("Anne.C")),
            (user, "full_name", json!("Anne Cooper")),
            (user, "email", json!("anne@example.org")),
            (user, "country_code", json!("NG")),
            (user, "role_id", json!("1")),
            (user, "status", json!("active")),
            (account, "account_name", json!("The Herons")),
            (account, "account_type", json!(2)),
            (account, "owner", user["id"].clone()),
            (account, "bio", json!("Seven of them.")),
            (account, "plan", json!(1)),
            (account, "avatar_uri", json!("https://example.org/herons.png")),
            (kind, "id", json!("2")),
            (kind, "type", json!(2)),
            (kind, "is_artist", json!(true)),
            (kind, "permissions", json!(r#"["Upload Songs","Upload Albums","Upload Playlists"]"#)),
        ] {
            assert_eq!(shown[field], value, "{field}");
        }
        assert!(user.get("password_hash").is_none() && user.get("password_salt").is_none());
        let id = house.id_of("anne@example.org").await;
        assert_eq!(number_of(&user["id"]), number::of(id));
        let root = house.root().await;
        let named = json!({ "username": "anne.c" });
        assert_eq!(house.ok(&root, "GetUserAccountByUsername", named).await["user_account"], made);
    }

    async fn what_is_wrong_with_a_registration_is_named(t: &TestDb) {
        let house = house(t);
        let long = "seven quiet herons at dusk ".repeat(3);
        for (change, wrong) in [
            (json!({ "username": "ab" }), ("/username", "invalid")),
            (json!({ "username": "x".repeat(25) }), ("/username", "invalid")),
            (json!({ "username": "a@b" }), ("/username", "invalid")),
            (json!({ "full_name": "Anne" }), ("/full_name", "invalid")),
            (json!({ "full_name": "Anne Co" }), ("/full_name", "invalid")),
            (json!({ "email": "anne" }), ("/email", "invalid")),
            (json!({ "password": "short" }), ("/password", "too_short")),
            (json!({ "password": long }), ("/password", "too_long")),
            (json!({ "password": "password1" }), ("/password", "too_common")),
            (json!({ "country_code": "XX" }), ("/country_code", "invalid")),
            (json!({ "country_code": "NGA" }), ("/country_code", "invalid")),
            (json!({ "role_id": 3 }), ("/role_id", "not_allowed")),
            (json!({ "role_id": "3" }), ("/role_id", "not_allowed")),
            (json!({ "role_id": 4 }), ("/role_id", "out_of_range")),
            (json!({ "status": "banned" }), ("/status", "invalid")),
            (json!({ "account_type": 0 }), ("/account_type", "out_of_range")),
            (json!({ "account_type": 77 }), ("/account_type", "unknown")),
            (json!({ "account_plan": -1 }), ("/account_plan", "out_of_range")),
            (json!({ "account_bio": "\u{7}" }), ("/account_bio", "invalid")),
            (json!({ "account_avatar_uri": "ftp://x" }), ("/account_avatar_uri", "invalid")),
        ] {
            let refused = house.refused(&nobody(), "RegisterUserAccount", with(anne(), change)).await;
            assert_eq!(field(&refused), wrong);
            assert_eq!(refused.fields().len(), 1, "{:?}", refused.fields());
        }
        let all = house.refused(&nobody(), "RegisterUserAccount", json!({})).await;
        let named: Vec<&str> = all.fields().iter().map(|field| field.pointer.as_str()).collect();
        assert_eq!(
            named,
            [
                "/username", "/full_name", "/email", "/country_code", "/password",
                "/account_name", "/account_type"
            ]
        );
        assert_eq!(house.made().await, [0; 7]);
    }

    async fn names_and_addresses_are_taken_once(t: &TestDb) {
        let house = house(t);
        house.ok(&nobody(), "RegisterUserAccount", anne()).await;
        let again = with(anne(), json!({ "email": "other@example.org", "username": "aNNE.c" }));
        let refused = house.refused(&nobody(), "RegisterUserAccount", again).await;
        assert_eq!((refused.kind(), refused.code()), (Kind::Conflict, "username_taken"));
        let again = with(anne(), json!({ "username": "other" }));
        let refused = house.refused(&nobody(), "RegisterUserAccount", again).await;
        assert_eq!((refused.kind(), refused.code()), (Kind::Conflict, "email_taken"));
        assert_eq!(house.made().await, [1, 1, 1, 1, 1, 1, 2]);
    }

    async fn of_two_that_choose_one_username_one_wins(t: &TestDb) {
        let house = house(t);
        let one = with(anne(), json!({ "email": "one@example.org" }));
        let two = with(anne(), json!({ "email": "two@example.org", "username": "anne.C" }));
        let caller = nobody();
        let (one, two) = tokio::join!(
            house.rpc(&caller, "RegisterUserAccount", one),
            house.rpc(&caller, "RegisterUserAccount", two)
        );
        assert_ne!(one.is_ok(), two.is_ok());
        assert_eq!(one.err().or(two.err()).unwrap().code(), "username_taken");
        assert_eq!(house.made().await, [1, 1, 1, 1, 1, 1, 2]);
    }

    async fn a_registration_that_fails_anywhere_leaves_nothing(t: &TestDb) {
        let house = house(t);
        for table in
            ["users", "user_tags", "handles", "holdings", "holding_types", "mail_tokens", "jobs",
             "facts"]
        {
            break_inserts(t, table, true).await;
            // Registrations from one address are bounded.
            t.clock.advance(Duration::from_secs(3600));
            house.refused(&nobody(), "RegisterUserAccount", anne()).await;
            assert_eq!(house.made().await, [0; 7], "{table}");
            break_inserts(t, table, false).await;
        }
        house.ok(&nobody(), "RegisterUserAccount", anne()).await;
        assert_eq!(house.made().await, [1, 1, 1, 1, 1, 1, 2]);
    }

    async fn a_registration_that_is_given_up_anywhere_is_whole_or_not_there(t: &TestDb) {
        let house = house(t);
        for polls in 0.. {
            let name = format!("anne{polls}");
            let fields = json!({ "username": name, "email": format!("{name}@example.org") });
            let caller = nobody();
            let work = house.rpc(&caller, "RegisterUserAccount", with(anne(), fields));
            let done = give_up_after(polls, work).await;
            // Given up while the commit was under way, it may still come: all of it.
            let made = house.made().await;
            let (facts, rows) = made.split_last().unwrap();
            assert!(rows.iter().all(|rows| *rows == made[0]), "{polls}: {made:?}");
            assert_eq!(*facts, 2 * made[0], "{polls}");
            if done {
                break;
            }
        }
        assert!(house.made().await[0] >= 1);
    }

    async fn an_account_may_begin_inactive(t: &TestDb) {
        let house = house(t);
        let fields = with(anne(), json!({ "status": "inactive" }));
        // By an admin's doing: a stranger would lock an address for good.
        let refused = house.refused(&nobody(), "RegisterUserAccount", fields.clone()).await;
        assert_eq!((&*refused.fields()[0].pointer, &*refused.fields()[0].code),
            ("/status", "not_allowed"));
        house.ok(&nobody(), "RegisterUserAccount", with(anne(), json!({ "email": "b@example.org", "username": "b.c" }))).await;
        let root = house.root().await;
        let made = house.ok(&root, "RegisterUserAccount", fields).await;
        assert_eq!(made["user_account"]["user"]["status"], "inactive");
        let login = json!({ "username": "anne.c", "password": PASSWORD });
        let refused = house.refused(&nobody(), "LoginUserAccount", login).await;
        assert_eq!(refused.code(), "account_suspended");
    }

    async fn one_signs_in_by_username_or_address(t: &TestDb) {
        let house = house(t);
        house.ok(&nobody(), "RegisterUserAccount", anne()).await;
        for name in ["Anne.C", "anne.c", "anne@example.org", "ANNE@example.org"] {
            let login = json!({ "username": name, "password": PASSWORD });
            let signed_in = house.ok(&nobody(), "LoginUserAccount", login).await;
            assert_eq!(signed_in["user_account"]["user"]["username"], "Anne.C");
            assert_eq!(signed_in["user_account"]["account"]["account_name"], "The Herons");
            let session = &signed_in["session"];
            let token = session["access_token"].as_str().unwrap();
            assert!(token.starts_with("v4.local."));
            let principal = house.authenticate(token).await.unwrap();
            assert_eq!(session["session_id"], principal.session.uuid().to_string());
            assert!(!principal.email_verified, "the address is not proved yet");
            let refresh = session["refresh_token"].as_str().unwrap();
            house.identity.sessions.refresh(&nobody(), refresh).await.unwrap();
            assert_eq!(session["client_ip"], "192.0.2.1");
            assert!(session.get("is_blocked").is_none());
        }
    }

    async fn a_wrong_password_and_an_unknown_name_are_one_answer(t: &TestDb) {
        let house = house(t);
        house.streamer("anne", "anne@example.org").await;
        let mut said = Vec::new();
        for (name, password) in [
            ("anne", "a horse of no batteries"),
            ("nobody", PASSWORD),
            ("anne@example.org", "a horse of no batteries"),
            ("nobody@example.org", PASSWORD),
        ] {
            let login = json!({ "username": name, "password": password });
            let refused = house.refused(&nobody(), "LoginUserAccount", login).await;
            assert_eq!(refused.kind(), Kind::Unauthenticated);
            said.push(rpc::status::to_http(&refused));
        }
        assert!(said.windows(2).all(|pair| pair[0] == pair[1]));
    }

    async fn guesses_at_an_unknown_name_are_counted_as_at_a_known_one(t: &TestDb) {
        let house = house(t);
        house.streamer("anne", "anne@example.org").await;
        let guesses = async |name: &str| {
            let login = json!({ "username": name, "password": "wrong wrong wrong" });
            let mut codes = Vec::new();
            for _ in 0..12 {
                codes.push(house.refused(&nobody(), "LoginUserAccount", login.clone()).await.kind());
            }
            codes
        };
        assert_eq!(guesses("anne").await, guesses("nobody").await);
    }

    async fn where_addresses_are_confirmed_first_a_taken_one_is_not_told(t: &TestDb) {
        let house = house_of(t, confirmed(t));
        assert_eq!(house.ok(&nobody(), "RegisterUserAccount", anne()).await, json!({}));
        let (verified, login) =
            (house.mail_token("anne@example.org").await, json!({ "username": "anne.c",
                "password": PASSWORD }));
        let refused = house.refused(&nobody(), "LoginUserAccount", login.clone()).await;
        assert_eq!(refused.code(), "email_not_verified");
        house.identity.accounts.verify_email(&Caller::nobody(), &verified, None).await.unwrap();
        house.ok(&nobody(), "LoginUserAccount", login).await;

        let again = with(anne(), json!({ "username": "somebody" }));
        assert_eq!(house.ok(&nobody(), "RegisterUserAccount", again).await, json!({}));
        let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM handles";
        assert_eq!(house.count(sql).await, 1);
    }

    async fn an_unproved_registration_gives_way_with_all_it_holds(t: &TestDb) {
        let house = house(t);
        house.ok(&nobody(), "RegisterUserAccount", anne()).await;
        let (squatter, _) = house.enter("anne.c").await;
        let owner = house.member("anne@example.org", Role::User).await;
        assert_ne!(owner, squatter.user().unwrap());
        let over = house.identity.sessions.find(
            &squatter,
            Locator::Id(squatter.principal().unwrap().session),
        );
        assert!(over.await.unwrap().0.ended_at.is_some());
        // Not even the name is left behind.
        let other = with(anne(), json!({ "email": "other@example.org" }));
        house.ok(&nobody(), "RegisterUserAccount", other).await;
    }

    async fn users_see_themselves_and_admins_everybody(t: &TestDb) {
        let house = house(t);
        let (anne, signed_in) = house.streamer("anne", "anne@example.org").await;
        let (ben, _) = house.streamer("ben", "ben@example.org").await;
        let root = house.root().await;
        let id = signed_in["user_account"]["user"]["id"].clone();
        for caller in [&anne, &root] {
            let by_id = house.ok(caller, "GetUserById", json!({ "id": id })).await;
            for name in ["anne", "ANNE", "anne@example.org"] {
                let by_name = house.ok(caller, "GetUserByValue", json!({ "username": name })).await;
                assert_eq!(by_name, by_id);
            }
            assert_eq!(by_id["user"]["email"], "anne@example.org");
        }
        for (rpc, fields) in [
            ("GetUserById", json!({ "id": id })),
            ("GetUserByValue", json!({ "username": "anne" })),
            ("GetUserByValue", json!({ "username": "nobody" })),
            ("GetUserById", json!({ "id": 12345 })),
            ("GetUserById", json!({ "id": -1 })),
            ("GetUserAccountByUsername", json!({ "username": "anne" })),
            ("DeleteUserById", json!({ "id": id })),
            ("DeleteUserByValue", json!({ "username": "anne" })),
            ("UpdateUser", json!({ "id": id, "username": "bens" })),
            ("ListAccountByOwner", json!({ "owner": id })),
        ] {
            let refused = house.refused(&ben, rpc, fields).await;
            assert_eq!(refused.kind(), Kind::NotFound, "{rpc}");
        }
        assert_eq!(house.refused(&ben, "GetUserById", json!({})).await.fields()[0].code, "missing");
    }

    async fn admins_list_users_in_windows(t: &TestDb) {
        let house = house(t);
        let root = house.root().await;
        house.streamer("anne", "anne@example.org").await;
        house.member("ben@example.org", Role::User).await;
        let list = async |fields: Json| {
            let users = house.ok(&root, "ListUsers", fields).await["users"].clone();
            let of = |user: &Json| (user["email"].clone(), user["role_id"].clone());
            users.as_array().map(|users| users.iter().map(of).collect::<Vec<_>>()).unwrap_or_default()
        };
        let all = list(json!({})).await;
        assert_eq!(
            all,
            [
                (json!("ben@example.org"), json!("1")),
                (json!("anne@example.org"), json!("1")),
                (json!("root@example.org"), json!("3"))
            ]
        );
        assert_eq!(list(json!({ "limit": 1, "offset": 1 })).await, all[1..2]);
        assert_eq!(list(json!({ "limit": "2", "offset": 100 })).await, []);
        for fields in [
            json!({ "limit": 101 }),
            json!({ "limit": -1 }),
            json!({ "offset": 101 }),
            json!({ "offset": -1 }),
        ] {
            assert_eq!(house.refused(&root, "ListUsers", fields).await.fields()[0].code, "out_of_range");
        }
        let (anne, _) = house.enter("anne").await;
        assert_eq!(house.refused(&anne, "ListUsers", json!({})).await.kind(), Kind::Forbidden);
    }

    async fn a_user_changes_what_is_theirs(t: &TestDb) {
        let house = house(t);
        let (anne, signed_in) = house.streamer("anne", "anne@example.org").await;
        house.streamer("ben", "ben@example.org").await;
        let id = signed_in["user_account"]["user"]["id"].clone();
        let update = async |caller: &Caller, fields: Json| {
            house.rpc(caller, "UpdateUser", with(json!({ "id": id }), fields)).await
        };
        let changed = update(&anne, json!({ "username": "anna", "full_name": "Anna Cooper",
            "country_code": "gb", "username_changed_at": "2020-01-01T00:00:00Z" })).await.unwrap();
        let user = &changed["user"];
        assert_eq!((&user["username"], &user["full_name"]), (&json!("anna"), &json!("Anna Cooper")));
        assert_eq!(user["country_code"], "GB");
        let now = t.db.world().now().to_string();
        assert_eq!(user["username_changed_at"], json!(now), "the server's clock, not the client's");
        house.enter("anna").await;

        for (fields, wrong) in [
            (json!({ "email": "new@example.org" }), ("/email", "not_allowed")),
            (json!({ "password_hash": "x" }), ("/password_hash", "not_allowed")),
            (json!({ "password_salt": "x" }), ("/password_salt", "not_allowed")),
            (json!({ "role_id": 2 }), ("/role_id", "not_allowed")),
            (json!({ "role_id": 3 }), ("/role_id", "not_allowed")),
            (json!({ "status": "inactive" }), ("/status", "not_allowed")),
            (json!({ "username": "x" }), ("/username", "invalid")),
            (json!({ "full_name": "Anna" }), ("/full_name", "invalid")),
            (json!({ "id": 0, "full_name": "Anna Cooper" }), ("/id", "missing")),
        ] {
            assert_eq!(field(&update(&anne, fields).await.unwrap_err()), wrong);
        }
        let taken = update(&anne, json!({ "username": "BEN" })).await.unwrap_err();
        assert_eq!(taken.code(), "username_taken");
        // What is as it was is no change.
        let same = json!({ "email": "anne@example.org", "status": "active", "role_id": 1 });
        update(&anne, same).await.unwrap();

        let root = house.root().await;
        let changed = update(&root, json!({ "role_id": 2, "status": "inactive" })).await.unwrap();
        assert_eq!((&changed["user"]["role_id"], &changed["user"]["status"]),
            (&json!("2"), &json!("inactive")));
        assert_eq!(field(&update(&root, json!({ "role_id": 3 })).await.unwrap_err()),
            ("/role_id", "not_allowed"));
        update(&root, json!({ "status": "active" })).await.unwrap();
        let role: String = t.db.one("SELECT role FROM users WHERE id = $1",
            platform::params![anne.user().unwrap()], |row| row.take()).await.unwrap();
        assert_eq!(role, "user");
    }

    async fn who_came_by_another_door_may_choose_a_username(t: &TestDb) {
        let house = house(t);
        let signed_in = house.signed_in("anne@example.org", Role::User).await;
        let anne = house.caller(&signed_in).await;
        let shown = house.ok(&anne, "GetUserByValue", json!({ "username": "anne@example.org" })).await;
        assert!(shown["user"].get("username").is_none());
        let id = shown["user"]["id"].clone();
        let incomplete = json!({ "id": id, "username": "anne" });
        let refused = house.refused(&anne, "UpdateUser", incomplete).await;
        assert_eq!(field(&refused), ("/country_code", "missing"));
        let complete = json!({ "id": id, "username": "anne", "country_code": "NG" });
        house.ok(&anne, "UpdateUser", complete).await;
        house.enter("anne").await;
    }

    async fn admins_import_users_with_hashes_that_are_checked_here(t: &TestDb) {
        let house = house(t);
        let root = house.root().await;
        let (anne, _) = house.streamer("anne", "anne@example.org").await;
        let hash: String = t.db.one("SELECT password_hash FROM users WHERE email = $1",
            platform::params!["anne@example.org"], |row| row.take()).await.unwrap();
        let ben = json!({
            "username": "ben", "full_name": "Benjamin Okoro", "email": "ben@example.org",
            "password_hash": hash, "country_code": "NG", "role_id": 1, "status": "active",
        });
        let refused = house.refused(&anne, "CreateUser", ben.clone()).await;
        assert_eq!(refused.kind(), Kind::Forbidden);
        for (change, wrong) in [
            (json!({ "password_hash": "" }), ("/password_hash", "unknown_scheme")),
            (json!({ "password_hash": "5f4dcc3b5aa765d61d8327deb882cf99" }),
                ("/password_hash", "unknown_scheme")),
            (json!({ "password_hash": "$2b$10$abcdefghijklmnopqrstuv" }),
                ("/password_hash", "unknown_scheme")),
            (json!({ "password_hash": hash.replace("m=8,", "m=99999999,") }),
                ("/password_hash", "too_costly")),
            (json!({ "password_salt": "c2FsdHNhbHQ" }), ("/password_salt", "not_allowed")),
            (json!({ "role_id": 3 }), ("/role_id", "not_allowed")),
        ] {
            let refused = house.refused(&root, "CreateUser", with(ben.clone(), change)).await;
            assert_eq!(field(&refused), wrong);
        }
        let made = house.ok(&root, "CreateUser", ben.clone()).await;
        assert_eq!(made["user"]["username"], "ben");
        house.enter("ben").await;
        let again = with(ben.clone(), json!({ "username": "other" }));
        assert_eq!(house.refused(&root, "CreateUser", again).await.code(), "email_taken");
        let again = with(ben, json!({ "email": "other@example.org" }));
        assert_eq!(house.refused(&root, "CreateUser", again).await.code(), "username_taken");
        let admins = "SELECT CAST(COUNT(*) AS BIGINT) FROM users WHERE role = 'admin'";
        assert_eq!(house.count(admins).await, 1);
    }

    async fn a_deleted_user_is_signed_out_and_stays_out(t: &TestDb) {
        let house = house(t);
        let (anne, signed_in) = house.streamer("anne", "anne@example.org").await;
        let (_, by_ben) = house.streamer("ben", "ben@example.org").await;
        let root = house.root().await;
        house.ok(&anne, "DeleteUserByValue", json!({ "username": "anne" })).await;
        let token = signed_in["session"]["access_token"].as_str().unwrap();
        assert_eq!(house.authenticate(token).await.unwrap_err().code(), "session_ended");
        let login = json!({ "username": "anne", "password": PASSWORD });
        let refused = house.refused(&nobody(), "LoginUserAccount", login).await;
        assert_eq!(refused.code(), "invalid_credentials");

        let id = by_ben["user_account"]["user"]["id"].clone();
        house.ok(&root, "DeleteUserById", json!({ "id": id })).await;
        let shown = house.ok(&root, "GetUserById", json!({ "id": id })).await;
        assert_eq!(shown["user"]["status"], "inactive");
        let own = number::of(root.user().unwrap());
        let refused = house.refused(&root, "DeleteUserById", json!({ "id": own })).await;
        assert_eq!(refused.code(), "last_admin");
    }

    async fn accounts_are_opened_and_listed(t: &TestDb) {
        let house = house(t);
        let (anne, signed_in) = house.streamer("anne", "anne@example.org").await;
        let (ben, by_ben) = house.streamer("ben", "ben@example.org").await;
        let root = house.root().await;
        let id = signed_in["user_account"]["user"]["id"].clone();
        let label = json!({
            "account_name": "Heron Records", "account_type": 5, "bio": "We publish.", "plan": 2,
            "status": "inactive",
        });
        let made = house.ok(&anne, "CreateAccount", label.clone()).await["account"].clone();
        for (field, value) in [
            ("account_name", json!("Heron Records")),
            ("account_type", json!(5)),
            ("owner", id.clone()),
            ("status", json!("inactive")),
            ("plan", json!(2)),
        ] {
            assert_eq!(made[field], value, "{field}");
        }
        let refused = house.refused(&anne, "CreateAccount", label.clone()).await;
        assert_eq!(refused.code(), "account_exists");
        for (change, wrong) in [
            (json!({ "account_type": 77 }), ("/account_type", "unknown")),
            (json!({ "account_name": "" }), ("/account_name", "invalid")),
            (json!({ "owner": 12345 }), ("/owner", "unknown")),
            (json!({ "status": "x" }), ("/status", "invalid")),
            (json!({ "plan": 101 }), ("/plan", "out_of_range")),
            (json!({ "avatar_uri": "x" }), ("/avatar_uri", "invalid")),
        ] {
            let refused = house.refused(&anne, "CreateAccount", with(label.clone(), change)).await;
            assert_eq!(field(&refused), wrong);
        }
        let of_ben = with(label, json!({ "owner": by_ben["user_account"]["user"]["id"] }));
        assert_eq!(house.refused(&anne, "CreateAccount", of_ben.clone()).await.kind(), Kind::Forbidden);
        house.ok(&root, "CreateAccount", of_ben).await;

        for (caller, fields) in [(&anne, json!({})), (&anne, json!({ "owner": id })),
            (&root, json!({ "owner": id }))]
        {
            let listed = house.ok(caller, "ListAccountByOwner", fields).await;
            let names: Vec<_> = listed["accounts"].as_array().unwrap().iter()
                .map(|account| account["account_name"].as_str().unwrap().to_owned()).collect();
            assert_eq!(names, ["Heron Records", "The Herons"]);
        }
        let second = house.ok(&anne, "ListAccountByOwner", json!({ "limit": 1, "offset": 1 })).await;
        assert_eq!(second["accounts"][0]["account_name"], "The Herons");
        let refused = house.refused(&ben, "ListAccountByOwner", json!({ "limit": 101 })).await;
        assert_eq!(field(&refused), ("/limit", "out_of_range"));
    }

    async fn admins_add_account_types(t: &TestDb) {
        let house = house(t);
        let root = house.root().await;
        let (anne, _) = house.streamer("anne", "anne@example.org").await;
        let new = json!({ "type": 6, "permissions": r#"["Upload Playlists"]"# });
        let refused = house.refused(&anne, "CreateAccountType", new.clone()).await;
        assert_eq!(refused.kind(), Kind::Forbidden);
        let made = house.ok(&root, "CreateAccountType", new.clone()).await["account_type"].clone();
        assert_eq!((&made["type"], &made["permissions"]), (&json!(6), &new["permissions"]));
        assert!(made.get("is_user").is_none());
        assert_eq!(house.refused(&root, "CreateAccountType", new).await.code(), "number_taken");
        for (fields, wrong) in [
            (json!({}), ("/type", "out_of_range")),
            (json!({ "type": 7, "is_artist": true }), ("/type", "contradicts")),
            (json!({ "type": 7, "permissions": "Upload" }), ("/permissions", "invalid")),
        ] {
            assert_eq!(field(&house.refused(&root, "CreateAccountType", fields).await), wrong);
        }
    }

    async fn sessions_are_seen_extended_and_ended(t: &TestDb) {
        let house = house(t);
        let (anne, signed_in) = house.streamer("anne", "anne@example.org").await;
        let (ben, _) = house.streamer("ben", "ben@example.org").await;
        let root = house.root().await;
        let uuid = signed_in["session"]["session_id"].clone();
        let named = json!({ "uuid": uuid });
        let shown = house.ok(&anne, "GetSession", named.clone()).await["session"].clone();
        assert_eq!((&shown["username"], &shown["client_ip"]), (&json!("anne"), &json!("192.0.2.1")));
        assert!(shown.get("refresh_token").is_none() && shown.get("is_blocked").is_none());
        assert_eq!(house.ok(&root, "VerifySession", named.clone()).await["session"], shown);
        for rpc in ["GetSession", "VerifySession", "RevokeSession", "DeleteSession"] {
            assert_eq!(house.refused(&ben, rpc, named.clone()).await.kind(), Kind::NotFound);
            let nonsense = json!({ "uuid": "x" });
            assert_eq!(house.refused(&root, rpc, nonsense).await.kind(), Kind::NotFound);
        }

        let until = |days: i64| (t.db.world().now() + Duration::from_secs(86_400)
            * u32::try_from(days).unwrap()).to_string();
        let sooner = until(2);
        let fields = json!({ "uuid": uuid, "expires_at": sooner });
        let extended = house.ok(&anne, "ExtendSession", fields).await;
        assert_eq!(extended["session"]["expires_at"], json!(sooner));
        let later = json!({ "uuid": uuid, "expires_at": until(30) });
        house.ok(&anne, "ExtendSession", later).await;
        for wrong in [until(31), "2020-01-01T00:00:00Z".to_owned()] {
            let fields = json!({ "uuid": uuid, "expires_at": wrong });
            let refused = house.refused(&root, "ExtendSession", fields).await;
            assert_eq!(field(&refused), ("/expires_at", "out_of_range"));
        }
        assert_eq!(field(&house.refused(&anne, "ExtendSession", named.clone()).await),
            ("/expires_at", "missing"));

        house.ok(&root, "RevokeSession", named.clone()).await;
        let token = signed_in["session"]["access_token"].as_str().unwrap();
        assert_eq!(house.authenticate(token).await.unwrap_err().code(), "session_ended");
        let over = house.ok(&root, "GetSession", named.clone()).await;
        assert_eq!(over["session"]["is_blocked"], true);
        assert_eq!(house.refused(&root, "VerifySession", named.clone()).await.code(), "session_ended");
        let fields = json!({ "uuid": uuid, "expires_at": until(1) });
        assert_eq!(house.refused(&root, "ExtendSession", fields).await.code(), "session_over");
        house.ok(&root, "RevokeSession", named.clone()).await;
        house.ok(&root, "DeleteSession", named.clone()).await;
        assert_eq!(house.refused(&root, "GetSession", named).await.kind(), Kind::NotFound);
    }

    async fn one_begins_sessions_of_one_s_own(t: &TestDb) {
        let house = house(t);
        let (anne, _) = house.streamer("anne", "anne@example.org").await;
        house.streamer("ben", "ben@example.org").await;
        t.clock.advance(Duration::from_secs(3600));
        let (begun_at, proven_at) = (t.db.world().now(), anne.principal().unwrap().proven_at);
        let fields = json!({ "username": "anne", "user_agent": "a phone", "client_ip": "1.2.3.4" });
        let made = house.ok(&anne, "CreateSession", fields).await["session"].clone();
        assert_eq!((&made["user_agent"], &made["client_ip"]), (&json!("a phone"), &json!("192.0.2.1")));
        let until: Timestamp = made["expires_at"].as_str().unwrap().parse().unwrap();
        assert!(until < begun_at + Duration::from_secs(30 * 86_400), "as long as its parent");
        let refresh = made["refresh_token"].as_str().unwrap();
        let tokens = house.identity.sessions.refresh(&nobody(), refresh).await.unwrap();
        let principal = house.authenticate(tokens.access.expose()).await.unwrap();
        assert_eq!(principal.proven_at, proven_at, "nothing was proven anew");
        assert_eq!(made["uuid"], principal.session.uuid().to_string());

        for (fields, wrong) in [
            (json!({ "uuid": "00000000-0000-7000-8000-000000000000" }), ("/uuid", "not_allowed")),
            (json!({ "refresh_token": "x" }), ("/refresh_token", "not_allowed")),
            (json!({ "is_blocked": true }), ("/is_blocked", "not_allowed")),
            (json!({ "username": "ben" }), ("/username", "not_allowed")),
            (json!({ "username": "nobody" }), ("/username", "not_allowed")),
            (json!({ "expires_at": "2020-01-01T00:00:00Z" }), ("/expires_at", "out_of_range")),
            (json!({ "expires_at": "2030-01-01T00:00:00Z" }), ("/expires_at", "out_of_range")),
        ] {
            assert_eq!(field(&house.refused(&anne, "CreateSession", fields).await), wrong);
        }
    }

    async fn tokens_are_made_told_once_and_ended(t: &TestDb) {
        let house = house(t);
        let (anne, signed_in) = house.streamer("anne", "anne@example.org").await;
        let (ben, _) = house.streamer("ben", "ben@example.org").await;
        let root = house.root().await;
        let own = signed_in["user_account"]["user"]["id"].clone();
        for (noun, part, plural) in
            [("Token", "token", "tokens"), ("RefreshToken", "refresh_token", "refresh_tokens")]
        {
            let until = (t.db.world().now() + Duration::from_secs(3600)).to_string();
            let fields = json!({ "user_id": own, "expires_at": until });
            let made = house.ok(&anne, &format!("Create{noun}"), fields).await[part].clone();
            let (id, text) = (made["id"].clone(), made["token"].clone());
            assert_eq!((&made["user_id"], &made["expires_at"]), (&own, &json!(until)));
            assert!(text.as_str().unwrap().len() >= 43);
            let by_id = json!({ "id": id });
            let by_value = json!({ "token": text });
            for caller in [&anne, &root] {
                let found = house.ok(caller, &format!("Get{noun}ById"), by_id.clone()).await;
                let value = house.ok(caller, &format!("Get{noun}ByValue"), by_value.clone()).await;
                assert_eq!(found, value);
                assert_eq!(found[part]["id"], id);
                assert!(found[part].get("token").is_none(), "told once");
                let checked = house.ok(caller, &format!("Verify{noun}"), by_value.clone()).await;
                assert_eq!(checked["payload"]["expired_at"], json!(until));
            }
            for (rpc, fields) in [
                (format!("Get{noun}ById"), &by_id),
                (format!("Get{noun}ByValue"), &by_value),
                (format!("Revoke{noun}ById"), &by_id),
                (format!("Revoke{noun}ByValue"), &by_value),
                (format!("Delete{noun}ById"), &by_id),
                (format!("Delete{noun}ByValue"), &by_value),
            ] {
                let refused = house.refused(&ben, &rpc, fields.clone()).await;
                assert_eq!(refused.kind(), Kind::NotFound, "{rpc}");
            }
            let refused = house.refused(&ben, &format!("Verify{noun}"), by_value.clone()).await;
            assert_eq!(refused.code(), "invalid_token");

            let listed = async |caller: &Caller, rpc: String| {
                let tokens = house.ok(caller, &rpc, json!({})).await[plural].clone();
                let ids = tokens.as_array().cloned().unwrap_or_default();
                ids.iter().map(|token| token["id"].clone()).collect::<Vec<_>>()
            };
            assert!(listed(&anne, format!("List{noun}s")).await.contains(&id));
            assert!(listed(&root, format!("List{noun}s")).await.contains(&id));
            assert!(!listed(&ben, format!("List{noun}s")).await.contains(&id));
            house.ok(&anne, &format!("Revoke{noun}ByValue"), by_value.clone()).await;
            assert!(!listed(&anne, format!("List{noun}s")).await.contains(&id));
            assert_eq!(listed(&anne, format!("ListRevoked{noun}s")).await, std::slice::from_ref(&id));
            let over = house.ok(&anne, &format!("Get{noun}ById"), by_id.clone()).await;
            assert_eq!(over[part]["revoked"], true);
            let refused = house.refused(&anne, &format!("Verify{noun}"), by_value).await;
            assert_eq!(refused.code(), "invalid_token");
            house.ok(&anne, &format!("Delete{noun}ById"), by_id.clone()).await;
            assert!(listed(&anne, format!("ListRevoked{noun}s")).await.is_empty());
            let gone = house.refused(&anne, &format!("Get{noun}ById"), by_id).await;
            assert_eq!(gone.kind(), Kind::NotFound);

            for (fields, kind) in [
                (json!({ "user_id": number::of(ben.user().unwrap()) }), Kind::Forbidden),
                (json!({ "expires_at": "soon" }), Kind::Invalid),
                (json!({ "expires_at": "2020-01-01T00:00:00Z" }), Kind::Invalid),
            ] {
                let refused = house.refused(&anne, &format!("Create{noun}"), fields).await;
                assert_eq!(refused.kind(), kind);
            }
        }
    }

    async fn a_token_of_one_kind_is_none_of_the_other(t: &TestDb) {
        let house = house(t);
        let (anne, signed_in) = house.streamer("anne", "anne@example.org").await;
        let access = json!({ "token": signed_in["session"]["access_token"] });
        let refresh = json!({ "token": signed_in["session"]["refresh_token"] });
        house.ok(&anne, "VerifyToken", access.clone()).await;
        house.ok(&anne, "VerifyRefreshToken", refresh.clone()).await;
        for (rpc, fields) in [("VerifyToken", refresh), ("VerifyRefreshToken", access)] {
            assert_eq!(house.refused(&anne, rpc, fields).await.code(), "invalid_token");
        }
        let nonsense = json!({ "token": "x".repeat(10_000) });
        assert_eq!(house.refused(&anne, "VerifyToken", nonsense).await.code(), "invalid_token");
    }

    async fn no_token_that_was_told_is_in_the_database(t: &TestDb) {
        let house = house(t);
        let (anne, signed_in) = house.streamer("anne", "anne@example.org").await;
        let access = house.ok(&anne, "CreateToken", json!({})).await;
        let refresh = house.ok(&anne, "CreateRefreshToken", json!({})).await;
        let session = house.ok(&anne, "CreateSession", json!({})).await;
        let told = [
            &access["token"]["token"],
            &refresh["refresh_token"]["token"],
            &session["session"]["refresh_token"],
            &signed_in["session"]["access_token"],
            &signed_in["session"]["refresh_token"],
        ]
        .map(|token| token.as_str().unwrap().to_owned());
        let kept = everything(t).await;
        assert!(kept.contains("anne@example.org"), "the search finds what is there");
        for token in told {
            assert!(!kept.contains(&token), "a token is kept in the clear");
        }
    }
}

/// Everything that is stored, as one text.
async fn everything(t: &TestDb) -> String {
    if !t.is_postgres() {
        let folder = std::fs::read_dir(t.directory()).unwrap();
        let files = folder.map(|file| std::fs::read(file.unwrap().path()).unwrap_or_default());
        return String::from_utf8_lossy(&files.collect::<Vec<_>>().concat()).into_owned();
    }
    let tables = "SELECT CAST(table_name AS TEXT) FROM information_schema.tables
                  WHERE table_schema = current_schema()";
    let tables: Vec<String> = t.db.all(tables, &[], |row| row.take()).await.unwrap();
    let mut all = String::new();
    for table in tables {
        let sql = format!("SELECT CAST(kept AS TEXT) FROM {table} AS kept");
        let rows: Vec<String> = t.db.all(&sql, &[], |row| row.take()).await.unwrap();
        all.extend(rows);
    }
    all
}

/// Makes every insert into a table fail, or lets them be again.
async fn break_inserts(t: &TestDb, table: &str, breaks: bool) {
    let statements = match (t.is_postgres(), breaks) {
        (true, true) => vec![
            "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
             $body$ BEGIN RAISE EXCEPTION 'broken on purpose'; END $body$"
                .to_owned(),
            format!(
                "CREATE TRIGGER broken BEFORE INSERT ON {table}
                 FOR EACH ROW EXECUTE FUNCTION broken()"
            ),
        ],
        (true, false) => vec![format!("DROP TRIGGER broken ON {table}")],
        (false, true) => vec![format!(
            "CREATE TRIGGER broken BEFORE INSERT ON {table}
             BEGIN SELECT RAISE(ABORT, 'broken on purpose'); END"
        )],
        (false, false) => vec!["DROP TRIGGER broken".to_owned()],
    };
    let statements = &statements;
    t.db.run("test.break", |tx| async move {
        for sql in statements {
            tx.execute(sql, &[]).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

/// Polls work so many times and drops it; `true` when it was done before.
async fn give_up_after(polls: usize, work: impl Future) -> bool {
    let mut work = Box::pin(work);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if work.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(true);
        }
        if left == 0 {
            return std::task::Poll::Ready(false);
        }
        left -= 1;
        std::task::Poll::Pending
    })
    .await
}
