#!/usr/bin/env python3
"""Checks a Verza bundle or case file without Verza: a second reader, written apart from the first.

    python3 check_bundle.py file.json --did did.json --log-key 'name+id+key' [--document file]

Needs Python 3.9 and the package `cryptography`. It prints `valid`, `unproven` (nothing speaks
against it, but something needed could not be shown) or `invalid` with the reason, and ends with 0,
2 or 1. No network is used: revocation is known as of the enclosed list, and the issuer is believed
only where --did brings its document from elsewhere.
"""

import argparse
import base64
import datetime
import hashlib
import json
import re
import sys
import time
import zlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SKEW = 300
LEN_MAX = 16 << 20
VALUES_MAX = 50_000
V2 = "https://www.w3.org/ns/credentials/v2"
OB3 = "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Invalid(Exception):
    """Something speaks against the file."""


def need(condition, why):
    if not condition:
        raise Invalid(why)


# --- JSON of one meaning, and its canonical text (RFC 8785) ---


def strict(text):
    def members(pairs):
        names = [name for name, _ in pairs]
        need(len(names) == len(set(names)), "a name stands twice")
        return dict(pairs)

    def number(digits):
        need(digits != "-0" and abs(int(digits)) < 1 << 53, "a number has no one spelling")
        return int(digits)

    def refuse(_):
        raise Invalid("a number is a fraction")

    try:
        value = json.loads(
            text, object_pairs_hook=members, parse_int=number, parse_float=refuse,
            parse_constant=refuse,
        )
        text.encode()
        canonical(value)
        need(count(value) <= VALUES_MAX, "there are too many values")
        return value
    except (ValueError, RecursionError) as error:
        raise Invalid(f"not JSON: {error}") from None


