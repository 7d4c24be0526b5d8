//! The verbs.

use std::sync::Arc;
use std::time::Duration;

use kernel::caller::{Acting, Actor};
use kernel::id::kinds::{Invitation as InvitationKind, Organization as OrganizationKind, User};
use kernel::{Caller, Id, Page, PageRequest, Principal, Result, Role};
use platform::crypto::{Token, sha256};
use platform::db::{Db, Read, Tx};
use platform::journal::Fact;
use platform::mail::Mailer;
use rpc::users::{Profile, Users};

use super::model::{Change, Invitation, Member, MemberRole, Organization};
use super::rules::{self, Refusal};
use super::{letters, store};
use crate::standing;

/// How long an invitation can be accepted.
const INVITATION_LASTS: Duration = Duration::from_secs(7 * 24 * 3600);
/// Members and open invitations of one organization.
const TEAM_MAX: i64 = 1000;

/// Organizations and their teams.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) users: Arc<dyn Users>,
    pub(crate) mailer: Mailer,
    pub(crate) public_url: String,
}

/// An organization, as somebody who acts for it sees it.
#[derive(Debug, Clone)]
pub struct View {
    pub organization: Organization,
    pub person: Id<User>,
    pub role: MemberRole,
}

/// A member with what the team may know of them.
#[derive(Debug, Clone)]
pub struct Colleague {
    pub member: Member,
    /// None of somebody whose account is gone.
    pub profile: Option<Profile>,
}

/// An enterprise, as an admin sees it.
#[derive(Debug, Clone)]
pub struct Inspected {
    pub account: Profile,
    /// None where nobody of it has looked at it yet.
    pub organization: Option<Organization>,
    /// People in its team; the account itself is not counted.
    pub members: i64,
    /// API keys that are not revoked.
    pub keys: i64,
}

impl Service {
    /// Whom a signed-in user acts for: see [`crate::Standings::of_member`]. Always asks the store,
    /// so that whoever was removed is out with their next request.
    pub(crate) async fn acting(&self, principal: Arc<Principal>) -> Result<Arc<Principal>> {
        if !matches!(principal.role, Role::User | Role::Enterprise) {
            return Ok(principal);
        }
        let Some(member) = store::of_person(&self.db, principal.user).await? else {
            return Ok(principal);
        };
        let account: Id<User> = member.organization.same_as();
        if account == principal.user || !standing::is_active(&self.users, account).await? {
            return Ok(principal);
        }
        let may = rules::permissions(member.role);
        Ok(Arc::new(Principal {
            user: account,
            role: Role::Enterprise,
            approved: true,
            acting: Some(Acting { by: Actor::Member(principal.user), may }),
            ..(*principal).clone()
        }))
    }

    /// The caller's organization.
    pub async fn me(&self, caller: &Caller) -> Result<View> {
        self.known(caller).await?;
        self.view(&self.db, caller).await
    }

    /// Changes what the organization says of itself.
    ///
    /// # Errors
    /// `Conflict` `changed_meanwhile`.
    pub async fn edit(&self, caller: &Caller, change: &Change) -> Result<View> {
        self.known(caller).await?;
        self.db
            .run("organization.update", |tx| async move {
                let mut view = self.view(&tx, caller).await?;
                change.apply(&mut view.organization);
                if !store::save(&tx, &view.organization).await? {
                    return Err(Refusal::ChangedMeanwhile.into());
                }
                let id = view.organization.id;
                tx.record(Fact::by(caller, "organization.updated").on(id));
                self.view(&tx, caller).await
            })
            .await
    }

    /// An enterprise as admins see it. What nobody has looked at yet is not written down, and is
    /// nothing but an account.
    ///
    /// # Errors
    /// `NotFound`, also for an account that is no enterprise.
    pub async fn inspect(&self, id: Id<OrganizationKind>) -> Result<Inspected> {
        let account = self.users.profile(id.same_as()).await?;
        if account.role != Role::Enterprise {
            return Err(kernel::Error::not_found("enterprise"));
        }
        let organization = store::get(&self.db, id).await?;
        let (members, keys) = store::figures(&self.db, id).await?;
        Ok(Inspected { account, organization, members, keys })
    }

