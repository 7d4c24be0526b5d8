//! The store of files as it is configured.

use kernel::{Error, Result, World};
use platform::blob::{Blobs, Encryption, S3Options};

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
