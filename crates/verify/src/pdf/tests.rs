//! PDFs that are made here, signed by authorities that are made here, and tampered with.

use ::cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use ::cms::content_info::{CmsVersion, ContentInfo};
use ::cms::signed_data::{
    CertificateSet, DigestAlgorithmIdentifiers, EncapsulatedContentInfo, SignedData,
    SignerIdentifier, SignerInfo, SignerInfos,
};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, Certificate as Made, CertificateParams, IsCa, Issuer, KeyPair, SigningKey,
};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::attr::{Attribute, Attributes};
use x509_cert::der::asn1::{ObjectIdentifier, OctetString, SetOfVec};
use x509_cert::der::{Any, Decode, Encode};
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::{Anchors, Findings, Integrity, Marks, Signature, Signer, inspect};

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600;
/// Room for the signature, in bytes.
const ROOM: usize = 8192;

fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// An authority, and somebody whom it has certified.
struct Person {
    root: Made,
    leaf: Made,
    key: KeyPair,
}

impl Person {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Root of Trust");
        let root_key = KeyPair::generate().unwrap();
        let root = params.self_signed(&root_key).unwrap();
        let issuer = Issuer::new(params, root_key);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "The Registrar");
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let leaf = params.signed_by(&key, &issuer).unwrap();
        Self { root, leaf, key }
    }

    fn anchors(&self) -> Anchors {
        Anchors::parse(self.root.pem().as_bytes()).unwrap()
    }

    /// A detached CMS signature over some bytes.
    fn sign(&self, covered: &[u8]) -> Vec<u8> {
        let certificate = Certificate::from_der(self.leaf.der()).unwrap();
        let attribute = |name: &str, value: Any| Attribute {
            oid: oid(name),
            values: SetOfVec::try_from(vec![value]).unwrap(),
        };
        let data = oid("1.2.840.113549.1.7.1");
        let digest = OctetString::new(Sha256::digest(covered).to_vec()).unwrap();
        let attributes = Attributes::try_from(vec![
            attribute("1.2.840.113549.1.9.3", Any::encode_from(&data).unwrap()),
            attribute("1.2.840.113549.1.9.4", Any::encode_from(&digest).unwrap()),
        ])
        .unwrap();
        let signature = self.key.sign(&attributes.to_der().unwrap()).unwrap();
        let sha256 =
            AlgorithmIdentifierOwned { oid: oid("2.16.840.1.101.3.4.2.1"), parameters: None };
        let own = AlgorithmIdentifierOwned { oid: oid("1.2.840.10045.4.3.2"), parameters: None };
        let tbs = certificate.tbs_certificate();
        let info = SignerInfo {
            version: CmsVersion::V1,
            sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
                issuer: tbs.issuer().clone(),
                serial_number: tbs.serial_number().clone(),
            }),
            digest_alg: sha256.clone(),
            signed_attrs: Some(attributes),
            signature_algorithm: own,
            signature: OctetString::new(signature).unwrap(),
            unsigned_attrs: None,
        };
        let certificates =
            SetOfVec::try_from(vec![CertificateChoices::Certificate(certificate)]).unwrap();
        let signed = SignedData {
            version: CmsVersion::V1,
            digest_algorithms: DigestAlgorithmIdentifiers::try_from(vec![sha256]).unwrap(),
            encap_content_info: EncapsulatedContentInfo { econtent_type: data, econtent: None },
            certificates: Some(CertificateSet(certificates)),
            crls: None,
            signer_infos: SignerInfos::try_from(vec![info]).unwrap(),
        };
        let content = Any::encode_from(&signed).unwrap();
        ContentInfo { content_type: oid("1.2.840.113549.1.7.2"), content }.to_der().unwrap()
    }
}

