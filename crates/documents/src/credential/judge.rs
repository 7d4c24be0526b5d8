//! Judging signed credentials that were uploaded: in the background, with what must be asked of
//! their issuers.
//!
//! What is asked of others goes through the guarded client, with bounds to size, time and number.
//! What would be asked of this platform itself is answered from memory.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, header};
use kernel::id::kinds::Credential as CredentialKind;
use kernel::{Caller, Error, Id, Result};
use platform::jobs::{Job, Registry, Run};
use platform::journal::Fact;
use platform::outbound::guarded::Guarded;
use serde::{Deserialize, Serialize};
use trust::judging::{Judging, aside};
use verify::credential::baked;
use verify::judge::Options;
use verify::judge::foreign::{self, Found, Wanted};
use verify::judge::trust::Trust;

use super::judgement::{Checked, Judgement};
use super::service::Service;
use super::store;
use crate::file::{File, MediaType};

/// The largest file that is looked into: it lies in memory.
const FILE_MAX: u64 = 16 << 20;
/// The largest credential, by itself or in a picture: taken apart it is many times as large.
const CREDENTIAL_MAX: usize = 1 << 20;
/// How much is asked for about one credential: its issuer's keys in two steps, and its lists.
const ASKED_MAX: usize = 8;
/// For how long all of it may be asked; less than a worker holds a job.
const PATIENCE: Duration = Duration::from_secs(40);

/// Who judges. Cheap to clone.
#[derive(Clone)]
pub struct Judge {
    judging: Judging,
    client: Option<Guarded>,
    trusted: Arc<[String]>,
    /// PEM.
    anchors: Arc<str>,
}

impl Judge {
    /// Who asks by `client`, or nobody without one; trusts the issuers named in `trusted`, those
    /// below the authorities in `anchors` (PEM, perhaps none), and this platform itself.
    ///
    /// # Errors
    /// `Invalid` `invalid_configuration`: `anchors` are no certificates.
    pub fn new(
        judging: Judging,
        client: Option<Guarded>,
        trusted: &[String],
        anchors: &str,
    ) -> Result<Self> {
        Self::check_anchors(anchors)?;
        let mut all = trusted.to_vec();
        all.extend(judging.own_issuers());
        Ok(Self { judging, client, trusted: all.into(), anchors: anchors.into() })
    }

    /// Refuses what are no certificates in PEM; nothing at all is none, and fine.
    ///
    /// # Errors
    /// `Invalid` `invalid_configuration`.
    pub fn check_anchors(anchors: &str) -> Result<()> {
        if anchors.trim().is_empty() || Trust::default().pin(anchors).is_ok() {
            return Ok(());
        }
        let message = "files.credential_anchors: that is no certificate in PEM.";
        Err(Error::invalid("invalid_configuration", message))
    }

