//! For whom somebody acts: what the gateway asks of this context.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::User;
use kernel::{Id, Kind, Principal, Result, Role};
use rpc::users::{Status, Users};

use crate::Organizations;

/// For whom somebody acts.
pub trait Standings: Send + Sync {
    /// The organization whose key this text is, acted for by the key, which is used from an address.
    /// `strict` asks the store, whatever is remembered.
    ///
    /// # Errors
    /// `Unauthenticated`: `invalid_api_key`, `revoked_api_key`, `expired_api_key`,
    /// `inactive_organization`; `Forbidden` `address_not_allowed`.
    fn by_key<'a>(
        &'a self,
        text: &'a str,
        strict: bool,
        from: IpAddr,
    ) -> BoxFuture<'a, Result<Arc<Principal>>>;

    /// The organization that a signed-in user belongs to, acted for by them; the user unchanged
    /// where they belong to none, or to their own.
    fn of_member(&self, principal: Arc<Principal>) -> BoxFuture<'_, Result<Arc<Principal>>>;
}

impl Standings for Organizations {
    fn by_key<'a>(
        &'a self,
        text: &'a str,
        strict: bool,
        from: IpAddr,
    ) -> BoxFuture<'a, Result<Arc<Principal>>> {
        self.keys.principal(text, strict, from).boxed()
    }

    fn of_member(&self, principal: Arc<Principal>) -> BoxFuture<'_, Result<Arc<Principal>>> {
        self.members.acting(principal).boxed()
    }
}

/// Whether an account is an enterprise that may act: nobody acts for one that may not itself.
pub(crate) async fn is_active(users: &Arc<dyn Users>, account: Id<User>) -> Result<bool> {
    match users.profile(account).await {
        Ok(profile) => Ok(profile.role == Role::Enterprise
            && profile.status == Status::Active
            && profile.approved),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
