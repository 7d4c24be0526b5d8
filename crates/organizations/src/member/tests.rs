//! Teams over HTTP.

use std::time::Duration;

use kernel::{Caller, Role};
use platform::db::Read;
use platform::journal::{Fact, Recorded, Runner};
use platform::testing::TestDb;
use serde_json::{Value as Json, json};

use crate::testing::{House, TABLES, id_of};

const DAY: Duration = Duration::from_secs(24 * 3600);
const JOIN: &str = "POST /v1/enterprise/team/join";
const INVITE: &str = "POST /v1/enterprise/team/invite";

fn member(who: &kernel::Caller) -> String {
    format!("/v1/enterprise/team/{}", id_of(who))
}

/// What was told of somebody who is out of their team.
async fn removed(t: &TestDb, who: &Caller) -> Recorded {
    let person = id_of(who).to_string();
    platform::journal::newest_of(&t.db, &person, "member.removed").await.unwrap().unwrap()
}

platform::on_both_engines! { TABLES;

async fn an_account_is_the_owner_of_the_organization_that_it_is(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    let me = house.ok(&eve, "GET /v1/enterprise/me", Json::Null).await;
    assert_eq!((&me["name"], &me["role"]), (&json!("Eve"), &json!("owner")));
    assert_eq!(me["accountId"], id_of(&eve).to_string());
    let change = json!({ "name": "Eve Inc.", "country": "DE", "website": "https://eve.example" });
    let changed = house.ok(&eve, "PATCH /v1/enterprise/me", change).await;
    assert_eq!((&changed["name"], &changed["country"]), (&json!("Eve Inc."), &json!("DE")));
    let again = house.ok(&eve, "PATCH /v1/enterprise/me", json!({ "website": "" })).await;
    assert_eq!((&again["name"], &again["website"]), (&json!("Eve Inc."), &json!("")));
    let wrong = json!({ "name": "", "country": "de", "website": "http://eve.example" });
    let (status, body) = house.send(&eve, "PATCH /v1/enterprise/me", wrong).await;
    assert_eq!((status, &body["fields"]), (422, &json!(["/name", "/website", "/country"])));
}

async fn admins_see_an_enterprise_also_before_it_has_looked_at_itself(t: &TestDb) {
    let house = House::new(t);
    let (eve, anne) = (house.add("Eve", Role::Enterprise), house.add("Anne", Role::User));
    let root = house.add("Root", Role::Admin);
    let of = |who: &kernel::Caller| {
        let id = id_of(who).same_as::<kernel::id::kinds::Organization>();
        format!("GET /v1/admin/enterprises/{id}")
    };
    let bare = house.ok(&root, &of(&eve), Json::Null).await;
    assert_eq!((&bare["name"], &bare["country"]), (&json!("Eve"), &json!("")));
    house.ok(&eve, "PATCH /v1/enterprise/me", json!({ "name": "Eve Inc." })).await;
    house.ok(&eve, INVITE, json!({ "email": "anne@example.org", "role": "member" })).await;
    let token = json!({ "token": house.mail_token("anne@example.org").await });
    house.ok(&anne, JOIN, token).await;
    let shown = house.ok(&root, &of(&eve), Json::Null).await;
    assert_eq!((&shown["name"], &shown["members"]), (&json!("Eve Inc."), &json!(1)));
    assert_eq!((&shown["apiKeys"], &shown["status"]), (&json!(0), &json!("active")));
    assert_eq!(shown["email"], "eve@example.org");
    let refused = house.refused(&root, &of(&anne), Json::Null).await;
    assert_eq!(refused, (404, "not_found".into()), "she is no enterprise");
}

async fn who_was_invited_joins_once_and_acts_in_the_organization_s_place(t: &TestDb) {
    let house = House::new(t);
    let (eve, anne) = (house.add("Eve", Role::Enterprise), house.add("Anne", Role::User));
    assert_eq!(house.acting(&anne).await.role(), Some(Role::User), "before, she is herself");
    let body = json!({ "email": " ANNE@example.org ", "role": "editor" });
    let invited = house.ok(&eve, INVITE, body).await;
    assert_eq!((&invited["email"], &invited["role"]), (&json!("anne@example.org"), &json!("member")));
    let token = json!({ "token": house.mail_token("anne@example.org").await });
    let joined = house.ok(&anne, JOIN, token.clone()).await;
    assert_eq!(joined["permissions"], json!(["verifications:read", "verifications:write",
        "presentations:read", "presentations:write", "organization:read"]));
    assert_eq!(house.refused(&anne, JOIN, token).await, (410, "invitation_over".into()));

    let acting = house.acting(&anne).await;
    let principal = acting.principal().unwrap();
    assert_eq!((principal.user, principal.person()), (id_of(&eve), id_of(&anne)));
    assert_eq!(principal.role, Role::Enterprise);
    let team = house.ok(&anne, "GET /v1/enterprise/team", Json::Null).await;
    let names: Vec<_> = team.as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, [&json!("Anne"), &json!("Eve")]);
    let none = house.ok(&eve, "GET /v1/enterprise/team/invitations", Json::Null).await;
    assert_eq!(none, json!([]));
}

