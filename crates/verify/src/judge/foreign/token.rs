//! SD-JWT credentials, and W3C credentials in JWTs (VC-JOSE-COSE, and `jwt_vc` of version 1.1).

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::keys::{self, Asked, Known, NoKey};
use super::{
    Kind, Reader, Said, about, is_of_type, issuer, judge_period, judge_trust, shown, status,
    time_of,
};
use crate::jose::jws::{JwsError, Token};
use crate::jose::sdjwt::{self, SdJwt};
use crate::jose::x5c;
use crate::judge::report::{Findings, Form, Name, Report};

/// The name of SD-JWT credentials until November 2024.
const OLD_SD_JWT: &str = "vc+sd-jwt";
/// The types of JWTs that hold a W3C credential, newest first. The last is what version 1.1 had.
const JWTS: [&str; 4] = ["vc+jwt", "vc+ld+jwt", "vc+ld+json+jwt", "JWT"];
/// Algorithms that are checked here.
const CHECKED: [&str; 6] = ["ES256", "EdDSA", "Ed25519", "RS256", "RS384", "RS512"];

pub(super) fn judge(text: &str, reader: &Reader<'_>, said: &mut Said) -> Report {
    let mut findings = Findings::new(Form::Token);
    if text.contains('~') {
        match SdJwt::parse(text) {
            Ok(parsed) => judge_sd_jwt(&parsed, reader, said, &mut findings),
            Err(error) => findings.fail(Name::Shape, error.to_string()),
        }
    } else {
        match Token::parse(text) {
            Ok(token) => judge_jwt(&token, reader, said, &mut findings),
            Err(error) => findings.fail(Name::Shape, error.to_string()),
        }
    }
    findings.report()
}

fn judge_sd_jwt(parsed: &SdJwt<'_>, reader: &Reader<'_>, said: &mut Said, findings: &mut Findings) {
    let token = &parsed.token;
    said.kind = Some(Kind::SdJwt);
    said.about = token.text("vct").map(shown);
    said.issuer = token.text("iss").map(str::to_owned).or_else(|| certified(token, reader));
    if !matches!(token.typ(), Some(sdjwt::TYPE | OLD_SD_JWT)) {
        return findings.fail(Name::Shape, "the token is not an SD-JWT credential");
    }
    let (Some(issuer), Some(_)) = (&said.issuer, token.text("vct")) else {
        return findings.fail(Name::Shape, "the token does not say its issuer and its type");
    };
    findings.prove(Name::Shape, "the token is an SD-JWT credential");
    let signed = judge_signature(token, issuer, reader, findings);
    match parsed.claims() {
        Ok(_) => {
            let count = parsed.disclosures.len();
            findings.prove(Name::Disclosures, format!("{count} claims are disclosed with it"));
        }
        Err(error) => findings.fail(Name::Disclosures, error.to_string()),
    }
    let detail = if parsed.is_bound() {
        "it is bound to a key: a file does not show whether whoever brings it has that key"
    } else {
        "it is bound to no key: whoever has it can show it"
    };
    findings.waive(Name::KeyBinding, detail);
    let now = reader.options.now;
    judge_period([token.number("nbf")], [token.number("exp")], now, findings);
    if signed {
        status::judge_token(token, issuer, reader, findings);
    }
}

/// Whom the certificate stands for that comes with a token which names no issuer.
fn certified(token: &Token<'_>, reader: &Reader<'_>) -> Option<String> {
    let options = reader.options;
    let chain = token.header.get("x5c")?;
    let leaf = x5c::check(chain, options.trust.anchors(), options.now).ok()?;
    let host = leaf.hosts.first().map(|host| format!("https://{host}"));
    leaf.urls.into_iter().next().or(host)
}

fn judge_jwt(token: &Token<'_>, reader: &Reader<'_>, said: &mut Said, findings: &mut Findings) {
    said.kind = Some(Kind::Jwt);
    // Version 1.1 has the credential in a claim, and repeats it in the claims of JWT.
    let inner = token.payload.get("vc");
    let document = inner.unwrap_or(&token.payload);
    said.about = about(document);
    let named = issuer(document);
    let claimed = [token.payload.get("iss"), token.header.get("iss")];
    let mut claimed = claimed.into_iter().flatten();
    said.issuer = named.clone().or_else(|| token.text("iss").map(str::to_owned));
    if token.typ().is_some_and(|typ| !JWTS.contains(&typ)) {
        return findings.fail(Name::Shape, "the token is not a JWT credential");
    }
    if !is_of_type(document, "VerifiableCredential") {
        return findings.fail(Name::Shape, "it is not a VerifiableCredential");
    }
    let Some(issuer) = &said.issuer else {
        return findings.fail(Name::Shape, "it does not say who issued it");
    };
    if claimed.any(|claimed| claimed != issuer) {
        return findings.fail(Name::Shape, "token and credential name different issuers");
    }
    findings.prove(Name::Shape, "the token is a JWT credential");
    findings.waive(Name::Disclosures, "a JWT shows everything");
    findings.waive(Name::KeyBinding, "a JWT is bound to no key");
    let signed = judge_signature(token, issuer, reader, findings);
    judge_times(token, document, reader.options.now, findings);
    if signed {
        status::judge_entries(&document["credentialStatus"], issuer, reader, findings);
    }
}

