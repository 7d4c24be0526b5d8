//! Streamfair's five services, as its document has them: package `pb`, 39 RPCs, on gRPC and as
//! JSON over HTTP under `/streamfair/v1/`.
//!
//! The ports speak of numbers where Streamfair does (`int64` ids); what a number stands for is
//! the implementation's to know. Texts come as they were sent: the implementation parses them.

mod calls;
mod table;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kernel::{Caller, Error, Result, Secret, Timestamp};

pub use table::{ROWS, Row, Verb, call};
pub(crate) use table::{Served, call_remote};

/// The five services.
#[derive(Clone)]
pub struct Streamfair {
    pub users: Arc<dyn Users>,
    pub accounts: Arc<dyn Accounts>,
    pub sessions: Arc<dyn Sessions>,
    pub tokens: Arc<dyn Tokens>,
    pub identity_provider: Arc<dyn IdentityProvider>,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// 1 to 100.
    pub limit: i64,
    /// 0 to 100.
    pub offset: i64,
}

impl Window {
    const LIMIT_DEFAULT: i64 = 20;

    /// A limit of 0 is none, which is 20.
    ///
    /// # Errors
    /// Field errors `out_of_range` on `/limit`, `/offset`.
    pub fn parse(limit: i32, offset: i32) -> Result<Self> {
        let mut fields = kernel::error::Fields::new();
        let limit = if limit == 0 { Self::LIMIT_DEFAULT } else { i64::from(limit) };
        if !(1..=100).contains(&limit) {
            fields.add("/limit", "out_of_range", "from 1 to 100");
        }
        if !(0..=100).contains(&offset) {
            fields.add("/offset", "out_of_range", "from 0 to 100");
        }
        fields.check()?;
        Ok(Self { limit, offset: offset.into() })
    }
}

/// How a user is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserRef {
    Id(i64),
    /// A username, or a mail address.
    Name(String),
}

/// A user. How the password is kept is not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: i64,
    /// Empty for somebody who never chose one.
    pub username: String,
    pub full_name: String,
    pub email: String,
    /// Empty when it is not known.
    pub country_code: String,
    pub role_id: i64,
    pub active: bool,
    pub last_login_at: Option<Timestamp>,
    pub username_changed_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A user about to exist, with a password that was hashed elsewhere.
#[derive(Debug, Clone)]
pub struct NewUser {
    pub username: String,
    pub full_name: String,
    pub email: String,
    pub password_hash: Secret<String>,
    pub password_salt: Secret<String>,
    pub country_code: String,
    pub role_id: i64,
    pub status: String,
}

/// What changes about a user. What is empty or zero stays.
#[derive(Debug, Clone)]
pub struct UserChange {
    pub id: i64,
    pub username: String,
    pub full_name: String,
    pub email: String,
    pub password_hash: Secret<String>,
    pub password_salt: Secret<String>,
    pub country_code: String,
    pub role_id: i64,
    pub status: String,
}

/// `UserService`.
pub trait Users: Send + Sync {
    /// For admins.
    ///
    /// # Errors
    /// `Forbidden`; field errors; `Conflict` `username_taken`, `email_taken`.
    fn create<'a>(&'a self, caller: &'a Caller, new: NewUser) -> BoxFuture<'a, Result<User>>;

    /// Closes an account: one's own, or by an admin.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` `admin_protected`.
    fn delete<'a>(&'a self, caller: &'a Caller, user: UserRef) -> BoxFuture<'a, Result<()>>;

    /// Oneself, or anybody for an admin.
    ///
    /// # Errors
    /// `NotFound`.
    fn get<'a>(&'a self, caller: &'a Caller, user: UserRef) -> BoxFuture<'a, Result<User>>;

    /// For admins; newest first.
    fn list<'a>(&'a self, caller: &'a Caller, window: Window) -> BoxFuture<'a, Result<Vec<User>>>;

    /// Oneself, or anybody by an admin.
    ///
    /// # Errors
    /// `NotFound`; field errors; `Conflict` `username_taken`.
    fn update<'a>(&'a self, caller: &'a Caller, change: UserChange) -> BoxFuture<'a, Result<User>>;
}

