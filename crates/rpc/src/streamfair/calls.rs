//! What each request message asks of the ports, and how what they answer is written.

use kernel::{Caller, Result, Timestamp};

use super::table::Call;
use super::{
    Account, AccountType, Form, NewAccount, NewAccountType, NewSession, NewUser, NewUserAccount,
    Session, SignedIn, Streamfair, Token, TokenRef, User, UserAccount, UserChange, UserRef, Window,
};
use crate::wire::{self, pb};

fn status(active: bool) -> String {
    if active { "active" } else { "inactive" }.to_owned()
}

fn time(at: Timestamp) -> Option<wire::Timestamp> {
    Some(at.into())
}

impl From<User> for pb::User {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            username: user.username,
            full_name: user.full_name,
            email: user.email,
            // Fields 5 and 6 stay empty, whatever happens.
            password_hash: String::new(),
            password_salt: String::new(),
            country_code: user.country_code,
            role_id: user.role_id,
            status: status(user.active),
            last_login_at: user.last_login_at.map(Into::into),
            username_changed_at: user.username_changed_at.map(Into::into),
            // Neither is kept: the journal tells when it happened.
            email_changed_at: None,
            password_changed_at: None,
            created_at: time(user.created_at),
            updated_at: time(user.updated_at),
        }
    }
}

impl From<User> for pb::Users {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            username: user.username,
            full_name: user.full_name,
            email: user.email,
            country_code: user.country_code,
            role_id: user.role_id,
            last_login_at: user.last_login_at.map(Into::into),
            created_at: time(user.created_at),
            updated_at: time(user.updated_at),
        }
    }
}

impl From<Account> for pb::Account {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            account_name: account.name,
            account_type: account.account_type,
            owner: account.owner,
            bio: account.bio,
            status: status(account.active),
            plan: account.plan,
            avatar_uri: account.avatar_uri,
            plays: account.plays,
            likes: account.likes,
            follows: account.follows,
            shares: account.shares,
            created_at: time(account.created_at),
            updated_at: time(account.updated_at),
        }
    }
}

impl From<AccountType> for pb::AccountType {
    fn from(kind: AccountType) -> Self {
        Self {
            id: kind.id,
            r#type: kind.number,
            permissions: kind.permissions,
            is_user: kind.number == 1,
            is_artist: kind.number == 2,
            is_producer: kind.number == 3,
            is_writer: kind.number == 4,
            is_label: kind.number == 5,
            created_at: time(kind.created_at),
            updated_at: time(kind.updated_at),
        }
    }
}

impl From<Session> for pb::Session {
    fn from(session: Session) -> Self {
        let token = session.refresh_token;
        Self {
            uuid: session.uuid,
            username: session.username,
            refresh_token: token.map(|token| token.expose().clone()).unwrap_or_default(),
            user_agent: session.user_agent,
            client_ip: session.client_ip,
            is_blocked: session.blocked,
            expires_at: time(session.expires_at),
            created_at: time(session.created_at),
        }
    }
}

impl From<UserAccount> for pb::UserAccount {
    fn from(both: UserAccount) -> Self {
        let (account, kind) = both.account.unzip();
        Self {
            user: Some(both.user.into()),
            account: account.map(Into::into),
            account_type: kind.map(Into::into),
        }
    }
}

impl From<SignedIn> for pb::LoginUserAccountResponse {
    fn from(signed_in: SignedIn) -> Self {
        let SignedIn { user_account, session, access_token, access_token_expires_at } = signed_in;
        let refresh = session.refresh_token;
        Self {
            user_account: Some(user_account.into()),
            session: Some(pb::UserAccountSession {
                session_id: session.uuid,
                is_blocked: session.blocked,
                user_agent: session.user_agent,
                client_ip: session.client_ip,
                access_token: access_token.expose().clone(),
                access_token_expires_at: time(access_token_expires_at),
                refresh_token: refresh.map(|token| token.expose().clone()).unwrap_or_default(),
                refresh_token_expires_at: time(session.expires_at),
                session_created_at: time(session.created_at),
                session_expires_at: time(session.expires_at),
            }),
        }
    }
}

