//! Tokens: SD-JWT credentials of any issuer, and JWTs of our own form of verdict.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::credential::{Judged, Signatures};
use super::report::{Findings, Form, Name, Report};
use super::trust::{Keyring, Trust};
use super::{CLOCK_SKEW_SECONDS, FILE_LEN_MAX, Options};
use crate::credential::rdfc::{self, Template};
use crate::credential::timestamp;
use crate::jose::jws::{Key, Token};
use crate::jose::sdjwt::{self, Challenge, SdJwt};
use crate::jose::x5c;
use crate::status::token as list;

/// The `typ` of a JWT that holds a W3C credential.
const JWT_TYPE: &str = "vc+jwt";
/// The name of SD-JWT credentials until November 2024, under which older wallets still have them.
const OLD_TYPE: &str = "vc+sd-jwt";
/// How old a key binding may be, in seconds.
const BINDING_AGE_MAX: i64 = 300;

/// The text of a file that can only be a token.
pub(super) fn text(file: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(file).ok().filter(|text| text.len() <= FILE_LEN_MAX)?;
    // A line end is what editors add to a token; nothing else is passed over.
    let text = text.strip_suffix('\n').unwrap_or(text);
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    (text.contains('.') && text.bytes().all(letter)).then_some(text)
}

/// The address of the status list that a token names.
pub(super) fn status_url(text: &str) -> Option<String> {
    let token = Token::parse(text.split('~').next().unwrap_or(text)).ok()?;
    let entry = &token.payload["credentialStatus"]["statusListCredential"];
    let reference = token.payload["status"]["status_list"]["uri"].as_str();
    reference.or_else(|| entry.as_str()).map(str::to_owned)
}

/// The hash that stands for what an issuer has signed in a token, whatever of it is disclosed.
pub(super) fn digest(text: &str) -> [u8; 32] {
    let token = text.split('~').next().unwrap_or(text);
    Sha256::digest(token.rsplit_once('.').map_or(token, |(input, _)| input)).into()
}

pub(super) fn judge(text: &str, options: &Options) -> Report {
    let mut findings = Findings::new(Form::Token);
    if text.contains('~') {
        match SdJwt::parse(text) {
            Ok(parsed) => judge_sd_jwt(&parsed, options, &mut findings),
            Err(error) => findings.fail(Name::Shape, error.to_string()),
        }
    } else {
        match Token::parse(text) {
            Ok(token) => judge_vc_jwt(&token, options, &mut findings),
            Err(error) => findings.fail(Name::Shape, error.to_string()),
        }
    }
    findings.report()
}

fn judge_sd_jwt(parsed: &SdJwt<'_>, options: &Options, findings: &mut Findings) {
    let token = &parsed.token;
    if !matches!(token.typ(), Some(sdjwt::TYPE | OLD_TYPE)) {
        return findings.fail(Name::Shape, "the token is not an SD-JWT credential");
    }
    let (Some(issuer), Some(_)) = (token.text("iss"), token.text("vct")) else {
        return findings.fail(Name::Shape, "the token does not say its issuer and its type");
    };
    findings.prove(Name::Shape, "the token is an SD-JWT credential");
    judge_signature(token, issuer, options, findings);
    match parsed.claims() {
        Ok(claims) => {
            let shown = parsed.disclosures.len();
            let detail = format!("{shown} disclosed, {} claims in all", claims.len());
            findings.prove(Name::Disclosures, detail);
        }
        Err(error) => findings.fail(Name::Disclosures, error.to_string()),
    }
    judge_binding(parsed, options, findings);
    judge_period(token.number("nbf"), token.number("exp"), options.now, findings);
    judge_status(token, issuer, options, findings);
}

fn judge_binding(parsed: &SdJwt<'_>, options: &Options, findings: &mut Findings) {
    if !parsed.is_bound() {
        let detail = "the credential is bound to no key: whoever has it can show it";
        match (&parsed.key_binding, &options.challenge) {
            (None, None) => return findings.waive(Name::KeyBinding, detail),
            _ => return findings.fail(Name::KeyBinding, detail),
        }
    }
    let Some(asked) = &options.challenge else {
        let detail = "nobody said for whom the presentation was to be made";
        return findings.skip(Name::KeyBinding, detail);
    };
    let challenge = Challenge {
        audience: &asked.audience,
        nonce: &asked.nonce,
        now: options.now,
        age_max: BINDING_AGE_MAX,
    };
    match parsed.check_key_binding(&challenge) {
        Ok(()) => findings.prove(Name::KeyBinding, "presented by the holder of the key, just now"),
        Err(error) => findings.fail(Name::KeyBinding, error.to_string()),
    }
}

