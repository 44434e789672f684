//! A client of the API.

use std::fmt;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::{EMAIL, NAME, PASSWORD, soon};

/// A whole answer.
#[derive(Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks status and headers; returns the body.
    #[track_caller]
    pub fn expect_json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        self.expect_framing();
        self.json()
    }

    /// Checks a refusal in the service's envelope: status, headers, code and the body's every key; returns `details`.
    #[track_caller]
    pub fn expect_refusal(&self, status: u16, code: &str) -> Vec<(String, String)> {
        let body = self.expect_json(status);
        let keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["error", "message", "success"], "{self:?}");
        assert_eq!(body["success"], json!(false), "{self:?}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        assert_eq!(body["error"]["code"], code, "{self:?}");
        assert_eq!(self.header("www-authenticate"), (status == 401).then_some("Bearer"), "{self:?}");
        assert_eq!(self.header("allow").is_some(), status == 405, "{self:?}");
        if [429, 503].contains(&status) {
            let seconds: u64 = self.header("retry-after").and_then(|text| text.parse().ok()).expect("whole seconds");
            assert!(seconds >= 1, "{self:?}");
        } else {
            assert_eq!(self.header("retry-after"), None, "{self:?}");
        }
        let details = body["error"].get("details");
        let known = 1 + usize::from(details.is_some());
        assert_eq!(body["error"].as_object().unwrap().len(), known, "{self:?}");
        assert_eq!(details.is_some(), status == 422, "details come with 422 and nothing else: {self:?}");
        let pair = |detail: &Value| {
            assert_eq!(detail.as_object().unwrap().len(), 2, "{self:?}");
            (detail["field"].as_str().unwrap().to_owned(), detail["message"].as_str().unwrap().to_owned())
        };
        details.and_then(Value::as_array).map(|details| details.iter().map(pair).collect()).unwrap_or_default()
    }

    #[track_caller]
    fn expect_framing(&self) {
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{self:?}");
        assert_eq!(self.header("content-length"), Some(self.body.len().to_string().as_str()), "{self:?}");
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, self.text())
    }
}

/// A client of one service, with keep-alive connections.
#[derive(Clone)]
pub struct Api {
    pub addr: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Api {
    pub fn new(addr: SocketAddr) -> Self {
        // By default the client would retry; a failure must stay visible.
        let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
        Self { addr, client }
    }

    /// A client at another address of this machine: all of 127.0.0.0/8 are its own.
    pub fn from_loopback(addr: SocketAddr, last: u8) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_local_address(Some(std::net::Ipv4Addr::new(127, 0, 0, last).into()));
        let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build(connector);
        Self { addr, client }
    }

    /// A client that speaks HTTP/2 from the first byte.
    pub fn http2(addr: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).retry_canceled_requests(false).build_http();
        Self { addr, client }
    }

    /// A request to fill in.
    pub fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("http://{}{path}", self.addr))
    }

    /// Sends a request. An error means that no connection could be made, or that it broke.
    pub async fn try_send(&self, request: Request<Full<Bytes>>) -> Result<Answer, hyper_util::client::legacy::Error> {
        soon("an answer", async {
            let (head, body) = self.client.request(request).await?.into_parts();
            let body = body.collect().await.expect("a whole body").to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        })
        .await
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        self.try_send(request).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path).body(Full::default()).unwrap()).await
    }

    /// Sends `body`, whatever it is, as JSON.
    pub async fn post_bytes(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.request("POST", path).header(CONTENT_TYPE, "application/json");
        self.send(request.body(Full::new(body.into())).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_bytes(path, body.to_string()).await
    }

    pub async fn register(&self, body: &Value) -> Answer {
        self.post("/api/users/register", body).await
    }

    pub async fn login(&self, email: &str, password: &str) -> Answer {
        self.post("/api/users/login", &json!({"email": email, "password": password})).await
    }

    pub async fn me(&self, token: &str) -> Answer {
        let request = self.request("GET", "/api/users/me").header(AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Full::default()).unwrap()).await
    }

    /// Registers the usual user; returns the `data` of the answer.
    pub async fn register_john(&self) -> Value {
        self.register(&john()).await.expect_json(201)["data"].clone()
    }

    /// Registers a user with this address and the usual password.
    pub async fn register_email(&self, email: &str) -> Answer {
        self.register(&json!({"name": NAME, "email": email, "password": PASSWORD})).await
    }

    /// Logs the usual user in; returns the token.
    pub async fn token(&self) -> String {
        let body = self.login(EMAIL, PASSWORD).await.expect_json(200);
        body["data"]["token"].as_str().unwrap().to_owned()
    }
}

/// The usual registration.
pub fn john() -> Value {
    json!({"name": NAME, "email": EMAIL, "password": PASSWORD})
}

/// The usual registration, but for one field; null leaves it out.
pub fn john_but(field: &str, value: impl Into<Value>) -> Value {
    let mut body = john();
    match value.into() {
        Value::Null => drop(body.as_object_mut().unwrap().remove(field)),
        value => body[field] = value,
    }
    body
}