async fn an_invitation_is_accepted_by_its_link_as_well(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    let (anne, ben) = (house.add("Anne", Role::User), house.add("Ben", Role::User));
    house.ok(&eve, INVITE, json!({ "email": "anne@example.org", "role": "viewer" })).await;
    let token = house.mail_token("anne@example.org").await;
    let accept = format!("POST /v1/invitations/{token}/accept");
    assert_eq!(house.refused(&ben, &accept, Json::Null).await, (403, "other_address".into()));
    let joined = house.ok(&anne, &accept, Json::Null).await;
    assert_eq!((&joined["name"], &joined["role"]), (&json!("Eve"), &json!("viewer")));
    for path in [&accept, "POST /v1/invitations/x/accept"] {
        assert_eq!(house.refused(&anne, path, Json::Null).await, (404, "not_found".into()));
    }
}

async fn an_invitation_is_for_its_address_and_its_week_and_the_newest_link(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    let (anne, ben) = (house.add("Anne", Role::User), house.add("Ben", Role::User));
    let invite = json!({ "email": "anne@example.org", "role": "viewer" });
    house.ok(&eve, INVITE, invite.clone()).await;
    let first = json!({ "token": house.mail_token("anne@example.org").await });
    assert_eq!(house.refused(&ben, JOIN, first.clone()).await, (403, "other_address".into()));
    house.ok(&eve, INVITE, invite.clone()).await;
    let second = json!({ "token": house.mail_token("anne@example.org").await });
    assert_ne!(first, second);
    assert_eq!(house.refused(&anne, JOIN, first).await, (410, "invitation_over".into()));
    t.clock.advance(DAY * 7);
    assert_eq!(house.refused(&anne, JOIN, second).await, (410, "invitation_over".into()));
    assert_eq!(house.organizations.members.sweep().await.unwrap(), 1);

    let third = house.ok(&eve, INVITE, invite).await;
    let token = json!({ "token": house.mail_token("anne@example.org").await });
    let path = format!("DELETE /v1/enterprise/team/invitations/{}", third["id"].as_str().unwrap());
    let olga = house.add("Olga", Role::Enterprise);
    assert_eq!(house.refused(&olga, &path, Json::Null).await, (404, "not_found".into()));
    house.ok(&eve, &path, Json::Null).await;
    assert_eq!(house.refused(&anne, JOIN, token).await, (410, "invitation_over".into()));
    assert_eq!(house.refused(&eve, &path, Json::Null).await, (404, "not_found".into()));
}