/// The conversions of both kinds of token, which are alike but for their names.
macro_rules! token_messages {
    ($($name:ident),*) => {
        $(impl From<Token> for pb::$name {
            fn from(token: Token) -> Self {
                Self {
                    id: token.id,
                    user_id: token.user_id,
                    token_type: token.token_type.to_owned(),
                    token: token.token.map(|text| text.expose().clone()).unwrap_or_default(),
                    revoked: token.revoked,
                    expires_at: time(token.expires_at),
                    created_at: time(token.created_at),
                    updated_at: time(token.updated_at),
                }
            }
        })*
    };
}
token_messages!(Token, RefreshToken);

fn payload(token: &Token) -> pb::Payload {
    pb::Payload {
        uuid: token.session.clone(),
        issued_at: time(token.created_at),
        expired_at: time(token.expires_at),
    }
}

/// One RPC: the request's message, the reply's, and the expression between them.
macro_rules! call {
    ($request:ident -> $reply:ty, |$message:ident, $services:ident, $caller:ident| $body:expr) => {
        impl Call for pb::$request {
            type Reply = $reply;

            async fn call(self, $services: &Streamfair, $caller: &Caller) -> Result<$reply> {
                let $message = self;
                $body
            }
        }
    };
}

call!(CreateUserRequest -> pb::CreateUserResponse, |message, services, caller| {
    let new = NewUser {
        username: message.username,
        full_name: message.full_name,
        email: message.email,
        password_hash: message.password_hash.into(),
        password_salt: message.password_salt.into(),
        country_code: message.country_code,
        role_id: message.role_id,
        status: message.status,
    };
    let user = services.users.create(caller, new).await?;
    Ok(pb::CreateUserResponse { user: Some(user.into()) })
});
call!(DeleteUserByIdRequest -> (), |message, services, caller| {
    services.users.delete(caller, UserRef::Id(message.id)).await
});
call!(DeleteUserByValueRequest -> (), |message, services, caller| {
    services.users.delete(caller, UserRef::Name(message.username)).await
});
call!(GetUserByIdRequest -> pb::GetUserByIdResponse, |message, services, caller| {
    let user = services.users.get(caller, UserRef::Id(message.id)).await?;
    Ok(pb::GetUserByIdResponse { user: Some(user.into()) })
});
call!(GetUserByValueRequest -> pb::GetUserByValueResponse, |message, services, caller| {
    let user = services.users.get(caller, UserRef::Name(message.username)).await?;
    Ok(pb::GetUserByValueResponse { user: Some(user.into()) })
});
call!(ListUsersRequest -> pb::ListUsersResponse, |message, services, caller| {
    let window = Window::parse(message.limit, message.offset)?;
    let users = services.users.list(caller, window).await?;
    Ok(pb::ListUsersResponse { users: users.into_iter().map(Into::into).collect() })
});
call!(UpdateUserRequest -> pb::UpdateUserResponse, |message, services, caller| {
    let change = UserChange {
        id: message.id,
        username: message.username,
        full_name: message.full_name,
        email: message.email,
        password_hash: message.password_hash.into(),
        password_salt: message.password_salt.into(),
        country_code: message.country_code,
        role_id: message.role_id,
        status: message.status,
    };
    let user = services.users.update(caller, change).await?;
    Ok(pb::UpdateUserResponse { user: Some(user.into()) })
});

call!(CreateAccountRequest -> pb::CreateAccountResponse, |message, services, caller| {
    let new = NewAccount {
        name: message.account_name,
        account_type: message.account_type,
        owner: message.owner,
        bio: message.bio,
        status: message.status,
        plan: message.plan,
        avatar_uri: message.avatar_uri,
    };
    let account = services.accounts.create(caller, new).await?;
    Ok(pb::CreateAccountResponse { account: Some(account.into()) })
});
call!(ListAccountByOwnerRequest -> pb::ListAccountByOwnerResponse, |message, services, caller| {
    let window = Window::parse(message.limit, message.offset)?;
    let accounts = services.accounts.of_owner(caller, message.owner, window).await?;
    let accounts = accounts.into_iter().map(Into::into).collect();
    Ok(pb::ListAccountByOwnerResponse { accounts })
});
call!(CreateAccountTypeRequest -> pb::CreateAccountTypeResponse, |message, services, caller| {
    let said = [
        (message.is_user, 1),
        (message.is_artist, 2),
        (message.is_producer, 3),
        (message.is_writer, 4),
        (message.is_label, 5),
    ];
    let new = NewAccountType {
        number: message.r#type,
        permissions: message.permissions,
        said_to_be: said.into_iter().filter_map(|(is, number)| is.then_some(number)).collect(),
    };
    let kind = services.accounts.create_type(caller, new).await?;
    Ok(pb::CreateAccountTypeResponse { account_type: Some(kind.into()) })
});

