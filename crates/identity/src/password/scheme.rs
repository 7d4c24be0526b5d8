//! The forms in which hashes are kept, here and elsewhere, and how a password is checked against
//! each.
//!
//! | form | from |
//! |---|---|
//! | `$argon2id$`, `$argon2i$`, `$argon2d$` | PHC string (RFC 9106) |
//! | `$2a$`, `$2b$`, `$2x$`, `$2y$` | bcrypt; `$2x$` only fits passwords of ASCII |
//! | `$scrypt$ln=..,r=..,p=..$` | PHC string (RFC 7914) |
//! | `$fbscrypt$v=1,n=..,r=..,p=..,ss=..,sk=..$` | Firebase's own scrypt, with the project's keys |
//! | `$pbkdf2-sha256$i=..$`, `$pbkdf2-sha256$29000$` | PHC string, and the one of passlib; also sha1, sha512 |
//! | `pbkdf2_sha256$600000$` | Django; also sha1 |
//! | `{SSHA}`, `{SSHA256}`, `{SSHA512}` | LDAP directories |
//!
//! What comes from elsewhere is believed to be a hash and nothing more: its cost is checked
//! before it is taken in, since whoever names it decides how long we compute.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use ctr::cipher::{KeyIvInit, StreamCipher};
use kernel::{Error, Result};
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// With and without padding: both are about.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Memory of one check, in KiB.
const MEMORY_MAX_KIB: u64 = 256 * 1024;
/// Memory times passes of Argon2, in KiB: about two seconds.
const ARGON2_WORK_MAX: u64 = 2 * 1024 * 1024;
const LANES_MAX: u32 = 16;
/// Each step doubles the time; 15 is about two seconds.
const BCRYPT_COST_MAX: u32 = 15;
/// N times r times p of scrypt: about two seconds.
const SCRYPT_WORK_MAX: u64 = 1 << 22;
const PBKDF2_ROUNDS_MAX: u32 = 5_000_000;
/// A hash much shorter than a digest fits too many passwords; an empty one fits all.
const HASH_LEN: std::ops::RangeInclusive<usize> = 16..=64;
const SALT_LEN_MAX: usize = 256;

/// A digest, where a scheme leaves the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

impl Digest {
    const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// A stored hash that was understood.
#[derive(Debug, Clone)]
pub(super) enum Scheme {
    Argon2 { algorithm: Algorithm, version: Version, params: Params, salt: Vec<u8>, hash: Vec<u8> },
    Bcrypt { cost: u32, text: String },
    Scrypt { params: ScryptParams, salt: Vec<u8>, hash: Vec<u8> },
    Firebase { params: ScryptParams, salt: Vec<u8>, signer: Vec<u8>, hash: Vec<u8> },
    Pbkdf2 { digest: Digest, rounds: u32, salt: Vec<u8>, hash: Vec<u8> },
    Salted { digest: Digest, salt: Vec<u8>, hash: Vec<u8> },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ScryptParams {
    log_n: u8,
    r: u32,
    p: u32,
}

/// The costs that were asked for are more than we pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TooCostly(pub(super) String);

impl Scheme {
    /// `None` for a form that is not known, or not kept to.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // No form is longer; what follows may cut and copy at will.
        if text.len() > 1024 {
            return None;
        }
        let scheme = match text.as_bytes().first()? {
            b'{' => ldap(text),
            b'$' => {
                let mut parts = text[1..].split('$');
                let name = parts.next()?;
                let rest: Vec<&str> = parts.collect();
                match name {
                    "argon2d" | "argon2i" | "argon2id" => argon2(name, &rest),
                    "2a" | "2b" | "2x" | "2y" => bcrypt(text),
                    "scrypt" => scrypt(&rest),
                    "fbscrypt" => firebase(&rest),
                    "pbkdf2" | "pbkdf2-sha1" => pbkdf2(Digest::Sha1, &rest),
                    "pbkdf2-sha256" => pbkdf2(Digest::Sha256, &rest),
                    "pbkdf2-sha512" => pbkdf2(Digest::Sha512, &rest),
                    _ => None,
                }
            }
            _ => django(text),
        }?;
        scheme.is_whole().then_some(scheme)
    }

    fn is_whole(&self) -> bool {
        match self {
            Self::Bcrypt { .. } => true,
            Self::Argon2 { salt, hash, .. }
            | Self::Scrypt { salt, hash, .. }
            | Self::Firebase { salt, hash, .. }
            | Self::Pbkdf2 { salt, hash, .. }
            | Self::Salted { salt, hash, .. } => {
                HASH_LEN.contains(&hash.len()) && (1..=SALT_LEN_MAX).contains(&salt.len())
            }
        }
    }

