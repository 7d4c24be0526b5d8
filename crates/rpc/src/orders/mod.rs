//! The port of the order service.
//!
//! The in-process end is `orders::service`; the remote one is [`Remote`], which asks a listener that
//! serves any `Arc<dyn Orders>`, by `proto/verza/orders.proto`.
//!
//! An order asks for so many comments, likes or views for a web address. What is written down
//! about it is parsed before it reaches the port: a [`NewOrder`] makes sense at either end.

mod client;
mod server;

use std::fmt;
use std::str::FromStr;

use futures_util::future::BoxFuture;
use kernel::error::Fields;
use kernel::id::kinds::{Order as OrderKind, User};
use kernel::{Asset, Caller, Error, Id, Money, Page, PageRequest, Result, Timestamp};
use serde::{Deserialize, Serialize};
use tonic::codegen::http::Uri;
use uuid::Uuid;

pub use client::Remote;
pub(crate) use server::Served;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = OrderStatus)]
pub enum Status {
    /// Taken, and being worked on.
    Processing,
    /// All of it was delivered.
    Done,
    /// It will not be delivered.
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 3] = [Self::Processing, Self::Done, Self::Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| Error::field("/status", "invalid", "one of processing, done, cancelled"))
    }
}

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = OrderType)]
pub enum Engagement {
    Comments,
    Likes,
    Views,
}

impl Engagement {
    pub const ALL: [Self; 3] = [Self::Comments, Self::Likes, Self::Views];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Comments => "comments",
            Self::Likes => "likes",
            Self::Views => "views",
        }
    }
}

impl FromStr for Engagement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::field("/type", "invalid", "one of comments, likes, views"))
    }
}

/// The address of something on the web. It is kept and shown, and never asked for anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address(String);

impl Address {
    pub const MAX: usize = 2048;

    /// `http` or `https` with a host, printable ASCII (other letters percent-encoded, RFC 3986
    /// section 2.1), at most [`Self::MAX`] bytes. Without a user before the host: a password
    /// there would be kept and shown.
    ///
    /// # Errors
    /// `Invalid` with a field error at `pointer`.
    pub fn parse(pointer: &str, text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::field(pointer, "required", "an address of the web"));
        }
        let is_plain = text.len() <= Self::MAX && text.chars().all(|c| c.is_ascii_graphic());
        let uri = is_plain.then(|| text.parse::<Uri>().ok()).flatten();
        let fits = uri.is_some_and(|uri| {
            let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
            let has_host = uri.host().is_some_and(|host| !host.is_empty());
            let has_user = uri.authority().is_some_and(|it| it.as_str().contains('@'));
            is_web && has_host && !has_user
        });
        if !fits {
            let message = "an address that begins with https:// or http://, of at most 2048 \
                           characters, without a user in it";
            return Err(Error::field(pointer, "invalid", message));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What was parsed before, as a store or the other end of the port has kept it.
    pub fn kept(text: String) -> Self {
        Self(text)
    }
}

/// How the fields of a request are called, for the errors about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As in `/v1`: `targetUrl`, `serviceUrl`, `type`.
    Camel,
    /// As in the gateway system's document: `target_url`, `service_url`, `order_type`.
    Snake,
}

/// An order to be made, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// What is to be commented on, liked or viewed.
    pub target: Address,
    /// Who is to do it.
    pub service: Address,
    pub kind: Engagement,
    /// More than zero.
    pub quantity: i32,
}

impl NewOrder {
    /// # Errors
    /// `Invalid` with all fields that are not as they should be.
    pub fn parse(
        spelling: Spelling,
        target: &str,
        service: &str,
        kind: &str,
        quantity: i64,
    ) -> Result<Self> {
        let [at_target, at_service, at_kind] = match spelling {
            Spelling::Camel => ["/targetUrl", "/serviceUrl", "/type"],
            Spelling::Snake => ["/target_url", "/service_url", "/order_type"],
        };
        let mut fields = Fields::new();
        let target = fields.take(Address::parse(at_target, target));
        let service = fields.take(Address::parse(at_service, service));
        let kind = kind.parse::<Engagement>().ok();
        if kind.is_none() {
            fields.add(at_kind, "invalid", "one of comments, likes, views");
        }
        let quantity = i32::try_from(quantity).ok().filter(|quantity| *quantity > 0);
        if quantity.is_none() {
            let message = format!("a whole number from 1 to {}", i32::MAX);
            fields.add("/quantity", "out_of_range", message);
        }
        let (Some(target), Some(service), Some(kind), Some(quantity)) =
            (target, service, kind, quantity)
        else {
            return Err(fields.into_error());
        };
        Ok(Self { target, service, kind, quantity })
    }
}

/// What an order costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Minor units.
    pub amount: i64,
    pub currency: Asset,
}