    /// What is found out about a file; nothing of a picture without a credential.
    async fn judge(&self, file: Vec<u8>, is_picture: bool) -> Result<Option<Checked>> {
        let length = match baked::find(&file) {
            Ok(None) if is_picture => return Ok(None),
            Ok(Some(inner)) => inner.len(),
            Ok(None) | Err(_) => file.len(),
        };
        let now = self.judging.db.world().now();
        if length > CREDENTIAL_MAX {
            return Ok(Some(Checked::too_large(now)));
        }
        let file: Arc<[u8]> = file.into();
        let digested = Arc::clone(&file);
        let digest = aside(move || foreign::signed_digest(&digested)).await?;
        let mut trust = self.judging.own_trust(digest).await?;
        // Checked where they came in; none may be there.
        let _ = trust.pin(&self.anchors);
        let options = Arc::new(self.judging.options(trust));
        let mut found = Arc::new(Found::default());
        let asking = async {
            loop {
                let judged = self.judge_with(&file, &options, &found).await?;
                if judged.wanted.is_empty() || found.len() >= ASKED_MAX {
                    return Ok::<_, Error>(judged);
                }
                for wanted in judged.wanted.iter().take(ASKED_MAX - found.len()) {
                    let answer = self.ask(wanted).await?;
                    Arc::make_mut(&mut found).put(wanted.clone(), answer);
                }
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, asking).await;
        let judged = match in_time {
            Ok(judged) => judged?,
            // With what has been answered by now.
            Err(_) => self.judge_with(&file, &options, &found).await?,
        };
        Ok(Some(Checked::of(judged, self.judging.db.world().now())))
    }

    async fn judge_with(
        &self,
        file: &Arc<[u8]>,
        options: &Arc<Options>,
        found: &Arc<Found>,
    ) -> Result<foreign::Judgement> {
        let (file, options, found) = (Arc::clone(file), Arc::clone(options), Arc::clone(found));
        let trusted = Arc::clone(&self.trusted);
        aside(move || foreign::judge_with(&file, &options, &found, &trusted)).await
    }

    /// Asks for what a judgement lacks: the answer, or in a few words why there is none. The words
    /// are for whoever uploaded the file, who has chosen the address.
    async fn ask(&self, wanted: &Wanted) -> Result<Result<Vec<u8>, String>> {
        if let Some(own) = self.judging.own(wanted).await? {
            return Ok(Ok(own));
        }
        let Some(client) = &self.client else {
            return Ok(Err("this platform asks nobody".to_owned()));
        };
        let address = match client.parse(&wanted.url) {
            Ok(address) => address,
            Err(error) => return Ok(Err(format!("not {}", error.message()))),
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(wanted.source.accept()));
        Ok(match client.get(&address, headers).await {
            Ok(answer) if answer.status.is_success() => Ok(answer.body.to_vec()),
            Ok(answer) => Err(format!("it answered {}", answer.status.as_u16())),
            Err(failure) => {
                tracing::debug!(host = address.host(), %failure, "an issuer did not answer");
                Err(failure.told().to_owned())
            }
        })
    }
}

/// Has a credential judged that was uploaded signed.
#[derive(Serialize, Deserialize)]
pub(super) struct Look {
    pub(super) credential: Id<CredentialKind>,
}

impl Job for Look {
    const KIND: &'static str = "credential.judge";
}

pub fn register(registry: &mut Registry, service: &Service) {
    let credentials = service.clone();
    registry.on(move |job: Look, run| {
        let credentials = credentials.clone();
        async move { credentials.judge(job.credential, &run).await }
    });
}

/// Whether a file of this kind may be, or hold, a signed credential.
pub(super) const fn may_be_signed(media: MediaType) -> bool {
    media.is_credential() || matches!(media, MediaType::Png)
}

impl Service {
    /// Judges a credential's file, and keeps what was found out.
    async fn judge(&self, id: Id<CredentialKind>, run: &Run) -> Result<()> {
        let now = self.db().world().now();
        let credential = store::get(self.db(), id, now).await?;
        let credential = credential.filter(|one| one.judgement == Some(Judgement::Pending));
        let file = match credential.as_ref().and_then(|credential| credential.file) {
            Some(file) => self.files().stored(file).await?,
            None => None,
        };
        let found = match &file {
            Some(file) => self.look(file).await?,
            None => None,
        };
        let is_pending = credential.is_some();
        let found = &found.map(Judgement::Checked);
        self.db()
            .run("credential.judge", |tx| async move {
                if is_pending
                    && store::judged(&tx, id, found.as_ref()).await?
                    && let Some(Judgement::Checked(checked)) = found
                {
                    let fact = Fact::by(&Caller::nobody(), "credential.judged").on(id);
                    tx.record(
                        fact.with("verdict", checked.verdict.as_str())
                            .with("issuerTrusted", checked.issuer_trusted),
                    );
                }
                run.done_in(&tx).await
            })
            .await
    }

    async fn look(&self, file: &File) -> Result<Option<Checked>> {
        let is_picture = !file.media_type.is_credential();
        if file.size > FILE_MAX {
            let now = self.db().world().now();
            return Ok((!is_picture).then(|| Checked::too_large(now)));
        }
        let mut bytes = Vec::new();
        let mut content = self.files().open(file, 0..file.size).await?;
        while let Some(piece) = content.next().await {
            bytes.extend_from_slice(&piece?);
        }
        self.judge_of().judge(bytes, is_picture).await
    }
}
