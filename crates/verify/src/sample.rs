//! One fixed issuer, verdict and status list, shared by the tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyUsagePurpose};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::credential::badge::{Achievement, Check, Issuer, StatusEntry, VerdictCredential};
use crate::credential::proof::{self, Statement};
use crate::credential::rdfc::Template;
use crate::jose::es256::SecretKey;
use crate::key::SigningKey;
use crate::key::did::{self, VerificationMethod};
use crate::key::multikey::PublicKey;
use crate::status::bitstring::{Bitstring, ENTRIES_MIN, Purpose, StatusListCredential};

pub(crate) const DID: &str = "did:web:verza.example%3A8443";
pub(crate) const METHOD: &str = "did:web:verza.example%3A8443#key-1";
pub(crate) const STATUS_LIST: &str = "https://verza.example:8443/v1/status/0190d2a3";
pub(crate) const STATUS_INDEX: u32 = 94_567;
pub(crate) const DOCUMENT_SHA256: [u8; 32] = [0xd0; 32];
pub(crate) const SALT: [u8; 32] = [0x5a; 32];

/// 2026-11-22T10:00:00Z.
pub(crate) const ISSUED_AT: i64 = 1_795_341_600;
pub(crate) const HOUR: i64 = 3_600;
pub(crate) const DAY: i64 = 24 * HOUR;

/// The issuer's key: the secret key of RFC 8032 section 7.1, test 1.
pub(crate) fn key() -> SigningKey {
    let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let mut bytes = [0; 32];
    hex::decode_to_slice(secret, &mut bytes).expect("hexadecimal");
    SigningKey::from_bytes(&bytes)
}

pub(crate) fn says(created: i64) -> Statement<'static> {
    Statement { verification_method: METHOD, created }
}

pub(crate) fn did_document() -> Value {
    let method =
        VerificationMethod { fragment: "key-1".into(), key: PublicKey::of(&key()), revoked: None };
    did::document(DID, &[method])
}

pub(crate) fn verdict() -> VerdictCredential<'static> {
    VerdictCredential {
        id: Uuid::from_u128(0x0190_d2a3_7c1b_7e4a_9f00_5a1b_2c3d_4e5f),
        issuer: Issuer { did: DID, name: "Verza Example" },
        valid_from: ISSUED_AT,
        valid_until: ISSUED_AT + 730 * DAY,
        subject: Uuid::from_u128(0x0190_d2a3_7c1b_7e4a_9f00_5a1b_2c3d_4e60),
        achievement: Achievement::verified_document(
            "https://verza.example:8443/achievements/verified-document",
        ),
        check: Check {
            document_sha256: &DOCUMENT_SHA256,
            salt: &SALT,
            title: "\u{201c}B.Sc.\u{201d} \u{2013} Universit\u{e4}t \"Z\\\u{fc}rich\" \u{1f393}",
            genre: "diploma",
            verifier: "R. M\u{fc}ller",
            method: "enquiry at the registry\nand by telephone",
            checked_at: ISSUED_AT - 2 * HOUR,
        },
        status: StatusEntry { list: STATUS_LIST, index: STATUS_INDEX },
    }
}

pub(crate) fn unsigned_verdict() -> Value {
    verdict().to_json().expect("times in range")
}

pub(crate) fn signed_verdict() -> Value {
    proof::sign(Template::Verdict, unsigned_verdict(), &key(), says(ISSUED_AT))
        .expect("the template fits")
}

/// The status list, in which the sample's bit is set if `revoked`.
pub(crate) fn unsigned_status_list(revoked: bool) -> Value {
    let mut list = Bitstring::new(ENTRIES_MIN).expect("the smallest size");
    list.set(STATUS_INDEX, revoked).expect("in range");
    list.set(7, true).expect("in range");
    StatusListCredential {
        url: STATUS_LIST,
        issuer: DID,
        purpose: Purpose::Revocation,
        valid_from: ISSUED_AT + HOUR,
        valid_until: ISSUED_AT + HOUR + DAY,
        list: &list,
    }
    .to_json()
    .expect("times in range")
}

pub(crate) fn signed_status_list(revoked: bool) -> Value {
    let list = unsigned_status_list(revoked);
    proof::sign(Template::StatusList, list, &key(), says(ISSUED_AT + HOUR))
        .expect("the template fits")
}

/// Somebody who makes certificates.
pub(crate) struct Authority {
    key: SecretKey,
    root: CertificateParams,
}

impl Authority {
    pub(crate) fn new(seed: u8) -> Self {
        let mut root = dated(Vec::new());
        root.distinguished_name.push(DnType::CommonName, format!("Root {seed}"));
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self { key: SecretKey::from_bytes(&[seed; 32]).expect("a key"), root }
    }

    /// The root, as a reader pins it.
    pub(crate) fn pem(&self) -> String {
        self.root.self_signed(&Certifying::new(&self.key)).expect("a certificate").pem()
    }

    /// The header `x5c` of a key that stands for this host, as this authority says.
    pub(crate) fn x5c(&self, key: &SecretKey, host: &str) -> Value {
        let mut leaf = dated(vec![host.to_owned()]);
        leaf.distinguished_name.push(DnType::CommonName, host);
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let issuer = rcgen::Issuer::from_params(&self.root, Certifying::new(&self.key));
        let leaf = leaf.signed_by(&Certifying::new(key), &issuer).expect("a certificate");
        json!([STANDARD.encode(leaf.der())])
    }
}

fn dated(hosts: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(hosts).expect("host names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    params.serial_number = Some(1_u64.into());
    params
}

/// A key as the certificate library wants to see it.
struct Certifying<'a> {
    key: &'a SecretKey,
    point: [u8; 65],
}

impl<'a> Certifying<'a> {
    fn new(key: &'a SecretKey) -> Self {
        Self { key, point: key.public().to_sec1() }
    }
}

impl rcgen::PublicKeyData for Certifying<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Certifying<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign_der(message))
    }
}