async fn judges_admins_and_other_enterprises_join_nobody(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    for (name, role) in
        [("Vera", Role::Verifier), ("Ada", Role::Admin), ("Olga", Role::Enterprise)]
    {
        let who = house.add(name, role);
        let email = format!("{}@example.org", name.to_lowercase());
        house.ok(&eve, INVITE, json!({ "email": email, "role": "member" })).await;
        let token = json!({ "token": house.mail_token(&email).await });
        let refused = house.refused(&who, JOIN, token.clone()).await;
        assert_eq!(refused, (409, "cannot_join".into()), "{name}");
        // One that waits for its approval was registered in order to join.
        if role == Role::Enterprise {
            house.people.change(&who, |profile| profile.approved = false);
            house.ok(&who, JOIN, token).await;
        }
    }
    let anne = house.add("Anne", Role::User);
    house.bring(&eve, &anne, "member").await;
    let otto = house.add("Otto", Role::Enterprise);
    house.ok(&otto, INVITE, json!({ "email": "anne@example.org", "role": "member" })).await;
    let token = json!({ "token": house.mail_token("anne@example.org").await });
    assert_eq!(house.refused(&anne, JOIN, token).await, (409, "already_member".into()));
}

async fn who_is_made_an_admin_is_out_of_the_team(t: &TestDb) {
    let house = House::new(t);
    let (eve, anne) = (house.add("Eve", Role::Enterprise), house.add("Anne", Role::User));
    let ben = house.add("Ben", Role::User);
    house.bring(&eve, &anne, "admin").await;
    // Ben was an admin before.
    for who in [&anne, &eve, &ben] {
        let granted = &Fact::by(&Caller::nobody(), "user.admin_granted").on(id_of(who));
        t.db.run("test.grant", |tx| async move {
            tx.record(granted.clone());
            Ok(())
        })
        .await
        .unwrap();
    }
    t.clock.advance(DAY);
    house.bring(&eve, &ben, "member").await;
    Runner::new(t.db.clone(), house.organizations.readers()).drain().await;
    let team = house.ok(&eve, "GET /v1/enterprise/team", Json::Null).await;
    let names: Vec<_> = team.as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, [&json!("Ben"), &json!("Eve")], "the account stays");
    assert_eq!(removed(t, &anne).await.actor, None);
}

async fn each_role_decides_about_those_below_it_and_the_account_stays(t: &TestDb) {
    let house = House::new(t);
    let eve = house.add("Eve", Role::Enterprise);
    let [owner, admin, other, worker, viewer] = ["Ona", "Ada", "Abe", "Mia", "Vic"]
        .map(|name| house.add(name, Role::User));
    for (who, role) in [
        (&owner, "owner"), (&admin, "admin"), (&other, "admin"), (&worker, "member"),
        (&viewer, "viewer"),
    ] {
        house.bring(&eve, who, role).await;
    }
    let set = |who: &kernel::Caller| format!("PATCH {}", member(who));
    let role = |role: &str| json!({ "role": role });
    let not_theirs = (403, "not_yours_to_do".to_owned());
    let missing = (403, "missing_permission".to_owned());
    assert_eq!(house.refused(&admin, &set(&other), role("viewer")).await, not_theirs);
    assert_eq!(house.refused(&admin, &set(&worker), role("admin")).await, not_theirs);
    assert_eq!(house.refused(&admin, INVITE, json!({ "email": "x@example.org", "role": "owner" }))
        .await, not_theirs);
    assert_eq!(house.refused(&worker, &set(&viewer), role("member")).await, missing);
    assert_eq!(house.refused(&viewer, INVITE, json!({ "email": "x@example.org", "role": "viewer" }))
        .await, missing);
    house.ok(&admin, &set(&viewer), role("member")).await;
    house.ok(&owner, &set(&other), role("viewer")).await;
    let is_account = (409, "is_the_account".to_owned());
    assert_eq!(house.refused(&owner, &set(&eve), role("viewer")).await, is_account);
    let delete = |who: &kernel::Caller| format!("DELETE {}", member(who));
    assert_eq!(house.refused(&owner, &delete(&eve), Json::Null).await, is_account);
    assert_eq!(house.refused(&eve, &delete(&eve), Json::Null).await, is_account);
    assert_eq!(house.refused(&worker, &delete(&viewer), Json::Null).await, not_theirs);
    assert_eq!(house.refused(&admin, &delete(&owner), Json::Null).await, not_theirs);

    // Everybody may leave, and is themselves again.
    house.ok(&worker, &delete(&worker), Json::Null).await;
    assert_eq!(house.acting(&worker).await.role(), Some(Role::User));
    house.ok(&eve, &delete(&owner), Json::Null).await;
    let olga = house.add("Olga", Role::Enterprise);
    assert_eq!(house.refused(&olga, &delete(&admin), Json::Null).await, (404, "not_found".into()));
    let mut verbs: Vec<String> = t
        .db
        .all("SELECT verb FROM facts WHERE verb LIKE 'member.%' ORDER BY id", &[], |row| row.take())
        .await
        .unwrap();
    verbs.retain(|verb| !matches!(verb.as_str(), "member.invited" | "member.joined"));
    assert_eq!(verbs, ["member.role_changed", "member.role_changed", "member.removed",
        "member.removed"]);
}