impl From<Price> for Money {
    fn from(price: Price) -> Self {
        Self::new(price.amount, price.currency)
    }
}

/// An order as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub id: Id<OrderKind>,
    pub owner: Id<User>,
    /// What the owner was when it was made, in the order API's words: see
    /// [`crate::users::Users::order_role`].
    pub role: String,
    pub status: Status,
    pub target: Address,
    pub service: Address,
    pub kind: Engagement,
    /// More than zero.
    pub quantity: i32,
    /// None where orders cost nothing.
    pub price: Option<Price>,
    pub created_at: Timestamp,
    /// When the status changed last.
    pub updated_at: Timestamp,
}

impl Order {
    /// The id that the order API writes as a bare UUID with its hyphens; none in any other text.
    pub fn id_in(text: &str) -> Option<Id<OrderKind>> {
        let is_hyphenated = text.len() == uuid::fmt::Hyphenated::LENGTH;
        is_hyphenated.then(|| Uuid::try_parse(text).ok()).flatten().map(Id::from_uuid)
    }
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    pub status: Option<Status>,
    pub kind: Option<Engagement>,
    pub owner: Option<Id<User>>,
}

/// The order service. Somebody else's order is `NotFound` to everybody but admins.
pub trait Orders: Send + Sync {
    /// Makes an order of the caller's, and holds its price where there is one.
    ///
    /// # Errors
    /// `Conflict` `insufficient_funds`; a field error at `/quantity` where the price of so much
    /// is more than can be moved.
    fn create<'a>(&'a self, caller: &'a Caller, new: &'a NewOrder) -> BoxFuture<'a, Result<Order>>;

    /// One order.
    ///
    /// # Errors
    /// `NotFound`.
    fn find<'a>(&'a self, caller: &'a Caller, id: Id<OrderKind>) -> BoxFuture<'a, Result<Order>>;

    /// The caller's orders, newest first; as an admin, everybody's.
    fn list<'a>(
        &'a self,
        caller: &'a Caller,
        filter: &'a Filter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<Order>>>;

    /// Moves an order on: the owner cancels, an admin cancels or says that it is done. Its price
    /// goes back, or is the platform's. Saying once more what is so already changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` `not_yours_to_do`; `Conflict` `wrong_state`.
    fn set_status<'a>(
        &'a self,
        caller: &'a Caller,
        id: Id<OrderKind>,
        status: Status,
    ) -> BoxFuture<'a, Result<Order>>;

    /// Deletes an order, in any state; the price of one that was not done goes back.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` `admin_protected` for an admin with another admin's order.
    fn delete<'a>(&'a self, caller: &'a Caller, id: Id<OrderKind>) -> BoxFuture<'a, Result<()>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_all_that_is_wrong_with_it_in_the_words_of_its_document() {
        let wrong = |spelling| {
            let error = NewOrder::parse(spelling, "", "ftp://x.example/", "shares", 0);
            let fields = error.unwrap_err().fields().to_vec();
            fields.into_iter().map(|field| field.pointer).collect::<Vec<_>>()
        };
        assert_eq!(wrong(Spelling::Camel), ["/targetUrl", "/serviceUrl", "/type", "/quantity"]);
        let snake = ["/target_url", "/service_url", "/order_type", "/quantity"];
        assert_eq!(wrong(Spelling::Snake), snake);
    }

    #[test]
    fn an_address_is_one_of_the_web_and_holds_no_password() {
        for text in [
            "https://example.org",
            "http://example.org:8080/watch?v=1&t=2",
            "https://xn--bcher-kva.example/b%C3%BCcher",
            "https://[2001:db8::1]/",
        ] {
            assert_eq!(Address::parse("/x", text).unwrap().as_str(), text);
        }
        let long = format!("https://example.org/{}", "a".repeat(Address::MAX));
        for text in [
            "",
            "example.org/video",
            "/video",
            "https://",
            "https:///video",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "https://anne:secret@example.org/",
            "https://example.org/a b",
            "https://example.org/bücher",
            "https://example.org/\n",
            long.as_str(),
        ] {
            assert!(Address::parse("/x", text).is_err(), "{text}");
        }
    }

    #[test]
    fn quantities_are_what_the_wire_can_carry() {
        let of = |quantity| {
            let (target, service) = ("https://a.example/", "https://b.example/");
            NewOrder::parse(Spelling::Camel, target, service, "likes", quantity)
        };
        for quantity in [1, 2, i64::from(i32::MAX)] {
            assert_eq!(i64::from(of(quantity).unwrap().quantity), quantity);
        }
        for quantity in [i64::MIN, -1, 0, i64::from(i32::MAX) + 1, i64::MAX] {
            assert_eq!(of(quantity).unwrap_err().fields()[0].pointer, "/quantity");
        }
    }
}