/// A PDF of one page whose signature's room is still empty, and where the gap is.
fn unsigned(text: &str) -> (Vec<u8>, usize, usize) {
    let mut objects: Vec<String> = vec![
        "<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] /SigFlags 3 >> >>".into(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".into(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Annots [4 0 R] >>".into(),
        "<< /Type /Annot /Subtype /Widget /FT /Sig /T (Signature1) /V 5 0 R /Rect [0 0 0 0] \
         /P 3 0 R /F 132 >>"
            .into(),
    ];
    let range = "0 0000000000 0000000000 0000000000";
    objects.push(format!(
        "<< /Type /Sig /Filter /Adobe.PPKLite /SubFilter /adbe.pkcs7.detached /Reason ({text}) \
         /ByteRange [{range}] /Contents <{}> >>",
        "0".repeat(ROOM * 2)
    ));
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in (1..).zip(&objects) {
        places.push(file.len());
        file.extend(format!("{number} 0 obj\n{object}\nendobj\n").bytes());
    }
    let table = file.len();
    file.extend(format!("xref\n0 {}\n0000000000 65535 f \n", places.len() + 1).bytes());
    for place in &places {
        file.extend(format!("{place:010} 00000 n \n").bytes());
    }
    let size = places.len() + 1;
    file.extend(
        format!("trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n").bytes(),
    );
    let marker = b"/Contents <";
    let gap = file.windows(marker.len()).position(|it| it == marker).unwrap() + marker.len() - 1;
    let end = gap + ROOM * 2 + 2;
    let written = format!("0 {gap:010} {end:010} {:010}", file.len() - end);
    let at = file.windows(range.len()).position(|it| it == range.as_bytes()).unwrap();
    file[at..at + range.len()].copy_from_slice(written.as_bytes());
    (file, gap, end)
}

/// A signed PDF.
fn signed(person: &Person) -> Vec<u8> {
    let (mut file, gap, end) = unsigned("issued");
    let signature = hex::encode(person.sign(&[&file[..gap], &file[end..]].concat()));
    assert!(signature.len() <= ROOM * 2);
    file[gap + 1..gap + 1 + signature.len()].copy_from_slice(signature.as_bytes());
    file
}

fn one(file: &[u8], anchors: &Anchors) -> Signature {
    let Findings { mut signatures, truncated } = inspect(file, anchors, NOW);
    assert_eq!((signatures.len(), truncated), (1, false), "{signatures:?}");
    signatures.remove(0)
}

fn facts(signature: &Signature) -> (Integrity, bool, Signer) {
    (signature.integrity, signature.covers_whole_file, signature.signer)
}

#[test]
fn a_signed_file_has_all_three_facts() {
    let person = Person::new();
    let by_us = (signed(&person), person.anchors());
    // By OpenSSL, with RSA; pdfsig finds it valid and whole.
    let anchors = Anchors::parse(include_bytes!("testdata/openssl-root.pem")).unwrap();
    let by_openssl = (include_bytes!("testdata/openssl.pdf").to_vec(), anchors);
    for (file, anchors) in [by_us, by_openssl] {
        let found = one(&file, &anchors);
        assert_eq!(facts(&found), (Integrity::Valid, true, Signer::Anchored), "{found:?}");
        assert_eq!(found.details, [""; 0]);
        assert_eq!(found.subject.as_deref(), Some("CN=The Registrar"));
        assert_eq!(found.issuer.as_deref(), Some("CN=Root of Trust"));
    }
}

#[test]
fn an_unknown_authority_is_no_flaw_of_the_signature() {
    let (person, other) = (Person::new(), Person::new());
    for anchors in [Anchors::default(), other.anchors()] {
        let found = one(&signed(&person), &anchors);
        assert_eq!(facts(&found), (Integrity::Valid, true, Signer::Unknown));
        assert_eq!(found.details.len(), 1, "{found:?}");
    }
    // Neither is one whose time is over; it is said.
    let late = inspect(&signed(&person), &person.anchors(), NOW + 5 * 365 * 86_400);
    assert_eq!(facts(&late.signatures[0]), (Integrity::Valid, true, Signer::Unknown));
    assert!(late.signatures[0].details[0].contains("Expired"), "{late:?}");
}

#[test]
fn what_was_altered_after_signing_is_invalid() {
    let person = Person::new();
    let mut file = signed(&person);
    let at = file.windows(6).position(|it| it == b"issued").unwrap();
    file[at] ^= 1;
    let found = one(&file, &person.anchors());
    assert_eq!(facts(&found), (Integrity::Invalid, true, Signer::Unknown));
    assert_eq!(found.details, ["what it covers was altered"]);
}

#[test]
fn what_was_appended_after_signing_leaves_the_signature_valid_and_uncovers_the_file() {
    let person = Person::new();
    let mut file = signed(&person);
    file.push(b'\n');
    assert!(one(&file, &person.anchors()).covers_whole_file, "a line end is no revision");
    file.extend(b"3 0 obj\n<< /Type /Page /Contents 9 0 R >>\nendobj\n%%EOF\n");
    let found = one(&file, &person.anchors());
    assert_eq!(facts(&found), (Integrity::Valid, false, Signer::Anchored));
    // Neither does a copy of the signed file behind it cover anything more.
    file.extend(signed(&person));
    let found = inspect(&file, &person.anchors(), NOW).signatures;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|one| !one.covers_whole_file), "{found:?}");
}

#[test]
fn nothing_hides_in_the_gap_or_behind_the_signature() {
    let person = Person::new();
    let good = signed(&person);
    let gap = good.windows(11).position(|it| it == b"/Contents <").unwrap() + 10;
    let last = gap + ROOM * 2;
    // A byte in the room behind the signature.
    let mut file = good.clone();
    file[last] = b'1';
    assert_eq!(one(&file, &person.anchors()).details, ["something is hidden behind the signature"]);
    // No digits at all in the room.
    let mut file = good.clone();
    file[last - 20..last - 10].copy_from_slice(b"> /X (abc)");
    let found = one(&file, &person.anchors());
    assert_eq!(found.integrity, Integrity::Invalid);
    assert_eq!(found.details, ["there is something else than a signature in its gap"]);
}

