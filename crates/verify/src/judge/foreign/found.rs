//! What lies elsewhere and has been asked for.

use std::collections::BTreeMap;

/// What is to be found at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The document of a `did:web`.
    DidDocument,
    /// JWT VC issuer metadata.
    IssuerMetadata,
    /// A JWK or a JWK set.
    KeySet,
    /// A status list token.
    TokenList,
    /// A Bitstring status list credential.
    BitstringList,
}

impl Source {
    /// The media types to ask for.
    pub const fn accept(self) -> &'static str {
        match self {
            Self::DidDocument => "application/did+json, application/json",
            Self::IssuerMetadata => "application/json",
            Self::KeySet => "application/jwk+json, application/jwk-set+json, application/json",
            Self::TokenList => "application/statuslist+jwt",
            Self::BitstringList => "application/vc, application/vc+jwt, application/json",
        }
    }
}

/// Something that is to be asked for. The address is the credential's: nobody has looked at where
/// it leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// What it is.
    pub source: Source,
    /// Where it is.
    pub url: String,
}

/// What was answered so far, or why there is no answer.
#[derive(Clone, Debug, Default)]
pub struct Found(BTreeMap<Wanted, Result<Vec<u8>, String>>);

impl Found {
    /// Notes an answer, or in a few words why there is none.
    pub fn put(&mut self, wanted: Wanted, answer: Result<Vec<u8>, String>) {
        self.0.insert(wanted, answer);
    }

    /// How much was asked for.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, wanted: &Wanted) -> Option<&Result<Vec<u8>, String>> {
        self.0.get(wanted)
    }
}
