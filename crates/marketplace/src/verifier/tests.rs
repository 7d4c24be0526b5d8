//! Profiles, services and the marketplace's list.

use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds;
use kernel::{Asset, Caller, Id, Kind, Money, PageRequest, Role};
use platform::db::Tx;
use platform::journal::{self, Fact, Filter, Runner};
use platform::testing::TestDb;

use super::Service;
use super::model::{self, NewOffer, OfferDraft, ProfileDraft, Search, Sort, Status};
use super::reader::Follower;
use super::service::Shown;
use crate::testing::{People, id_of};

const MIGRATIONS: &[platform::db::Migrations] = &[platform::MIGRATIONS, crate::MIGRATIONS];

struct Stage {
    people: Arc<People>,
    verifiers: Service,
}

fn stage(t: &TestDb) -> Stage {
    let people = Arc::new(People::default());
    let verifiers = Service::new(t.db.clone(), people.clone(), Asset::USD, None);
    Stage { people, verifiers }
}

fn offer(title: &str, category: &str, minor: i64, currency: Asset) -> NewOffer {
    let (title, category) = (title.to_owned(), category.to_owned());
    let price = Money::new(minor, currency);
    NewOffer { id: None, title, category, price, sla_hours: 48, expedited: None, active: true }
}

async fn record(t: &TestDb, fact: Fact) {
    let fact = &fact;
    t.db.run("test.record", |tx: Tx| async move {
        tx.record(fact.clone());
        Ok(())
    })
    .await
    .unwrap();
}

async fn follow(t: &TestDb) {
    Runner::new(t.db.clone(), vec![Arc::new(Follower)]).drain().await;
}

fn user_fact(verb: &'static str, user: Id<kinds::User>, role: Role) -> Fact {
    Fact::by(&Caller::nobody(), verb).on(user).with("role", role)
}

impl Stage {
    /// A verifier with a profile of that name and one service.
    async fn verifier(&self, t: &TestDb, name: &str, offers: &[NewOffer]) -> Caller {
        let caller = self.people.add(t, name, Role::Verifier);
        self.verifiers.replace_offers(&caller, offers).await.unwrap();
        caller
    }

    async fn found(&self, search: &Search) -> Vec<String> {
        let page = self.verifiers.search(search, &PageRequest::first(100)).await.unwrap();
        page.items.into_iter().map(|shown| shown.verifier.name).collect()
    }

    async fn rate(&self, t: &TestDb, verifier: &Caller, stars: &[u8]) {
        let id = id_of(verifier).same_as();
        for stars in stars {
            t.db.run("test.rate", |tx| async move { self.verifiers.rate(&tx, id, *stars).await })
                .await
                .unwrap();
        }
    }
}