call!(CreateSessionRequest -> pb::CreateSessionResponse, |message, services, caller| {
    let new = NewSession {
        uuid: message.uuid,
        username: message.username,
        refresh_token: message.refresh_token.into(),
        user_agent: message.user_agent,
        blocked: message.is_blocked,
        expires_at: message.expires_at.map(Into::into),
    };
    let session = services.sessions.create(caller, new).await?;
    Ok(pb::CreateSessionResponse { session: Some(session.into()) })
});
call!(ExtendSessionRequest -> pb::ExtendSessionResponse, |message, services, caller| {
    let until = message.expires_at.map(Into::into);
    let session = services.sessions.extend(caller, &message.uuid, until).await?;
    Ok(pb::ExtendSessionResponse { session: Some(session.into()) })
});
call!(GetSessionRequest -> pb::GetSessionResponse, |message, services, caller| {
    let session = services.sessions.get(caller, &message.uuid).await?;
    Ok(pb::GetSessionResponse { session: Some(session.into()) })
});
call!(DeleteSessionRequest -> (), |message, services, caller| {
    services.sessions.delete(caller, &message.uuid).await
});
call!(RevokeSessionRequest -> (), |message, services, caller| {
    services.sessions.revoke(caller, &message.uuid).await
});
call!(VerifySessionRequest -> pb::VerifySessionResponse, |message, services, caller| {
    let session = services.sessions.verify(caller, &message.uuid).await?;
    Ok(pb::VerifySessionResponse { session: Some(session.into()) })
});

call!(CreateTokenRequest -> pb::CreateTokenResponse, |message, services, caller| {
    let (user, until) = (message.user_id, &message.expires_at);
    let token = services.tokens.create(caller, Form::Access, user, until).await?;
    Ok(pb::CreateTokenResponse { token: Some(token.into()) })
});
call!(GetTokenByIdRequest -> pb::GetTokenByIdResponse, |message, services, caller| {
    let token = services.tokens.get(caller, Form::Access, TokenRef::Id(message.id)).await?;
    Ok(pb::GetTokenByIdResponse { token: Some(token.into()) })
});
call!(GetTokenByValueRequest -> pb::GetTokenByValueResponse, |message, services, caller| {
    let value = TokenRef::Value(message.token.into());
    let token = services.tokens.get(caller, Form::Access, value).await?;
    Ok(pb::GetTokenByValueResponse { token: Some(token.into()) })
});
call!(RevokeTokenByValueRequest -> (), |message, services, caller| {
    let value = TokenRef::Value(message.token.into());
    services.tokens.revoke(caller, Form::Access, value).await
});
call!(RevokeTokenByIdRequest -> (), |message, services, caller| {
    services.tokens.revoke(caller, Form::Access, TokenRef::Id(message.id)).await
});
call!(DeleteTokenByIdRequest -> (), |message, services, caller| {
    services.tokens.delete(caller, Form::Access, TokenRef::Id(message.id)).await
});
call!(DeleteTokenByValueRequest -> (), |message, services, caller| {
    let value = TokenRef::Value(message.token.into());
    services.tokens.delete(caller, Form::Access, value).await
});
call!(ListRevokedTokensRequest -> pb::ListRevokedTokensResponse, |message, services, caller| {
    let window = Window::parse(message.limit, message.offset)?;
    let tokens = services.tokens.list(caller, Form::Access, true, window).await?;
    let tokens = tokens.into_iter().map(Into::into).collect();
    Ok(pb::ListRevokedTokensResponse { tokens })
});
call!(ListTokensRequest -> pb::ListTokensResponse, |message, services, caller| {
    let window = Window::parse(message.limit, message.offset)?;
    let tokens = services.tokens.list(caller, Form::Access, false, window).await?;
    let tokens = tokens.into_iter().map(Into::into).collect();
    Ok(pb::ListTokensResponse { tokens })
});
call!(VerifyTokenRequest -> pb::VerifyTokenResponse, |message, services, caller| {
    let token = services.tokens.verify(caller, Form::Access, message.token.into()).await?;
    let payload = Some(payload(&token));
    Ok(pb::VerifyTokenResponse { token: Some(token.into()), payload })
});

