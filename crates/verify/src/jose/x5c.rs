//! The `x5c` header (RFC 7515 section 4.1.6): a chain of P-256 certificates up to an anchor that the
//! reader brings. Offline there is no revocation of certificates; validity is all that is asked.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName};

use super::es256::PublicKey;

/// The most certificates of a chain.
const CHAIN_MAX: usize = 4;
/// Ecdsa-with-SHA256.
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// The extensions that are understood, which may hence be critical: basic constraints, key usage,
/// alternative names.
const UNDERSTOOD: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("2.5.29.19"),
    ObjectIdentifier::new_unwrap("2.5.29.15"),
    ObjectIdentifier::new_unwrap("2.5.29.17"),
];

/// Why a chain was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainError {
    /// Not an array of one to four certificates.
    Malformed,
    /// A certificate with another key or signature than P-256 and ECDSA with SHA-256.
    Algorithm,
    /// A certificate is not valid at the time.
    Time,
    /// A certificate was not signed by the one that follows.
    Signature,
    /// A certificate signed another and may not, or the leaf may sign certificates.
    Usage,
    /// The chain holds the anchor itself, or its leaf is self-signed.
    SelfSigned,
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the certificate chain cannot be read",
            Self::Algorithm => "a certificate is not of P-256 with SHA-256",
            Self::Time => "a certificate is not valid at this time",
            Self::Signature => "a certificate was not signed by the next one",
            Self::Usage => "a certificate is used for what it is not for",
            Self::SelfSigned => "the chain holds a self-signed certificate",
        })
    }
}

impl std::error::Error for ChainError {}

/// A certificate that the reader believes in.
#[derive(Clone, Debug)]
pub struct Anchor(Certificate);

impl Anchor {
    /// Reads a PEM block or DER bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChainError> {
        let begin = b"-----BEGIN CERTIFICATE-----";
        let text = std::str::from_utf8(bytes).map(str::trim).ok();
        let der = match text.and_then(|text| text.strip_prefix(std::str::from_utf8(begin).ok()?)) {
            None => bytes.to_vec(),
            Some(rest) => {
                let body = rest.strip_suffix("-----END CERTIFICATE-----");
                let body: String = body.ok_or(ChainError::Malformed)?.split_whitespace().collect();
                STANDARD.decode(body).map_err(|_| ChainError::Malformed)?
            }
        };
        Ok(Self(Certificate::from_der(&der).map_err(|_| ChainError::Malformed)?))
    }
}

/// The end of a chain whose signatures hold.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The key that signs.
    pub key: PublicKey,
    /// The host names it stands for.
    pub hosts: Vec<String>,
    /// The URLs it stands for.
    pub urls: Vec<String>,
    /// SHA-256 over the certificate.
    pub sha256: [u8; 32],
    /// Whether the chain ends below one of the anchors.
    pub anchored: bool,
}

impl Leaf {
    /// Whether the certificate stands for this issuer: by its URL, or by its host.
    pub fn speaks_for(&self, issuer: &str) -> bool {
        let host = issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://"));
        let host = host.unwrap_or_default().split(['/', ':']).next().unwrap_or_default();
        self.urls.iter().any(|url| url == issuer)
            || (!host.is_empty() && self.hosts.iter().any(|name| name.eq_ignore_ascii_case(host)))
    }
}

/// Checks a chain, leaf first, at a time in seconds since the Unix epoch.
pub fn check(x5c: &Value, anchors: &[Anchor], now: i64) -> Result<Leaf, ChainError> {
    let texts = x5c.as_array().filter(|chain| (1..=CHAIN_MAX).contains(&chain.len()));
    let mut chain = Vec::new();
    for text in texts.ok_or(ChainError::Malformed)? {
        let text = text.as_str().ok_or(ChainError::Malformed)?;
        let der = STANDARD.decode(text).map_err(|_| ChainError::Malformed)?;
        chain.push((Certificate::from_der(&der).map_err(|_| ChainError::Malformed)?, der));
    }
    for (certificate, _) in &chain {
        check_one(certificate, now)?;
    }
    for (place, pair) in chain.windows(2).enumerate() {
        let [(child, _), (parent, _)] = pair else { return Err(ChainError::Malformed) };
        check_signed(child, parent, place)?;
    }
    let ((leaf, der), (last, _)) = match (chain.first(), chain.last()) {
        (Some(leaf), Some(last)) => (leaf, last),
        _ => return Err(ChainError::Malformed),
    };
    if may_sign_certificates(leaf)? {
        return Err(ChainError::Usage);
    }
    let depth = chain.len() - 1;
    let anchored = anchors.iter().any(|Anchor(anchor)| {
        check_one(anchor, now).is_ok() && check_signed(last, anchor, depth).is_ok()
    });
    let (hosts, urls) = names(leaf)?;
    Ok(Leaf { key: key(leaf)?, hosts, urls, sha256: Sha256::digest(der).into(), anchored })
}