/// The credential's own times, and the token's: the narrower ones count.
fn judge_times(token: &Token<'_>, document: &Value, now: i64, findings: &mut Findings) {
    let read = |new: &str, old: &str| match time_of(document, new)? {
        Some(time) => Ok::<_, String>(Some(time)),
        None => time_of(document, old),
    };
    match (read("validFrom", "issuanceDate"), read("validUntil", "expirationDate")) {
        (Ok(from), Ok(until)) => {
            let from = [from, token.number("nbf")];
            judge_period(from, [until, token.number("exp")], now, findings);
        }
        (Err(reason), _) | (_, Err(reason)) => findings.fail(Name::ValidityPeriod, reason),
    }
}

/// Whether the issuer signed the token; says what is known of the key.
fn judge_signature(
    token: &Token<'_>,
    issuer: &str,
    reader: &Reader<'_>,
    findings: &mut Findings,
) -> bool {
    match check(token, issuer, reader) {
        Ok(key) => {
            match key.chain {
                Some(detail) => findings.prove(Name::CertificateChain, detail),
                None => findings.waive(Name::CertificateChain, "not by certificates"),
            }
            let how = format!("the key is {}", key.how);
            if key.vouched {
                findings.prove(Name::IssuerKey, how);
            } else {
                findings.skip(Name::IssuerKey, how);
            }
            findings.prove(Name::TokenSignature, format!("signed by {}", shown(issuer)));
            judge_trust(&key, issuer, reader, findings);
            true
        }
        Err(Refused::Unknown(reason)) => {
            findings.skip(Name::IssuerKey, reason);
            findings.skip(Name::TokenSignature, "the issuer's key is not known");
            false
        }
        Err(Refused::Wrong(reason)) => {
            findings.fail(Name::IssuerKey, reason);
            findings.fail(Name::TokenSignature, "the issuer's key is not known");
            false
        }
        Err(Refused::Unchecked(reason)) => {
            findings.skip(Name::TokenSignature, reason);
            false
        }
        Err(Refused::Unfit(reason)) => {
            findings.fail(Name::TokenSignature, reason);
            false
        }
    }
}

/// Why a token is not taken for the issuer's.
pub(super) enum Refused {
    /// No key was found.
    Unknown(String),
    /// The key that was found speaks against the token.
    Wrong(String),
    /// The signature is of a kind that is not checked here.
    Unchecked(String),
    /// The signature does not fit.
    Unfit(String),
}

/// The key of the issuer that signed a token.
pub(super) fn check(
    token: &Token<'_>,
    issuer: &str,
    reader: &Reader<'_>,
) -> Result<Known, Refused> {
    let algorithm = token.header.get("alg").and_then(Value::as_str).unwrap_or_default();
    if algorithm.is_empty() || algorithm.eq_ignore_ascii_case("none") || algorithm.starts_with("HS")
    {
        return Err(Refused::Unfit("the token is not signed by a key of its issuer".to_owned()));
    }
    if !CHECKED.contains(&algorithm) {
        let reason = format!("{} is not checked here", shown(algorithm));
        return Err(Refused::Unchecked(reason));
    }
    let asked = Asked {
        issuer,
        method: token.header.get("kid").and_then(Value::as_str),
        x5c: token.header.get("x5c"),
        made: token.number("iat"),
        recorded: reader.options.trust.recorded(&Sha256::digest(token.signed().0).into()),
    };
    let known = keys::find(reader, asked).map_err(|problem| match problem {
        NoKey::Unknown(reason) => Refused::Unknown(reason),
        NoKey::Wrong(reason) => Refused::Wrong(reason),
    })?;
    let mut refusal = JwsError::Algorithm;
    for key in known {
        match key.key.check(token) {
            Ok(()) => return Ok(key),
            // Of several keys, that one fits the algorithm says more.
            Err(JwsError::Algorithm) => {}
            Err(error) => refusal = error,
        }
    }
    Err(Refused::Unfit(refusal.to_string()))
}
