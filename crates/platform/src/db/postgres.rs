//! PostgreSQL: a bounded pool, cached prepared statements, pipelined where statements allow it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use kernel::{Error, Result, Secret};
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tx::{Hook, run_hooks};
use super::{Connections, DbError, Row, Value};

/// How long making one connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?sslmode=require`
    pub url: Secret<String>,
    pub connections: usize,
    pub statement_timeout: Duration,
    /// How long a caller waits for a free connection.
    pub wait_timeout: Duration,
    /// Behind a pooler in transaction mode: statements are not prepared by name, and settings
    /// that would outlive a transaction are left to the server's configuration.
    pub transaction_pooler: bool,
    /// By which the server's statistics name our connections. Who serves is `verza`.
    pub name: &'static str,
}

impl PostgresOptions {
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url.into()),
            connections: 16,
            statement_timeout: Duration::from_secs(10),
            wait_timeout: Duration::from_secs(5),
            transaction_pooler: false,
            name: "verza",
        }
    }
}

pub(super) struct Store {
    pool: Pool,
    named: bool,
}

impl Store {
    pub(super) fn connect(options: &PostgresOptions) -> Result<Self> {
        let wrong = |what: String| {
            let message = format!("The PostgreSQL URL cannot be used: {what}.");
            Error::invalid("invalid_database_url", message)
        };
        let mut config: tokio_postgres::Config = options
            .url
            .expose()
            .parse()
            .map_err(|error: tokio_postgres::Error| wrong(error.to_string()))?;
        config.application_name(options.name).connect_timeout(CONNECT_TIMEOUT);
        if !options.transaction_pooler {
            let millis = options.statement_timeout.as_millis();
            // Behind what the URL says, of which the server believes the last word.
            let said = config.get_options().unwrap_or_default();
            let all = format!(
                "{said} -c statement_timeout={millis} -c lock_timeout={millis} \
                 -c idle_in_transaction_session_timeout={}",
                millis * 3
            );
            config.options(all);
        }
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if config.get_ssl_mode() == SslMode::Disable {
            Manager::from_config(config, tokio_postgres::NoTls, recycling)
        } else {
            let tls = MakeRustlsConnect::new(crate::outbound::tls(None)?);
            Manager::from_config(config, tls, recycling)
        };
        let timeouts = Timeouts {
            wait: Some(options.wait_timeout),
            create: Some(CONNECT_TIMEOUT),
            recycle: Some(CONNECT_TIMEOUT),
        };
        let pool = Pool::builder(manager)
            .max_size(options.connections)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self { pool, named: !options.transaction_pooler })
    }

    async fn client(&self) -> Result<Object, DbError> {
        self.pool.get().await.map_err(|error| DbError::Unavailable(error.to_string()))
    }

    pub(super) async fn read<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, DbError> + Send,
    ) -> Result<Vec<T>, DbError> {
        let client = self.client().await?;
        let rows = query(&client, self.named, sql, params).await?;
        rows.iter().map(|row| read(&Row::postgres(row))).collect()
    }

    pub(super) async fn begin(&self) -> Result<Transaction, DbError> {
        let client = self.client().await?;
        Ok(Transaction { client: Some(client), begun: AtomicBool::new(false), named: self.named })
    }

    pub(super) fn connections(&self) -> Connections {
        let status = self.pool.status();
        Connections {
            max: status.max_size,
            open: status.size,
            idle: status.available,
            waiting: status.waiting,
        }
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

async fn query(
    client: &Object,
    named: bool,
    sql: &str,
    params: &[Value<'_>],
) -> Result<Vec<tokio_postgres::Row>, DbError> {
    let answer = if named {
        let statement = client.prepare_cached(sql).await.map_err(DbError::from_postgres)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|value| value as _).collect();
        client.query(&statement, &params).await
    } else {
        let params: Vec<(&(dyn ToSql + Sync), Type)> =
            params.iter().map(|value| (value as _, value.postgres_type())).collect();
        client.query_typed(sql, &params).await
    };
    answer.map_err(DbError::from_postgres)
}

async fn execute(
    client: &Object,
    named: bool,
    sql: &str,
    params: &[Value<'_>],
) -> Result<u64, DbError> {
    let done = if named {
        let statement = client.prepare_cached(sql).await.map_err(DbError::from_postgres)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|value| value as _).collect();
        client.execute(&statement, &params).await
    } else {
        let params: Vec<(&(dyn ToSql + Sync), Type)> =
            params.iter().map(|value| (value as _, value.postgres_type())).collect();
        client.execute_typed(sql, &params).await
    };
    done.map_err(DbError::from_postgres)
}

/// A transaction. BEGIN travels together with the first statement.
pub(super) struct Transaction {
    client: Option<Object>,
    begun: AtomicBool,
    named: bool,
}

impl Transaction {
    fn client(&self) -> Result<&Object, DbError> {
        self.client.as_ref().ok_or_else(|| DbError::Other("the transaction is over".into()))
    }

    /// Sends BEGIN before the first statement without waiting for its answer: futures of one
    /// connection are sent in the order in which they are first polled, and `join!` polls in
    /// order.
    async fn with_begin<T>(
        &self,
        client: &Object,
        statement: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        if self.begun.swap(true, Ordering::Relaxed) {
            return statement.await;
        }
        let (begun, answer) = futures_util::join!(client.batch_execute("BEGIN"), statement);
        begun.map_err(DbError::from_postgres)?;
        answer
    }

    pub(super) async fn read<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, DbError> + Send,
    ) -> Result<Vec<T>, DbError> {
        let client = self.client()?;
        let rows = self.with_begin(client, query(client, self.named, sql, params)).await?;
        rows.iter().map(|row| read(&Row::postgres(row))).collect()
    }

    pub(super) async fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
        let client = self.client()?;
        self.with_begin(client, execute(client, self.named, sql, params)).await
    }

    /// Runs several statements without parameters: migrations.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), DbError> {
        let client = self.client()?;
        let batch = async { client.batch_execute(sql).await.map_err(DbError::from_postgres) };
        self.with_begin(client, batch).await
    }

    /// Commits in a task of its own, so that a caller who goes away cannot leave it half sent,
    /// and what must follow a commit does.
    pub(super) async fn commit(mut self, hooks: Vec<Hook>) -> Result<(), DbError> {
        let begun = self.begun.load(Ordering::Relaxed);
        let Some(client) = self.client.take() else { return Ok(()) };
        if !begun {
            run_hooks(hooks);
            return Ok(());
        }
        let commit = tokio::spawn(async move {
            if client.is_closed() {
                return Err(DbError::Unavailable("the connection was lost".into()));
            }
            client.batch_execute("COMMIT").await.map_err(not_committed)?;
            run_hooks(hooks);
            Ok(())
        });
        commit.await.unwrap_or_else(|error| Err(DbError::Unsure(error.to_string())))
    }
}

/// What a COMMIT that was sent has failed with. Only a server that lives on to say no has not
/// committed for certain.
fn not_committed(error: tokio_postgres::Error) -> DbError {
    let is_answer = error.as_db_error().is_some();
    match DbError::from_postgres(error) {
        DbError::Unavailable(what) => DbError::Unsure(what),
        refused if is_answer => refused,
        lost => DbError::Unsure(lost.to_string()),
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if !*self.begun.get_mut() {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    if client.batch_execute("ROLLBACK").await.is_err() {
                        drop(Object::take(client));
                    }
                });
            }
            // Without a runtime nothing can be sent: closing the connection rolls back as well.
            Err(_) => drop(Object::take(client)),
        }
    }
}
