//! Which facts show which control at work: the one table.

use std::collections::BTreeMap;

use super::model::Framework;

/// One control.
pub(super) struct Control {
    /// As the framework numbers it.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// Verbs (`user.approved`), or whole nouns (`session.`).
    pub(super) verbs: &'static [&'static str],
}

const fn row(id: &'static str, title: &'static str, verbs: &'static [&'static str]) -> Control {
    Control { id, title, verbs }
}

const PROVED: &[&str] =
    &["session.started", "session.ended", "session.proven", "session.reuse_detected"];
const FACTORS: &[&str] = &[
    "factor.",
    "passkey.",
    "user.password_changed",
    "user.password_reset",
    "user.email_change_requested",
    "user.email_changed",
];
const PRIVILEGES: &[&str] = &["user.admin_granted", "user.admin_revoked", "setup."];
const PROVISIONING: &[&str] = &[
    "user.registered",
    "user.created",
    "user.imported",
    "user.approved",
    "user.rejected",
    "member.",
    "api_key.",
];
const REVOCATION: &[&str] =
    &["user.suspended", "user.banned", "user.closed", "member.removed", "api_key.revoked"];
const CHANGES: &[&str] = &["settings.changed", "proposal."];
const INCIDENTS: &[&str] = &[
    "alert.",
    "flag.",
    "wallet.frozen",
    "wallet.thawed",
    "file.infected",
    "factor.guesses_exhausted",
];
const KEYS: &[&str] = &["key.", "token_key.", "authority."];
const MONEY: &[&str] =
    &["reconciliation.", "ledger.", "withdrawal.approved", "withdrawal.rejected"];
/// Whose file is read learns of it, whatever the file is to a case.
const VIEWS: &[&str] = &[
    "document.viewed",
    "verification.attachment_viewed",
    "verification.report_viewed",
    "dispute.evidence_viewed",
];
const ERASED: &[&str] = &["user.closed", "user.erased", "user.records_erased"];

const SOC2: &[Control] = &[
    row("CC5.3", "Changes of configuration are decided and recorded", CHANGES),
    row("CC6.1", "Access needs proof of who is there", PROVED),
    row("CC6.1", "Factors are enrolled, changed and taken away", FACTORS),
    row("CC6.2", "Accounts and keys are made and approved", PROVISIONING),
    row("CC6.3", "Privileges are given and taken by name", PRIVILEGES),
    row("CC6.3", "Access ends", REVOCATION),
    row("CC6.7", "Access in somebody's place is time-boxed and recorded", &["user.impersonated"]),
    row("CC6.8", "Files are looked at before they are read", &["file.passed", "file.infected"]),
    row("CC7.2", "What is suspicious is noticed and looked into", INCIDENTS),
    row("CC8.1", "Keys are made and rotated", KEYS),
    row("PI1.4", "Money is reconciled and released by decision", MONEY),
    row("P4.3", "Personal data is erased", ERASED),
    row("P5.1", "People take their data along", &["user.exported"]),
];

const ISO27001: &[Control] = &[
    row("A.5.15", "Access control: privileges by name", PRIVILEGES),
    row("A.5.16", "Identity management: accounts, members and keys", PROVISIONING),
    row("A.5.17", "Authentication information: factors and passwords", FACTORS),
    row("A.5.18", "Access rights: suspended, removed, revoked", REVOCATION),
    row("A.5.24", "Incidents: alerts, flags, frozen wallets", INCIDENTS),
    row("A.5.34", "Privacy: exports and erasures", &["user.exported", "user.erased"]),
    row("A.8.2", "Privileged access in somebody's place", &["user.impersonated"]),
    row("A.8.5", "Secure authentication", PROVED),
    row("A.8.7", "Protection against malware", &["file.passed", "file.infected"]),
    row("A.8.10", "Information deletion", ERASED),
    row("A.8.24", "Use of cryptography: keys made and rotated", KEYS),
    row("A.8.32", "Change management", CHANGES),
];

const GDPR: &[Control] = &[
    row("Art. 5(2)", "Accountability: who has looked at documents", VIEWS),
    row("Art. 12", "Requests of people and what became of them", &["privacy_request."]),
    row("Art. 15", "Access: people take their data along", &["user.exported"]),
    row("Art. 16", "Rectification", &["user.profile_changed", "credential.updated"]),
    row("Art. 17", "Erasure", ERASED),
    row(
        "Art. 20",
        "Portability: signed credentials handed out",
        &["offer.", "credential.delivered"],
    ),
    row("Art. 25", "What is shared ends", &["share.revoked", "credential.shared"]),
    row("Art. 32", "Security: factors, keys and sessions", &["factor.", "passkey.", "key."]),
    row("Art. 33", "What may have to be reported", INCIDENTS),
];

pub(super) const fn controls(framework: Framework) -> &'static [Control] {
    match framework {
        Framework::Soc2 => SOC2,
        Framework::Iso27001 => ISO27001,
        Framework::Gdpr => GDPR,
    }
}

impl Control {
    /// How often each verb of the control was counted, those that were not left out.
    pub(super) fn evidence<'a>(&self, counted: &'a BTreeMap<String, i64>) -> Vec<(&'a str, i64)> {
        let shows = |verb: &str| {
            self.verbs
                .iter()
                .any(|own| *own == verb || (own.ends_with('.') && verb.starts_with(own)))
        };
        let own = counted.iter().filter(|(verb, _)| shows(verb));
        own.map(|(verb, count)| (verb.as_str(), *count)).collect()
    }
}
