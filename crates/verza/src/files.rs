//! The store of files as it is configured.

use std::time::Duration;

use kernel::{Error, Result, World};
use platform::blob::{Blobs, Encryption, S3Options};
use platform::network::Network;
use platform::outbound::guarded::{self, Guarded};

use crate::config::{Config, S3Encryption};

/// The bucket that is configured, if one is.
fn bucket(config: &Config) -> Result<Option<S3Options>> {
    let files = &config.files;
    let Some(bucket) = &files.s3_bucket else { return Ok(None) };
    let needed = |key: &str| {
        let message = format!("files.{key} is needed with files.s3_bucket.");
        Error::invalid("invalid_configuration", message)
    };
    Ok(Some(S3Options {
        endpoint: files.s3_endpoint.clone().ok_or_else(|| needed("s3_endpoint"))?,
        public_endpoint: files.s3_public_endpoint.clone(),
        region: files.s3_region.clone(),
        bucket: bucket.clone(),
        path_style: files.s3_path_style,
        prefix: files.s3_prefix.clone(),
        access_key: files.s3_access_key.clone().ok_or_else(|| needed("s3_access_key"))?,
        secret_key: files.s3_secret_key.clone().ok_or_else(|| needed("s3_secret_key"))?,
        encryption: match files.s3_encryption {
            S3Encryption::Bucket => Encryption::Bucket,
            S3Encryption::Aes256 => Encryption::Store,
            S3Encryption::Kms => Encryption::Kms(files.s3_kms_key.clone()),
        },
    }))
}

/// What the section `files` must fulfil beyond its types.
pub(crate) fn check(config: &Config, world: World) -> Result<()> {
    if config.files.max_mb == 0 {
        let message = "files.max_mb must be at least 1.";
        return Err(Error::invalid("invalid_configuration", message));
    }
    scanner(config)?;
    inspector(config)?;
    issuers(config)?;
    documents::credential::Judge::check_anchors(&credential_anchors(config)?)?;
    let Some(bucket) = bucket(config)? else { return Ok(()) };
    Blobs::on_s3(bucket, world).map(drop).map_err(|error| {
        let message = format!("files.s3_endpoint: {}", error.message());
        Error::invalid("invalid_configuration", message)
    })
}

/// The store of files: the bucket, or else the data folder.
pub(crate) fn store(config: &Config, world: World) -> Result<Blobs> {
    match bucket(config)? {
        Some(bucket) => Blobs::on_s3(bucket, world),
        None => Blobs::on_disk(config.storage.files(), world),
    }
}

/// Who looks at files before anybody reads them.
pub(crate) fn scanner(config: &Config) -> Result<Option<documents::file::Scanner>> {
    let clamd = config.files.clamd.as_deref().map(documents::file::Scanner::parse).transpose();
    clamd.map_err(|_| {
        let message = "files.clamd is neither host:port nor the path of a socket.";
        Error::invalid("invalid_configuration", message)
    })
}

/// How long an issuer may take to answer, and how much it may answer: a status list of a million
/// credentials that are all revoked at random is 125 kB.
const ISSUER_PATIENCE: Duration = Duration::from_secs(6);
const ISSUER_ANSWER_MAX: usize = 1 << 20;

/// Who asks issuers, if anybody does.
fn issuers(config: &Config) -> Result<Option<Guarded>> {
    if !config.files.ask_issuers {
        return Ok(None);
    }
    let networks: Result<Vec<Network>> =
        config.files.issuer_networks.iter().map(|text| text.parse()).collect();
    let networks = networks.map_err(|error| {
        let message = format!("files.issuer_networks: {error}.");
        Error::invalid("invalid_configuration", message)
    })?;
    let options = guarded::Options {
        networks,
        timeout: ISSUER_PATIENCE,
        answer_max: ISSUER_ANSWER_MAX,
        ..guarded::Options::default()
    };
    Guarded::new(options).map(Some)
}

/// Who judges signed credentials that are uploaded.
pub(crate) fn judge(
    config: &Config,
    judging: trust::judging::Judging,
) -> Result<documents::credential::Judge> {
    let anchors = credential_anchors(config)?;
    let trusted = &config.files.trusted_issuers;
    documents::credential::Judge::new(judging, issuers(config)?, trusted, &anchors)
}

fn credential_anchors(config: &Config) -> Result<String> {
    let Some(path) = &config.files.credential_anchors else { return Ok(String::new()) };
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("files.credential_anchors: {}: {error}.", path.display());
        Error::invalid("invalid_configuration", message)
    })
}

/// Who looks at the signatures in PDFs: this program, run once more.
pub(crate) fn inspector(config: &Config) -> Result<documents::file::Inspector> {
    let anchors = match &config.files.signature_anchors {
        None => Vec::new(),
        Some(path) => std::fs::read(path).map_err(|error| {
            let message = format!("files.signature_anchors: {}: {error}.", path.display());
            Error::invalid("invalid_configuration", message)
        })?,
    };
    let program = std::env::current_exe().map_err(|error| {
        let message = "The system does not tell where this program is.";
        Error::unavailable("no_program", message).because(error)
    })?;
    documents::file::Inspector::new(program, vec!["inspect-file".into()], &anchors)
}
