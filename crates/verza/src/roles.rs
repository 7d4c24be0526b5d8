//! Which parts of the platform run in this process, and how it reaches the others.
//!
//! The executable is the same in every process, and so is what it is put together from. A context
//! whose address is configured runs elsewhere: its port is the remote one, and its routes are
//! handed on. All else runs here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kernel::{Error, Result, Secret, World};
use platform::breaker::Breaker;
use platform::crypto::MasterKey;
use platform::fleet::Board;
use platform::http::Route;
use rpc::orders::Orders;
use rpc::peer::{Peer, PeerOptions, TlsFiles};
use rpc::routes::Routes;
use rpc::users::Users;

use crate::config::{Config, Role};

/// A secret that is shorter can be guessed.
const SECRET_MIN: usize = 32;

/// The contexts that run elsewhere.
pub(crate) struct Away {
    users: Option<Elsewhere>,
    orders: Option<Peer>,
}

/// The user service where it runs elsewhere. A connection carries so many calls at once, so that
/// requests of clients, which may take their time, have one of their own: questions do not wait
/// for them.
struct Elsewhere {
    questions: Peer,
    requests: Peer,
}

impl Elsewhere {
    /// Rows of it, as this process answers them.
    fn rows(&self, rows: Vec<Route>, board: Arc<Board>) -> Vec<Route> {
        let remote = rpc::routes::Remote::new(self.requests.clone(), board);
        let routes: Arc<dyn Routes> = Arc::new(remote);
        gateway::remote::forward(rows, &routes)
    }
}

impl Away {
    /// # Errors
    /// `Invalid` `invalid_configuration`.
    pub(crate) fn new(config: &Config, world: &World, master_key: &MasterKey) -> Result<Self> {
        // One configuration serves all processes: no service asks itself.
        let services = &config.services;
        let url_of =
            |role, url: &Option<String>| url.clone().filter(|_| config.server.role != role);
        let options = |name, url| {
            Ok::<_, Error>(PeerOptions {
                name,
                url,
                secret: secret(config, master_key),
                tls: tls_files(config)?,
                question_max: question_max(config),
                request_max: request_max(config),
                world: world.clone(),
                breaker: Breaker::new(name, config.breaker.policy()),
            })
        };
        let users = match url_of(Role::Users, &services.users_url) {
            None => None,
            Some(url) => {
                let options = options("user service", url)?;
                let questions = Peer::new(options.clone())?;
                Some(Elsewhere { questions, requests: Peer::new(options)? })
            }
        };
        let orders = match url_of(Role::Orders, &services.orders_url) {
            None => None,
            Some(url) => Some(Peer::new(options("order service", url)?)?),
        };
        Ok(Self { users, orders })
    }

    /// The order service, or this process's own.
    pub(crate) fn orders(&self, own: Arc<dyn Orders>) -> Arc<dyn Orders> {
        match &self.orders {
            Some(peer) => Arc::new(rpc::orders::Remote::new(peer.clone())),
            None => own,
        }
    }

    /// The user service, or this process's own.
    pub(crate) fn users(&self, own: Arc<dyn Users>, board: &Board) -> Arc<dyn Users> {
        match &self.users {
            Some(elsewhere) => {
                Arc::new(rpc::users::Remote::new(elsewhere.questions.clone(), board))
            }
            None => own,
        }
    }

    /// The rows of the user service, as this process answers them.
    pub(crate) fn users_rows(&self, own: Vec<Route>, board: &Arc<Board>) -> Vec<Route> {
        match &self.users {
            Some(elsewhere) => elsewhere.rows(own, Arc::clone(board)),
            None => own,
        }
    }
}

/// How long one process waits for another's answer to a question.
pub(crate) fn question_max(config: &Config) -> Duration {
    Duration::from_millis(config.services.timeout_milliseconds)
}

/// How long one process waits for another to answer a client's request.
pub(crate) fn request_max(config: &Config) -> Duration {
    Duration::from_secs(config.server.request_timeout_seconds)
}

/// What the processes of one platform know and nobody else does. They share the master key, so
/// that nothing has to be set.
pub(crate) fn secret(config: &Config, master_key: &MasterKey) -> Secret<String> {
    match &config.services.secret {
        Some(secret) => secret.clone(),
        None => Secret::new(hex::encode(master_key.derive("services/secret").expose())),
    }
}

/// What gRPC shows of this process, and whom it believes.
pub(crate) fn tls_files(config: &Config) -> Result<Option<TlsFiles>> {
    let grpc = &config.grpc;
    match (&grpc.tls_certificate, &grpc.tls_key, &grpc.tls_authority) {
        (None, None, None) => Ok(None),
        (Some(certificate), Some(key), authority) => Ok(Some(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            authority: authority.clone(),
        })),
        _ => Err(wrong("Name both grpc.tls_certificate and grpc.tls_key, or neither of them.")),
    }
}

