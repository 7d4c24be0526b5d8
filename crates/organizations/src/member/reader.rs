//! Who is made an admin leaves their team: nobody judges what they have sent in themselves.

use futures_util::future::{BoxFuture, FutureExt};
use kernel::id::kinds::User;
use kernel::{Caller, Id, Result, Timestamp};
use platform::db::Tx;
use platform::journal::{Reader, Recorded};

use super::model::Member;
use super::{service, store};

/// Follows who is made an admin.
pub struct Follower;

impl Reader for Follower {
    fn name(&self) -> &'static str {
        "organizations.admins"
    }

    fn read<'a>(&'a self, tx: &'a Tx, facts: &'a [Recorded]) -> BoxFuture<'a, Result<()>> {
        async move {
            for fact in facts.iter().filter(|fact| fact.verb == "user.admin_granted") {
                if let Ok(person) = fact.subject.parse::<Id<User>>() {
                    take_out(tx, person, fact.at).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }
}

async fn take_out(tx: &Tx, person: Id<User>, at: Timestamp) -> Result<()> {
    let found = store::of_person(tx, person).await?;
    // Who is no admin any more may have joined since. The account that an organization is stays its
    // owner, whatever it becomes.
    let was_there =
        |member: &Member| member.joined_at <= at && member.organization.same_as() != person;
    let Some(member) = found.filter(was_there) else { return Ok(()) };
    if store::remove(tx, &member).await? {
        tx.record(service::fact(&Caller::nobody(), "member.removed", &member));
    }
    Ok(())
}
