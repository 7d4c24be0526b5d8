//! Canonical N-Quads of the two documents this platform signs, RDFC-1.0.
//!
//! A general RDF processor fetches contexts, expands terms and labels blank nodes. None of that is
//! needed by an issuer whose documents come from two templates in which every node has an
//! identifier: their canonical form is the set of their statements, sorted. The tables below are
//! that mapping, taken from the pinned contexts. A member outside of its table is refused, because
//! a signature must not cover a statement that a reader cannot see, nor leave out one that they do.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::timestamp;

/// The VC Data Model 2.0 context.
pub const CREDENTIALS_V2: &str = "https://www.w3.org/ns/credentials/v2";
/// The Open Badges 3.0 context, in the revision that verifiers bundle.
pub const OPEN_BADGES_V3: &str = "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json";

/// A kind of document whose statements are known in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// The verdict: VC Data Model 2.0 in Open Badge 3.0 shape.
    Verdict,
    /// The list of revoked entries: Bitstring Status List 1.0 section 2.2.
    StatusList,
}

impl Template {
    /// The document's whole `@context`, in order.
    pub fn contexts(self) -> &'static [&'static str] {
        match self {
            Self::Verdict => &[CREDENTIALS_V2, OPEN_BADGES_V3],
            Self::StatusList => &[CREDENTIALS_V2],
        }
    }

    fn shape(self) -> &'static Shape {
        match self {
            Self::Verdict => &VERDICT,
            Self::StatusList => &STATUS_LIST,
        }
    }
}

/// Why a document is outside of its template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdfcError {
    /// JSON Pointer (RFC 6901) to the member in question.
    pub pointer: String,
    /// What is the matter with it.
    pub problem: Problem,
}

/// What is the matter with one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The template requires this member.
    Missing,
    /// The template has no such member.
    Unexpected,
    /// The value is of another JSON type than the template's.
    OtherType,
    /// The value is not one of the template's.
    OtherValue,
    /// Not an absolute identifier of a scheme the templates use, or with unsafe characters.
    NotAnIri,
    /// Not a time as [`timestamp`] writes it.
    NotATime,
    /// A control character or noncharacter; see [`is_portable_text`].
    UnportableText,
    /// Two nodes of the document have this identifier.
    RepeatedNode,
}

impl fmt::Display for RdfcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::Missing => "is missing",
            Problem::Unexpected => "is not part of the template",
            Problem::OtherType => "has another JSON type than the template's",
            Problem::OtherValue => "has another value than the template's",
            Problem::NotAnIri => "is not an acceptable absolute identifier",
            Problem::NotATime => "is not a time of the form YYYY-MM-DDThh:mm:ssZ",
            Problem::UnportableText => "contains a character that canonicalizers disagree on",
            Problem::RepeatedNode => "is the identifier of two nodes",
        };
        write!(f, "`{}` {problem}", self.pointer)
    }
}

impl std::error::Error for RdfcError {}

/// A name in JSON and the identifier that the contexts give it.
struct Term {
    name: &'static str,
    iri: &'static str,
}

