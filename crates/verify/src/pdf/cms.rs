//! The signature itself: a CMS message without content, and the certificates that came with it.

use ::cms::attr::SigningTime;
use ::cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use ::cms::content_info::ContentInfo;
use ::cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256, Sha384, Sha512};
use webpki::{EndEntityCert, ring};
use x509_cert::Certificate;
use x509_cert::attr::Attribute;
use x509_cert::der::asn1::{ObjectIdentifier, OctetString};
use x509_cert::der::{Any, Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::SubjectKeyIdentifier;

use super::scan::Covered;
use super::{Integrity, Signature, Signer};

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const SIGNED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.2");
const CONTENT_TYPE: ObjectIdentifier = oid("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = oid("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = oid("1.2.840.113549.1.9.5");
const DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.1");
const SHA256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");
const RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
const RSA_SHA256: ObjectIdentifier = oid("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = oid("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = oid("1.2.840.113549.1.1.13");
const EC: ObjectIdentifier = oid("1.2.840.10045.2.1");
const ECDSA_SHA256: ObjectIdentifier = oid("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = oid("1.2.840.10045.4.3.3");
const ED25519: ObjectIdentifier = oid("1.3.101.112");

/// The most certificates that are taken along from a signature.
const CERTIFICATES_MAX: usize = 16;

/// Authorities that the reader believes in.
#[derive(Clone, Debug, Default)]
pub struct Anchors(Vec<TrustAnchor<'static>>);

impl Anchors {
    /// Reads certificates in PEM; what stands between them is passed over.
    pub fn parse(pem: &[u8]) -> Result<Self, &'static str> {
        let certificates = CertificateDer::pem_slice_iter(pem).map(|certificate| {
            let certificate = certificate.map_err(|_| "that is no certificate in PEM")?;
            let anchor = webpki::anchor_from_trusted_cert(&certificate)
                .map_err(|_| "a certificate cannot be an authority")?;
            Ok::<_, &'static str>(anchor.to_owned())
        });
        Ok(Self(certificates.collect::<Result<_, _>>()?))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why nothing good can be said.
enum Stop {
    Invalid(&'static str),
    Unsupported(&'static str),
}

pub(super) fn judge(covered: &Covered<'_>, anchors: &Anchors, now: i64, into: &mut Signature) {
    match check(covered, anchors, now, into) {
        Ok(()) => into.integrity = Integrity::Valid,
        Err(Stop::Invalid(why)) => {
            into.integrity = Integrity::Invalid;
            into.details.push(why.to_owned());
        }
        Err(Stop::Unsupported(why)) => {
            into.integrity = Integrity::Unsupported;
            into.details.push(why.to_owned());
        }
    }
}

fn check(
    covered: &Covered<'_>,
    anchors: &Anchors,
    now: i64,
    into: &mut Signature,
) -> Result<(), Stop> {
    let signed = read(&covered.contents)?;
    let [info] = signed.signer_infos.0.as_slice() else {
        return Err(Stop::Invalid("it is not by one signer"));
    };
    let certificates: Vec<Certificate> = certificates(&signed);
    let Some(own) = certificates.iter().find(|one| is_of(info, one)) else {
        return Err(Stop::Unsupported("the signer's certificate is not enclosed"));
    };
    into.subject = Some(own.tbs_certificate().subject().to_string());
    into.issuer = Some(own.tbs_certificate().issuer().to_string());
    let message = message(info, covered, into)?;
    let der = |one: &Certificate| {
        let der = one.to_der().map_err(|_| Stop::Invalid("a certificate cannot be read"))?;
        Ok(CertificateDer::from(der))
    };
    let leaf = der(own)?;
    let entity = EndEntityCert::try_from(&leaf)
        .map_err(|_| Stop::Unsupported("the signer's certificate is of another kind"))?;
    let fits = algorithms(info)?.into_iter().any(|algorithm| {
        entity.verify_signature(algorithm, &message, info.signature.as_bytes()).is_ok()
    });
    if !fits {
        return Err(Stop::Invalid("the signature does not fit"));
    }
    let others = certificates.iter().filter(|one| *one != own).map(der);
    let others: Vec<CertificateDer<'_>> = others.collect::<Result<_, _>>()?;
    match chain(&entity, &others, anchors, now) {
        Ok(()) => into.signer = Signer::Anchored,
        Err(why) => into.details.push(why),
    }
    Ok(())
}

/// The message in the signature's room, and zeros behind it.
fn read(contents: &[u8]) -> Result<SignedData, Stop> {
    let malformed = |_| Stop::Invalid("the signature cannot be read");
    let mut reader = SliceReader::new(contents).map_err(malformed)?;
    let info = ContentInfo::decode(&mut reader).map_err(malformed)?;
    let room = usize::try_from(u32::from(reader.remaining_len())).unwrap_or(usize::MAX);
    let rest = contents.len().checked_sub(room).and_then(|at| contents.get(at..));
    if rest.is_none_or(|rest| rest.iter().any(|byte| *byte != 0)) {
        return Err(Stop::Invalid("something is hidden behind the signature"));
    }
    if info.content_type != SIGNED_DATA {
        return Err(Stop::Invalid("it is not signed data"));
    }
    let signed: SignedData = info.content.decode_as().map_err(malformed)?;
    let content = &signed.encap_content_info;
    if content.econtent_type != DATA || content.econtent.is_some() {
        // Old forms, and time stamps, carry what they sign.
        return Err(Stop::Unsupported("it is not a detached signature"));
    }
    Ok(signed)
}

fn certificates(signed: &SignedData) -> Vec<Certificate> {
    let all = signed.certificates.iter().flat_map(|set| set.0.iter());
    let plain = all.filter_map(|choice| match choice {
        CertificateChoices::Certificate(certificate) => Some(certificate.clone()),
        CertificateChoices::Other(_) => None,
    });
    plain.take(CERTIFICATES_MAX).collect()
}

fn is_of(info: &SignerInfo, certificate: &Certificate) -> bool {
    let own = certificate.tbs_certificate();
    match &info.sid {
        SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer,
            serial_number,
        }) => issuer == own.issuer() && serial_number == own.serial_number(),
        SignerIdentifier::SubjectKeyIdentifier(wanted) => own
            .get_extension::<SubjectKeyIdentifier>()
            .is_ok_and(|found| found.is_some_and(|(_, found)| found.0 == wanted.0)),
    }
}

/// What the signature is over: the attributes, which name the digest of what is covered, or where
/// there are none the covered bytes themselves.
fn message(
    info: &SignerInfo,
    covered: &Covered<'_>,
    into: &mut Signature,
) -> Result<Vec<u8>, Stop> {
    let Some(attributes) = &info.signed_attrs else {
        return Ok([covered.before, covered.after].concat());
    };
    let one = |name: ObjectIdentifier| {
        let mut named = attributes.iter().filter(|attribute| attribute.oid == name);
        let (Some(attribute), None) = (named.next(), named.next()) else { return None };
        single(attribute)
    };
    let content_type = one(CONTENT_TYPE).and_then(|any| any.decode_as().ok());
    if content_type != Some(DATA) {
        return Err(Stop::Invalid("its attributes do not say what is signed"));
    }
    let named: Option<OctetString> = one(MESSAGE_DIGEST).and_then(|any| any.decode_as().ok());
    let named = named.ok_or(Stop::Invalid("its attributes do not name a digest"))?;
    if named.as_bytes() != digest(&info.digest_alg.oid, covered)? {
        return Err(Stop::Invalid("what it covers was altered"));
    }
    let time: Option<SigningTime> = one(SIGNING_TIME).and_then(|any| any.decode_as().ok());
    into.claimed_at = time.and_then(|time| i64::try_from(time.to_unix_duration().as_secs()).ok());
    attributes.to_der().map_err(|_| Stop::Invalid("its attributes cannot be read"))
}

fn single(attribute: &Attribute) -> Option<&Any> {
    let mut values = attribute.values.iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

fn digest(algorithm: &ObjectIdentifier, covered: &Covered<'_>) -> Result<Vec<u8>, Stop> {
    fn of<D: Digest>(covered: &Covered<'_>) -> Vec<u8> {
        D::new().chain_update(covered.before).chain_update(covered.after).finalize().to_vec()
    }
    match *algorithm {
        SHA256 => Ok(of::<Sha256>(covered)),
        SHA384 => Ok(of::<Sha384>(covered)),
        SHA512 => Ok(of::<Sha512>(covered)),
        // SHA-1 above all: two files with one digest can be bought.
        _ => Err(Stop::Unsupported("its digest is not SHA-256, SHA-384 or SHA-512")),
    }
}

type Algorithms = Vec<&'static dyn SignatureVerificationAlgorithm>;

/// What the signature may be verified by; the key decides among curves.
fn algorithms(info: &SignerInfo) -> Result<Algorithms, Stop> {
    let digest = info.digest_alg.oid;
    Ok(match (info.signature_algorithm.oid, digest) {
        (RSA | RSA_SHA256, SHA256) => vec![ring::RSA_PKCS1_2048_8192_SHA256],
        (RSA | RSA_SHA384, SHA384) => vec![ring::RSA_PKCS1_2048_8192_SHA384],
        (RSA | RSA_SHA512, SHA512) => vec![ring::RSA_PKCS1_2048_8192_SHA512],
        (RSA_PSS, SHA256) => vec![ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
        (RSA_PSS, SHA384) => vec![ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
        (RSA_PSS, SHA512) => vec![ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        (EC | ECDSA_SHA256, SHA256) => vec![ring::ECDSA_P256_SHA256, ring::ECDSA_P384_SHA256],
        (EC | ECDSA_SHA384, SHA384) => vec![ring::ECDSA_P256_SHA384, ring::ECDSA_P384_SHA384],
        (ED25519, SHA512) => vec![ring::ED25519],
        _ => return Err(Stop::Unsupported("its algorithm is not understood here")),
    })
}

/// Whether the signer is below a configured authority now.
fn chain(
    entity: &EndEntityCert<'_>,
    others: &[CertificateDer<'_>],
    anchors: &Anchors,
    now: i64,
) -> Result<(), String> {
    if anchors.is_empty() {
        return Err("no authority is configured that could vouch for the signer".to_owned());
    }
    let seconds = u64::try_from(now).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    entity
        .verify_for_usage(algorithms, &anchors.0, others, time, AnyUsage, None, None)
        .map(drop)
        .map_err(|error| format!("no configured authority vouches for the signer: {error:?}"))
}

/// Certificates of people are for mail, for signing documents, or for nothing in particular.
struct AnyUsage;

impl webpki::ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: webpki::KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}
