//! All SQL of organizations and their teams.

use kernel::id::kinds::{Invitation as InvitationKind, Organization as OrganizationKind, User};
use kernel::{Cursor, Id, Page, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Invitation, Member, MemberRole, Organization};

type OrganizationId = Id<OrganizationKind>;

const ORGANIZATION: &str = "id, name, website, country, registration_number, version, created_at";
const MEMBER: &str = "person, organization, role, invited_by, joined_at";
const INVITATION: &str = "id, organization, email, role, invited_by, created_at, expires_at";

/// Rows that one sweep deletes.
const SWEEP: i64 = 1000;

fn read_organization(row: &Row<'_>) -> Result<Organization, DbError> {
    Ok(Organization {
        id: row.take()?,
        name: row.take()?,
        website: row.take()?,
        country: row.take()?,
        registration_number: row.take()?,
        version: row.take()?,
        created_at: row.take()?,
    })
}

fn role(row: &Row<'_>) -> Result<MemberRole, DbError> {
    let text = row.take::<String>()?;
    text.parse().map_err(|_| DbError::Other(format!("{text:?} is no role in a team")))
}

fn read_member(row: &Row<'_>) -> Result<Member, DbError> {
    Ok(Member {
        person: row.take()?,
        organization: row.take()?,
        role: role(row)?,
        invited_by: row.take()?,
        joined_at: row.take()?,
    })
}

fn read_invitation(row: &Row<'_>) -> Result<Invitation, DbError> {
    Ok(Invitation {
        id: row.take()?,
        organization: row.take()?,
        email: row.take()?,
        role: role(row)?,
        invited_by: row.take()?,
        created_at: row.take()?,
        expires_at: row.take()?,
    })
}

pub(super) async fn get(db: &impl Read, id: OrganizationId) -> Result<Option<Organization>> {
    let sql = format!("SELECT {ORGANIZATION} FROM organizations WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read_organization).await?)
}

/// Writes an organization down with its account as its owner, unless it is there already.
pub(super) async fn know(tx: &Tx, id: OrganizationId, name: &str) -> Result<()> {
    let sql = "INSERT INTO organizations (id, name, website, country, registration_number, version,
                   created_at, updated_at)
               VALUES ($1, $2, '', '', '', 1, $3, $3) ON CONFLICT (id) DO NOTHING";
    tx.execute(sql, params![id, name, tx.now()]).await?;
    let account = Member {
        person: id.same_as(),
        organization: id,
        role: MemberRole::Owner,
        invited_by: None,
        joined_at: tx.now(),
    };
    join(tx, &account).await?;
    Ok(())
}

pub(super) async fn save(tx: &Tx, changed: &Organization) -> Result<bool> {
    let sql = "UPDATE organizations SET name = $3, website = $4, country = $5,
                   registration_number = $6, version = version + 1, updated_at = $7
               WHERE id = $1 AND version = $2";
    let Organization { id, name, website, country, registration_number, version, .. } = changed;
    let now = tx.now();
    Ok(tx
        .touch(sql, params![id, version, name, website, country, registration_number, now])
        .await?)
}

/// Adds somebody to a team; `false` where they belong to one already.
pub(super) async fn join(tx: &Tx, new: &Member) -> Result<bool> {
    let sql = "INSERT INTO organization_members (person, organization, role, invited_by, joined_at)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (person) DO NOTHING";
    let role = new.role.as_str();
    let params = params![new.person, new.organization, role, new.invited_by, new.joined_at];
    Ok(tx.touch(sql, params).await?)
}

pub(super) async fn of_person(db: &impl Read, person: Id<User>) -> Result<Option<Member>> {
    let sql = format!("SELECT {MEMBER} FROM organization_members WHERE person = $1");
    Ok(db.maybe(&sql, params![person], read_member).await?)
}

pub(super) async fn members(
    db: &impl Read,
    of: OrganizationId,
    page: &PageRequest,
) -> Result<Page<Member>> {
    let sql = format!(
        "SELECT {MEMBER} FROM organization_members WHERE organization = $1 AND person < $2
         ORDER BY person DESC LIMIT $3 OFFSET $4"
    );
    let after = page.after_id();
    let rows = db.all(&sql, params![of, after, page.fetch(), page.offset], read_member).await?;
    Ok(page.page(rows, |one| Cursor::by_id(one.person)))
}

/// People in the team without the account, and keys that are not revoked.
pub(super) async fn figures(db: &impl Read, of: OrganizationId) -> Result<(i64, i64)> {
    let sql = "SELECT
         CAST((SELECT COUNT(*) FROM organization_members
               WHERE organization = $1 AND person <> $1) AS BIGINT),
         CAST((SELECT COUNT(*) FROM api_keys
               WHERE organization = $1 AND revoked_at IS NULL) AS BIGINT)";
    Ok(db.one(sql, params![of], |row| Ok((row.take()?, row.take()?))).await?)
}