    /// Whether a check costs no more than we are ready to pay for a hash that somebody brings.
    pub(super) fn check_cost(&self) -> Result<(), TooCostly> {
        let refuse = |what: String| Err(TooCostly(what));
        match self {
            Self::Argon2 { params, .. } => {
                let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
                let work = u64::from(m) * u64::from(t);
                if u64::from(m) > MEMORY_MAX_KIB || work > ARGON2_WORK_MAX || p > LANES_MAX {
                    return refuse(format!(
                        "argon2 with m={m} KiB, t={t}, p={p} costs too much: at most \
                         m={MEMORY_MAX_KIB}, m times t {ARGON2_WORK_MAX}, p={LANES_MAX}"
                    ));
                }
            }
            Self::Bcrypt { cost, .. } if *cost > BCRYPT_COST_MAX => {
                return refuse(format!(
                    "bcrypt with cost {cost} costs too much: at most {BCRYPT_COST_MAX}"
                ));
            }
            Self::Scrypt { params, .. } | Self::Firebase { params, .. } => {
                let ScryptParams { log_n, r, p } = *params;
                let n = 1_u128.checked_shl(log_n.into()).unwrap_or(u128::MAX);
                // 128 bytes times r for each of N and p.
                let kib = n.saturating_add(p.into()).saturating_mul(u128::from(r)) / 8;
                let work = n.saturating_mul(u128::from(r)).saturating_mul(u128::from(p));
                let too_much = kib > MEMORY_MAX_KIB.into() || work > SCRYPT_WORK_MAX.into();
                if log_n > 30 || too_much {
                    return refuse(format!(
                        "scrypt with N=2^{log_n}, r={r}, p={p} costs too much: at most \
                         {MEMORY_MAX_KIB} KiB, N times r times p {SCRYPT_WORK_MAX}"
                    ));
                }
            }
            Self::Pbkdf2 { rounds, .. } if *rounds > PBKDF2_ROUNDS_MAX => {
                return refuse(format!(
                    "PBKDF2 with {rounds} rounds costs too much: at most {PBKDF2_ROUNDS_MAX}"
                ));
            }
            Self::Bcrypt { .. } | Self::Pbkdf2 { .. } | Self::Salted { .. } => {}
        }
        Ok(())
    }

    /// Memory blocks that [`Scheme::matches`] fills, for those that take them from outside.
    pub(super) fn blocks(&self) -> usize {
        match self {
            Self::Argon2 { params, .. } => params.block_count(),
            _ => 0,
        }
    }

    /// Whether this is the password. Takes its time: not for a thread that others wait for.
    ///
    /// # Errors
    /// `Internal`: parameters that the algorithm does not take.
    pub(super) fn matches(&self, password: &[u8], memory: &mut [Block]) -> Result<bool> {
        let odd = |what: &str| Error::internal(format!("a stored hash cannot be checked: {what}"));
        let (made, hash) = match self {
            Self::Argon2 { algorithm, version, params, salt, hash } => {
                let mut made = vec![0; hash.len()];
                Argon2::new(*algorithm, *version, params.clone())
                    .hash_password_into_with_memory(password, salt, &mut made, memory)
                    .map_err(|error| odd(&error.to_string()))?;
                (made, hash)
            }
            // Cut at 72 bytes, as those that made the hash have done.
            Self::Bcrypt { text, .. } => {
                return bcrypt::verify(password, text).map_err(|error| odd(&error.to_string()));
            }
            Self::Scrypt { params, salt, hash } => {
                (params.derive(password, salt, hash.len()).ok_or_else(|| odd("scrypt"))?, hash)
            }
            Self::Firebase { params, salt, signer, hash } => {
                let key = params.derive(password, salt, 32).ok_or_else(|| odd("scrypt"))?;
                let mut made = signer.clone();
                ctr::Ctr128BE::<aes::Aes256>::new_from_slices(&key, &[0; 16])
                    .map_err(|error| odd(&error.to_string()))?
                    .apply_keystream(&mut made);
                (made, hash)
            }
            Self::Pbkdf2 { digest, rounds, salt, hash } => {
                let mut made = vec![0; hash.len()];
                match digest {
                    Digest::Sha1 => pbkdf2_hmac::<Sha1>(password, salt, *rounds, &mut made),
                    Digest::Sha256 => pbkdf2_hmac::<Sha256>(password, salt, *rounds, &mut made),
                    Digest::Sha512 => pbkdf2_hmac::<Sha512>(password, salt, *rounds, &mut made),
                }
                (made, hash)
            }
            Self::Salted { digest, salt, hash } => {
                let both = [password, salt].concat();
                let made = match digest {
                    Digest::Sha1 => Sha1::digest(&both).to_vec(),
                    Digest::Sha256 => Sha256::digest(&both).to_vec(),
                    Digest::Sha512 => Sha512::digest(&both).to_vec(),
                };
                (made, hash)
            }
        };
        Ok(made.ct_eq(hash).into())
    }
}

impl ScryptParams {
    fn parse(log_n: &str, r: &str, p: &str) -> Option<Self> {
        let params = Self { log_n: log_n.parse().ok()?, r: r.parse().ok()?, p: p.parse().ok()? };
        let small = params.r <= 1 << 20 && params.p <= 1 << 20;
        (params.log_n < 64 && params.r > 0 && params.p > 0 && small).then_some(params)
    }