/// How `type` stands in the document.
enum Types {
    One(Term),
    All(&'static [Term]),
}

/// One kind of node: its types and every member it may have besides `id` and `type`.
struct Shape {
    types: Types,
    properties: &'static [Property],
}

struct Property {
    term: Term,
    range: Range,
    presence: Presence,
}

#[derive(PartialEq)]
enum Presence {
    Required,
    Optional,
}

enum Range {
    /// A plain string literal.
    Text,
    /// A literal typed `xsd:dateTime`.
    Time,
    /// A literal of the given type whose value must be one of these words.
    Word { datatype: &'static str, words: &'static [&'static str] },
    /// A literal of the given type: printable ASCII without spaces.
    Token { datatype: &'static str },
    /// An identifier.
    Link,
    /// A word that the contexts turn into an identifier.
    Vocabulary(&'static [Term]),
    /// A nested node.
    Node(&'static Shape),
    /// A non-empty array of nested nodes.
    Nodes(&'static Shape),
}

const fn term(name: &'static str, iri: &'static str) -> Term {
    Term { name, iri }
}

const fn required(name: &'static str, iri: &'static str, range: Range) -> Property {
    Property { term: term(name, iri), range, presence: Presence::Required }
}

const fn optional(name: &'static str, iri: &'static str, range: Range) -> Property {
    Property { term: term(name, iri), range, presence: Presence::Optional }
}

macro_rules! credentials {
    ($name:literal) => {
        concat!("https://www.w3.org/2018/credentials#", $name)
    };
}
macro_rules! status {
    ($name:literal) => {
        concat!("https://www.w3.org/ns/credentials/status#", $name)
    };
}
macro_rules! badges {
    ($name:literal) => {
        concat!("https://purl.imsglobal.org/spec/vc/ob/vocab.html#", $name)
    };
}
macro_rules! security {
    ($name:literal) => {
        concat!("https://w3id.org/security#", $name)
    };
}

const RDF_TYPE: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type";
const XSD_DATE_TIME: &str = "http://www.w3.org/2001/XMLSchema#dateTime";
const SCHEMA_NAME: &str = "https://schema.org/name";
const SCHEMA_DESCRIPTION: &str = "https://schema.org/description";

static VERDICT: Shape = Shape {
    types: Types::All(&[
        term("VerifiableCredential", credentials!("VerifiableCredential")),
        term("OpenBadgeCredential", badges!("OpenBadgeCredential")),
    ]),
    properties: &[
        required("issuer", credentials!("issuer"), Range::Node(&PROFILE)),
        required("validFrom", credentials!("validFrom"), Range::Time),
        required("validUntil", credentials!("validUntil"), Range::Time),
        required("credentialSubject", credentials!("credentialSubject"), Range::Node(&SUBJECT)),
        required("evidence", credentials!("evidence"), Range::Nodes(&EVIDENCE)),
        required("credentialStatus", credentials!("credentialStatus"), Range::Node(&STATUS_ENTRY)),
    ],
};

static PROFILE: Shape = Shape {
    types: Types::All(&[term("Profile", badges!("Profile"))]),
    properties: &[required("name", SCHEMA_NAME, Range::Text)],
};

static SUBJECT: Shape = Shape {
    types: Types::All(&[term("AchievementSubject", badges!("AchievementSubject"))]),
    properties: &[required("achievement", badges!("achievement"), Range::Node(&ACHIEVEMENT))],
};

static ACHIEVEMENT: Shape = Shape {
    types: Types::All(&[term("Achievement", badges!("Achievement"))]),
    properties: &[
        required("name", SCHEMA_NAME, Range::Text),
        required("description", SCHEMA_DESCRIPTION, Range::Text),
        // The context maps the member to the class: a quirk of Open Badges that is now signed.
        required("criteria", badges!("Criteria"), Range::Node(&CRITERIA)),
    ],
};

static CRITERIA: Shape = Shape {
    types: Types::All(&[]),
    properties: &[required("narrative", badges!("narrative"), Range::Text)],
};

static EVIDENCE: Shape = Shape {
    types: Types::All(&[term("Evidence", badges!("Evidence"))]),
    properties: &[
        required("name", SCHEMA_NAME, Range::Text),
        required("narrative", badges!("narrative"), Range::Text),
        optional("description", SCHEMA_DESCRIPTION, Range::Text),
        optional("genre", "https://schema.org/genre", Range::Text),
    ],
};

const PURPOSES: Range = Range::Word { datatype: "", words: &["revocation", "suspension"] };

static STATUS_ENTRY: Shape = Shape {
    types: Types::One(term("BitstringStatusListEntry", status!("BitstringStatusListEntry"))),
    properties: &[
        required("statusPurpose", status!("statusPurpose"), PURPOSES),
        required("statusListIndex", status!("statusListIndex"), Range::Token { datatype: "" }),
        required("statusListCredential", status!("statusListCredential"), Range::Link),
    ],
};

static STATUS_LIST: Shape = Shape {
    types: Types::All(&[
        term("VerifiableCredential", credentials!("VerifiableCredential")),
        term("BitstringStatusListCredential", status!("BitstringStatusListCredential")),
    ]),
    properties: &[
        required("issuer", credentials!("issuer"), Range::Link),
        required("validFrom", credentials!("validFrom"), Range::Time),
        required("validUntil", credentials!("validUntil"), Range::Time),
        required(
            "credentialSubject",
            credentials!("credentialSubject"),
            Range::Node(&STATUS_LIST_SUBJECT),
        ),
    ],
};

static STATUS_LIST_SUBJECT: Shape = Shape {
    types: Types::One(term("BitstringStatusList", status!("BitstringStatusList"))),
    properties: &[
        required("statusPurpose", status!("statusPurpose"), PURPOSES),
        required(
            "encodedList",
            status!("encodedList"),
            Range::Token { datatype: security!("multibase") },
        ),
    ],
};

static PROOF_OPTIONS: Shape = Shape {
    types: Types::One(term("DataIntegrityProof", security!("DataIntegrityProof"))),
    properties: &[
        required("created", "http://purl.org/dc/terms/created", Range::Time),
        required(
            "cryptosuite",
            security!("cryptosuite"),
            Range::Word { datatype: security!("cryptosuiteString"), words: &["eddsa-rdfc-2022"] },
        ),
        required(
            "proofPurpose",
            security!("proofPurpose"),
            Range::Vocabulary(&[term("assertionMethod", security!("assertionMethod"))]),
        ),
        required("verificationMethod", security!("verificationMethod"), Range::Link),
    ],
};

/// The canonical N-Quads of a document without its `proof`, or the member that is outside of the
/// template.
pub fn canonicalize(template: Template, document: &Value) -> Result<String, RdfcError> {
    let mut document = object(document, "")?.clone();
    let context = document.remove("@context");
    if context.as_ref().and_then(Value::as_array).is_none_or(|c| c != template.contexts()) {
        return Err(refuse("/@context", Problem::OtherValue));
    }
    let mut statements = Statements::default();
    statements.node(template.shape(), &document, "")?;
    Ok(statements.canonical())
}

/// The canonical N-Quads of a proof's options, Data Integrity EdDSA 1.0 section 3.2.5: the one
/// node without an identifier, which the algorithm therefore calls `_:c14n0`.
///
/// The options carry no `@context` of their own; they are read under the document's.
pub fn canonicalize_proof_options(options: &Value) -> Result<String, RdfcError> {
    let mut statements = Statements::default();
    statements.members(&PROOF_OPTIONS, object(options, "")?, "_:c14n0", "")?;
    Ok(statements.canonical())
}

/// Whether every deployed canonicalizer writes this text alike.
///
/// RDFC-1.0 escapes all control characters; the older software still in wallets escapes line feed
/// and carriage return only, and neither escapes U+FFFE and U+FFFF, as the standard asks. A title
/// with a tab in it would verify here and fail there, so all of these but the two line ends are
/// refused before anything is signed.
pub fn is_portable_text(text: &str) -> bool {
    let unportable = |c: char| {
        matches!(c, '\0'..='\u{9}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}')
            || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    !text.contains(unportable)
}

/// The statements of one document. A set in byte order, which for UTF-8 is code point order.
#[derive(Default)]
struct Statements {
    lines: BTreeSet<String>,
    nodes: BTreeSet<String>,
}

impl Statements {
    fn canonical(self) -> String {
        self.lines.into_iter().collect()
    }

    fn add(&mut self, subject: &str, predicate: &str, object: &str) {
        self.lines.insert(format!("{subject} <{predicate}> {object} .\n"));
    }

    /// Adds a node and everything below it; returns its identifier in angle brackets.
    fn node(
        &mut self,
        shape: &Shape,
        members: &Map<String, Value>,
        pointer: &str,
    ) -> Result<String, RdfcError> {
        let at = format!("{pointer}/id");
        let id = members.get("id").ok_or_else(|| refuse(&at, Problem::Missing))?;
        let subject = iri(id, &at)?;
        // Merged nodes could hold two texts under one predicate, and then the order of the lines
        // would depend on how a canonicalizer compares text beyond the basic plane.
        if !self.nodes.insert(subject.clone()) {
            return Err(refuse(&at, Problem::RepeatedNode));
        }
        let mut members = members.clone();
        members.remove("id");
        self.members(shape, &members, &subject, pointer)?;
        Ok(subject)
    }

    fn members(
        &mut self,
        shape: &Shape,
        members: &Map<String, Value>,
        subject: &str,
        pointer: &str,
    ) -> Result<(), RdfcError> {
        self.types(&shape.types, members.get("type"), subject, &format!("{pointer}/type"))?;
        for name in members.keys().filter(|name| *name != "type") {
            if !shape.properties.iter().any(|property| property.term.name == name) {
                return Err(refuse(&format!("{pointer}/{name}"), Problem::Unexpected));
            }
        }
        for property in shape.properties {
            let at = format!("{pointer}/{}", property.term.name);
            match members.get(property.term.name) {
                Some(value) => self.property(property, value, subject, &at)?,
                None if property.presence == Presence::Required => {
                    return Err(refuse(&at, Problem::Missing));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn types(
        &mut self,
        types: &Types,
        found: Option<&Value>,
        subject: &str,
        at: &str,
    ) -> Result<(), RdfcError> {
        let (terms, matches) = match types {
            Types::One(term) => {
                (std::slice::from_ref(term), found.is_some_and(|found| *found == *term.name))
            }
            Types::All([]) => ([].as_slice(), found.is_none()),
            Types::All(terms) => {
                let found = found.and_then(Value::as_array);
                let same = |found: &Vec<Value>| found.iter().eq(terms.iter().map(|term| term.name));
                (*terms, found.is_some_and(same))
            }
        };
        if !matches {
            return Err(refuse(at, Problem::OtherValue));
        }
        for term in terms {
            self.add(subject, RDF_TYPE, &format!("<{}>", term.iri));
        }
        Ok(())
    }

    fn property(
        &mut self,
        property: &Property,
        value: &Value,
        subject: &str,
        at: &str,
    ) -> Result<(), RdfcError> {
        let object = match &property.range {
            Range::Text => literal(text(value, at)?, "", at)?,
            Range::Time => time(text(value, at)?, at)?,
            Range::Word { datatype, words } => {
                let word = text(value, at)?;
                if !words.contains(&word) {
                    return Err(refuse(at, Problem::OtherValue));
                }
                literal(word, datatype, at)?
            }
            Range::Token { datatype } => {
                let token = text(value, at)?;
                if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(refuse(at, Problem::OtherValue));
                }
                literal(token, datatype, at)?
            }
            Range::Link => iri(value, at)?,
            Range::Vocabulary(terms) => {
                let word = text(value, at)?;
                let term = terms.iter().find(|term| term.name == word);
                let term = term.ok_or_else(|| refuse(at, Problem::OtherValue))?;
                format!("<{}>", term.iri)
            }
            Range::Node(shape) => self.node(shape, object(value, at)?, at)?,
            Range::Nodes(shape) => return self.nodes(shape, property, value, subject, at),
        };
        self.add(subject, property.term.iri, &object);
        Ok(())
    }

    fn nodes(
        &mut self,
        shape: &Shape,
        property: &Property,
        value: &Value,
        subject: &str,
        at: &str,
    ) -> Result<(), RdfcError> {
        let items = value.as_array().ok_or_else(|| refuse(at, Problem::OtherType))?;
        if items.is_empty() {
            return Err(refuse(at, Problem::Missing));
        }
        for (position, item) in items.iter().enumerate() {
            let at = format!("{at}/{position}");
            let node = self.node(shape, object(item, &at)?, &at)?;
            self.add(subject, property.term.iri, &node);
        }
        Ok(())
    }
}

fn refuse(pointer: &str, problem: Problem) -> RdfcError {
    RdfcError { pointer: pointer.to_owned(), problem }
}

fn object<'a>(value: &'a Value, at: &str) -> Result<&'a Map<String, Value>, RdfcError> {
    value.as_object().ok_or_else(|| refuse(at, Problem::OtherType))
}

fn text<'a>(value: &'a Value, at: &str) -> Result<&'a str, RdfcError> {
    value.as_str().ok_or_else(|| refuse(at, Problem::OtherType))
}

/// An identifier in angle brackets.
///
/// The schemes are a closed list because JSON-LD would take an unknown `word:rest` for a compact
/// name wherever a context happens to define `word`; none of these is defined by the contexts.
fn iri(value: &Value, at: &str) -> Result<String, RdfcError> {
    const SCHEMES: [&str; 5] = ["https://", "http://", "did:", "urn:uuid:", "ni:///"];
    let iri = text(value, at)?;
    let plain = |byte: u8| byte.is_ascii_graphic() && !br#"<>"{}|^`\"#.contains(&byte);
    let known = SCHEMES.iter().any(|scheme| iri.len() > scheme.len() && iri.starts_with(scheme));
    if known && iri.bytes().all(plain) {
        Ok(format!("<{iri}>"))
    } else {
        Err(refuse(at, Problem::NotAnIri))
    }
}

fn time(text: &str, at: &str) -> Result<String, RdfcError> {
    timestamp::parse(text).map_err(|_| refuse(at, Problem::NotATime))?;
    literal(text, XSD_DATE_TIME, at)
}

/// A quoted literal, RDFC-1.0 section 5 ("canonical form of N-Quads"); an empty datatype means a
/// plain string.
fn literal(text: &str, datatype: &str, at: &str) -> Result<String, RdfcError> {
    if !is_portable_text(text) {
        return Err(refuse(at, Problem::UnportableText));
    }
    let mut literal = String::with_capacity(text.len() + datatype.len() + 6);
    literal.push('"');
    for c in text.chars() {
        match c {
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            other => literal.push(other),
        }
    }
    literal.push('"');
    if !datatype.is_empty() {
        literal.push_str(&format!("^^<{datatype}>"));
    }
    Ok(literal)
}