platform::on_both_engines! { MIGRATIONS;
    async fn the_journal_makes_a_verifier_known_and_approval_makes_them_found(t: &TestDb) {
        let stage = stage(t);
        let verifier = id_of(&stage.people.add(t, "Global Verify", Role::Verifier));
        let user = id_of(&stage.people.add(t, "Ada", Role::User));
        record(t, user_fact("user.registered", verifier, Role::Verifier)).await;
        record(t, user_fact("user.registered", user, Role::User)).await;
        follow(t).await;
        assert!(stage.found(&Search::default()).await.is_empty());

        record(t, user_fact("user.approved", verifier, Role::Verifier)).await;
        record(t, user_fact("user.approved", user, Role::User)).await;
        follow(t).await;
        // The name is the account's until the verifier chooses one.
        assert_eq!(stage.found(&Search::default()).await, ["Global Verify"]);

        for (verb, count) in [
            ("user.suspended", 0),
            ("user.unsuspended", 1),
            ("user.banned", 0),
            ("user.unbanned", 1),
            ("user.deleted", 0),
        ] {
            record(t, user_fact(verb, verifier, Role::Verifier)).await;
            follow(t).await;
            assert_eq!(stage.found(&Search::default()).await.len(), count, "{verb}");
        }
        let gone = stage.verifiers.open(verifier.same_as()).await.unwrap_err();
        assert_eq!(gone.kind(), Kind::NotFound);
    }

    async fn who_closes_their_account_and_has_it_opened_again_is_found_as_before(t: &TestDb) {
        let stage = stage(t);
        let offers = [offer("Diplomas", "Education", 5000, Asset::USD)];
        let caller = stage.verifier(t, "Global Verify", &offers).await;
        let draft = ProfileDraft { headline: "Degrees".to_owned(), ..ProfileDraft::default() };
        stage.verifiers.replace_profile(&caller, &draft.parse().unwrap()).await.unwrap();
        let (user, id) = (id_of(&caller), id_of(&caller).same_as());
        let reopened = |status: &'static str| {
            user_fact("user.reopened", user, Role::Verifier).with("status", status)
        };
        let closed = || user_fact("user.closed", user, Role::Verifier);
        let facts = [closed(), reopened("active"), closed(), reopened("banned")];
        for (fact, count) in facts.into_iter().zip([0, 1, 0, 0]) {
            let told = format!("{fact:?}");
            record(t, fact).await;
            follow(t).await;
            assert_eq!(stage.found(&Search::default()).await.len(), count, "{told}");
        }
        record(t, user_fact("user.unbanned", user, Role::Verifier)).await;
        follow(t).await;
        let shown = stage.verifiers.open(id).await.unwrap();
        assert_eq!((&*shown.verifier.headline, shown.offers.len()), ("Degrees", 1));
    }

    async fn admins_see_all_verifiers_and_where_they_stand(t: &TestDb) {
        let stage = stage(t);
        let client = crate::testing::Client::over(crate::verifier::office::routes(&Arc::new(Service::new(
            t.db.clone(),
            stage.people.clone(),
            Asset::USD,
            None,
        ))));
        let admin = stage.people.add(t, "Root", Role::Admin);
        let mut ids = Vec::new();
        for name in ["Pia", "Susi", "Hanna", "Olga"] {
            let id = id_of(&stage.people.add(t, name, Role::Verifier));
            let registered = user_fact("user.registered", id, Role::Verifier);
            record(t, registered.with("approved", name != "Pia")).await;
            ids.push(id);
        }
        record(t, user_fact("user.suspended", ids[1], Role::Verifier)).await;
        follow(t).await;
        let hidden = ProfileDraft { status: Some(Status::Hidden), ..ProfileDraft::default() };
        let hanna = Caller::of(kernel::Principal::new(ids[2], Role::Verifier, ids[2].same_as()));
        stage.verifiers.replace_profile(&hanna, &hidden.parse().unwrap()).await.unwrap();
        let olga = Caller::of(kernel::Principal::new(ids[3], Role::Verifier, ids[3].same_as()));
        let offers = [offer("Diplomas", "Education", 5000, Asset::NGN)];
        stage.verifiers.replace_offers(&olga, &offers).await.unwrap();

        let names = async |query: &str| -> Vec<String> {
            let path = format!("/v1/admin/verifiers{query}");
            let list = client.get(&admin, &path).await;
            let list = list.as_array().unwrap().iter();
            list.map(|one| format!("{} {}", one["name"], one["status"]).replace('"', "")).collect()
        };
        let all = ["Olga open", "Hanna hidden", "Susi suspended", "Pia pending"];
        assert_eq!(names("").await, all);
        assert_eq!(names("?status=all&limit=2").await, all[..2]);
        for one in all {
            let status = one.split(' ').next_back().unwrap();
            assert_eq!(names(&format!("?status={status}")).await, [one], "{status}");
        }
        assert_eq!(names("?q=ÓLG").await, ["Olga open"]);
        assert_eq!(names("?q=diploma&status=open").await, ["Olga open"]);
        assert!(names("?q=olga&status=hidden").await.is_empty());
        let path = format!("/v1/admin/verifiers/{}", ids[3].same_as::<kinds::Verifier>());
        let shown = client.get(&admin, &path).await;
        assert_eq!(shown["email"], "olga@example.org");
        assert_eq!((&shown["accountStatus"], &shown["approved"]), (&"active".into(), &true.into()));
        assert_eq!(shown["services"][0]["title"], "Diplomas");
        let nobody = "GET /v1/admin/verifiers/v_01h455vb4pex5vsknk084sn02q";
        assert_eq!(client.send(&admin, nobody, serde_json::Value::Null).await.0, 404);
        let wrong = "GET /v1/admin/verifiers?status=odd";
        assert_eq!(client.send(&admin, wrong, serde_json::Value::Null).await.0, 422);
    }

    async fn who_is_approved_from_the_start_is_found_from_the_start(t: &TestDb) {
        let stage = stage(t);
        let verifier = id_of(&stage.people.add(t, "Global Verify", Role::Verifier));
        let registered = user_fact("user.registered", verifier, Role::Verifier);
        record(t, registered.with("approved", true)).await;
        follow(t).await;
        assert_eq!(stage.found(&Search::default()).await, ["Global Verify"]);
    }

    async fn a_profile_is_replaced_and_hiding_it_takes_it_off_the_marketplace(t: &TestDb) {
        let stage = stage(t);
        let caller = stage.people.add(t, "Jo", Role::Verifier);
        assert_eq!(stage.verifiers.profile(&caller).await.unwrap().name, "Jo");
        let draft = ProfileDraft {
            name: Some("Global Verify".to_owned()),
            bio: "We ask the registrar.".to_owned(),
            categories: vec!["Education".to_owned(), "education ".to_owned()],
            ..ProfileDraft::default()
        };
        let profile = draft.clone().parse().unwrap();
        let saved = stage.verifiers.replace_profile(&caller, &profile).await.unwrap();
        assert!(saved.is_open());
        assert_eq!((saved.name.as_str(), saved.categories.len()), ("Global Verify", 1));
        assert_eq!(stage.verifiers.profile(&caller).await.unwrap(), saved);

        let hidden = ProfileDraft { name: None, status: Some(Status::Hidden), ..draft };
        let hidden = hidden.parse().unwrap();
        let saved = stage.verifiers.replace_profile(&caller, &hidden).await.unwrap();
        assert_eq!(saved.name, "Global Verify");
        assert!(stage.found(&Search::default()).await.is_empty());
        assert!(stage.verifiers.open(saved.id).await.is_err());

        let (all, page) = (Filter::default(), PageRequest::first(10));
        let trail = journal::search(&t.db, &all, &page).await.unwrap();
        let verbs: Vec<_> = trail.items.iter().map(|fact| fact.verb.as_str()).collect();
        assert_eq!(verbs, ["verifier.profile_replaced", "verifier.profile_replaced"]);
        assert_eq!(trail.items[0].subject, saved.id.to_string());
    }

    async fn services_are_replaced_as_a_set_and_keep_the_ids_that_are_named(t: &TestDb) {
        let stage = stage(t);
        let offers = [
            offer("Diplomas", "Education", 1000, Asset::USD),
            offer("Jobs", "Employment", 5000, Asset::USD),
        ];
        let caller = stage.verifier(t, "Global Verify", &offers).await;
        let (_, before) = stage.verifiers.offers(&caller).await.unwrap();
        let mut kept = offer("Employment history", "Employment", 4000, Asset::USD);
        kept.id = Some(before[1].id);
        let mut paused = offer("Permits", "Licence", 9000, Asset::USD);
        paused.active = false;
        let next = [paused, kept];
        let (version, after) = stage.verifiers.replace_offers(&caller, &next).await.unwrap();
        assert_eq!(after[1].id, before[1].id);
        assert_eq!(after.iter().map(|o| o.title.as_str()).collect::<Vec<_>>(),
            ["Permits", "Employment history"]);
        let Shown { offers, .. } = stage.verifiers.open(id_of(&caller).same_as()).await.unwrap();
        assert_eq!(offers, after[1..]);

        // Another verifier's service, and one that is gone, cannot be taken over.
        let other = stage.verifier(t, "Other", &[]).await;
        let refused = stage.verifiers.replace_offers(&other, &next).await.unwrap_err();
        assert_eq!(refused.fields()[0].pointer, "/1/id");
        let mut gone = offer("Diplomas", "Education", 1000, Asset::USD);
        gone.id = Some(before[0].id);
        assert!(stage.verifiers.replace_offers(&caller, &[gone]).await.is_err());
        assert_eq!(stage.verifiers.offers(&caller).await.unwrap(), (version, after));
    }

    async fn a_search_looks_at_words_services_categories_ratings_and_currencies(t: &TestDb) {
        let stage = stage(t);
        let offers = [offer("Diplomas 100%", "Education", 1000, Asset::USD)];
        let ada = stage.verifier(t, "Ada Checks", &offers).await;
        let offers = [offer("Payslips", "Employment", 2000, Asset::NGN)];
        let bob = stage.verifier(t, "Bob Checks", &offers).await;
        let profile = ProfileDraft {
            headline: "Registrar's friend".to_owned(),
            categories: vec!["Health".to_owned()],
            jurisdiction: "Québec".to_owned(),
            ..ProfileDraft::default()
        };
        stage.verifiers.replace_profile(&bob, &profile.parse().unwrap()).await.unwrap();
        stage.rate(t, &ada, &[5, 4]).await;
        stage.rate(t, &bob, &[3]).await;

        let text = |text: &str| Search { text: Some(text.to_owned()), ..Search::default() };
        let category = |c: &str| Search { category: Some(c.to_owned()), ..Search::default() };
        let service = |s: &str| Search { service: Some(s.to_owned()), ..Search::default() };
        let price = |price, currency| {
            Search { price: Some(price), currency: Some(currency), ..Search::default() }
        };
        let both = Search { price: Some((500, 1500)), ..text("check") };
        let cases: [(Search, &[&str]); 22] = [
            (text("QUEBEC check"), &["Bob Checks"]),
            (text("friend bob"), &["Bob Checks"]),
            (text("diplomas"), &["Ada Checks"]),
            (text("ada bob"), &[]),
            (price((1000, 1000), Asset::USD), &["Ada Checks"]),
            (price((1001, 9000), Asset::USD), &[]),
            (price((0, 9000), Asset::NGN), &["Bob Checks"]),
            (both, &["Ada Checks"]),
            (Search::default(), &["Ada Checks", "Bob Checks"]),
            (text("checks"), &["Ada Checks", "Bob Checks"]),
            (text("REGISTRAR"), &["Bob Checks"]),
            (text("québec"), &["Bob Checks"]),
            (text("%"), &[]),
            (text("a_a"), &[]),
            (category("EDUCATION"), &["Ada Checks"]),
            (category("health"), &["Bob Checks"]),
            (category("heal"), &[]),
            (service("100%"), &["Ada Checks"]),
            (service("employment"), &["Bob Checks"]),
            (service("pay"), &["Bob Checks"]),
            (Search { rating_min: 4500, ..Search::default() }, &["Ada Checks"]),
            (Search { currency: Some(Asset::NGN), ..Search::default() }, &["Bob Checks"]),
        ];
        for (search, names) in cases {
            assert_eq!(stage.found(&search).await, names, "{search:?}");
        }
    }

    async fn every_sort_pages_through_all_verifiers_once_and_in_order(t: &TestDb) {
        let stage = stage(t);
        for n in 0..23_i64 {
            t.clock.advance(Duration::from_secs(60));
            let offers = [
                offer("Dear", "Education", 9000, Asset::USD),
                // Many alike, so that the id has to break ties.
                offer("Cheap", "Education", 1000 + n % 4, Asset::USD),
            ];
            let caller = stage.verifier(t, &format!("Number {n:02}"), &offers).await;
            let stars = u8::try_from(n % 6).unwrap();
            if stars > 0 {
                stage.rate(t, &caller, &[stars]).await;
            }
        }
        for sort in [Sort::Rating, Sort::Price, Sort::Newest] {
            let search = Search { sort, ..Search::default() };
            let mut request = PageRequest::first(5);
            let mut seen: Vec<Shown> = Vec::new();
            loop {
                let page = stage.verifiers.search(&search, &request).await.unwrap();
                seen.extend(page.items);
                let Some(next) = page.next else { break };
                request.after = Some(next);
            }
            assert_eq!(seen.len(), 23, "{sort:?}");
            let keys: Vec<i64> = seen.iter().map(|shown| match sort {
                Sort::Relevance | Sort::Rating => -shown.verifier.rating.rank(),
                Sort::Price => shown.offers.iter().map(|o| o.price.minor).min().unwrap(),
                Sort::Newest => -shown.verifier.since.micros(),
            }).collect();
            assert!(keys.is_sorted(), "{sort:?} {keys:?}");
            let mut ids: Vec<_> = seen.iter().map(|shown| shown.verifier.id).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 23, "{sort:?}");
        }
        let euro = Search { sort: Sort::Price, currency: Some(Asset::EUR), ..Search::default() };
        assert!(stage.found(&euro).await.is_empty());
    }

    async fn what_is_searched_is_ranked_by_the_name_and_paged_without_a_gap(t: &TestDb) {
        let stage = stage(t);
        let service = [offer("Diplomas of Lyon", "Education", 1000, Asset::USD)];
        for n in 0..12_u8 {
            let name = match n % 3 {
                0 => format!("Lyon {n:02}"),
                1 => format!("Lyonesse {n:02}"),
                _ => format!("Other {n:02}"),
            };
            let caller = stage.verifier(t, &name, &service).await;
            if n > 0 {
                stage.rate(t, &caller, &[1 + n % 5]).await;
            }
        }
        let search = Search {
            text: Some("lyon".to_owned()),
            sort: Sort::Relevance,
            ..Search::default()
        };
        let all = stage.found(&search).await;
        let kinds: Vec<&str> = all.iter().map(|name| name.split(' ').next().unwrap()).collect();
        let expected = [["Lyon"; 4], ["Lyonesse"; 4], ["Other"; 4]].concat();
        assert_eq!(kinds, expected);
        let mut paged = Vec::new();
        let mut request = PageRequest::first(5);
        loop {
            let page = stage.verifiers.search(&search, &request).await.unwrap();
            paged.extend(page.items);
            let Some(next) = page.next else { break };
            request.after = Some(next);
        }
        for alike in paged.chunks(4) {
            let ranks: Vec<i64> = alike.iter().map(|one| -one.verifier.rating.rank()).collect();
            assert!(ranks.is_sorted(), "{ranks:?}");
        }
        let names: Vec<_> = paged.into_iter().map(|shown| shown.verifier.name).collect();
        assert_eq!(names, all);
        // The same words in another order of the list.
        let by_rating = stage.found(&Search { sort: Sort::Rating, ..search }).await;
        assert_eq!(by_rating.len(), 12);
        assert_ne!(by_rating, all);
    }

    async fn words_are_those_of_the_last_profile_and_of_services_that_can_be_had(t: &TestDb) {
        let stage = stage(t);
        let caller = stage.verifier(t, "Zora", &[offer("Payslips", "Jobs", 1, Asset::USD)]).await;
        let text = |text: &str| Search { text: Some(text.to_owned()), ..Search::default() };
        let profile = ProfileDraft { bio: "Marigold".to_owned(), ..ProfileDraft::default() };
        stage.verifiers.replace_profile(&caller, &profile.parse().unwrap()).await.unwrap();
        for word in ["zora", "payslip", "jobs", "marigold", "marigold payslips zora"] {
            assert_eq!(stage.found(&text(word)).await, ["Zora"], "{word}");
        }
        let mut paused = offer("Licences", "Health", 1, Asset::USD);
        paused.active = false;
        stage.verifiers.replace_offers(&caller, &[paused]).await.unwrap();
        let profile = ProfileDraft { bio: "Thistle".to_owned(), ..ProfileDraft::default() };
        stage.verifiers.replace_profile(&caller, &profile.parse().unwrap()).await.unwrap();
        assert_eq!(stage.found(&text("thistle")).await, ["Zora"]);
        for word in ["payslip", "jobs", "marigold", "licences", "health"] {
            assert!(stage.found(&text(word)).await.is_empty(), "{word}");
        }
        record(t, user_fact("user.deleted", id_of(&caller), Role::Verifier)).await;
        follow(t).await;
        let left = stage.verifiers.known(None, Some("zora"), &PageRequest::first(5)).await;
        assert!(left.unwrap().items.is_empty());
    }

    async fn two_replacements_at_once_leave_one_of_the_two_sets(t: &TestDb) {
        let stage = stage(t);
        let caller = &stage.verifier(t, "Global Verify", &[]).await;
        let sets: Vec<Vec<NewOffer>> = (0..6)
            .map(|n| (0..3).map(|_| offer("Alike", "Education", 100 + n, Asset::USD)).collect())
            .collect();
        let replacements = sets.iter().map(|set| stage.verifiers.replace_offers(caller, set));
        for outcome in futures_util::future::join_all(replacements).await {
            outcome.unwrap();
        }
        let (_, left) = stage.verifiers.offers(caller).await.unwrap();
        assert_eq!(left.len(), 3);
        assert!(left.iter().all(|offer| offer.price == left[0].price));
    }
}

