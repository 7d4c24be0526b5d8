//! Who may do what in a team.

use kernel::{Error, Permission, Permissions};

use super::model::MemberRole;

/// What a role may do: the table of the noun's charter.
pub const fn permissions(role: MemberRole) -> Permissions {
    use Permission as P;
    match role {
        MemberRole::Viewer => {
            Permissions::of(&[P::VerificationsRead, P::PresentationsRead, P::OrganizationRead])
        }
        MemberRole::Member => Permissions::of(&[
            P::VerificationsRead,
            P::VerificationsWrite,
            P::PresentationsRead,
            P::PresentationsWrite,
            P::OrganizationRead,
        ]),
        MemberRole::Admin | MemberRole::Owner => Permissions::of(&P::ALL),
    }
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NoSuchMember,
    NoSuchInvitation,
    /// This is for somebody with a higher role.
    NotTheirs,
    /// The account that the organization is.
    IsTheAccount,
    InvitationOver,
    OtherAddress,
    AlreadyMember,
    /// Verifiers and admins, and enterprises that act by themselves.
    CannotJoin,
    TeamFull,
    ChangedMeanwhile,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchMember => Self::not_found("member"),
            Refusal::NoSuchInvitation => Self::not_found("invitation"),
            Refusal::NotTheirs => {
                let message = "Only an owner names, changes and removes admins and owners.";
                Self::forbidden("not_yours_to_do", message)
            }
            Refusal::IsTheAccount => {
                let message = "The account that the organization is stays its owner. Close the \
                               account to end the organization.";
                Self::conflict("is_the_account", message)
            }
            Refusal::InvitationOver => {
                let message = "This invitation was used, withdrawn or is too old. Ask for another.";
                Self::gone("invitation_over", message)
            }
            Refusal::OtherAddress => {
                let message = "This invitation was sent to another address than your account's.";
                Self::forbidden("other_address", message)
            }
            Refusal::AlreadyMember => {
                let message = "You belong to an organization. Leave it before you join another.";
                Self::conflict("already_member", message)
            }
            Refusal::CannotJoin => {
                let message = "Verifiers, admins and enterprises of their own belong to no other \
                               organization.";
                Self::conflict("cannot_join", message)
            }
            Refusal::TeamFull => {
                Self::conflict("team_full", "The team has as many members as it can have.")
            }
            Refusal::ChangedMeanwhile => {
                let message = "Somebody has changed this at the same time. Look again.";
                Self::conflict("changed_meanwhile", message)
            }
        }
    }
}

/// Whether somebody of a role may give a place in the team to somebody, or take one: `of` is the
/// role that is given or taken. Who changes a role takes the one and gives the other.
pub const fn may_decide(who: MemberRole, of: MemberRole) -> Result<(), Refusal> {
    match (who, of) {
        (MemberRole::Owner, _) | (MemberRole::Admin, MemberRole::Member | MemberRole::Viewer) => {
            Ok(())
        }
        (MemberRole::Admin, MemberRole::Admin | MemberRole::Owner)
        | (MemberRole::Member | MemberRole::Viewer, _) => Err(Refusal::NotTheirs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the charter, read from the code.
    #[test]
    fn each_role_may_all_that_the_one_below_it_may() {
        for pair in MemberRole::ALL.windows(2) {
            let (lower, higher) = (permissions(pair[0]), permissions(pair[1]));
            assert!(lower.iter().all(|one| higher.contains(one)), "{pair:?}");
        }
        let names = |role| permissions(role).iter().map(|p| p.as_str()).collect::<Vec<_>>();
        assert_eq!(
            names(MemberRole::Viewer),
            ["verifications:read", "presentations:read", "organization:read"]
        );
        assert!(!permissions(MemberRole::Member).contains(Permission::OrganizationManage));
        assert!(permissions(MemberRole::Admin).contains(Permission::OrganizationManage));
    }

    #[test]
    fn nobody_decides_about_somebody_of_their_own_height_but_owners() {
        for who in MemberRole::ALL {
            for of in MemberRole::ALL {
                let expected = who == MemberRole::Owner || (who == MemberRole::Admin && of < who);
                assert_eq!(may_decide(who, of).is_ok(), expected, "{who} {of}");
            }
        }
    }
}
