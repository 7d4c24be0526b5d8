//! A platform for one test, on either engine.

use platform::testing::TestDb;
use verza::config::Config;
use verza::wiring::{self, MIGRATIONS, Running};

/// A running platform, and what it leaves behind.
pub struct Stage {
    pub running: Running,
    test: TestDb,
}

impl Stage {
    pub async fn on_sqlite() -> Self {
        Self::over(TestDb::sqlite(MIGRATIONS).await).await
    }

    pub async fn on_postgres() -> Self {
        Self::over(TestDb::postgres(MIGRATIONS).await).await
    }

    async fn over(test: TestDb) -> Self {
        let mut config = Config::default();
        config.server.listen = ([127, 0, 0, 1], 0).into();
        config.server.ops_listen = ([127, 0, 0, 1], 0).into();
        config.server.rate_limits = false;
        config.storage.data_dir = test.directory().join("data");
        config.accounts.argon2_memory_kib = 64;
        config.accounts.argon2_passes = 1;
        if let Some(url) = test.postgres_url() {
            config.database.url = Some(url.into());
            config.secrets.master_key = Some("0123456789abcdef".repeat(4).into());
        }
        let running = wiring::start(config).await.expect("the platform starts");
        Self { running, test }
    }

    pub async fn finish(self) {
        self.running.finish().await;
        self.test.finish().await;
    }
}