#[test]
fn a_service_is_refused_with_all_that_is_wrong_about_it() {
    let draft = OfferDraft {
        id: None,
        title: " ".to_owned(),
        category: "a\nb".to_owned(),
        price: 0,
        currency: Asset::USD,
        sla_hours: 0,
        expedited_price: None,
        expedited_hours: Some(1),
        active: true,
    };
    let fine = OfferDraft {
        title: "Diplomas".to_owned(),
        category: "Education".to_owned(),
        price: 1,
        sla_hours: 1,
        expedited_hours: None,
        ..draft.clone()
    };
    let slow = OfferDraft { expedited_price: Some(0), expedited_hours: Some(1), ..fine.clone() };
    let error = model::parse_offers(vec![fine, draft, slow]).unwrap_err();
    let pointers: Vec<_> = error.fields().iter().map(|field| field.pointer.as_str()).collect();
    let expected = [
        "/1/title",
        "/1/category",
        "/1/price",
        "/1/slaHours",
        "/1/expeditedPrice",
        "/2/expeditedPrice",
        "/2/expeditedHours",
    ];
    assert_eq!(pointers, expected);
}

#[test]
fn a_profile_is_refused_with_all_that_is_wrong_about_it() {
    let draft = ProfileDraft {
        name: Some("x".to_owned()),
        bio: "b".repeat(4001),
        categories: vec![String::new()],
        ..ProfileDraft::default()
    };
    let error = draft.parse().unwrap_err();
    let pointers: Vec<_> = error.fields().iter().map(|field| field.pointer.as_str()).collect();
    assert_eq!(pointers, ["/name", "/bio", "/categories/0"]);
}