/// Members and open invitations.
pub(super) async fn size(db: &impl Read, of: OrganizationId) -> Result<i64> {
    let sql = "SELECT CAST((SELECT COUNT(*) FROM organization_members WHERE organization = $1)
                   + (SELECT COUNT(*) FROM organization_invitations WHERE organization = $1)
                   AS BIGINT)";
    Ok(db.one(sql, params![of], |row| row.take()).await?)
}

/// Changes a role that was looked at as `from`.
pub(super) async fn set_role(tx: &Tx, member: &Member, to: MemberRole) -> Result<bool> {
    let sql = "UPDATE organization_members SET role = $4
               WHERE person = $1 AND organization = $2 AND role = $3";
    let (from, to) = (member.role.as_str(), to.as_str());
    Ok(tx.touch(sql, params![member.person, member.organization, from, to]).await?)
}

/// Removes somebody who was looked at in their role.
pub(super) async fn remove(tx: &Tx, member: &Member) -> Result<bool> {
    let sql = "DELETE FROM organization_members
               WHERE person = $1 AND organization = $2 AND role = $3";
    let role = member.role.as_str();
    Ok(tx.touch(sql, params![member.person, member.organization, role]).await?)
}

/// Writes an invitation; one to the same address before it is over with that.
pub(super) async fn invite(tx: &Tx, new: &Invitation, token_hash: &[u8; 32]) -> Result<Invitation> {
    let sql = format!(
        "INSERT INTO organization_invitations (id, organization, email, role, token_hash,
             invited_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (organization, email) DO UPDATE SET role = excluded.role,
             token_hash = excluded.token_hash, invited_by = excluded.invited_by,
             created_at = excluded.created_at, expires_at = excluded.expires_at
         RETURNING {INVITATION}"
    );
    let role = new.role.as_str();
    let params = params![
        new.id,
        new.organization,
        new.email,
        role,
        token_hash,
        new.invited_by,
        new.created_at,
        new.expires_at
    ];
    Ok(tx.one(&sql, params, read_invitation).await?)
}

pub(super) async fn invitations(
    db: &impl Read,
    of: OrganizationId,
    page: &PageRequest,
) -> Result<Page<Invitation>> {
    let sql = format!(
        "SELECT {INVITATION} FROM organization_invitations WHERE organization = $1 AND id < $2
         ORDER BY id DESC LIMIT $3 OFFSET $4"
    );
    let after = page.after_id();
    let rows = db.all(&sql, params![of, after, page.fetch(), page.offset], read_invitation).await?;
    Ok(page.page(rows, |one| Cursor::by_id(one.id)))
}

pub(super) async fn invitation(
    db: &impl Read,
    id: Id<InvitationKind>,
) -> Result<Option<Invitation>> {
    let sql = format!("SELECT {INVITATION} FROM organization_invitations WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read_invitation).await?)
}

pub(super) async fn invitation_to(
    db: &impl Read,
    of: OrganizationId,
    email: &str,
) -> Result<Option<Invitation>> {
    let sql = format!(
        "SELECT {INVITATION} FROM organization_invitations WHERE organization = $1 AND email = $2"
    );
    Ok(db.maybe(&sql, params![of, email], read_invitation).await?)
}

pub(super) async fn invitation_of(
    db: &impl Read,
    token_hash: &[u8; 32],
) -> Result<Option<Invitation>> {
    let sql = format!("SELECT {INVITATION} FROM organization_invitations WHERE token_hash = $1");
    Ok(db.maybe(&sql, params![token_hash], read_invitation).await?)
}

/// Ends an invitation, whatever becomes of it.
pub(super) async fn end_invitation(tx: &Tx, id: Id<InvitationKind>) -> Result<bool> {
    let sql = "DELETE FROM organization_invitations WHERE id = $1";
    Ok(tx.touch(sql, params![id]).await?)
}

/// Uses an invitation by the token that was mailed; `false` where another has replaced it.
pub(super) async fn use_invitation(
    tx: &Tx,
    id: Id<InvitationKind>,
    token_hash: &[u8; 32],
) -> Result<bool> {
    let sql = "DELETE FROM organization_invitations WHERE id = $1 AND token_hash = $2";
    Ok(tx.touch(sql, params![id, token_hash]).await?)
}

pub(super) async fn sweep(tx: &Tx, before: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM organization_invitations WHERE id IN
                   (SELECT id FROM organization_invitations WHERE expires_at <= $1 LIMIT $2)";
    Ok(tx.execute(sql, params![before, SWEEP]).await?)
}