call!(CreateRefreshTokenRequest -> pb::CreateRefreshTokenResponse, |message, services, caller| {
    let (user, until) = (message.user_id, &message.expires_at);
    let token = services.tokens.create(caller, Form::Refresh, user, until).await?;
    Ok(pb::CreateRefreshTokenResponse { refresh_token: Some(token.into()) })
});
call!(GetRefreshTokenByIdRequest -> pb::GetRefreshTokenByIdResponse, |message, services, caller| {
    let token = services.tokens.get(caller, Form::Refresh, TokenRef::Id(message.id)).await?;
    Ok(pb::GetRefreshTokenByIdResponse { refresh_token: Some(token.into()) })
});
call!(GetRefreshTokenByValueRequest -> pb::GetRefreshTokenByValueResponse, |message, services, caller| {
    let value = TokenRef::Value(message.token.into());
    let token = services.tokens.get(caller, Form::Refresh, value).await?;
    Ok(pb::GetRefreshTokenByValueResponse { refresh_token: Some(token.into()) })
});
call!(RevokeRefreshTokenByValueRequest -> (), |message, services, caller| {
    let value = TokenRef::Value(message.token.into());
    services.tokens.revoke(caller, Form::Refresh, value).await
});
call!(RevokeRefreshTokenByIdRequest -> (), |message, services, caller| {
    services.tokens.revoke(caller, Form::Refresh, TokenRef::Id(message.id)).await
});
call!(DeleteRefreshTokenByIdRequest -> (), |message, services, caller| {
    services.tokens.delete(caller, Form::Refresh, TokenRef::Id(message.id)).await
});
call!(DeleteRefreshTokenByValueRequest -> (), |message, services, caller| {
    let value = TokenRef::Value(message.token.into());
    services.tokens.delete(caller, Form::Refresh, value).await
});
call!(ListRevokedRefreshTokensRequest -> pb::ListRevokedRefreshTokensResponse, |message, services, caller| {
    let window = Window::parse(message.limit, message.offset)?;
    let tokens = services.tokens.list(caller, Form::Refresh, true, window).await?;
    let refresh_tokens = tokens.into_iter().map(Into::into).collect();
    Ok(pb::ListRevokedRefreshTokensResponse { refresh_tokens })
});
call!(ListRefreshTokensRequest -> pb::ListRefreshTokensResponse, |message, services, caller| {
    let window = Window::parse(message.limit, message.offset)?;
    let tokens = services.tokens.list(caller, Form::Refresh, false, window).await?;
    let refresh_tokens = tokens.into_iter().map(Into::into).collect();
    Ok(pb::ListRefreshTokensResponse { refresh_tokens })
});
call!(VerifyRefreshTokenRequest -> pb::VerifyRefreshTokenResponse, |message, services, caller| {
    let token = services.tokens.verify(caller, Form::Refresh, message.token.into()).await?;
    let payload = Some(payload(&token));
    Ok(pb::VerifyRefreshTokenResponse { refresh_token: Some(token.into()), payload })
});

call!(LoginUserAccountRequest -> pb::LoginUserAccountResponse, |message, services, caller| {
    let password = message.password.into();
    let signed_in = services.identity_provider.log_in(caller, message.username, password).await?;
    Ok(signed_in.into())
});
call!(RegisterUserAccountRequest -> pb::RegisterUserAccountResponse, |message, services, caller| {
    let new = NewUserAccount {
        username: message.username,
        full_name: message.full_name,
        email: message.email,
        password: message.password.into(),
        country_code: message.country_code,
        role_id: message.role_id,
        status: message.status,
        account_type: message.account_type,
        account_name: message.account_name,
        account_bio: message.account_bio,
        account_plan: message.account_plan,
        account_avatar_uri: message.account_avatar_uri,
    };
    let made = services.identity_provider.register(caller, new).await?;
    Ok(pb::RegisterUserAccountResponse { user_account: made.map(Into::into) })
});
call!(GetUserAccountByUsernameRequest -> pb::GetUserAccountByUsernameResponse,
    |message, services, caller| {
        let found = services.identity_provider.by_username(caller, message.username).await?;
        Ok(pb::GetUserAccountByUsernameResponse { user_account: Some(found.into()) })
    }
);