def count(value):
    """Values, each item and member counted, and the whole as one."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(count(one) for one in inner)


def canonical(value):
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(n)}:{canonical(value[n])}" for n in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical(item) for item in value) + "]"
    text = json.dumps(value, ensure_ascii=False)
    text.encode()  # A lone surrogate has no UTF-8.
    return text


def sha256(data):
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).digest()


# --- The two templates of RDF that the issuer signs ---

OB = "https://purl.imsglobal.org/spec/vc/ob/vocab.html#"
CRED = "https://www.w3.org/2018/credentials#"
STATUS = "https://www.w3.org/ns/credentials/status#"
SEC = "https://w3id.org/security#"
RDF_TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
XSD_TIME = "http://www.w3.org/2001/XMLSchema#dateTime"
NAME = ("name", "https://schema.org/name", "text")
DESCRIPTION = ("description", "https://schema.org/description", "text")
NARRATIVE = ("narrative", OB + "narrative", "text")
PURPOSE = ("statusPurpose", STATUS + "statusPurpose", "purpose")
PERIOD = [("validFrom", CRED + "validFrom", "time"), ("validUntil", CRED + "validUntil", "time")]

# A shape: its types (a list, one text, or none), its members, and those that may be missing.
PROFILE = ([("Profile", OB)], [NAME], ())
CRITERIA = (None, [NARRATIVE], ())
ACHIEVEMENT = ([("Achievement", OB)],
               [NAME, DESCRIPTION, ("criteria", OB + "Criteria", CRITERIA)], ())
SUBJECT = ([("AchievementSubject", OB)], [("achievement", OB + "achievement", ACHIEVEMENT)], ())
EVIDENCE = ([("Evidence", OB)],
            [NAME, NARRATIVE, DESCRIPTION, ("genre", "https://schema.org/genre", "text")],
            ("description", "genre"))
ENTRY = (("BitstringStatusListEntry", STATUS),
         [PURPOSE, ("statusListIndex", STATUS + "statusListIndex", "token"),
          ("statusListCredential", STATUS + "statusListCredential", "link")], ())
VERDICT = ([("VerifiableCredential", CRED), ("OpenBadgeCredential", OB)],
           [("issuer", CRED + "issuer", PROFILE), *PERIOD,
            ("credentialSubject", CRED + "credentialSubject", SUBJECT),
            ("evidence", CRED + "evidence", [EVIDENCE]),
            ("credentialStatus", CRED + "credentialStatus", ENTRY)], ())
LIST_SUBJECT = (("BitstringStatusList", STATUS),
                [PURPOSE, ("encodedList", STATUS + "encodedList", "multibase")], ())
LIST = ([("VerifiableCredential", CRED), ("BitstringStatusListCredential", STATUS)],
        [("issuer", CRED + "issuer", "link"), *PERIOD,
         ("credentialSubject", CRED + "credentialSubject", LIST_SUBJECT)], ())
CONTEXTS = {id(VERDICT): [V2, OB3], id(LIST): [V2]}


def literal(text, datatype=""):
    bad = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
    need(not bad.search(text), "a text has control characters")
    for letter, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(letter, escape)
    return f'"{text}"' + (f"^^<{datatype}>" if datatype else "")


def link(value):
    fits = isinstance(value, str) and re.fullmatch(
        r"(https://|http://|did:|urn:uuid:|ni:///)[!-~]+", value)
    need(fits and not set(value) & set('<>"{}|^`\\'), f"not an identifier: {value!r}")
    return f"<{value}>"


def statement_object(kind, value):
    need(isinstance(value, str), "a member is not text")
    if kind == "text":
        return literal(value)
    if kind == "time":
        seconds(value)
        return literal(value, XSD_TIME)
    if kind == "purpose":
        need(value in ("revocation", "suspension"), "an unknown purpose")
        return literal(value)
    if kind == "link":
        return link(value)
    need(re.fullmatch("[!-~]+", value), "a token has spaces in it")
    return literal(value, SEC + "multibase" if kind == "multibase" else "")


def statements(shape, node, lines, seen):
    types, members, optional = shape
    need(isinstance(node, dict), "a node is not an object")
    subject = link(node.get("id"))
    need(subject not in seen, "two nodes have one identifier")
    seen.add(subject)
    wanted = types[0] if isinstance(types, tuple) else types and [name for name, _ in types]
    need(node.get("type") == wanted and ("type" in node) == bool(types), "a node is of another type")
    for name, base in [types] if isinstance(types, tuple) else types or []:
        lines.add(f"{subject} <{RDF_TYPE}> <{base}{name}> .\n")
    need(not set(node) - {"id", "type"} - {member[0] for member in members}, "an unknown member")
    for name, iri, kind in members:
        if name not in node:
            need(name in optional, f"{name} is missing")
            continue
        many = isinstance(kind, list)
        values = node[name] if many else [node[name]]
        need(isinstance(values, list) and values, f"{name} is empty")
        for value in values:
            below = kind[0] if many else kind
            found = (statements(below, value, lines, seen) if isinstance(below, tuple)
                     else statement_object(below, value))
            lines.add(f"{subject} <{iri}> {found} .\n")
    return subject


def n_quads(shape, document):
    document = dict(document)
    need(document.pop("@context", None) == CONTEXTS[id(shape)], "other contexts than the pinned")
    lines = set()
    statements(shape, document, lines, set())
    return "".join(sorted(lines))  # Code points sort as their UTF-8 does.


# --- Keys, proofs, times ---


def multibase(text, length):
    need(isinstance(text, str) and text[:1] == "z" and len(text) <= 100, "not base58btc")
    number = 0
    for letter in text[1:]:
        need(letter in BASE58, "not base58btc")
        number = number * 58 + BASE58.index(letter)
    zeros = len(text) - 1 - len(text[1:].lstrip("1"))
    data = b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
    need(len(data) == length, "a key or signature has the wrong length")
    return data


def find_key(document, method):
    did = method.split("#")[0]
    need("#" in method and method.startswith("did:") and method.split("#", 1)[1], "no key's name")
    need(isinstance(document, dict) and document.get("id") == did, "the DID document is another's")
    methods = document.get("verificationMethod")
    need(isinstance(methods, list), "the DID document has no keys")
    named = [one for one in methods if isinstance(one, dict) and one.get("id") == method]
    need(len(named) == 1, "the DID document does not list the key once")
    one = named[0]
    need(one.get("type") == "Multikey" and one.get("controller") == did, "the key is no Multikey")
    asserting = document.get("assertionMethod")
    need(isinstance(asserting, list) and method in asserting, "the key may not assert")
    data = multibase(one.get("publicKeyMultibase"), 34)
    need(data[:2] == b"\xed\x01", "the key is not Ed25519")
    return data[2:]


def revoked_since(document, method):
    """Since when a document says that a key must not be used, or nothing."""
    if not isinstance(document, dict) or document.get("id") != method.split("#")[0]:
        return None
    methods = document.get("verificationMethod")
    named = [one for one in methods if isinstance(one, dict) and one.get("id") == method] \
        if isinstance(methods, list) else []
    times = []
    for one in named:
        if "revoked" in one:
            try:
                times.append(instant(one["revoked"]))
            except Invalid:
                times.append(-1 << 63)
    return min(times, default=None)


def fits(key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False


def seconds(text):
    need(isinstance(text, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text),
         "not a time")
    try:
        at = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise Invalid("not a time") from None
    return int(at.replace(tzinfo=datetime.timezone.utc).timestamp())


def instant(text):
    """A time as others may write it: RFC 3339, down to seconds."""
    form = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)"
    found = re.fullmatch(form, text) if isinstance(text, str) else None
    need(found, "not a time")
    try:
        at = datetime.datetime.fromisoformat(found[1] + found[2].replace("Z", "+00:00"))
    except ValueError:
        raise Invalid("not a time") from None
    return int(at.timestamp())


class Signatures:
    """Proofs under the keys of the enclosed DID document, held against the reader's own."""

    def __init__(self, enclosed, pinned):
        self.enclosed, self.pinned, self.stranger = enclosed, pinned, pinned is None
        # When the credential was signed, as a pinned log has it; set while that is looked at.
        self.signed_at, self.undated = None, False

    def check(self, document, proof, issuer, hashed, suite):
        need(isinstance(proof, dict), "a proof is not an object")
        members = {"type", "cryptosuite", "created", "verificationMethod", "proofPurpose",
                   "proofValue"}
        if suite == "eddsa-jcs-2022" and "@context" in document:
            members.add("@context")
            contexts = proof.get("@context")
            need(contexts == document["@context"], "the proof is of other contexts")
        need(set(proof) == members, "a proof has other members")
        need(proof["type"] == "DataIntegrityProof" and proof["cryptosuite"] == suite
             and proof["proofPurpose"] == "assertionMethod", "a proof of another kind")
        seconds(proof["created"])
        method = proof["verificationMethod"]
        need(isinstance(method, str) and method.split("#")[0] == issuer, "not the issuer's key")
        key = find_key(self.enclosed, method)
        if self.pinned is not None:
            try:
                known = find_key(self.pinned, method)
            except Invalid:
                self.stranger = True
            else:
                need(known == key, "the file gives another key than the pinned one")
        since = [revoked_since(one, method) for one in (self.enclosed, self.pinned)]
        since = min((one for one in since if one is not None), default=None)
        if since is not None:
            need(seconds(proof["created"]) < since, "signed with a revoked key")
            self.undated |= self.signed_at is None or self.signed_at >= since
        options = {name: value for name, value in proof.items() if name != "proofValue"}
        if suite == "eddsa-jcs-2022":
            config = canonical(options)
        else:
            config = "".join(sorted((
                f"_:c14n0 <http://purl.org/dc/terms/created> "
                f"{literal(proof['created'], XSD_TIME)} .\n",
                f"_:c14n0 <{RDF_TYPE}> <{SEC}DataIntegrityProof> .\n",
                f'_:c14n0 <{SEC}cryptosuite> "eddsa-rdfc-2022"^^<{SEC}cryptosuiteString> .\n',
                f"_:c14n0 <{SEC}proofPurpose> <{SEC}assertionMethod> .\n",
                f"_:c14n0 <{SEC}verificationMethod> {link(method)} .\n")))
        signature = multibase(proof["proofValue"], 64)
        need(fits(key, signature, sha256(config) + sha256(hashed)), f"the {suite} proof is wrong")

    def both(self, secured, shape, issuer):
        """Both proofs of a document of a shape; answers it without them."""
        need(isinstance(secured, dict), "not a document")
        document = {name: value for name, value in secured.items() if name != "proof"}
        quads = n_quads(shape, document)
        issuer = issuer or document["issuer"]["id"]
        proofs = secured.get("proof")
        proofs = proofs if isinstance(proofs, list) else [proofs]
        need(all(isinstance(proof, dict) for proof in proofs), "not proofs")
        suites = [proof.get("cryptosuite") for proof in proofs]
        need(proofs and len(set(map(str, suites))) == len(suites)
             and set(map(str, suites)) <= {"eddsa-jcs-2022", "eddsa-rdfc-2022"},
             "other proofs than one of each suite")
        for proof, suite in zip(proofs, suites):
            hashed = canonical(document) if suite == "eddsa-jcs-2022" else quads
            self.check(document, proof, issuer, hashed, suite)
        return document, proofs, len(proofs) == 2