/// What makes no sense in the configuration of this role.
pub(crate) fn check(config: &Config) -> Result<()> {
    let (role, services) = (config.server.role, &config.services);
    let urls = [
        ("services.users_url", &services.users_url, Role::Users),
        ("services.orders_url", &services.orders_url, Role::Orders),
    ];
    let is_split = role != Role::All || urls.iter().any(|(_, url, _)| url.is_some());
    if is_split && config.database.url.is_none() {
        return Err(wrong(
            "Several processes share a PostgreSQL database: set database.url, or serve all in one \
             process.",
        ));
    }
    if role.is_asked() && config.grpc.listen.is_none() {
        return Err(wrong(
            "This role is asked by gRPC: say where it listens, with --grpc-listen or grpc.listen.",
        ));
    }
    if services.secret.as_ref().is_some_and(|secret| secret.expose().len() < SECRET_MIN) {
        return Err(wrong("services.secret is too short: at least 32 characters."));
    }
    if !(50..=60_000).contains(&services.timeout_milliseconds) {
        return Err(wrong("services.timeout_milliseconds is from 50 to 60000."));
    }
    let tls = tls_files(config)?;
    for (name, url, its_role) in urls {
        let crosses_bare = url.as_deref().is_some_and(|url| !stays_here(url));
        if role != its_role && crosses_bare && !config.grpc.plaintext {
            return Err(wrong(&format!(
                "{name} goes to another machine without TLS: write https://, or set \
                 grpc.plaintext where the network itself is encrypted.",
            )));
        }
    }
    let listens_bare = config.grpc.listen.is_some_and(|at| !at.ip().is_loopback());
    if role.is_asked() && tls.is_none() && listens_bare && !config.grpc.plaintext {
        return Err(wrong(
            "What the processes ask each other holds passwords and sessions, and grpc.listen is \
             reached from other machines: set grpc.tls_certificate, grpc.tls_key and \
             grpc.tls_authority, or grpc.plaintext where the network itself is encrypted.",
        ));
    }
    Ok(())
}

/// Whether an address is TLS's, or on this machine.
fn stays_here(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |host: &str| host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    scheme == "https" || host == "localhost" || is_loopback(host)
}

fn wrong(what: &str) -> Error {
    Error::invalid("invalid_configuration", what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration of the user service that is right.
    fn users() -> Config {
        let mut config = Config::default();
        config.server.role = Role::Users;
        config.database.url = Some(Secret::new("postgres://db/verza".into()));
        config.grpc.listen = Some(([127, 0, 0, 1], 9090).into());
        config.services.users_url = Some("http://127.0.0.1:9090".into());
        config
    }

    fn refused(change: impl FnOnce(&mut Config)) -> Option<String> {
        let mut config = users();
        change(&mut config);
        check(&config).err().map(|error| error.message().to_owned())
    }

    #[test]
    fn parts_share_a_database_and_say_where_they_are_asked() {
        assert_eq!(refused(|_| {}), None);
        let says = |change: fn(&mut Config), word: &str| {
            let what = refused(change).unwrap_or_default();
            assert!(what.contains(word), "{word}: {what}");
        };
        says(|config| config.database.url = None, "PostgreSQL");
        says(|config| config.grpc.listen = None, "--grpc-listen");
        says(|config| config.services.secret = Some(Secret::new("short".into())), "32 characters");
        says(|config| config.grpc.tls_key = Some("key.pem".into()), "grpc.tls_certificate");
        says(|config| config.services.timeout_milliseconds = 0, "timeout_milliseconds");
    }

    #[test]
    fn nothing_crosses_a_network_without_tls_unless_it_is_said_so() {
        let everywhere = |config: &mut Config| {
            config.grpc.listen = Some(([0, 0, 0, 0], 9090).into());
        };
        assert!(refused(everywhere).is_some_and(|what| what.contains("grpc.plaintext")));
        let reaches = |url: &'static str, set: fn(&mut Config, String)| {
            refused(move |config| {
                config.server.role = Role::Gateway;
                set(config, url.into());
            })
        };
        let services: [fn(&mut Config, String); 2] = [
            |config, url| config.services.users_url = Some(url),
            |config, url| config.services.orders_url = Some(url),
        ];
        for set in services {
            for url in ["https://users:9090", "http://localhost:9090", "http://[::1]:9090"] {
                assert_eq!(reaches(url, set), None, "{url}");
            }
            for url in ["http://users:9090", "http://10.0.0.7", "http://127.0.0.1.example:9090"] {
                assert!(reaches(url, set).is_some(), "{url}");
            }
        }
        let said_so = |config: &mut Config| {
            everywhere(config);
            config.grpc.plaintext = true;
        };
        assert_eq!(refused(said_so), None);
    }
}