/// Why there is no key to check a token with.
enum NoKey {
    /// Nobody brought one.
    Unknown(&'static str),
    /// The token brings one that is not its issuer's.
    Wrong(String),
}

/// The key of a token's issuer, and whether the reader brought it or what it hangs on.
fn key(
    token: &Token<'_>,
    issuer: &str,
    trust: &Trust,
    now: i64,
) -> Result<(Key, bool, Option<String>), NoKey> {
    let kid = token.header.get("kid").and_then(Value::as_str);
    let pinned = trust.token_key(issuer, kid);
    let Some(chain) = token.header.get("x5c") else {
        let unknown =
            NoKey::Unknown("there is neither a certificate nor a pinned key of the issuer");
        let key = pinned.ok_or(unknown)?;
        return Ok((key, true, None));
    };
    let leaf =
        x5c::check(chain, trust.anchors(), now).map_err(|error| NoKey::Wrong(error.to_string()))?;
    let found = Key::P256(leaf.key);
    if pinned.is_some_and(|pinned| pinned != found) {
        let reason = "the certificate is for another key than the pinned one";
        return Err(NoKey::Wrong(reason.to_owned()));
    }
    // A DID has no host name that a certificate could hold; only a pin ties the two.
    if !issuer.starts_with("did:") && !leaf.speaks_for(issuer) {
        return Err(NoKey::Wrong(format!("the certificate does not stand for {issuer}")));
    }
    let detail = if leaf.anchored {
        "the chain ends below a pinned root".to_owned()
    } else {
        "the chain holds, but its root was not pinned".to_owned()
    };
    let tied = pinned.is_some() || (leaf.anchored && !issuer.starts_with("did:"));
    Ok((found, tied, Some(detail)))
}

fn judge_signature(token: &Token<'_>, issuer: &str, options: &Options, findings: &mut Findings) {
    let (key, tied, chain) = match key(token, issuer, &options.trust, options.now) {
        Ok(found) => found,
        Err(NoKey::Wrong(reason)) => {
            findings.fail(Name::CertificateChain, reason);
            findings.fail(Name::IssuerKey, "the certificates do not lead to the issuer's key");
            return findings.fail(Name::TokenSignature, "the issuer's key is not known");
        }
        Err(NoKey::Unknown(reason)) => {
            findings.skip(Name::IssuerKey, reason);
            return findings.skip(Name::TokenSignature, "the issuer's key is not known");
        }
    };
    match chain {
        Some(detail) => findings.prove(Name::CertificateChain, detail),
        None => findings.skip(Name::CertificateChain, "the token carries no certificates"),
    }
    if let Some(since) = options.trust.token_key_revoked(&key)
        && let Err(doubt) = outlives(token, since, options)
    {
        let revoked = format!("the issuer has revoked its key as of {}", written(since));
        match doubt {
            Doubt::After(reason) => {
                findings.fail(Name::IssuerKey, revoked);
                findings.fail(Name::TokenSignature, reason);
            }
            Doubt::Undated(reason) => {
                findings.skip(Name::IssuerKey, revoked);
                findings.skip(Name::TokenSignature, reason);
            }
        }
        return;
    }
    findings.prove(Name::IssuerKey, "the key is the issuer's by certificate or by pin");
    match token.verify(&key) {
        Ok(()) => findings.prove(Name::TokenSignature, format!("signed by {issuer}")),
        Err(error) => findings.fail(Name::TokenSignature, error.to_string()),
    }
    if tied {
        findings.prove(Name::IssuerTrust, "the key, or the root above it, was pinned");
    } else if options.trust.names_token_issuers() {
        findings.skip(Name::IssuerTrust, format!("{issuer} is not among the pinned issuers"));
    } else {
        let detail = "no issuer was pinned, so the token is only shown to agree with itself";
        findings.skip(Name::IssuerTrust, detail);
    }
}

/// Why a token under a key that was compromised does not count.
enum Doubt {
    /// It says itself that it was signed later.
    After(String),
    /// Nothing shows that it was signed before.
    Undated(String),
}

/// Whether a token still counts although its key was compromised: when the reader's own records
/// have it. A date in it would be the word of whoever has the key.
fn outlives(token: &Token<'_>, since: i64, options: &Options) -> Result<(), Doubt> {
    if let Some(made) = token.number("iat").filter(|made| *made >= since) {
        return Err(Doubt::After(format!("signed on {}, with a revoked key", written(made))));
    }
    let recorded = options.trust.recorded(&Sha256::digest(token.signed().0).into());
    if recorded.is_some_and(|at| at < since) {
        return Ok(());
    }
    let reason = "the key was compromised later, and nothing shows that this was signed before: \
                  ask its issuer, or have it made again";
    Err(Doubt::Undated(reason.to_owned()))
}

fn written(time: i64) -> String {
    timestamp::format(time).unwrap_or_else(|_| "ever".to_owned())
}

fn judge_period(from: Option<i64>, until: Option<i64>, now: i64, findings: &mut Findings) {
    let soon = now.saturating_add(CLOCK_SKEW_SECONDS);
    let written = |time: i64| timestamp::format(time).unwrap_or_else(|_| time.to_string());
    let detail = match (from, until) {
        (_, None) => return findings.skip(Name::ValidityPeriod, "the token has no end"),
        (None, Some(until)) => format!("valid until {}", written(until)),
        (Some(from), Some(until)) => {
            format!("valid from {} until {}", written(from), written(until))
        }
    };
    if from.is_some_and(|from| soon < from) || until.is_some_and(|until| now >= until) {
        findings.fail(Name::ValidityPeriod, format!("{detail}, which the time now is not within"));
    } else {
        findings.prove(Name::ValidityPeriod, detail);
    }
}

const STATUS: [Name; 4] =
    [Name::StatusSignature, Name::StatusMatch, Name::StatusFresh, Name::NotRevoked];

fn judge_status(token: &Token<'_>, issuer: &str, options: &Options, findings: &mut Findings) {
    let Some(status) = token.payload.get("status") else {
        for name in STATUS {
            findings.waive(name, "the issuer keeps no status list for this credential");
        }
        return;
    };
    let entry = &status["status_list"];
    let (Some(uri), Some(index)) = (entry["uri"].as_str(), entry["idx"].as_u64()) else {
        return findings.fail(Name::StatusMatch, "the token's status entry cannot be read");
    };
    let lists = options.status_lists.iter().filter_map(|text| Token::parse(text.trim()).ok());
    // Of several editions the newest that is the issuer's: an older one does not hide what was
    // taken back since, whichever comes first.
    let (mut newest, mut strange) = (None::<Token<'_>>, None);
    for list in lists.filter(|list| list.text("sub") == Some(uri)) {
        let is_newer = |known: &Token<'_>| known.number("iat") <= list.number("iat");
        match check_list(&list, issuer, options) {
            Ok(()) if newest.as_ref().is_none_or(is_newer) => newest = Some(list),
            Ok(()) => {}
            Err(problem) => strange = strange.or(Some(problem)),
        }
    }
    if newest.is_some() || strange.is_some() {
        findings.prove(Name::StatusMatch, "the list is the one that the credential names");
    }
    let Some(found) = newest else {
        return match strange {
            Some(problem) => problem.tell(findings),
            None => STATUS.into_iter().for_each(|name| {
                findings.skip(name, format!("the status list {uri} was not brought along"));
            }),
        };
    };
    findings.prove(Name::StatusSignature, "the issuer signed the list");
    judge_list_age(&found, options, findings);
    match list::status(&found, index) {
        Ok(0) => findings.prove(Name::NotRevoked, "not revoked as of then"),
        Ok(status) => findings.fail(Name::NotRevoked, format!("the list gives status {status}")),
        Err(error) => findings.fail(Name::NotRevoked, error.to_string()),
    }
}

/// Why a status list is not taken for its issuer's word.
enum NotTheirs {
    /// Nothing shows whose it is: why the signature, and why the status, is not known.
    Unknown { signature: String, status: &'static str },
    /// It speaks against itself.
    Wrong(String),
}

impl NotTheirs {
    /// Says why the list shows nothing.
    fn tell(self, findings: &mut Findings) {
        match self {
            Self::Unknown { signature, status } => {
                findings.skip(Name::StatusSignature, signature);
                findings.skip(Name::NotRevoked, status);
            }
            Self::Wrong(reason) => findings.fail(Name::StatusSignature, reason),
        }
    }
}

/// Whether the issuer signed a list: under a key that the reader brought, or that hangs on a root
/// which the reader brought. Anybody can make certificates in the issuer's name.
fn check_list(found: &Token<'_>, issuer: &str, options: &Options) -> Result<(), NotTheirs> {
    const NOBODY: &str = "nobody knows who signed the list";
    let unknown = |signature, status| NotTheirs::Unknown { signature, status };
    let (key, tied, _) =
        key(found, issuer, &options.trust, options.now).map_err(|problem| match problem {
            NoKey::Unknown(reason) => unknown(reason.to_owned(), NOBODY),
            NoKey::Wrong(reason) => NotTheirs::Wrong(reason),
        })?;
    if let Some(since) = options.trust.token_key_revoked(&key) {
        let signature = format!("the issuer has revoked the list's key as of {}", written(since));
        return Err(unknown(signature, "whoever stole the key could sign the list"));
    }
    let signed = found.expect(list::TYPE).and_then(|()| found.verify(&key));
    signed.map_err(|error| NotTheirs::Wrong(error.to_string()))?;
    if tied {
        return Ok(());
    }
    let signature = "neither the list's key nor the root above its certificates was pinned";
    Err(unknown(signature.to_owned(), NOBODY))
}

fn judge_list_age(found: &Token<'_>, options: &Options, findings: &mut Findings) {
    let Some(made) = found.number("iat") else {
        return findings.fail(Name::StatusFresh, "the list does not say when it was made");
    };
    let as_of = timestamp::format(made).unwrap_or_else(|_| made.to_string());
    let ended = found.number("exp").is_some_and(|until| options.now >= until);
    if made > options.now.saturating_add(CLOCK_SKEW_SECONDS) {
        findings.fail(Name::StatusFresh, format!("the list is from the future, {as_of}"));
    } else if ended || options.now.saturating_sub(made) > options.status_age_max {
        let detail = format!("revocation is known as of {as_of} only, which is too long ago");
        findings.skip(Name::StatusFresh, detail);
    } else {
        findings.prove(Name::StatusFresh, format!("revocation is known as of {as_of}"));
    }
}

/// A verdict of our own form in a JWT. Its status list is the document's.
fn judge_vc_jwt(token: &Token<'_>, options: &Options, findings: &mut Findings) {
    if token.typ() != Some(JWT_TYPE) {
        return findings.fail(Name::Shape, "the token is not a JWT credential");
    }
    let document = &token.payload;
    if let Err(error) = rdfc::canonicalize(Template::Verdict, document) {
        return findings.fail(Name::Shape, error.to_string());
    }
    findings.prove(Name::Shape, "every member is known and none is missing");
    findings.waive(Name::Disclosures, "a JWT shows everything");
    findings.waive(Name::KeyBinding, "a JWT is bound to no key");
    let issuer = document["issuer"]["id"].as_str().unwrap_or_default().to_owned();
    if token.header.get("iss").is_some_and(|named| named != &issuer) {
        return findings.fail(Name::IssuerKey, "header and document name different issuers");
    }
    judge_signature(token, &issuer, options, findings);
    let time = |name: &str| document[name].as_str().and_then(|text| timestamp::parse(text).ok());
    judge_period(time("validFrom"), time("validUntil"), options.now, findings);
    let Some(found) = super::status::newest(document, None, options) else {
        for name in STATUS {
            findings.skip(name, "the status list was not brought along");
        }
        return;
    };
    let judged = Judged { document: document.clone(), issuer };
    let keyring = Keyring::new(None, &options.trust);
    let mut signatures = Signatures::new(keyring, findings);
    super::status::judge(&found, &judged, options, &mut signatures);
}
