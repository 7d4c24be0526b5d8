//! The order API's user service once more, as the port that gRPC serves.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::error::Fields;
use kernel::{Caller, Error, Result, Role, Secret};
use rpc::threel1::{Claims, Login as Shown, NewUser, SignedIn as Answer, Users};

use super::Service;
use super::model::{OrderRole, parse_target};
use super::service::Dialect;
use crate::account::{Email, Registration};
use crate::password::Password;
use crate::session::{Login, SignedIn};

impl From<SignedIn> for Answer {
    fn from(signed_in: SignedIn) -> Self {
        let key = signed_in.cookie.map(|(token, _)| token).unwrap_or_default();
        Self { token: signed_in.tokens.access, session_key: key }
    }
}

impl Service {
    async fn reg_user(&self, caller: &Caller, new: NewUser) -> Result<Option<Answer>> {
        let mut fields = Fields::new();
        if !(2..=50).contains(&new.name.trim().chars().count()) {
            fields.add("/name", "invalid", "2 to 50 characters");
        }
        let role = if new.role.is_empty() { OrderRole::Guest.as_str() } else { &new.role };
        let role = fields.take(OrderRole::parse(role));
        let registration = Registration::parse(&new.name, &new.email, new.password, Role::User);
        let (Some(role), Some(registration)) = (role, fields.take(registration)) else {
            return Err(fields.into_error());
        };
        fields.check()?;
        let entered = self.register(caller, &registration, Some(role), Dialect::Orders).await?;
        Ok(entered.map(Answer::from))
    }

    async fn log_user(&self, caller: &Caller, shown: Shown) -> Result<Answer> {
        let email = Email::parse(&shown.email)?;
        let password = Password::presented("/password", shown.password)?;
        let name = Some(shown.name.trim().to_owned());
        let login = Login { name, ..Login::new(email, password) };
        self.login(caller, login, Dialect::Orders).await.map(Answer::from)
    }

    async fn ext_jwt_data(&self, token: &str, session_key: &str) -> Result<Claims> {
        let (principal, token) = match self.sessions().authenticate(token).await {
            Ok(principal) => (principal, Secret::new(token.to_owned())),
            Err(refusal) if refusal.code() == "expired_token" && !session_key.is_empty() => {
                let reissued = self.sessions().reissue(token, session_key).await?;
                (reissued.principal, reissued.token)
            }
            Err(refusal) => return Err(refusal),
        };
        let caller = Caller { principal: Some(principal), ..Caller::nobody() };
        let said = self.extract(&caller, Some(token)).await?;
        let user_id = said.user.uuid().to_string();
        Ok(Claims { role: said.role, user_id, token: said.token })
    }

    async fn del_user(&self, caller: &Caller, claimed: &str, target: &str) -> Result<()> {
        let me = caller.user()?;
        if !claimed.is_empty() && claimed != me.uuid().to_string() {
            let message = "The session is of somebody else than user_id says.";
            return Err(Error::forbidden("forbidden", message));
        }
        let target = if target.is_empty() { "me" } else { target };
        self.delete(caller, parse_target(target, me)?).await
    }
}

impl Users for Service {
    fn register<'a>(
        &'a self,
        caller: &'a Caller,
        new: NewUser,
    ) -> BoxFuture<'a, Result<Option<Answer>>> {
        self.reg_user(caller, new).boxed()
    }

    fn log_in<'a>(&'a self, caller: &'a Caller, login: Shown) -> BoxFuture<'a, Result<Answer>> {
        self.log_user(caller, login).boxed()
    }

    fn read_token<'a>(
        &'a self,
        token: &'a str,
        session_key: &'a str,
    ) -> BoxFuture<'a, Result<Claims>> {
        self.ext_jwt_data(token, session_key).boxed()
    }

    fn delete<'a>(
        &'a self,
        caller: &'a Caller,
        claimed: &'a str,
        target: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        self.del_user(caller, claimed, target).boxed()
    }
}
