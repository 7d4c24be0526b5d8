//! One user service behind several faces: whoever registers through one signs in through any other,
//! is the same person at all of them, and is signed out of all of them through a third.
//!
//! A new face is one more variant of [`Face`] and its arms.

use kernel::Id;
use kernel::id::kinds::User;
use reqwest::Method;
use rpc::client::Client;
use serde_json::{Value as Json, json};

use crate::town::{Answer, PASSWORD, Town, until};
use crate::world::{Stage, on_all_stages};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Face {
    /// `/v1`.
    V1,
    /// The order API below `/api/users`.
    Orders,
    /// The file API below `/api/users`.
    Files,
    /// The order API's user service on gRPC.
    OrdersGrpc,
    Streamfair,
    /// Streamfair's JSON gateway.
    StreamfairHttp,
}

impl Face {
    const ALL: [Self; 6] = [
        Self::V1,
        Self::Orders,
        Self::Files,
        Self::OrdersGrpc,
        Self::Streamfair,
        Self::StreamfairHttp,
    ];

    /// The faces that can end a session without ending the account.
    const ENDERS: [Self; 3] = [Self::V1, Self::Streamfair, Self::StreamfairHttp];
}

/// Somebody who registered somewhere.
#[derive(Debug)]
struct Member {
    name: String,
    email: String,
    /// Where they chose one.
    username: Option<String>,
}

impl Member {
    /// What Streamfair takes for a username.
    fn handle(&self) -> &str {
        self.username.as_deref().unwrap_or(&self.email)
    }
}

/// All faces of one platform.
struct Faces {
    town: Town,
    grpc: Client,
}

impl Faces {
    async fn of(stage: &Stage) -> Self {
        let address = stage.grpc_address();
        Self { town: stage.town(), grpc: Client::connect(address).await.unwrap() }
    }

    async fn send(&self, method: Method, path: &str, token: &str, body: &Json) -> Answer {
        let call = self.town.call(method.clone(), path, None);
        let call = if method == Method::GET { call } else { call.json(body) };
        match token {
            "" => call.answer().await,
            token => call.header("authorization", &format!("Bearer {token}")).answer().await,
        }
    }

    async fn post(&self, path: &str, body: Json) -> Json {
        self.send(Method::POST, path, "", &body).await.done()
    }

    async fn register(&self, face: Face, number: usize) -> Member {
        let email = format!("anne{number}@example.com");
        let name = "Anne Cooper".to_owned();
        let password = PASSWORD;
        let mut member = Member { name, email, username: None };
        let Member { name, email, .. } = &member;
        let all = json!({
            "username": format!("anne{number}"), "full_name": name, "email": email,
            "password": password, "country_code": "NG", "account_type": 1,
        });
        match face {
            Face::V1 => {
                let body = json!({ "name": name, "email": email, "password": password });
                self.post("/v1/auth/register", body).await;
            }
            Face::Orders => {
                let body =
                    json!({ "name": name, "email": email, "password": password, "role": "dev" });
                self.post("/api/users/reg", body).await;
            }
            Face::Files => {
                let body = json!({ "email": email, "password": password });
                self.post("/api/users/register", body).await;
                // This face asks for no name.
                member.name = format!("anne{number}");
            }
            Face::OrdersGrpc => {
                let body = json!({ "name": name, "email": email, "password": password });
                self.grpc.threel1("RegUser", body).await.unwrap();
            }
            Face::Streamfair => {
                self.grpc.streamfair("RegisterUserAccount", all).await.unwrap();
                member.username = Some(format!("anne{number}"));
            }
            Face::StreamfairHttp => {
                self.post("/streamfair/v1/register_user_account", all).await;
                member.username = Some(format!("Anne{number}"));
            }
        }
        let token = self.town.mailed_token(&member.email).await;
        self.post("/v1/auth/verify-email", json!({ "token": token })).await;
        member
    }

    /// The access token of a new session.
    async fn log_in(&self, face: Face, member: &Member) -> String {
        let Member { name, email, .. } = member;
        let short = json!({ "email": email, "password": PASSWORD });
        let named = json!({ "name": name, "email": email, "password": PASSWORD });
        let handled = json!({ "username": member.handle(), "password": PASSWORD });
        let token = match face {
            Face::V1 => self.post("/v1/auth/login", short).await["accessToken"].clone(),
            Face::Orders => self.post("/api/users/log", named).await["token"].clone(),
            Face::Files => self.post("/api/users/login", short).await["token"].clone(),
            Face::OrdersGrpc => self.grpc.threel1("LogUser", named).await.unwrap()["token"].clone(),
            Face::Streamfair => {
                let reply = self.grpc.streamfair("LoginUserAccount", handled).await.unwrap();
                reply["session"]["access_token"].clone()
            }
            Face::StreamfairHttp => {
                let path = "/streamfair/v1/login_user_account";
                self.post(path, handled).await["session"]["access_token"].clone()
            }
        };
        token.as_str().unwrap_or_else(|| panic!("{face:?} gives no token")).to_owned()
    }