# --- The parts of a bundle ---


def members_of(bundle):
    required = {"format", "exportedAt", "credential", "didDocument", "statusList", "proof"}
    log = {"logProof", "logEntry", "logKey", "logCommitment"}
    names = set(bundle)
    need(required <= names and names <= required | log | {"documentSalt"}, "other members")
    need(not names & log or log <= names, "the log's members do not stand together")
    need(bundle["format"] == "verza-bundle/1", "another format")
    for name in ("credential", "didDocument", "statusList", "proof"):
        need(isinstance(bundle[name], dict), f"{name} is not an object")
    if names & log:
        commitment = bundle["logCommitment"]
        need(isinstance(commitment, dict) and set(commitment) == {"salt", "row"}
             and isinstance(commitment["row"], dict), "the commitment is of another form")
        salt(commitment["salt"])
        need(all(isinstance(bundle[name], str) for name in log - {"logCommitment"}), "not text")
    if "documentSalt" in names:
        salt(bundle["documentSalt"])


def salt(text):
    need(isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text), "not a salt")
    return bytes.fromhex(text)


def check_period(document, proofs, now):
    soon = now + SKEW
    need(seconds(document["validFrom"]) <= soon and now < seconds(document["validUntil"])
         and all(seconds(proof["created"]) <= soon for proof in proofs), "not within its period")