#[test]
fn ranges_that_are_none_are_refused() {
    let person = Person::new();
    let good = signed(&person);
    let at = good.windows(12).position(|it| it == b"/ByteRange [").unwrap() + 12;
    let end = at + good[at..].iter().position(|byte| *byte == b']').unwrap();
    let digits = "99999999999999999999999999999999999999";
    for range in [
        "",
        "0",
        "0 1 2",
        "0 1 2 3 4",
        "-1 2 3 4",
        "0 10 5 10",
        "1 2 3 4",
        "0 10 20 99999999",
        "0 18446744073709551615 1 1",
        digits,
        "a b c d",
        "0 0x1 2 3",
        "0 0 0 0",
    ] {
        let mut file = good.clone();
        file.splice(at..end, range.bytes());
        let found = one(&file, &person.anchors());
        assert_eq!(found.integrity, Integrity::Invalid, "{range}: {found:?}");
    }
}

#[test]
fn hostile_files_are_walked_through_once() {
    let anchors = Anchors::default();
    assert_eq!(inspect(b"", &anchors, NOW), Findings::default());
    assert_eq!(inspect(b"%PDF-1.7 without any", &anchors, NOW), Findings::default());
    let many = b"/ByteRange [0 1 2 3]".repeat(10_000);
    let found = inspect(&many, &anchors, NOW);
    assert_eq!((found.signatures.len(), found.truncated), (super::SIGNATURES_MAX, true));
    // References in circles, names without end, and brackets nested a million deep.
    let mut deep = b"%PDF-1.7\n1 0 obj 1 0 R endobj\n".to_vec();
    deep.extend(b"[<<".repeat(1 << 20));
    deep.extend(vec![b'/'; 8 << 20]);
    assert_eq!(inspect(&deep, &anchors, NOW), Findings::default());
    // A signature of nested sequences, as deep as its room allows.
    let (mut file, gap, _) = unsigned("deep");
    let nested = "3080".repeat(ROOM / 2);
    file[gap + 1..gap + 1 + nested.len()].copy_from_slice(nested.as_bytes());
    assert_eq!(one(&file, &anchors).integrity, Integrity::Invalid);
}

/// A PDF for outside judges: valid, altered, and with something appended.
#[test]
#[ignore = "writes files for outside judges"]
fn pdfs_for_outside_judges_are_written() {
    let folder = std::env::var_os("VERZA_JUDGES").expect("the folder to write to");
    let folder = std::path::Path::new(&folder);
    let made = [
        ("ecdsa", signed(&Person::new())),
        ("rsa", include_bytes!("testdata/openssl.pdf").to_vec()),
    ];
    for (name, good) in made {
        let mut altered = good.clone();
        let at = good.windows(6).position(|it| it == b"issued").unwrap();
        altered[at] ^= 1;
        let mut appended = good.clone();
        appended.extend(b"6 0 obj\n<< >>\nendobj\n%%EOF\n");
        for (kind, file) in [("good", good), ("altered", altered), ("appended", appended)] {
            let found = one(&file, &Anchors::default());
            let facts = serde_json::to_string(&found).unwrap();
            std::fs::write(folder.join(format!("{name}-{kind}.pdf")), file).unwrap();
            std::fs::write(folder.join(format!("{name}-{kind}.pdf.json")), facts).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn a_flipped_byte_outside_of_the_signature_is_noticed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let person = Person::new();
        let mut file = signed(&person);
        let gap = file.windows(11).position(|it| it == b"/Contents <").unwrap() + 10;
        let at = at.index(file.len());
        file[at] ^= 1_u8 << bit;
        let inside = (gap + 1..=gap + ROOM * 2).contains(&at);
        for found in inspect(&file, &person.anchors(), NOW).signatures {
            prop_assert!(inside || found.integrity != Integrity::Valid, "{at} {bit}: {found:?}");
        }
    }

    #[test]
    fn however_a_file_is_cut_the_same_is_seen_in_it(
        parts in prop::collection::vec("(/|/Byte|Range|/ByteRange|x{0,12})", 0..8),
        cuts in prop::collection::vec(1_usize..12, 1..40),
    ) {
        let file = parts.concat();
        let mut marks = Marks::default();
        let (mut rest, mut cuts) = (file.as_bytes(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, next) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            marks.see(piece);
            rest = next;
        }
        prop_assert_eq!(marks.are_any(), file.contains("/ByteRange"));
        let found = inspect(file.as_bytes(), &Anchors::default(), NOW);
        prop_assert_eq!(marks.are_any(), !found.signatures.is_empty());
    }

    #[test]
    fn nothing_makes_it_panic(file in prop::collection::vec(any::<u8>(), 0..300), range in "\\[[0-9 ]{0,30}\\]") {
        let text = [b"/ByteRange ".as_slice(), range.as_bytes(), &file].concat();
        inspect(&text, &Anchors::default(), NOW);
    }
}