/// An account that a user holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: i64,
    pub name: String,
    /// The type's number.
    pub account_type: i32,
    pub owner: i64,
    pub bio: String,
    pub active: bool,
    pub plan: i32,
    pub avatar_uri: String,
    pub plays: i64,
    pub likes: i64,
    pub follows: i64,
    pub shares: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An account about to exist.
#[derive(Debug, Clone)]
pub struct NewAccount {
    pub name: String,
    /// The type's number.
    pub account_type: i32,
    /// The caller when zero.
    pub owner: i64,
    pub bio: String,
    pub status: String,
    pub plan: i32,
    pub avatar_uri: String,
}

/// A kind of account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountType {
    pub id: i64,
    pub number: i32,
    /// A JSON list.
    pub permissions: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A kind of account about to exist.
#[derive(Debug, Clone)]
pub struct NewAccountType {
    pub number: i32,
    /// A JSON list; none when empty.
    pub permissions: String,
    /// The numbers that the request says the type to be, by its five flags.
    pub said_to_be: Vec<i32>,
}

/// `AccountService`.
pub trait Accounts: Send + Sync {
    /// # Errors
    /// Field errors; `Forbidden` for somebody else's; `Conflict` `account_exists`.
    fn create<'a>(&'a self, caller: &'a Caller, new: NewAccount) -> BoxFuture<'a, Result<Account>>;

    /// Of the caller when the owner is zero; newest first.
    ///
    /// # Errors
    /// `NotFound` for somebody else's.
    fn of_owner<'a>(
        &'a self,
        caller: &'a Caller,
        owner: i64,
        window: Window,
    ) -> BoxFuture<'a, Result<Vec<Account>>>;

    /// For admins.
    ///
    /// # Errors
    /// Field errors; `Conflict` `number_taken`.
    fn create_type<'a>(
        &'a self,
        caller: &'a Caller,
        new: NewAccountType,
    ) -> BoxFuture<'a, Result<AccountType>>;
}

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    /// A bare UUID, and no secret.
    pub uuid: String,
    pub username: String,
    /// Only when the session has just been made.
    pub refresh_token: Option<Secret<String>>,
    pub user_agent: String,
    pub client_ip: String,
    /// Whether it is over before its time.
    pub blocked: bool,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

/// A session about to be started. The fields that the server chooses are refused unless empty.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub uuid: String,
    pub username: String,
    pub refresh_token: Secret<String>,
    pub user_agent: String,
    pub blocked: bool,
    pub expires_at: Option<Timestamp>,
}

/// `SessionService`. Everywhere: one's own sessions, or anybody's for an admin; `NotFound` for
/// others.
pub trait Sessions: Send + Sync {
    /// One more session of the caller, proven as the calling one.
    ///
    /// # Errors
    /// Field errors.
    fn create<'a>(&'a self, caller: &'a Caller, new: NewSession) -> BoxFuture<'a, Result<Session>>;

    /// # Errors
    /// A field error `out_of_range` on `/expires_at`; `Conflict` for a session that is over.
    fn extend<'a>(
        &'a self,
        caller: &'a Caller,
        uuid: &'a str,
        expires_at: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<Session>>;

    fn get<'a>(&'a self, caller: &'a Caller, uuid: &'a str) -> BoxFuture<'a, Result<Session>>;

    /// Ends it, and it is not seen any more.
    fn delete<'a>(&'a self, caller: &'a Caller, uuid: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Ends it.
    fn revoke<'a>(&'a self, caller: &'a Caller, uuid: &'a str) -> BoxFuture<'a, Result<()>>;

    /// # Errors
    /// `Unauthenticated` `session_ended`, `session_expired`.
    fn verify<'a>(&'a self, caller: &'a Caller, uuid: &'a str) -> BoxFuture<'a, Result<Session>>;
}

/// The two kinds of token that a session is shown by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    Access,
    Refresh,
}

/// How a token is named.
#[derive(Debug, Clone)]
pub enum TokenRef {
    Id(i64),
    Value(Secret<String>),
}

