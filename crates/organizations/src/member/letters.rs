//! The letter to somebody who is wanted in a team.

use platform::mail::Letter;

use super::model::MemberRole;

pub(super) const INVITATION: &str = "organization.invitation";

/// The organization's name is its own word: it stands inside of a sentence and never in the subject.
pub(super) fn invitation(organization: &str, role: MemberRole, link: &str) -> Letter {
    Letter::new("You are invited into a team")
        .say(format!("\"{organization}\" asks you to join its team as {role}."))
        .say(
            "Sign in with the account that has this mail address, or register one with it, and \
             accept the invitation.",
        )
        .with_action("Join the team", link)
        .with_footnote(
            "The link works once, for seven days, and for this address only. If you do not know \
             who has sent it, ignore this mail.",
        )
}
