use std::collections::BTreeMap;

use super::show::keys;
use super::{Config, Sources, environment_name, init_file, load};

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let pairs = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Sources { environment: pairs.collect::<BTreeMap<_, _>>(), ..Sources::default() }
}

fn file(text: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("verza.toml");
    std::fs::write(&path, text).unwrap();
    (folder, Sources { file: Some(path), ..Sources::default() })
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let config = load(&Sources::default()).unwrap();
    assert_eq!(config.server.public_url(), "http://localhost:8080");
}

#[test]
fn flags_overrule_the_environment_and_the_environment_overrules_the_file() {
    let (_folder, mut sources) = file("[server]\nthreads = 1\nrequest_timeout_seconds = 1\n");
    sources.environment.insert("VERZA_SERVER_THREADS".into(), "2".into());
    sources.environment.insert("VERZA_SERVER_CORS_ORIGINS".into(), "https://a, https://b".into());
    assert_eq!(load(&sources).unwrap().server.threads, 2);
    sources.flags.push(("server.threads".into(), "3".into()));
    let server = load(&sources).unwrap().server;
    assert_eq!((server.threads, server.request_timeout_seconds), (3, 1));
    assert_eq!(server.cors_origins, ["https://a", "https://b"]);
}

#[test]
fn an_unknown_key_names_the_nearest_one() {
    let error = load(&environment(&[("VERZA_SERVER_LISTNE", "x")])).unwrap_err();
    assert!(error.message().contains("VERZA_SERVER_LISTEN?"), "{error}");
    let (_folder, sources) = file("[server]\npublic_ulr = \"x\"\n");
    let error = load(&sources).unwrap_err();
    assert!(error.message().contains("server.public_url?"), "{error}");
    let (_folder, sources) = file("listen = \"x\"\n");
    assert!(load(&sources).unwrap_err().message().contains("outside of any [section]"));
}

#[test]
fn a_wrong_value_says_where_and_what() {
    let error = load(&environment(&[("VERZA_SERVER_THREADS", "many")])).unwrap_err();
    assert!(error.message().contains("server.threads"), "{error}");
    let error = load(&environment(&[("VERZA_SERVER_LISTEN", "8080")])).unwrap_err();
    assert!(error.message().contains("listen"), "{error}");
}

#[test]
fn sessions_and_facades_are_configured_by_file_or_environment() {
    let (_folder, mut sources) = file("[facades]\nregistration = \"confirmed\"\n");
    sources.environment.insert("VERZA_SESSIONS_ADMIN_IDLE_MINUTES".into(), "30".into());
    let config = load(&sources).unwrap();
    assert_eq!(config.facades.registration, super::FacadeRegistration::Confirmed);
    assert_eq!(config.sessions.admin_idle_minutes, 30);
    crate::wiring::check(&config).unwrap();
    for (key, value) in [
        ("sessions.access_token_minutes", "0"),
        ("sessions.access_token_minutes", "61"),
        ("sessions.user_lifetime_minutes", "0"),
        ("sessions.enterprise_idle_minutes", "99999999999"),
        ("sessions.verifier_max", "0"),
    ] {
        let flags = vec![(key.to_owned(), value.to_owned())];
        let config = load(&Sources { flags, ..Sources::default() }).unwrap();
        let refused = crate::wiring::check(&config).unwrap_err();
        assert!(refused.message().contains(key), "{refused}");
    }
}

#[test]
fn bonds_and_plans_are_configured_and_what_makes_no_sense_is_refused() {
    let set = |pairs: &[(&str, &str)]| {
        let flags = pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        load(&Sources { flags, ..Sources::default() }).unwrap()
    };
    let config = set(&[
        ("staking.tiers", "new:0, trusted:5000"),
        ("staking.reward_pool", "700"),
        ("billing.plans", "solo:Solo:0:1:0, studio:Studio:4900:50:99"),
        ("billing.tax_basis_points", "750"),
    ]);
    crate::wiring::check(&config).unwrap();
    let staking = crate::tariffs::staking(&config.staking, kernel::Asset::NGN).unwrap();
    assert_eq!((&*staking.tiers[1].name, staking.tiers[1].minimum), ("trusted", 5_000));
    assert_eq!(staking.rewards.unwrap().pool, kernel::Money::new(700, kernel::Asset::NGN));
    let billing = crate::tariffs::billing(&config.billing).unwrap();
    let studio = &billing.plans[1];
    assert_eq!(
        (&*studio.code, studio.price, studio.included, studio.overage),
        ("studio", 4_900, 50, 99)
    );
    for (key, value) in [
        ("staking.tiers", "gold"),
        ("staking.tiers", "gold:much"),
        ("staking.tiers", "gold:5, silver:4"),
        ("staking.reward_days", "0"),
        ("billing.plans", "team:Team:9900"),
        ("billing.plans", "team:Team:-1:0:0"),
        ("billing.plans", "team:Team:1:0:0, team:Again:2:0:0"),
        ("billing.plans", "team:Team:2:0:0, solo:Solo:1:0:0"),
    ] {
        let refused = crate::wiring::check(&set(&[(key, value)])).unwrap_err();
        assert!(refused.message().contains(key), "{refused}");
    }
    let nothing = load(&Sources::default()).unwrap();
    let (ours, theirs) =
        (crate::tariffs::billing(&nothing.billing).unwrap(), money::billing::Policy::default());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "one default");
    let ours = crate::tariffs::staking(&nothing.staking, kernel::Asset::NGN).unwrap();
    assert_eq!(format!("{ours:?}"), format!("{:?}", money::staking::Policy::default()));
}

#[test]
fn a_secret_may_come_from_a_file_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    std::fs::write(&path, "postgres://verza:hunter2@db/verza\n").unwrap();
    let sources = environment(&[("VERZA_DATABASE_URL_FILE", path.to_str().unwrap())]);
    let config = load(&sources).unwrap();
    let url = config.database.url.as_ref().unwrap();
    assert_eq!(url.expose(), "postgres://verza:hunter2@db/verza");
    let shown = serde_json::to_string(&config).unwrap() + &format!("{config:?}");
    assert!(!shown.contains("hunter2"));
}

#[test]
fn the_file_to_start_from_changes_nothing_and_names_everything() {
    let text = init_file();
    let (_folder, sources) = file(&text);
    let defaults = serde_json::to_value(Config::default()).unwrap();
    assert_eq!(serde_json::to_value(load(&sources).unwrap()).unwrap(), defaults);
    for key in keys() {
        assert!(text.contains(&environment_name(&key.path)), "{}", key.path);
        assert!(!key.description.is_empty(), "{} has no description", key.path);
    }
    // With the comment marks taken away it is still the default, but for what has none.
    let bare: String = text
        .lines()
        .filter(|line| !line.ends_with("\"\""))
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let (_folder, sources) = file(&bare);
    assert_eq!(serde_json::to_value(load(&sources).unwrap()).unwrap(), defaults);
}

#[test]
fn grpc_is_served_where_an_address_is_given() {
    assert_eq!(load(&Sources::default()).unwrap().grpc.listen, None);
    let config = load(&environment(&[("VERZA_GRPC_LISTEN", "127.0.0.1:9090")])).unwrap();
    assert_eq!(config.grpc.listen, Some(([127, 0, 0, 1], 9090).into()));
}