/// A token: what is known of it, and its text when it has just been made.
#[derive(Debug, Clone)]
pub struct Token {
    pub id: i64,
    pub user_id: i64,
    pub token_type: &'static str,
    pub token: Option<Secret<String>>,
    /// The session that it shows, as a bare UUID.
    pub session: String,
    pub revoked: bool,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// `TokenService`, for both kinds of token. Everywhere: one's own tokens, or anybody's for an
/// admin; `NotFound` for others.
pub trait Tokens: Send + Sync {
    /// Starts a session of the caller (`user_id` zero or the caller's) and answers the token that
    /// shows it. `expires_at` is RFC 3339, or empty.
    ///
    /// # Errors
    /// `Forbidden` for somebody else; a field error on `/expires_at`.
    fn create<'a>(
        &'a self,
        caller: &'a Caller,
        form: Form,
        user_id: i64,
        expires_at: &'a str,
    ) -> BoxFuture<'a, Result<Token>>;

    fn get<'a>(
        &'a self,
        caller: &'a Caller,
        form: Form,
        token: TokenRef,
    ) -> BoxFuture<'a, Result<Token>>;

    /// Ends the session.
    fn revoke<'a>(
        &'a self,
        caller: &'a Caller,
        form: Form,
        token: TokenRef,
    ) -> BoxFuture<'a, Result<()>>;

    /// Ends the session, and it is not seen any more.
    fn delete<'a>(
        &'a self,
        caller: &'a Caller,
        form: Form,
        token: TokenRef,
    ) -> BoxFuture<'a, Result<()>>;

    /// The live ones or the revoked ones, newest first.
    fn list<'a>(
        &'a self,
        caller: &'a Caller,
        form: Form,
        revoked: bool,
        window: Window,
    ) -> BoxFuture<'a, Result<Vec<Token>>>;

    /// What a token is worth right now.
    ///
    /// # Errors
    /// `Unauthenticated` `invalid_token`, whatever is wrong with it.
    fn verify<'a>(
        &'a self,
        caller: &'a Caller,
        form: Form,
        token: Secret<String>,
    ) -> BoxFuture<'a, Result<Token>>;
}

/// A user, an account and its type. Somebody who registered elsewhere may hold no account.
#[derive(Debug, Clone)]
pub struct UserAccount {
    pub user: User,
    pub account: Option<(Account, AccountType)>,
}

/// A user and an account about to exist.
#[derive(Debug, Clone)]
pub struct NewUserAccount {
    pub username: String,
    pub full_name: String,
    pub email: String,
    pub password: Secret<String>,
    pub country_code: String,
    pub role_id: i64,
    pub status: String,
    /// The type's number.
    pub account_type: i32,
    /// The username when empty.
    pub account_name: String,
    pub account_bio: String,
    pub account_plan: i32,
    pub account_avatar_uri: String,
}

/// Somebody has signed in.
#[derive(Debug)]
pub struct SignedIn {
    pub user_account: UserAccount,
    pub session: Session,
    pub access_token: Secret<String>,
    pub access_token_expires_at: Timestamp,
}

/// `IdentityProvider`.
pub trait IdentityProvider: Send + Sync {
    /// # Errors
    /// `Unauthenticated` `invalid_credentials`, the same for an unknown username and a wrong
    /// password; `Forbidden` for an account that may not sign in.
    fn log_in<'a>(
        &'a self,
        caller: &'a Caller,
        username: String,
        password: Secret<String>,
    ) -> BoxFuture<'a, Result<SignedIn>>;

    /// Makes user, account and the row that ties it to its type in one transaction, and sends the
    /// mail that proves the address; none where the platform does not tell whether an address is
    /// taken.
    ///
    /// # Errors
    /// Field errors, among them `not_allowed` on `/role_id`; `Conflict` `username_taken`,
    /// `email_taken`.
    fn register<'a>(
        &'a self,
        caller: &'a Caller,
        new: NewUserAccount,
    ) -> BoxFuture<'a, Result<Option<UserAccount>>>;

    /// Oneself, or anybody for an admin.
    ///
    /// # Errors
    /// `NotFound`.
    fn by_username<'a>(
        &'a self,
        caller: &'a Caller,
        username: String,
    ) -> BoxFuture<'a, Result<UserAccount>>;
}

/// An RPC that does not exist: only a wrong table could ask for it.
fn unknown_rpc(rpc: &str) -> Error {
    Error::internal(format!("there is no RPC {rpc}"))
}