async fn an_admin_of_the_team_does_not_replace_an_invitation_that_is_an_owner_s(t: &TestDb) {
    let house = House::new(t);
    let (eve, ada) = (house.add("Eve", Role::Enterprise), house.add("Ada", Role::User));
    house.bring(&eve, &ada, "admin").await;
    let as_role = |role: &str| json!({ "email": "ona@example.org", "role": role });
    house.ok(&eve, INVITE, as_role("owner")).await;
    let refused = house.refused(&ada, INVITE, as_role("viewer")).await;
    assert_eq!(refused, (403, "not_yours_to_do".into()));
    let kept = house.ok(&eve, "GET /v1/enterprise/team/invitations", Json::Null).await;
    assert_eq!((kept.as_array().unwrap().len(), &kept[0]["role"]), (1, &json!("owner")));
    // One that is over is nobody's, and what is theirs to take back is theirs to replace.
    t.clock.advance(DAY * 7);
    for role in ["viewer", "member"] {
        house.ok(&ada, INVITE, as_role(role)).await;
    }
}

async fn nobody_acts_for_an_account_that_may_not_act(t: &TestDb) {
    let house = House::new(t);
    let (eve, anne) = (house.add("Eve", Role::Enterprise), house.add("Anne", Role::User));
    house.bring(&eve, &anne, "admin").await;
    for status in [rpc::users::Status::Suspended, rpc::users::Status::Closed] {
        house.people.change(&eve, |profile| profile.status = status);
        assert_eq!(house.acting(&anne).await.role(), Some(Role::User), "{status:?}");
    }
    house.people.change(&eve, |profile| profile.status = rpc::users::Status::Active);
    assert_eq!(house.acting(&anne).await.role(), Some(Role::Enterprise));
    house.people.change(&eve, |profile| profile.approved = false);
    assert_eq!(house.acting(&anne).await.role(), Some(Role::User));
}

async fn members_of_an_organization_that_may_not_act_join_another(t: &TestDb) {
    let house = House::new(t);
    let (eve, otto) = (house.add("Eve", Role::Enterprise), house.add("Otto", Role::Enterprise));
    let anne = house.add("Anne", Role::User);
    house.bring(&eve, &anne, "owner").await;
    house.ok(&otto, INVITE, json!({ "email": "anne@example.org", "role": "viewer" })).await;
    let token = json!({ "token": house.mail_token("anne@example.org").await });
    assert_eq!(house.refused(&anne, JOIN, token.clone()).await, (409, "already_member".into()));
    house.people.change(&eve, |profile| profile.status = rpc::users::Status::Banned);
    let joined = house.ok(&anne, JOIN, token).await;
    assert_eq!((&joined["name"], &joined["role"]), (&json!("Otto"), &json!("viewer")));

    // She has left the other one for good.
    house.people.change(&eve, |profile| profile.status = rpc::users::Status::Active);
    assert_eq!(id_of(&house.acting(&anne).await), id_of(&otto));
    let team = house.ok(&eve, "GET /v1/enterprise/team", Json::Null).await;
    assert_eq!(team.as_array().unwrap().len(), 1);
    let removed = removed(t, &anne).await;
    assert_eq!((removed.actor, &removed.data["role"]), (Some(id_of(&anne)), &json!("owner")));
}
}