    /// Who the bearer of a token is, as a UUID or an address, whichever the face tells; nobody
    /// when the token is worth nothing there.
    async fn who(&self, face: Face, token: &str, member: &Member) -> Option<String> {
        let named = json!({ "username": member.email });
        let text = |json: &Json| json.as_str().expect("a text").to_owned();
        let answered = |answer: Answer| match answer.status {
            200 => Some(answer.json()),
            401 => None,
            status => panic!("{face:?} answers {status} {}", answer.text()),
        };
        let replied = |reply: kernel::Result<Json>| match reply {
            Ok(reply) => Some(reply),
            Err(error) if error.kind() == kernel::Kind::Unauthenticated => None,
            Err(error) => panic!("{face:?} answers {error:?}"),
        };
        let none = json!(null);
        match face {
            Face::V1 => {
                let me = answered(self.send(Method::GET, "/v1/me", token, &none).await)?;
                Some(text(&me["id"]).parse::<Id<User>>().unwrap().uuid().to_string())
            }
            Face::Orders => {
                let path = "/api/users/ext";
                let said = answered(self.send(Method::POST, path, token, &json!({})).await)?;
                Some(text(&said["user_id"]))
            }
            Face::Files => {
                let me = answered(self.send(Method::GET, "/api/users/me", token, &none).await)?;
                Some(text(&me["id"]))
            }
            Face::OrdersGrpc => {
                let said = self.grpc.threel1("ExtJWTData", json!({ "token": token })).await;
                Some(text(&replied(said)?["user_id"]))
            }
            Face::Streamfair => {
                let grpc = self.grpc.bearing(token);
                let reply = replied(grpc.streamfair("GetUserByValue", named).await)?;
                Some(text(&reply["user"]["email"]))
            }
            Face::StreamfairHttp => {
                let path = format!("/streamfair/v1/get_user_by_value/{}", member.email);
                let reply = answered(self.send(Method::GET, &path, token, &none).await)?;
                Some(text(&reply["user"]["email"]))
            }
        }
    }

    async fn end(&self, face: Face, token: &str) {
        match face {
            Face::V1 => {
                self.send(Method::POST, "/v1/auth/logout", token, &json!({})).await.done();
            }
            Face::Streamfair => {
                let grpc = self.grpc.bearing(token);
                let shown = json!({ "token": token });
                let reply = grpc.streamfair("VerifyToken", shown).await.unwrap();
                let named = json!({ "uuid": reply["payload"]["uuid"] });
                grpc.streamfair("RevokeSession", named).await.unwrap();
            }
            Face::StreamfairHttp => {
                let path = "/streamfair/v1/revoke_token_by_value";
                let shown = json!({ "token": token });
                assert_eq!(self.send(Method::POST, path, token, &shown).await.done(), json!({}));
            }
            Face::Orders | Face::Files | Face::OrdersGrpc => panic!("{face:?} ends no session"),
        }
    }
}

on_all_stages! {
    async fn every_face_agrees_on_who_is_signed_in(stage: &Stage) {
        let faces = Faces::of(stage).await;
        for (number, registered) in Face::ALL.into_iter().enumerate() {
            let member = faces.register(registered, number).await;
            let mut uuids = std::collections::HashSet::new();
            for entered in Face::ALL {
                for ended in Face::ENDERS {
                    let what = format!("{registered:?} {entered:?} {ended:?}");
                    let token = faces.log_in(entered, &member).await;
                    for asked in Face::ALL {
                        let who = faces.who(asked, &token, &member).await;
                        let who = who.unwrap_or_else(|| panic!("{what}: {asked:?} knows nobody"));
                        if who != member.email {
                            uuids.insert(who);
                        }
                    }
                    faces.end(ended, &token).await;
                    if ended == Face::Streamfair && stage.is_in_parts() {
                        // What serves HTTP did not see the call: it hears of it within a second.
                        let heard = async || {
                            faces.who(Face::V1, &token, &member).await.is_none().then_some(())
                        };
                        until("the gateway hears of the end", heard).await;
                    }
                    for asked in Face::ALL {
                        let who = faces.who(asked, &token, &member).await;
                        assert_eq!(who, None, "{what}: {asked:?} still knows them");
                    }
                }
            }
            assert_eq!(uuids.len(), 1, "{registered:?}: one person, one id");
        }
    }
}
