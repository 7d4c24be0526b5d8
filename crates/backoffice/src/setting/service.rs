//! The verbs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kernel::error::Fields;
use kernel::id::kinds::{Proposal, User};
use kernel::{Caller, Error, Id, Result, Timestamp};
use platform::db::{Db, Tx};
use platform::fleet::{Follower, Notice};
use platform::journal::Fact;
use serde_json::{Map, Value as Json, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::model::{Changes, Setting};
use super::store::{self, Stored};

/// What notices about settings name: there is only one thing of the kind.
const SUBJECT: Uuid = Uuid::from_u128(0x0000_0000_0000_7000_8000_5e77_1465_0000);
/// How often a process looks whatever it has heard.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The settings of a platform. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    settings: Vec<Setting>,
    heard: Arc<Ear>,
}

/// Wakes up whoever reads the settings again.
#[derive(Default)]
struct Ear(Notify);

impl Follower for Ear {
    fn forget(&self, notice: &Notice) {
        if notice.about == SUBJECT {
            self.0.notify_one();
        }
    }

    fn forget_shard(&self, shard: usize) {
        if shard == Notice::shard_of(SUBJECT) {
            self.0.notify_one();
        }
    }
}

/// All settings, as they are.
#[derive(Debug, Clone)]
pub struct Listed {
    pub version: i64,
    pub settings: Vec<Shown>,
}

/// One setting, as it is.
#[derive(Debug, Clone)]
pub struct Shown {
    pub declared: Setting,
    pub value: Json,
    /// By whom and when it was last changed; none where it is the default.
    pub changed: Option<(Option<Id<User>>, Timestamp)>,
}

impl Service {
    pub fn new(db: Db, settings: Vec<Setting>) -> Self {
        let heard = Arc::new(Ear::default());
        db.board().follow(&heard);
        Self(Arc::new(Inner { db, settings, heard }))
    }

    /// All of them, with what they are set to.
    pub async fn list(&self) -> Result<Listed> {
        // Read one after the other: a change in between shows in the version that is older.
        let version = store::version(&self.0.db).await?;
        let mut stored = self.stored().await?;
        let settings = self.0.settings.iter().map(|declared| {
            let own = stored.remove(declared.key);
            let own = own.filter(|own| declared.schema.refuse(&own.value).is_none());
            let changed = own.as_ref().map(|own| (own.changed_by, own.changed_at));
            let value = own.map_or_else(|| declared.default.clone(), |own| own.value);
            Shown { declared: declared.clone(), value, changed }
        });
        Ok(Listed { version, settings: settings.collect() })
    }

    async fn stored(&self) -> Result<HashMap<String, Stored>> {
        let all = store::all(&self.0.db).await?;
        Ok(all.into_iter().map(|one| (one.key.clone(), one)).collect())
    }

    /// Refuses changes that no setting takes.
    ///
    /// # Errors
    /// Field errors below `/values`.
    pub fn check(&self, changes: &Changes) -> Result<()> {
        let mut fields = Fields::new();
        if changes.is_empty() {
            fields.add("/values", "required", "at least one setting");
        }
        for (key, value) in changes {
            // As RFC 6901 writes what is not plain.
            let pointer = format!("/values/{}", key.replace('~', "~0").replace('/', "~1"));
            match self.find(key) {
                None => fields.add(&pointer, "unknown", "not a setting"),
                Some(_) if value.is_null() => {}
                Some(setting) => {
                    if let Some((code, words)) = setting.schema.refuse(value) {
                        fields.add(&pointer, code, words);
                    }
                }
            }
        }
        fields.check()
    }

    fn find(&self, key: &str) -> Option<&Setting> {
        self.0.settings.iter().find(|setting| setting.key == key)
    }

    /// Changes some of them, if they are as `version` has them.
    ///
    /// # Errors
    /// Field errors below `/values`; `Conflict` `changed_meanwhile`.
    pub async fn change(&self, caller: &Caller, version: i64, changes: &Changes) -> Result<Listed> {
        self.check(changes)?;
        self.0
            .db
            .run("setting.change", |tx| async move {
                if store::version(&tx).await? != version {
                    return Err(changed_meanwhile());
                }
                self.change_from(&tx, caller, version, changes, None).await.map(drop)
            })
            .await?;
        self.reload().await?;
        self.list().await
    }

    /// Changes some of them as they are now, as part of something else; answers the new version.
    /// Whoever calls has checked the changes, and reloads after the commit.
    ///
    /// # Errors
    /// `Conflict` `changed_meanwhile`, when somebody changes others at the same time.
    pub(crate) async fn change_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        changes: &Changes,
        proposal: Option<Id<Proposal>>,
    ) -> Result<i64> {
        let version = store::version(tx).await?;
        self.change_from(tx, caller, version, changes, proposal).await
    }

    /// The change after `version`. That is not read again here: between two statements somebody
    /// else may commit, and their change would be overwritten unseen.
    async fn change_from(
        &self,
        tx: &Tx,
        caller: &Caller,
        version: i64,
        changes: &Changes,
        proposal: Option<Id<Proposal>>,
    ) -> Result<i64> {
        let version = version + 1;
        let by = caller.principal.as_deref().map(kernel::Principal::person);
        let before: HashMap<_, _> =
            store::all(tx).await?.into_iter().map(|one| (one.key, one.value)).collect();
        let mut told = Map::new();
        for (key, value) in changes {
            let default = self.find(key).map(|setting| setting.default.clone());
            let was = before.get(key).cloned().or_else(|| default.clone());
            let becomes = if value.is_null() { default } else { Some(value.clone()) };
            told.insert(key.clone(), json!({ "from": was, "to": becomes }));
        }
        let told = Json::Object(told);
        if !store::append(tx, version, &told, by, proposal).await? {
            return Err(changed_meanwhile());
        }
        for (key, value) in changes {
            if value.is_null() {
                store::unset(tx, key).await?;
            } else {
                store::set(tx, key, value, version, by).await?;
            }
        }
        let fact = Fact::by(caller, "settings.changed").on("settings").with("version", version);
        let fact = fact.with("changes", &told);
        tx.record(match proposal {
            Some(proposal) => fact.with("proposal", proposal),
            None => fact,
        });
        tx.tell(Notice::all_of(SUBJECT));
        Ok(version)
    }

    /// Puts in effect here what is stored.
    pub async fn reload(&self) -> Result<()> {
        for Shown { declared, value, .. } in self.list().await?.settings {
            declared.put_in_effect(&value);
        }
        Ok(())
    }

    /// Puts in effect what other processes change, until told to stop.
    pub async fn follow(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = self.0.heard.0.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.reload().await {
                tracing::warn!(%error, "the settings were not read again");
                // Whatever was heard is not done with.
                self.0.heard.0.notify_one();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn changed_meanwhile() -> Error {
    let message = "The settings have been changed meanwhile. Look at them again.";
    Error::conflict("changed_meanwhile", message)
}
