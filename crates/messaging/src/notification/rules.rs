//! Which facts are worth a word, to whom, and which words: the one table.

use kernel::id::kinds::User;
use kernel::{Asset, Id, Money};
use platform::journal::Recorded;

use super::model::Kind::{self, Info, Success, Warning};

/// Whom a fact is told to, of those whom it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Everybody but who did it: they know.
    Others,
    /// Everybody, since who did it may not be who they say they are.
    Everybody,
}
use Audience::{Everybody, Others};

/// The words for a verb. `{amount}` stands for the fact's amount in its currency.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) verb: &'static str,
    /// How the subject's id begins, where a verb is recorded on more than one thing.
    prefix: &'static str,
    audience: Audience,
    pub(super) kind: Kind,
    pub(super) title: &'static str,
    description: &'static str,
}

const fn row(
    verb: &'static str,
    audience: Audience,
    kind: Kind,
    title: &'static str,
    description: &'static str,
) -> Template {
    Template { verb, prefix: "", audience, kind, title, description }
}

/// Money that moves because of a verification has no row: the verification's own fact tells it.
#[rustfmt::skip]
pub(super) const TEMPLATES: &[Template] = &[
    row("user.approved", Others, Success, "Account approved",
        "Your account has been approved. You can now act for others."),
    row("user.suspended", Others, Warning, "Account suspended",
        "Your account has been suspended."),
    row("user.unsuspended", Others, Info, "Account active again",
        "The suspension of your account has been lifted."),
    row("user.unbanned", Others, Info, "Account active again",
        "The ban of your account has been lifted."),
    row("user.password_changed", Everybody, Warning, "Password changed",
        "If that was not you, reset your password now."),
    row("user.email_changed", Everybody, Warning, "Mail address changed",
        "Mails about your account go to another address now. If that was not you, reset your \
         password now."),
    row("user.impersonated", Others, Warning, "Support looked at your account",
        "An admin has looked at the platform as you, for up to fifteen minutes. Your access log \
         says who."),
    row("session.reuse_detected", Everybody, Warning, "Suspicious sign-in ended",
        "An old token of one of your sessions was used again, as a thief would. The session has \
         been ended. If it was not you, change your password."),
    row("deposit.settled", Others, Success, "Deposit received",
        "{amount} has arrived in your wallet."),
    row("deposit.suspended", Others, Warning, "Deposit on hold",
        "What came for your deposit of {amount} could not be credited as it came. It is being \
         looked into."),
    row("deposit.failed", Others, Warning, "Deposit failed",
        "Your deposit of {amount} did not go through. Nothing was credited."),
    row("deposit.expired", Others, Info, "Deposit expired",
        "Your deposit of {amount} was not paid in time."),
    row("transfer.sent", Others, Success, "Money received",
        "You have been sent {amount}."),
    row("earning.released", Others, Success, "Earnings available",
        "{amount} of your earnings is now free to be paid out."),
    row("verification.requested", Others, Info, "New verification request",
        "You have been asked to verify a credential."),
    row("verification.accepted", Others, Info, "Verification accepted",
        "The verifier has accepted your request."),
    row("verification.declined", Others, Warning, "Verification declined",
        "The verifier has declined your request. The price is back in your wallet."),
    row("verification.released", Others, Info, "Back on the board",
        "The verifier has given your request back. It is offered to others again."),
    row("verification.lapsed", Others, Info, "Back on the board",
        "A job that was claimed was not begun in time. It is offered to others again."),
    row("verification.started", Others, Info, "Verification started",
        "The verifier is looking at your credential."),
    row("verification.info_requested", Others, Warning, "More information needed",
        "The verifier needs more information from you to go on."),
    row("verification.info_provided", Others, Info, "Information added",
        "The information you asked for has been added to a verification."),
    row("verification.attached", Others, Info, "New attachment",
        "A file has been attached to a verification of yours."),
    row("verification.noted", Others, Info, "New note",
        "A note has been added to a verification of yours."),
    row("verification.verified", Others, Success, "Verification complete",
        "Your credential has been verified."),
    row("verification.rejected", Others, Warning, "Verification rejected",
        "Your credential could not be verified. The verifier's report says why."),
    row("verification.cancelled", Others, Info, "Verification cancelled",
        "The verification has been cancelled by its owner."),
    row("verification.force_cancelled", Others, Warning, "Verification cancelled",
        "The verification has been cancelled by the platform. Its price has been returned."),
    row("verification.expired", Others, Warning, "Verification expired",
        "The verification was not finished in time. Its price has been returned."),
    row("dispute.opened", Others, Warning, "Verdict contested",
        "A verdict that concerns you has been contested. What was paid for it is kept back till \
         that is decided."),
    row("dispute.evidence_added", Others, Info, "New evidence",
        "Something has been added to a dispute of yours."),
    row("dispute.resolved", Others, Info, "Dispute decided",
        "A dispute of yours has been decided. You can appeal the decision for a while."),
    row("dispute.appealed", Others, Warning, "Decision appealed",
        "The decision of a dispute of yours is contested. It is decided once more."),
    row("dispute.closed", Others, Info, "Dispute closed",
        "A dispute of yours is over, and what was decided has been done."),
    row("review.written", Others, Info, "New review", "Somebody has reviewed your work."),
    row("review.answered", Others, Info, "Review answered",
        "The verifier has answered your review."),
    row("order.done", Others, Success, "Order done",
        "Your order has been delivered."),
    row("order.cancelled", Others, Info, "Order cancelled",
        "Your order has been cancelled by the platform. What was held for it is yours again."),
    row("webhook.failing", Others, Warning, "Webhook failing",
        "A webhook or integration of yours has not answered as it should for a day. It is tried on, \
         and disabled if nothing changes."),
    row("webhook.disabled", Others, Warning, "Webhook disabled",
        "A webhook or integration of yours is no longer called: it said that it is gone, or has \
         failed for days. Enable it again, and recover what it has missed."),
    // Recorded on the credential as well; one word is enough.
    Template {
        prefix: "vc_",
        ..row("credential.revoked", Others, Warning, "Verification revoked",
            "The verification of one of your credentials has been revoked. It no longer proves \
             anything.")
    },
];

impl Template {
    pub(super) fn of(fact: &Recorded) -> Option<&'static Self> {
        TEMPLATES.iter().find(|row| row.verb == fact.verb && fact.subject.starts_with(row.prefix))
    }

    pub(super) fn is_for(&self, user: Id<User>, fact: &Recorded) -> bool {
        self.audience == Everybody || fact.actor != Some(user)
    }

    pub(super) fn description(&self, fact: &Recorded) -> String {
        if !self.description.contains("{amount}") {
            return self.description.to_owned();
        }
        // A fact without its amount is still worth the word.
        let amount = amount(fact).map_or_else(|| "An amount".to_owned(), |it| it.to_string());
        self.description.replace("{amount}", &amount)
    }
}

fn amount(fact: &Recorded) -> Option<Money> {
    let minor = fact.data.get("amount")?.as_i64()?;
    let asset: Asset = fact.data.get("currency")?.as_str()?.parse().ok()?;
    Some(Money::new(minor, asset))
}
