//! A platform for one test, on either engine.

use std::net::SocketAddr;

use platform::testing::TestDb;
use verza::config::{Config, Role};
use verza::wiring::{self, MIGRATIONS, Running};

use crate::town::Town;

/// A running platform, and what it leaves behind.
pub struct Stage {
    /// What clients reach.
    pub running: Running,
    /// The other parts, where the platform is not all in one.
    parts: Vec<Running>,
    test: TestDb,
}

impl Stage {
    pub async fn on_sqlite() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn on_postgres() -> Self {
        Self::over(TestDb::postgres(MIGRATIONS).await, |_| {}).await
    }

    /// On the embedded store, with a configuration of its own.
    pub async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::over(TestDb::sqlite(MIGRATIONS).await, configure).await
    }

    /// In parts that reach each other over loopback, as separate processes do: what clients reach,
    /// the user service, the order service, and a worker. The clients of such a stage cannot tell it from any other.
    pub async fn in_parts() -> Self {
        let test = TestDb::postgres(MIGRATIONS).await;
        let port = crate::house::free_port();
        let part = |role: Role| {
            let mut config = configuration(&test);
            config.server.role = role;
            config.server.public_url = Some(format!("http://localhost:{port}"));
            config.storage.data_dir = test.directory().join(role.as_str());
            config.storage.files_dir = Some(test.directory().join("files"));
            config.database.connections = 6;
            config
        };
        let users = wiring::start(part(Role::Users)).await.expect("the user service starts");
        let url = |part: &Running| format!("http://{}", part.grpc_address.expect("gRPC is served"));
        let mut config = part(Role::Orders);
        config.services.users_url = Some(url(&users));
        let orders = wiring::start(config).await.expect("the order service starts");
        let joined = |role: Role| {
            let mut config = part(role);
            config.services.users_url = Some(url(&users));
            config.services.orders_url = Some(url(&orders));
            config
        };
        let worker = wiring::start(joined(Role::Worker)).await.expect("the worker starts");
        let mut config = joined(Role::Gateway);
        config.server.listen.set_port(port);
        let running = wiring::start(config).await.expect("the gateway starts");
        Self { running, parts: vec![worker, users, orders], test }
    }

    async fn over(test: TestDb, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = configuration(&test);
        configure(&mut config);
        let running = wiring::start(config).await.expect("the platform starts");
        Self { running, parts: Vec::new(), test }
    }

    /// Whether what clients reach by HTTP and by gRPC are processes of their own.
    pub fn is_in_parts(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Where gRPC is served.
    pub fn grpc_address(&self) -> SocketAddr {
        let everybody = std::iter::once(&self.running).chain(&self.parts);
        everybody.filter_map(|part| part.grpc_address).next().expect("gRPC is served")
    }

    pub fn town(&self) -> Town {
        Town::new(self.running.local_url(), format!("http://{}", self.running.ops_address))
    }

    pub async fn finish(self) {
        self.running.finish().await;
        for part in self.parts {
            part.finish().await;
        }
        self.test.finish().await;
    }
}

fn configuration(test: &TestDb) -> Config {
    let mut config = Config::default();
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.ops_listen = ([127, 0, 0, 1], 0).into();
    config.grpc.listen = Some(([127, 0, 0, 1], 0).into());
    config.server.rate_limits = false;
    // Tests run beside others: that this machine is busy says nothing.
    config.load.shedding = false;
    config.storage.data_dir = test.directory().join("data");
    config.accounts.argon2_memory_kib = 64;
    config.accounts.argon2_passes = 1;
    if let Some(url) = test.postgres_url() {
        config.database.url = Some(url.into());
        config.secrets.master_key = Some("0123456789abcdef".repeat(4).into());
    }
    config
}

/// Writes a test once and plays it on each of the stages named.
macro_rules! on_stages {
    (@one [$($stage:ident)*] $(#[$meta:meta])* $name:ident $it:ident $body:block) => {
        mod $name {
            use super::*;

            $(#[$meta])*
            async fn play($it: &$crate::world::Stage) $body

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $stage() {
                    let stage = $crate::world::Stage::$stage().await;
                    play(&stage).await;
                    stage.finish().await;
                }
            )*
        }
    };
    ($stages:tt $($(#[$meta:meta])* async fn $name:ident($it:ident: &Stage) $body:block)*) => {
        $($crate::world::on_stages!(@one $stages $(#[$meta])* $name $it $body);)*
    };
}
pub(crate) use on_stages;

/// Writes a test once and plays it on both engines.
macro_rules! on_both_stages {
    ($($test:tt)*) => { $crate::world::on_stages! { [on_sqlite on_postgres] $($test)* } };
}
pub(crate) use on_both_stages;

/// Writes a test once and plays it on both engines, and on a platform in parts.
macro_rules! on_all_stages {
    ($($test:tt)*) => { $crate::world::on_stages! { [on_sqlite on_postgres in_parts] $($test)* } };
}
pub(crate) use on_all_stages;