fn check_one(certificate: &Certificate, now: i64) -> Result<(), ChainError> {
    let tbs = certificate.tbs_certificate();
    let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs().cast_signed();
    let validity = tbs.validity();
    if now < seconds(validity.not_before) || now > seconds(validity.not_after) {
        return Err(ChainError::Time);
    }
    if tbs.issuer() == tbs.subject() && key(certificate).is_ok_and(|key| signs(&key, certificate)) {
        // Anchors come from the reader; in a header a self-signed one proves nothing.
        return if may_sign_certificates(certificate)? {
            Ok(())
        } else {
            Err(ChainError::SelfSigned)
        };
    }
    let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
    if extensions.iter().any(|one| one.critical && !UNDERSTOOD.contains(&one.extn_id)) {
        return Err(ChainError::Usage);
    }
    Ok(())
}

fn key(certificate: &Certificate) -> Result<PublicKey, ChainError> {
    let info = certificate.tbs_certificate().subject_public_key_info();
    let point = info.subject_public_key.as_bytes().ok_or(ChainError::Algorithm)?;
    PublicKey::from_sec1(point).map_err(|_| ChainError::Algorithm)
}

fn signs(key: &PublicKey, certificate: &Certificate) -> bool {
    let Ok(tbs) = certificate.tbs_certificate().to_der() else { return false };
    let signature = certificate.signature().as_bytes().unwrap_or_default();
    key.verify_der(&tbs, signature)
}

/// Whether the parent, with `below` certificates between it and the leaf, signed the child.
fn check_signed(child: &Certificate, parent: &Certificate, below: usize) -> Result<(), ChainError> {
    if child.signature_algorithm().oid != ECDSA_SHA256
        || child.signature_algorithm() != child.tbs_certificate().signature()
    {
        return Err(ChainError::Algorithm);
    }
    if child.tbs_certificate().issuer() != parent.tbs_certificate().subject()
        || !signs(&key(parent)?, child)
    {
        return Err(ChainError::Signature);
    }
    let constraints = basic_constraints(parent)?;
    let room = constraints
        .and_then(|it| it.path_len_constraint)
        .is_none_or(|most| below <= usize::from(most));
    if may_sign_certificates(parent)? && room { Ok(()) } else { Err(ChainError::Usage) }
}

fn basic_constraints(certificate: &Certificate) -> Result<Option<BasicConstraints>, ChainError> {
    let found = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    Ok(found.map_err(|_| ChainError::Malformed)?.map(|(_, constraints)| constraints))
}

fn may_sign_certificates(certificate: &Certificate) -> Result<bool, ChainError> {
    let usage = certificate.tbs_certificate().get_extension::<KeyUsage>();
    let usage = usage.map_err(|_| ChainError::Malformed)?;
    let allowed = usage.is_none_or(|(_, usage)| usage.key_cert_sign());
    Ok(basic_constraints(certificate)?.is_some_and(|it| it.ca) && allowed)
}

fn names(certificate: &Certificate) -> Result<(Vec<String>, Vec<String>), ChainError> {
    let (mut hosts, mut urls) = (Vec::new(), Vec::new());
    let found = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    if let Some((_, names)) = found.map_err(|_| ChainError::Malformed)? {
        for name in names.0 {
            match name {
                GeneralName::DnsName(host) => hosts.push(host.as_str().to_owned()),
                GeneralName::UniformResourceIdentifier(url) => urls.push(url.as_str().to_owned()),
                _ => {}
            }
        }
    }
    Ok((hosts, urls))
}
