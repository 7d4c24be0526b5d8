//! A platform for one test, on either engine.

use platform::testing::TestDb;
use verza::config::Config;
use verza::wiring::{self, MIGRATIONS, Running};

use crate::town::Town;

/// A running platform, and what it leaves behind.
pub struct Stage {
    pub running: Running,
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

    async fn over(test: TestDb, configure: impl FnOnce(&mut Config)) -> Self {
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
        configure(&mut config);
        let running = wiring::start(config).await.expect("the platform starts");
        Self { running, test }
    }

    pub fn town(&self) -> Town {
        Town::new(self.running.local_url(), format!("http://{}", self.running.ops_address))
    }

    pub async fn finish(self) {
        self.running.finish().await;
        self.test.finish().await;
    }
}

/// Writes a test once and plays it on both engines.
macro_rules! on_both_stages {
    ($($(#[$meta:meta])* async fn $name:ident($stage:ident: &Stage) $body:block)*) => {
        $(mod $name {
            use super::*;

            $(#[$meta])*
            async fn play($stage: &$crate::world::Stage) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                let stage = $crate::world::Stage::on_sqlite().await;
                play(&stage).await;
                stage.finish().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                let stage = $crate::world::Stage::on_postgres().await;
                play(&stage).await;
                stage.finish().await;
            }
        })*
    };
}
pub(crate) use on_both_stages;