    fn derive(self, password: &[u8], salt: &[u8], len: usize) -> Option<Vec<u8>> {
        let params = scrypt::Params::new(self.log_n, self.r, self.p).ok()?;
        let mut made = vec![0; len];
        scrypt::scrypt(password, salt, &params, &mut made).ok()?;
        Some(made)
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// `a=1,b=2`, of which each name may stand once.
fn values<'a, const N: usize>(text: &'a str, names: [&str; N]) -> Option<[Option<&'a str>; N]> {
    let mut found = [None; N];
    for pair in text.split(',') {
        let (name, value) = pair.split_once('=')?;
        let at = names.iter().position(|known| *known == name)?;
        if found[at].replace(value).is_some() {
            return None;
        }
    }
    Some(found)
}

fn argon2(name: &str, parts: &[&str]) -> Option<Scheme> {
    let (version, params, salt, hash) = match parts {
        [version, params, salt, hash] => (version.strip_prefix("v=")?, params, salt, hash),
        // The first release wrote no version.
        [params, salt, hash] => ("16", params, salt, hash),
        _ => return None,
    };
    let [m, t, p] = values(params, ["m", "t", "p"])?;
    let (salt, hash) = (decode(salt)?, decode(hash)?);
    let (m, t, p) = (m?.parse().ok()?, t?.parse().ok()?, p?.parse().ok()?);
    Some(Scheme::Argon2 {
        algorithm: match name {
            "argon2d" => Algorithm::Argon2d,
            "argon2i" => Algorithm::Argon2i,
            _ => Algorithm::Argon2id,
        },
        version: match version {
            "16" => Version::V0x10,
            "19" => Version::V0x13,
            _ => return None,
        },
        params: Params::new(m, t, p, Some(hash.len())).ok()?,
        salt,
        hash,
    })
}

fn bcrypt(text: &str) -> Option<Scheme> {
    let parts: bcrypt::HashParts = text.parse().ok()?;
    let cost = parts.get_cost();
    (4..=31).contains(&cost).then(|| Scheme::Bcrypt { cost, text: text.to_owned() })
}

fn scrypt(parts: &[&str]) -> Option<Scheme> {
    let [params, salt, hash] = parts else { return None };
    let [ln, r, p] = values(params, ["ln", "r", "p"])?;
    let params = ScryptParams::parse(ln?, r?, p?)?;
    Some(Scheme::Scrypt { params, salt: decode(salt)?, hash: decode(hash)? })
}

/// Base64 in a value may end with `=`, which is why a pair is cut at its first one.
fn firebase(parts: &[&str]) -> Option<Scheme> {
    let [params, salt, hash] = parts else { return None };
    let [version, n, r, p, separator, signer] = values(params, ["v", "n", "r", "p", "ss", "sk"])?;
    if version? != "1" {
        return None;
    }
    let (mut salt, signer, hash) = (decode(salt)?, decode(signer?)?, decode(hash)?);
    if signer.len() != hash.len() {
        return None;
    }
    salt.extend(decode(separator.unwrap_or_default())?);
    Some(Scheme::Firebase { params: ScryptParams::parse(n?, r?, p?)?, salt, signer, hash })
}

/// PHC says `i=1000` or `i=1000,l=32`, passlib `1000`. Passlib's base64 has a dot for the plus.
fn pbkdf2(digest: Digest, parts: &[&str]) -> Option<Scheme> {
    let [params, salt, hash] = parts else { return None };
    let (rounds, len) = match params.parse::<u32>() {
        Ok(rounds) => (rounds, None),
        Err(_) => {
            let [rounds, len] = values(params, ["i", "l"])?;
            (rounds?.parse().ok()?, len)
        }
    };
    let (salt, hash) = (decode(&salt.replace('.', "+"))?, decode(&hash.replace('.', "+"))?);
    let fits = len.is_none_or(|len| len.parse() == Ok(hash.len()));
    (rounds > 0 && fits).then_some(Scheme::Pbkdf2 { digest, rounds, salt, hash })
}

fn django(text: &str) -> Option<Scheme> {
    let parts: Vec<&str> = text.split('$').collect();
    let [name, rounds, salt, hash] = parts[..] else { return None };
    let digest = match name {
        "pbkdf2_sha256" => Digest::Sha256,
        "pbkdf2_sha1" => Digest::Sha1,
        _ => return None,
    };
    let (rounds, hash) = (rounds.parse().ok()?, decode(hash)?);
    let whole = rounds > 0 && hash.len() == digest.len();
    whole.then(|| Scheme::Pbkdf2 { digest, rounds, salt: salt.as_bytes().to_vec(), hash })
}

fn ldap(text: &str) -> Option<Scheme> {
    let (name, rest) = text.strip_prefix('{')?.split_once('}')?;
    let digest = match name.to_ascii_uppercase().as_str() {
        "SSHA" => Digest::Sha1,
        "SSHA256" => Digest::Sha256,
        "SSHA512" => Digest::Sha512,
        _ => return None,
    };
    let mut hash = decode(rest)?;
    if hash.len() <= digest.len() {
        return None;
    }
    let salt = hash.split_off(digest.len());
    Some(Scheme::Salted { digest, salt, hash })
}