    /// The team, newest accounts first.
    pub async fn list(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Colleague>> {
        let organization = self.known(caller).await?;
        let page = store::members(&self.db, organization, page).await?;
        let ids: Vec<_> = page.items.iter().map(|member| member.person).collect();
        let profiles = self.users.profiles(&ids).await?;
        Ok(page.map(|member| {
            let profile = profiles.iter().find(|profile| profile.id == member.person).cloned();
            Colleague { member, profile }
        }))
    }

    /// Asks somebody to join, by mail. One who was asked before is asked anew; the link of before
    /// works no more.
    ///
    /// # Errors
    /// `Forbidden` `not_yours_to_do`, also where the link of before is not theirs to take back;
    /// `Conflict` `team_full`.
    pub async fn invite(
        &self,
        caller: &Caller,
        email: &str,
        role: MemberRole,
    ) -> Result<Invitation> {
        self.known(caller).await?;
        let token = &Token::new(self.db.world());
        self.db
            .run("member.invite", |tx| async move {
                let view = self.view(&tx, caller).await?;
                rules::may_decide(view.role, role)?;
                let organization = view.organization;
                if let Some(before) = store::invitation_to(&tx, organization.id, email).await?
                    && tx.now() < before.expires_at
                {
                    rules::may_decide(view.role, before.role)?;
                }
                if store::size(&tx, organization.id).await? >= TEAM_MAX {
                    return Err(Refusal::TeamFull.into());
                }
                let new = Invitation {
                    id: tx.world().id(),
                    organization: organization.id,
                    email: email.to_owned(),
                    role,
                    invited_by: view.person,
                    created_at: tx.now(),
                    expires_at: tx.now() + INVITATION_LASTS,
                };
                let invitation = store::invite(&tx, &new, &token.hash).await?;
                let link = format!("{}/team/join#token={}", self.public_url, token.text.expose());
                let letter = letters::invitation(&organization.name, role, &link);
                self.mailer.send(&tx, email, letters::INVITATION, &letter)?;
                let fact = Fact::by(caller, "member.invited").on(invitation.id);
                tx.record(fact.about(organization.account()).with("role", role));
                Ok(invitation)
            })
            .await
    }

    /// Invitations that nobody has accepted, newest first.
    pub async fn invitations(
        &self,
        caller: &Caller,
        page: &PageRequest,
    ) -> Result<Page<Invitation>> {
        store::invitations(&self.db, caller.user()?.same_as(), page).await
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` `not_yours_to_do`.
    pub async fn withdraw(&self, caller: &Caller, id: Id<InvitationKind>) -> Result<()> {
        let organization = self.known(caller).await?;
        self.db
            .run("invitation.withdraw", |tx| async move {
                let found = store::invitation(&tx, id).await?;
                let theirs = found.filter(|found| found.organization == organization);
                let invitation = theirs.ok_or(Refusal::NoSuchInvitation)?;
                let view = self.view(&tx, caller).await?;
                rules::may_decide(view.role, invitation.role)?;
                if !store::end_invitation(&tx, id).await? {
                    return Err(Refusal::NoSuchInvitation.into());
                }
                let fact = Fact::by(caller, "invitation.withdrawn").on(id);
                tx.record(fact.about(organization.same_as()));
                Ok(())
            })
            .await
    }

    /// Joins the team that has sent this token to the caller's address. A team whose organization
    /// may not act, they leave with that: they have no other way out of it.
    ///
    /// # Errors
    /// `Gone` `invitation_over`; `Forbidden` `other_address`; `Conflict` `already_member`,
    /// `cannot_join`.
    pub async fn join(&self, caller: &Caller, token: &str) -> Result<View> {
        let (hash, person) = (sha256(token), caller.user()?);
        let profile = &self.users.profile(person).await?;
        let idle = &self.idle_place(person).await?;
        self.db
            .run("member.join", |tx| async move {
                let found = store::invitation_of(&tx, &hash).await?;
                let open = found.filter(|found| tx.now() < found.expires_at);
                let invitation = open.ok_or(Refusal::InvitationOver)?;
                if profile.email.to_lowercase() != invitation.email {
                    return Err(Refusal::OtherAddress.into());
                }
                let is_own = profile.role == Role::Enterprise && profile.approved;
                if is_own || !matches!(profile.role, Role::User | Role::Enterprise) {
                    return Err(Refusal::CannotJoin.into());
                }
                if !store::use_invitation(&tx, invitation.id, &hash).await? {
                    return Err(Refusal::InvitationOver.into());
                }
                let new = Member {
                    person,
                    organization: invitation.organization,
                    role: invitation.role,
                    invited_by: Some(invitation.invited_by),
                    joined_at: tx.now(),
                };
                if let Some(idle) = idle
                    && store::remove(&tx, idle).await?
                {
                    tx.record(fact(caller, "member.removed", idle));
                }
                if !store::join(&tx, &new).await? {
                    return Err(Refusal::AlreadyMember.into());
                }
                tx.record(fact(caller, "member.joined", &new));
                let organization = store::get(&tx, new.organization).await?;
                let organization = organization.ok_or(Refusal::InvitationOver)?;
                Ok(View { organization, person, role: new.role })
            })
            .await
    }

    /// Somebody's place in the team of another account that may not act.
    async fn idle_place(&self, person: Id<User>) -> Result<Option<Member>> {
        let Some(place) = store::of_person(&self.db, person).await? else { return Ok(None) };
        let account: Id<User> = place.organization.same_as();
        let is_idle = account != person && !standing::is_active(&self.users, account).await?;
        Ok(is_idle.then_some(place))
    }

    /// [`Self::join`], where the token is part of an address.
    ///
    /// # Errors
    /// Those, and `NotFound` of what is no token, or one that was used.
    pub async fn accept(&self, caller: &Caller, token: &str) -> Result<View> {
        if store::invitation_of(&self.db, &sha256(token)).await?.is_none() {
            return Err(Refusal::NoSuchInvitation.into());
        }
        self.join(caller, token).await
    }

    /// Changes what somebody is in the team.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` `not_yours_to_do`; `Conflict` `is_the_account`.
    pub async fn set_role(
        &self,
        caller: &Caller,
        person: Id<User>,
        role: MemberRole,
    ) -> Result<Colleague> {
        let member = self
            .db
            .run("member.set_role", |tx| async move {
                let (who, member) = self.colleague(&tx, caller, person).await?;
                rules::may_decide(who, member.role)?;
                rules::may_decide(who, role)?;
                if member.role == role {
                    return Ok(member);
                }
                if !store::set_role(&tx, &member, role).await? {
                    return Err(Refusal::ChangedMeanwhile.into());
                }
                let changed = Member { role, ..member };
                tx.record(fact(caller, "member.role_changed", &changed).with("from", member.role));
                Ok(changed)
            })
            .await?;
        let profile = self.users.profiles(&[person]).await?.pop();
        Ok(Colleague { member, profile })
    }

    /// Takes somebody out of the team; themselves, whoever they are.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` `not_yours_to_do`; `Conflict` `is_the_account`.
    pub async fn remove(&self, caller: &Caller, person: Id<User>) -> Result<()> {
        let by = caller.principal()?.person();
        self.db
            .run("member.remove", |tx| async move {
                let (who, member) = self.colleague(&tx, caller, person).await?;
                if by != person {
                    rules::may_decide(who, member.role)?;
                }
                if !store::remove(&tx, &member).await? {
                    return Err(Refusal::ChangedMeanwhile.into());
                }
                tx.record(fact(caller, "member.removed", &member));
                Ok(())
            })
            .await
    }

    /// Deletes invitations that are over; answers how many.
    pub async fn sweep(&self) -> Result<u64> {
        let mut swept = 0;
        loop {
            let sweep = |tx: Tx| async move { store::sweep(&tx, tx.now()).await };
            match self.db.run("invitation.sweep", sweep).await? {
                0 => return Ok(swept),
                some => swept += some,
            }
        }
    }

    /// The caller's role, and somebody of their team whose place can be changed.
    async fn colleague(
        &self,
        tx: &Tx,
        caller: &Caller,
        person: Id<User>,
    ) -> Result<(MemberRole, Member)> {
        let view = self.view(tx, caller).await?;
        let found = store::of_person(tx, person).await?;
        let theirs = found.filter(|found| found.organization == view.organization.id);
        let member = theirs.ok_or(Refusal::NoSuchMember)?;
        if person == view.organization.account() {
            return Err(Refusal::IsTheAccount.into());
        }
        Ok((view.role, member))
    }

    /// The caller's organization, which is written down when it is first asked for.
    async fn known(&self, caller: &Caller) -> Result<Id<OrganizationKind>> {
        let account = caller.user()?;
        let id = account.same_as();
        if store::get(&self.db, id).await?.is_none() {
            let profile = &self.users.profile(account).await?;
            self.db
                .run(
                    "organization.know",
                    |tx| async move { store::know(&tx, id, &profile.name).await },
                )
                .await?;
        }
        Ok(id)
    }

    async fn view(&self, db: &impl Read, caller: &Caller) -> Result<View> {
        let (account, person) = (caller.user()?, caller.principal()?.person());
        let organization = store::get(db, account.same_as()).await?;
        let organization = organization.ok_or(Refusal::NoSuchMember)?;
        let member = store::of_person(db, person).await?;
        let member = member.filter(|member| member.organization == organization.id);
        let role = member.map(|member| member.role).ok_or(Refusal::NoSuchMember)?;
        Ok(View { organization, person, role })
    }
}

/// A fact about a member: it concerns them and the organization.
pub(super) fn fact(caller: &Caller, verb: &'static str, member: &Member) -> Fact {
    Fact::by(caller, verb)
        .on(member.person)
        .about(member.person)
        .about(member.organization.same_as())
        .with("organization", member.organization)
        .with("role", member.role)
}
