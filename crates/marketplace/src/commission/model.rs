//! The nouns.

use documents::credential::{NewCredential, Texts};
use kernel::error::Fields;
use kernel::id::kinds;
use kernel::{Error, Id, Money, Result};
use serde::{Deserialize, Serialize};

use crate::verification::Verification;
use crate::verification::model::{BoardTerms, Text};

const SUBJECT_CHARS_MAX: usize = 200;
const REFERENCE_CHARS_MAX: usize = 100;

/// A verification with what its organization knows it by. It is also what an idempotent request
/// remembers, hence the derives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commission {
    pub verification: Verification,
    /// The organization's own word for the case; may be empty.
    pub reference: String,
    /// Whom the document is about; may be empty.
    pub subject: String,
    pub batch: Option<Id<kinds::Batch>>,
}

/// What is to be verified.
#[derive(Debug, Clone)]
pub enum Document {
    /// A credential of the organization's.
    Credential(Id<kinds::Credential>),
    /// One that is made of these words, and of a file of the organization's where there is one.
    New(NewCredential),
}

/// A commission, parsed.
#[derive(Debug, Clone)]
pub struct NewCommission {
    pub document: Document,
    pub to: To,
    pub reference: String,
    pub subject: String,
    pub notes: Text,
}

/// Who is to verify it.
#[derive(Debug, Clone)]
pub enum To {
    Verifier {
        verifier: Id<kinds::Verifier>,
        service: Option<Id<kinds::Service>>,
        /// Sooner, for the price that the service has for it.
        expedited: bool,
        /// The price that the asker has seen, where they say it.
        seen: Option<Money>,
    },
    /// Whoever claims it from the board.
    Board(BoardTerms),
}

/// A commission as a client writes it: in JSON, or in a row of a batch.
#[derive(Debug, Clone, Default)]
pub struct Draft<'a> {
    pub credential: Option<Id<kinds::Credential>>,
    /// Where there is no credential yet.
    pub document: Option<Texts<'a>>,
    pub verifier: Option<Id<kinds::Verifier>>,
    pub service: Option<Id<kinds::Service>>,
    pub expedited: bool,
    /// With a verifier.
    pub seen: Option<Money>,
    /// Without a verifier.
    pub board: Option<BoardTerms>,
    pub reference: &'a str,
    pub subject: &'a str,
    pub notes: &'a str,
}

impl NewCommission {
    /// All that is wrong is named at once. `within` is where the document's fields stand:
    /// `/document` in JSON.
    pub fn parse(draft: &Draft<'_>, within: &str) -> Result<Self> {
        let mut fields = Fields::new();
        let document = match (draft.credential, &draft.document) {
            (Some(credential), None) => Some(Document::Credential(credential)),
            (None, Some(texts)) => match NewCredential::parse(texts) {
                Ok(new) => Some(Document::New(new)),
                Err(error) => {
                    for field in error.fields() {
                        let pointer = format!("{within}{}", field.pointer);
                        fields.add(&pointer, &field.code, field.message.clone());
                    }
                    None
                }
            },
            (Some(_), Some(_)) => {
                fields.add("/credentialId", "ambiguous", "either a credential or a document");
                None
            }
            (None, None) => {
                fields.add(within, "required", "name a credential or describe a document");
                None
            }
        };
        let to = match (draft.verifier, &draft.board) {
            (Some(verifier), _) => {
                let Draft { service, expedited, seen, .. } = *draft;
                Some(To::Verifier { verifier, service, expedited, seen })
            }
            (None, Some(terms)) => Some(To::Board(terms.clone())),
            (None, None) => {
                fields.add("/verifierId", "required", "say who is to verify it");
                None
            }
        };
        let reference = line(&mut fields, "/reference", draft.reference, REFERENCE_CHARS_MAX);
        let subject = line(&mut fields, "/subject", draft.subject, SUBJECT_CHARS_MAX);
        let notes = fields.take(Text::any("/notes", draft.notes));
        match (document, to, notes) {
            (Some(document), Some(to), Some(notes)) => {
                fields.check()?;
                Ok(Self { document, to, reference, subject, notes })
            }
            _ => Err(fields.into_error()),
        }
    }
}

/// One trimmed line, which may be empty.
fn line(fields: &mut Fields, pointer: &str, text: &str, max: usize) -> String {
    let text = text.trim();
    if text.chars().count() > max || text.chars().any(char::is_control) {
        fields.add(pointer, "invalid", format!("one line of at most {max} characters"));
    }
    text.to_owned()
}

/// The word by which a list of commissions is narrowed.
pub fn reference(text: Option<&str>) -> Result<Option<String>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.chars().count() > REFERENCE_CHARS_MAX {
        let message = format!("at most {REFERENCE_CHARS_MAX} characters");
        return Err(Error::field("/reference", "too_long", message));
    }
    Ok(Some(text.to_owned()))
}