def check_status(listed, credential, now, age_max):
    entry, subject = credential["credentialStatus"], listed["credentialSubject"]
    url, index = entry["statusListCredential"], entry["statusListIndex"]
    need(listed["id"] == url and listed["issuer"] == credential["issuer"]["id"]
         and entry["id"] == f"{url}#{index}" and subject["id"] == f"{url}#list"
         and entry["statusPurpose"] == subject["statusPurpose"] == "revocation", "another list")
    made = seconds(listed["validFrom"])
    need(made <= now + SKEW, "the list is from the future")
    stale = now >= seconds(listed["validUntil"]) or now - made > age_max
    encoded = subject["encodedList"]
    need(encoded[:1] == "u", "the list is not multibase")
    bits = gunzip(unpadded(encoded[1:]))
    need(131072 // 8 <= len(bits) <= 1 << 21, "the list is of an unbearable length")
    need(re.fullmatch("0|[1-9][0-9]*", index) and int(index) // 8 < len(bits), "no such entry")
    need(not bits[int(index) // 8] >> (7 - int(index) % 8) & 1, "revoked")
    return stale


def unpadded(text):
    need(re.fullmatch("[A-Za-z0-9_-]*", text), "not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Invalid("not base64url") from None
    need(base64.urlsafe_b64encode(data).decode().rstrip("=") == text, "not base64url")
    return data


def padded(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Invalid("not base64") from None
    need(base64.b64encode(data).decode() == text, "not base64")
    return data


def gunzip(data):
    try:
        stream = zlib.decompressobj(31)
        bits = stream.decompress(data, (1 << 21) + 1)
        need(stream.eof and not stream.unused_data, "not one GZIP member")
        return bits
    except zlib.error:
        raise Invalid("not GZIP") from None


def vkey(text, kind=1):
    """Name, id and key of a log (kind 1) or of a witness (kind 4)."""
    parts = text.split("+", 2)
    need(len(parts) == 3 and parts[0] and not re.search(r"[\s\x00-\x1f\x7f-\x9f]", parts[0]),
         "not a vkey")
    data = padded(parts[2])
    need(len(data) == 33 and data[0] == kind, "not an Ed25519 vkey of this kind")
    key_id = sha256(parts[0].encode() + b"\n" + data)[:4]
    need(key_id.hex() == parts[1], "the vkey's id is another key's")
    return parts[0], key_id, data[1:]


def open_entry(text, salted, row):
    """The kind of event that a leaf is about, which commits to the row."""
    entry = strict(text)
    need(isinstance(entry, dict) and set(entry) == {"commitment", "hour", "type", "v"}
         and canonical(entry) == text and entry["v"] == 1 and type(entry["v"]) is int
         and isinstance(entry["type"], str) and isinstance(entry["hour"], str),
         "the log entry is of another form")
    opened = sha256(salt(salted) + canonical(row).encode()).hex()
    need(entry["commitment"] == opened, "salt and row do not open the log's commitment")
    return entry["type"]


def check_place(text, proof, key, pinned):
    """The index of an entry in the log whose key comes with it."""
    name, key_id, key = vkey(key)
    if pinned is not None and pinned[0] == name:
        need(pinned == (name, key_id, key), "the file gives another key for the pinned log")
    return check_inclusion(proof, text.encode(), name, key_id, key)


def check_log(bundle, pinned):
    row = bundle["logCommitment"]["row"]
    kind = open_entry(bundle["logEntry"], bundle["logCommitment"]["salt"], row)
    need(kind == "credential.issued", "the log entry is of another kind")
    data = row.get("data")
    digest = sha256(canonical(bundle["credential"])).hex()
    need(isinstance(data, dict) and data.get("credentialSha256") == digest,
         "the log speaks of another credential")
    check_place(bundle["logEntry"], bundle["logProof"], bundle["logKey"], pinned)


def check_inclusion(proof, entry, name, key_id, key):
    head, blank, note = proof.partition("\n\n")
    lines = head.split("\n")
    need(blank and lines.pop(0) == "c2sp.org/tlog-proof@v1", "not a tlog-proof")
    if lines and lines[0].startswith("extra "):
        padded(lines.pop(0)[6:])
    need(lines and re.fullmatch("index (0|[1-9][0-9]{0,19})", lines[0]), "no index")
    index = int(lines.pop(0)[6:])
    hashes = [padded(line) for line in lines]
    need(all(len(one) == 32 for one in hashes) and len(hashes) <= 64, "not hashes")
    body, split, signatures = note.rpartition("\n\n")
    body += "\n"
    need(split and signatures.endswith("\n") and not re.search("[\x00-\x09\x0b-\x1f]", body),
         "not a note")
    signed = False
    for line in signatures[:-1].split("\n"):
        found = re.fullmatch("\u2014 ([^ +]+) (.+)", line)
        need(found, "not a signature line")
        data = padded(found[2])
        need(len(data) > 4, "not a signature line")
        if found[1] == name and data[:4] == key_id:
            need(len(data) == 68 and fits(key, data[4:], body.encode()), "the log did not sign it")
            signed = True
        if WITNESS and (found[1], data[:4]) == WITNESS[:2]:
            check_cosignature(data[4:], body)
    need(signed, "the log did not sign it")
    parts = body.split("\n")
    need(len(parts) == 4 and parts[3] == "" and parts[0] == name
         and re.fullmatch("0|[1-9][0-9]*", parts[1]), "not a checkpoint")
    size, root = int(parts[1]), padded(parts[2])
    need(size < 1 << 64 and index < size and len(root) == 32, "the leaf is outside of the tree")
    node, last, found = index, size - 1, sha256(b"\0" + entry)
    for sibling in hashes:
        need(last > 0, "the path is too long")
        if node & 1 or node == last:
            found = sha256(b"\1" + sibling + found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = sha256(b"\1" + found + sibling)
        node, last = node >> 1, last >> 1
    need(last == 0 and found == root, "the path does not lead to the root")
    return index


# Name, id and key of the witness whose word counts.
WITNESS = None
# What the witness has signed, and when.
witnessed = []


def check_cosignature(data, body):
    need(len(data) == 72, "not a cosignature")
    moment = int.from_bytes(data[:8], "big")
    message = f"cosignature/v1\ntime {moment}\n{body}"
    need(moment < 1 << 63 and fits(WITNESS[2], data[8:], message.encode()),
         "the witness did not sign it")
    witnessed.append((body.split("\n")[1], moment))


def check_bundle(bundle, did, log_key, now, age_max, document):
    """Answers since when revocation is known, and what is lacking."""
    members_of(bundle)
    signatures = Signatures(bundle["didDocument"], did)
    if "logProof" in bundle:
        check_log(bundle, log_key)
    signatures.signed_at = issued_at(bundle, log_key)
    credential, proofs, complete = signatures.both(bundle["credential"], VERDICT, None)
    signatures.signed_at = None
    check_period(credential, proofs, now)
    need(seconds(bundle["exportedAt"]) <= now + SKEW, "exported in the future")
    issuer = credential["issuer"]["id"]
    check_seal(bundle, signatures, issuer)
    listed, _, both = signatures.both(bundle["statusList"], LIST, issuer)
    need(both, "the list does not have both proofs")
    stale = check_status(listed, credential, now, age_max)
    if document is not None and "documentSalt" in bundle:
        named = sha256(salt(bundle["documentSalt"]) + document)
        name = "ni:///sha-256;" + base64.urlsafe_b64encode(named).decode().rstrip("=")
        need(any(one["id"] == name for one in credential["evidence"]), "another document")
    lacking = []
    if stale:
        lacking.append(f"revocation is known as of {listed['validFrom']} only")
    if not complete:
        lacking.append("a proof is missing")
    if signatures.undated:
        lacking.append("a key was revoked, and nothing shows that it signed this before")
    if signatures.stranger:
        lacking.append("the issuer's key was not pinned")
    return listed["validFrom"], lacking


def issued_at(bundle, log_key):
    """When a pinned log took in that the credential was issued, or nothing."""
    if "logProof" not in bundle or log_key != vkey(bundle["logKey"]):
        return None
    try:
        return instant(part(bundle, "logCommitment", "row", "at"))
    except Invalid:
        return None


def check_seal(sealed, signatures, issuer):
    unsealed = {name: value for name, value in sealed.items() if name != "proof"}
    signatures.check(unsealed, sealed["proof"], issuer, canonical(unsealed), "eddsa-jcs-2022")


# --- The parts of a case file ---

DIGEST = re.compile("[0-9a-f]{64}")


def object_of(value, texts, numbers=(), maybe=()):
    need(isinstance(value, dict), "not an object")
    names = set(value)
    need(set(texts) | set(numbers) <= names <= set(texts) | set(numbers) | set(maybe),
         "other members")
    need(all(isinstance(value[name], str) for name in names - set(numbers)), "not text")
    need(all(type(value[name]) is int and value[name] >= 0 for name in numbers), "not a number")


def members_of_case(case):
    required = {"format", "exportedAt", "verification", "timeline", "didDocument", "proof"}
    need(required <= set(case) <= required | {"receipt", "report", "bundle"}, "other members")
    need(all(isinstance(case[name], dict) for name in ("didDocument", "proof")), "not an object")
    object_of(case["verification"], ("id", "credential", "verifier", "status"), (), ("verdict",))
    need(case["verification"].get("verdict", "verified") in ("verified", "rejected"),
         "no such verdict")
    if "receipt" in case:
        object_of(case["receipt"], ("currency", "hold"), ("price", "fee", "refunded"))
    if "report" in case:
        digests = ("commentsSha256", "fileSha256")
        object_of(case["report"], (), (), (*digests, "url"))
        need(all(DIGEST.fullmatch(case["report"].get(name, "0" * 64)) for name in digests),
             "not a digest")
    need("bundle" not in case or isinstance(case["bundle"], dict), "not an object")
    need(isinstance(case["timeline"], list), "not a list")
    for event in case["timeline"]:
        need(isinstance(event, dict) and isinstance(event.get("row"), dict), "not an event")
        texts = {name: value for name, value in event.items() if name != "row"}
        object_of(texts, ("entry", "key", "proof", "salt"))
        salt(event["salt"])


def part(value, *names):
    """What stands at a path, or nothing."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def check_timeline(case, log_key):
    """The row of the logged verdict, or nothing."""
    before, ended = -1, None
    for event in case["timeline"]:
        row = event["row"]
        kind = open_entry(event["entry"], event["salt"], row)
        need(row.get("verb") == kind and row.get("subject") == case["verification"]["id"],
             "an event is of another verification")
        index = check_place(event["entry"], event["proof"], event["key"], log_key)
        need(index > before, "the events are not in the log's order")
        before = index
        if ended is None and kind in ("verification.verified", "verification.rejected"):
            ended = row
    need(case["timeline"] and case["timeline"][0]["row"].get("verb") == "verification.requested",
         "the timeline does not begin with the request")
    return ended


def same(one, other):
    """Equal, and of one type: JSON's true is no 1."""
    return type(one) is type(other) and one == other


def check_case(case, did, log_key, now, age_max, document):
    members_of_case(case)
    signatures = Signatures(case["didDocument"], did)
    issuer = case["didDocument"].get("id")
    need(isinstance(issuer, str), "the DID document names nobody")
    need(seconds(case["exportedAt"]) <= now + SKEW, "exported in the future")
    check_seal(case, signatures, issuer)
    row = check_timeline(case, log_key)
    about, bundle = case["verification"], case.get("bundle")
    logged = None if row is None else row["verb"].removeprefix("verification.")
    need(about.get("verdict") == logged, "the verdict is not the one that was logged")
    need((bundle is None) == (logged != "verified"), "verdict and credential do not fit")
    need(("receipt" in case) == (row is not None), "verdict and receipt do not fit")
    if row is not None:
        receipt = case["receipt"]
        need(all(same(part(row, "data", name), receipt[name])
                 for name in ("price", "fee", "currency")), "other amounts than were logged")
    lacking = ["the issuer's key was not pinned"] if signatures.stranger else []
    if signatures.undated:
        lacking.append("the key that sealed the case was revoked later")
    if bundle is None:
        return "no credential was issued", lacking
    since, more = check_bundle(bundle, did, log_key, now, age_max, document)
    need(part(bundle, "credential", "issuer", "id") == issuer, "another issuer's credential")
    issuance = part(bundle, "logCommitment", "row")
    if issuance is None:
        return since, lacking + more + ["the credential is not tied to the verdict"]
    need(same(part(issuance, "data", "verification"), about["id"])
         and same(part(issuance, "data", "credential"), about["credential"])
         and same(part(issuance, "subject"), part(row, "data", "issued")),
         "the credential is of another verification")
    return since, lacking + more


def check(data, did=None, log_key=None, now=None, age_max=7 * 86400, document=None):
    """Answers a word and a sentence."""
    now = int(time.time()) if now is None else now
    try:
        need(len(data) <= LEN_MAX, "too large")
        try:
            file = strict(data.decode())
        except UnicodeDecodeError:
            raise Invalid("not UTF-8") from None
        need(isinstance(file, dict), "not an object")
        checked = check_case if file.get("format") == "verza-case/1" else check_bundle
        since, lacking = checked(file, did, log_key, now, age_max, document)
        if lacking:
            return "unproven", lacking[0]
        return "valid", f"not revoked as of {since}" if since[0].isdigit() else since
    except Invalid as error:
        return "invalid", str(error)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle", nargs="+")
    parser.add_argument("--did", help="the issuer's did.json, fetched from the issuer")
    parser.add_argument("--log-key", help="the log's vkey, from elsewhere than the file")
    parser.add_argument("--witness", help="a witness's vkey: what it has signed is told")
    parser.add_argument("--document", help="the document, to learn whether it is the one checked")
    parser.add_argument("--now", type=int, help="seconds since the epoch")
    parser.add_argument("--max-status-age", type=int, default=7 * 86400, metavar="SECONDS")
    options = parser.parse_args()
    global WITNESS
    if options.witness:
        WITNESS = vkey(options.witness, 4)
    did = log_key = document = None
    if options.did:
        with open(options.did, encoding="utf-8") as file:
            did = strict(file.read())
    if options.log_key:
        log_key = vkey(options.log_key)
    if options.document:
        with open(options.document, "rb") as file:
            document = sha256(file.read())
    worst = 0
    for path in options.bundle:
        with open(path, "rb") as file:
            word, why = check(file.read(), did, log_key, options.now, options.max_status_age,
                              document)
        print(f"{path}\t{word}\t{why}")
        for size, moment in witnessed:
            print(f"{path}\twitnessed\tthe log at size {size}, at {moment}")
        witnessed.clear()
        worst = max(worst, {"valid": 0, "unproven": 2, "invalid": 1}[word], key=(0, 2, 1).index)
    return worst


if __name__ == "__main__":
    sys.exit(main())
