//! Lists in which the rows of several people lie between each other: each sees their own, whoever was
//! first.

use std::collections::{BTreeMap, BTreeSet};

use kernel::id::kinds::Verifier;
use kernel::{Caller, Id, Role};
use platform::testing::TestDb;
use serde_json::{Value as Json, json};

use crate::testing::{Client, id_of};
use crate::verification::tests::{FUNDS, MIGRATIONS, PRICE, Stage, diplomas, stage};

/// An owner and a verifier who deal with each other.
struct Pair {
    owner: Caller,
    verifier: Caller,
    /// What each of their lists must show, by its path.
    own: BTreeMap<String, BTreeSet<String>>,
}

const MINE: &str = "/v1/user/verifications";
const AVAILABLE: &str = "/v1/verifier/jobs/available";
const ACTIVE: &str = "/v1/verifier/jobs/active";
const PAID: &str = "/v1/verifier/earnings/transactions";
const DISPUTES: &str = "/v1/disputes";
const REVIEWS: &str = "/v1/verifier/reviews";

fn id(made: &Json) -> String {
    made["id"].as_str().unwrap().to_owned()
}

impl Pair {
    fn verifier_id(&self) -> Id<Verifier> {
        id_of(&self.verifier).same_as()
    }

    fn has(&mut self, path: &str, id: &str) {
        self.own.entry(path.to_owned()).or_default().insert(id.to_owned());
    }

    async fn requested(&mut self, stage: &Stage<'_>, client: &Client) -> String {
        let credential = stage.credential(&self.owner).await;
        let body = json!({ "credentialId": credential, "verifierId": self.verifier_id() });
        let made = id(&client.ok(&self.owner, &format!("POST {MINE}"), body).await);
        self.has(MINE, &made);
        made
    }

    /// Something for each list.
    async fn deal(&mut self, stage: &Stage<'_>, client: &Client) {
        let waiting = self.requested(stage, client).await;
        self.has(AVAILABLE, &waiting);
        for part in ["active", "reviewed", "disputed"] {
            let job = self.requested(stage, client).await;
            let act = |verb: &str| format!("POST /v1/verifier/jobs/{job}/{verb}");
            client.ok(&self.verifier, &act("accept"), Json::Null).await;
            if part == "active" {
                self.has(ACTIVE, &job);
                continue;
            }
            client.ok(&self.verifier, &act("complete"), json!({ "verdict": "verified" })).await;
            self.has(PAID, &job);
            let of_owner = |verb: &str| format!("POST {MINE}/{job}/{verb}");
            if part == "reviewed" {
                let review = json!({ "rating": 4, "text": "Good." });
                let made = id(&client.ok(&self.owner, &of_owner("review"), review).await);
                self.has(REVIEWS, &made);
                let public = format!("/v1/marketplace/verifiers/{}/reviews", self.verifier_id());
                self.has(&public, &made);
            } else {
                let words = json!({ "reason": "other", "description": "Not so." });
                let made = id(&client.ok(&self.owner, &of_owner("dispute"), words).await);
                self.has(DISPUTES, &made);
            }
        }
    }
}

/// All pages of a list, of one row each.
async fn listed(client: &Client, caller: &Caller, path: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next = Some(format!("GET {path}?limit=1"));
    while let Some(request) = next {
        let (status, body, link) = client.send(caller, &request, Json::Null).await;
        assert_eq!(status, 200, "{request} {body}");
        for row in body.as_array().unwrap() {
            let id = row["id"].as_str().or(row["verificationId"].as_str()).unwrap();
            assert!(found.insert(id.to_owned()), "{request}: {id} is there twice");
        }
        next = link.map(|link| format!("GET {link}"));
    }
    found
}

platform::on_both_engines! { MIGRATIONS;
    async fn whoever_was_first_each_sees_their_own_rows_and_no_others(t: &TestDb) {
        let stage = stage(t).await;
        let client = Client::over(stage.market.routes());
        let mut pairs = Vec::new();
        for name in ["One", "Two"] {
            let owner = stage.people.add(t, &format!("Owner {name}"), Role::User);
            let verifier = stage.people.add(t, &format!("Verifier {name}"), Role::Verifier);
            stage.fund(&owner, 2 * FUNDS).await;
            let offers = [diplomas(PRICE)];
            stage.market.verifiers.replace_offers(&verifier, &offers).await.unwrap();
            pairs.push(Pair { owner, verifier, own: BTreeMap::new() });
        }
        for order in [[0, 1], [1, 0]] {
            for place in order {
                pairs[place].deal(&stage, &client).await;
            }
        }
        for pair in &pairs {
            assert_eq!(pair.own.len(), 7, "a list is not looked at");
            for (path, own) in &pair.own {
                let callers = match path.as_str() {
                    MINE => vec![&pair.owner],
                    DISPUTES => vec![&pair.owner, &pair.verifier],
                    _ => vec![&pair.verifier],
                };
                for caller in callers {
                    assert_eq!(&listed(&client, caller, path).await, own, "{path}");
                }
            }
        }
        let nobody = stage.people.add(t, "Nobody", Role::Verifier);
        for path in [AVAILABLE, ACTIVE, PAID, DISPUTES, REVIEWS] {
            assert!(listed(&client, &nobody, path).await.is_empty(), "{path}");
        }
        assert!(listed(&client, &stage.stranger, MINE).await.is_empty());
    }
}

/// What makes a page cost the same however many rows there are: it is read in the order of an
/// index, and nothing is sorted or looked through.
#[tokio::test]
async fn every_page_is_a_walk_along_an_index() {
    let t = TestDb::sqlite(MIGRATIONS).await;
    let stage = stage(&t).await;
    let client = Client::over(stage.market.routes());
    let (owner, verifier) = (stage.owner.clone(), stage.verifier.clone());
    let mut pair = Pair { owner, verifier, own: BTreeMap::new() };
    stage.fund(&pair.owner, 2 * FUNDS).await;
    pair.deal(&stage, &client).await;
    let mut wrong = Vec::new();
    for (caller, path) in [
        (&pair.owner, MINE),
        (&pair.owner, "/v1/user/verifications?status=verified"),
        (&pair.owner, "/v1/enterprise/verifications"),
        (&pair.owner, "/v1/enterprise/verifications?reference=x"),
        (&pair.owner, DISPUTES),
        (&pair.verifier, DISPUTES),
        (&pair.verifier, "/v1/disputes?status=open"),
        (&pair.verifier, ACTIVE),
        (&pair.verifier, PAID),
        (&pair.verifier, REVIEWS),
        (&stage.admin, "/v1/admin/verifications"),
        (&stage.admin, "/v1/admin/verifications?status=verified"),
        (&stage.admin, "/v1/admin/disputes"),
        (&stage.admin, "/v1/admin/disputes?status=open"),
    ] {
        let before = t.db.counts();
        client.get(caller, path).await;
        let after = t.db.counts();
        let (scanned, sorts) = (after.scanned - before.scanned, after.sorts - before.sorts);
        if (scanned, sorts) != (0, 0) {
            wrong.push(format!("{path}: {scanned} scanned, {sorts} sorted"));
        }
    }
    assert_eq!(wrong, [""; 0]);
    t.finish().await;
}
