//! API keys, over HTTP and as the gateway asks about them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use kernel::caller::Actor;
use kernel::{Permission, Role};
use platform::crypto::MasterKey;
use platform::db::Read;
use platform::fleet::{Fleet, Notice};
use serde_json::{Value as Json, json};

use super::model::{self, is_key};
use crate::testing::{House, TABLES, id_of};
use crate::{Organizations, Standings};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const DAY: Duration = Duration::from_secs(24 * 3600);
const KEYS: &str = "POST /v1/enterprise/api-keys";

/// Makes a key; answers its id and its text.
async fn make(house: &House<'_>, who: &kernel::Caller, body: Json) -> (String, String) {
    let made = house.ok(who, KEYS, body).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("id"), text("key"))
}

fn for_reading() -> Json {
    json!({ "name": "Import", "scopes": ["verifications:read"] })
}

/// The code with which a key is refused; `ok` where it is not.
async fn ask(organizations: &Organizations, key: &str) -> String {
    match organizations.by_key(key, false, HERE).await {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.code().to_owned(),
    }
}

platform::on_both_engines! { TABLES;

async fn a_key_is_shown_once_and_opens_what_its_scopes_say(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    let (id, key) = make(&house, &eve, for_reading()).await;
    assert!(is_key(&key) && model::prefix(&key).is_some(), "{key}");
    let principal = house.organizations.by_key(&key, false, HERE).await.unwrap();
    assert_eq!((principal.user, principal.role), (id_of(&eve), Role::Enterprise));
    assert_eq!(principal.acting.unwrap().by, Actor::Key(id.parse().unwrap()));
    assert!(principal.may(Permission::VerificationsRead));
    for one in Permission::ALL.into_iter().filter(|one| *one != Permission::VerificationsRead) {
        assert!(!principal.may(one), "{one}");
    }
    let listed = house.ok(&eve, "GET /v1/enterprise/api-keys", Json::Null).await;
    let secret = key.rsplit_once('_').unwrap().1;
    assert!(!listed.to_string().contains(&key[key.len() - 20..]), "{listed}");
    assert_eq!((&listed[0]["status"], &listed[0]["name"]), (&json!("live"), &json!("Import")));
    assert!(key.starts_with(listed[0]["prefix"].as_str().unwrap()));
    // Nowhere in the store, and neither is its bare hash.
    let sql = "SELECT data FROM facts UNION ALL SELECT prefix FROM api_keys";
    let texts: Vec<String> = t.db.all(sql, &[], |row| row.take()).await.unwrap();
    assert!(texts.iter().all(|text| !text.contains(secret)));
    let hash: Vec<u8> = t.db.one("SELECT hash FROM api_keys", &[], |row| row.take()).await.unwrap();
    assert_ne!(hash, platform::crypto::sha256(&key));
}

async fn what_is_no_key_of_ours_is_refused_whatever_it_looks_like(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    let (_, key) = make(&house, &eve, for_reading()).await;
    let last = if key.ends_with('A') { "B" } else { "A" };
    for wrong in [
        "vz_", "vz_0123456789", "vz_0123456789_", "vz_é123456789_x", &key[..key.len() - 1],
        &format!("{key}A"), &format!("{}{last}", &key[..key.len() - 1]), &key.to_uppercase(),
        &format!("vz_0123456789{}", &key[13..]), &"vz_".repeat(5000),
    ] {
        assert_eq!(ask(&house.organizations, wrong).await, "invalid_api_key", "{wrong}");
    }
    // Under another master key the same table opens nothing.
    let other = MasterKey::new([8; 32]).derive("organizations/api-keys");
    let own = MasterKey::new([7; 32]).derive("organizations/api-keys");
    assert_ne!(model::hash(&other, &key), model::hash(&own, &key));
}

async fn a_key_ends_with_its_time(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    let body = json!({ "name": "Trial", "scopes": ["verifications:read"], "expiresInDays": 2 });
    let (_, key) = make(&house, &eve, body).await;
    t.clock.advance(DAY * 2 - Duration::from_secs(1));
    assert_eq!(ask(&house.organizations, &key).await, "ok");
    t.clock.advance(Duration::from_secs(1));
    assert_eq!(ask(&house.organizations, &key).await, "expired_api_key");
    let listed = house.ok(&eve, "GET /v1/enterprise/api-keys", Json::Null).await;
    assert_eq!(listed[0]["status"], "expired");
}

async fn a_revoked_key_is_refused_here_at_once_and_elsewhere_with_the_counters(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    let (elsewhere, db) = house.replica();
    let fleet = Fleet::new(db, None, &MasterKey::new([7; 32]));
    for told in [true, false] {
        let (id, key) = make(&house, &eve, for_reading()).await;
        fleet.read_counters_once().await.unwrap();
        assert_eq!(ask(&house.organizations, &key).await, "ok");
        assert_eq!(ask(&elsewhere, &key).await, "ok");
        house.ok(&eve, &format!("DELETE /v1/enterprise/api-keys/{id}"), Json::Null).await;
        assert_eq!(ask(&house.organizations, &key).await, "revoked_api_key");
        let strict = elsewhere.by_key(&key, true, HERE).await.unwrap_err();
        assert_eq!(strict.code(), "revoked_api_key", "routes of money ask the store");
        if told {
            fleet.read_counters_once().await.unwrap();
        } else {
            // Nobody hears anything, and nothing is believed for longer than a second.
            t.clock.advance(Duration::from_secs(1));
        }
        assert_eq!(ask(&elsewhere, &key).await, "revoked_api_key", "told: {told}");
        // Once more is the same.
        house.ok(&eve, &format!("DELETE /v1/enterprise/api-keys/{id}"), Json::Null).await;
    }
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts WHERE verb = 'api_key.revoked'";
    assert_eq!(t.db.one(sql, &[], |row| row.take::<i64>()).await.unwrap(), 2);
}

async fn the_keys_of_an_account_that_may_not_act_open_nothing(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    let (_, key) = make(&house, &eve, for_reading()).await;
    assert_eq!(ask(&house.organizations, &key).await, "ok");
    let suspended = |profile: &mut rpc::users::Profile| {
        profile.status = rpc::users::Status::Suspended;
    };
    house.people.change(&eve, suspended);
    // As the user service tells it with the suspension.
    let account = id_of(&eve).uuid();
    t.db.run("test", |tx| async move {
        tx.tell(Notice::all_of(account));
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(ask(&house.organizations, &key).await, "inactive_organization");
}

async fn a_key_with_addresses_is_refused_from_all_others(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    let body = json!({ "name": "Import", "scopes": ["verifications:read"],
        "allowedAddresses": ["192.0.2.0/24", "2001:db8::/48"] });
    let (_, key) = make(&house, &eve, body).await;
    let from = async |address: &str| {
        let outcome = house.organizations.by_key(&key, false, address.parse().unwrap()).await;
        outcome.map(drop).map_err(|error| (error.kind(), error.code().to_owned()))
    };
    for address in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1"] {
        assert_eq!(from(address).await, Ok(()), "{address}");
    }
    let refused = Err((kernel::Kind::Forbidden, "address_not_allowed".to_owned()));
    let facts = async || {
        let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts WHERE verb = 'api_key.refused'";
        t.db.one(sql, &[], |row| row.take::<i64>()).await.unwrap()
    };
    for address in ["192.0.3.7", "2001:db9::1", "127.0.0.1", "::1"] {
        assert_eq!(from(address).await, refused, "{address}");
    }
    assert_eq!(facts().await, 1, "one a minute is enough");
    t.clock.advance(Duration::from_secs(60));
    assert_eq!(from("192.0.3.7").await, refused);
    assert_eq!(facts().await, 2);
    let listed = house.ok(&eve, "GET /v1/enterprise/api-keys", Json::Null).await;
    assert_eq!(listed[0]["allowedAddresses"], json!(["192.0.2.0/24", "2001:db8::/48"]));
    let wrong = json!({ "name": "x", "scopes": ["verifications:read"],
        "allowedAddresses": ["192.0.2.0/24", "192.0.2.0/33", "example.com"] });
    let (status, body) = house.send(&eve, KEYS, wrong).await;
    let fields = json!(["/allowedAddresses/1", "/allowedAddresses/2"]);
    assert_eq!((status, &body["fields"]), (422, &fields));
}

async fn another_organization_s_key_is_not_there(t: &TestDb) {
    let house = House::new(t);
    let (eve, olga) = (house.add("Eve", Role::Enterprise), house.add("Olga", Role::Enterprise));
    let (id, key) = make(&house, &eve, for_reading()).await;
    make(&house, &olga, for_reading()).await;
    let path = format!("DELETE /v1/enterprise/api-keys/{id}");
    assert_eq!(house.refused(&olga, &path, Json::Null).await, (404, "not_found".into()));
    assert_eq!(ask(&house.organizations, &key).await, "ok");
    let listed = house.ok(&olga, "GET /v1/enterprise/api-keys", Json::Null).await;
    assert!(listed.as_array().unwrap().len() == 1 && listed[0]["id"] != id);
}

async fn a_last_use_is_noted_to_the_minute_and_written_once(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    let (_, key) = make(&house, &eve, for_reading()).await;
    let last = async || {
        let sql = "SELECT last_used_at FROM api_keys";
        t.db.one(sql, &[], |row| row.take::<Option<kernel::Timestamp>>()).await.unwrap()
    };
    assert_eq!(last().await, None);
    let first = t.db.world().now();
    for _ in 0..50 {
        assert_eq!(ask(&house.organizations, &key).await, "ok");
    }
    assert_eq!(last().await, Some(first));
    t.clock.advance(Duration::from_secs(59));
    ask(&house.organizations, &key).await;
    assert_eq!(last().await, Some(first));
    t.clock.advance(Duration::from_secs(1));
    ask(&house.organizations, &key).await;
    assert_eq!(last().await, Some(first + Duration::from_secs(60)));
}

async fn a_key_is_made_with_scopes_for_keys_by_who_manages_the_organization(t: &TestDb) {
    let house = House::new(t);
    let (eve, anne) = (house.add("Eve", Role::Enterprise), house.add("Anne", Role::User));
    house.bring(&eve, &anne, "member").await;
    assert_eq!(house.refused(&anne, KEYS, for_reading()).await, (403, "missing_permission".into()));
    let wrong = json!({ "name": " ", "scopes": ["organization:manage", "x"], "expiresInDays": 0 });
    let (status, body) = house.send(&eve, KEYS, wrong).await;
    let fields = json!(["/name", "/scopes/0", "/scopes/1", "/expiresInDays"]);
    assert_eq!((status, &body["fields"]), (422, &fields));
    let none = json!({ "name": "None", "scopes": [] });
    assert_eq!(house.send(&eve, KEYS, none).await.0, 422);
}
}
