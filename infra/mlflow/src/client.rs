//! The transport: one connection pool, one way to send a call, one way to read an answer.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};

use crate::args::{MlflowArgs, Secret};
use crate::error::Error;

/// Largest JSON answer that is read, in bytes.
pub const REPLY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Longest piece of a foreign answer that goes into an error message, in characters.
const MESSAGE_CHARS_MAX: usize = 500;

#[derive(Clone)]
enum Login {
    Anonymous,
    Basic { username: String, password: Option<Secret> },
    Bearer(Secret),
}

/// A client of one MLflow server. Cheap to make and to clone: it opens no connection and reads no certificates before
/// the first call, and never reads certificates for an `http` URI.
#[derive(Clone)]
pub struct Client {
    base: Url,
    login: Login,
    timeout: Duration,
    http: std::sync::Arc<OnceLock<reqwest::Client>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("uri", &self.uri())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client for the server that `args` names. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::Configuration`] when the URI is not an absolute `http` or `https` URI.
    pub fn new(args: &MlflowArgs) -> Result<Self, Error> {
        let configuration = |reason: &str| Error::Configuration {
            setting: "MLFLOW_TRACKING_URI",
            reason: format!("{reason}; write for example http://localhost:8989"),
        };
        // The text itself stays out of the message: it may hold a password.
        let mut base =
            Url::parse(args.tracking_uri.trim()).map_err(|error| configuration(&format!("not a URI ({error})")))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(configuration("the scheme must be http or https"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(configuration("a query or fragment has no meaning here"));
        }
        let login = login(args, &base);
        // Only cannot-be-a-base URIs refuse this, and http(s) never is one.
        let _ = base.set_username("");
        let _ = base.set_password(None);
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        Ok(Self { base, login, timeout: Duration::from_secs(args.timeout_seconds), http: std::sync::Arc::default() })
    }

    /// The tracking URI without credentials and without a slash at its end, as shown to people and in answers.
    pub fn uri(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The server's version, for example `3.17.2`.
    ///
    /// # Errors
    /// As for every call; [`Error::NotMlflow`] when the answer is no version.
    pub async fn server_version(&self) -> Result<String, Error> {
        const CALL: &str = "GET version";
        let request = self.request(CALL, Method::GET, &["version"])?;
        let response = self.send(CALL, request).await?;
        let bytes = self.read(CALL, response, REPLY_BYTES_MAX).await?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        let plausible =
            text.len() <= 64 && text.starts_with(|first: char| first.is_ascii_digit()) && text.contains('.');
        if plausible { Ok(text) } else { Err(self.not_mlflow(CALL, "the answer is not a version")) }
    }

    /// Whether the server says that it is healthy.
    ///
    /// # Errors
    /// As for every call.
    pub async fn health(&self) -> Result<(), Error> {
        const CALL: &str = "GET health";
        let request = self.request(CALL, Method::GET, &["health"])?;
        let response = self.send(CALL, request).await?;
        self.read(CALL, response, REPLY_BYTES_MAX).await.map(drop)
    }

    /// `GET api/2.0/mlflow/{path}` with a query.
    pub(crate) async fn get<R: DeserializeOwned>(
        &self,
        path: &str,
        query: &(impl Serialize + ?Sized + Sync),
    ) -> Result<R, Error> {
        let call = format!("GET {path}");
        let request = self.api(&call, Method::GET, path)?.query(query);
        self.reply(&call, request).await
    }

    /// A call with a JSON body to `api/2.0/mlflow/{path}`.
    pub(crate) async fn call<R: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &(impl Serialize + ?Sized + Sync),
    ) -> Result<R, Error> {
        let call = format!("{method} {path}");
        let request = self.api(&call, method, path)?.json(body);
        self.reply(&call, request).await
    }

    /// `POST api/2.0/mlflow/{path}` with a JSON body.
    pub(crate) async fn post<R: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + ?Sized + Sync),
    ) -> Result<R, Error> {
        self.call(Method::POST, path, body).await
    }

    fn api(&self, call: &str, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let segments: Vec<&str> = ["api", "2.0", "mlflow"].into_iter().chain(path.split('/')).collect();
        self.request(call, method, &segments)
    }

    /// A request to `{base}/{segments}`; segments are percent-encoded.
    pub(crate) fn request(&self, call: &str, method: Method, segments: &[&str]) -> Result<RequestBuilder, Error> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| self.not_mlflow(call, "the URI cannot have a path"))?
            .pop_if_empty()
            .extend(segments);
        let request = self.http()?.request(method, url);
        Ok(match &self.login {
            Login::Anonymous => request,
            Login::Basic { username, password } => request.basic_auth(username, password.as_ref().map(Secret::expose)),
            Login::Bearer(token) => request.bearer_auth(token.expose()),
        })
    }

    fn http(&self) -> Result<&reqwest::Client, Error> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let mut builder = reqwest::Client::builder()
            .timeout(self.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("regrove/", env!("CARGO_PKG_VERSION")));
        if self.base.scheme() == "http" {
            // Reading the system's certificates takes longer than all the rest of a cold start.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(&self.base) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| Error::Configuration {
            setting: "MLFLOW_TRACKING_URI",
            reason: format!("no HTTP client can be made for it: {error}"),
        })?;
        Ok(self.http.get_or_init(|| http))
    }

    async fn reply<R: DeserializeOwned>(&self, call: &str, request: RequestBuilder) -> Result<R, Error> {
        let response = self.send(call, request).await?;
        let html = is_html(&response);
        let bytes = self.read(call, response, REPLY_BYTES_MAX).await?;
        if html {
            return Err(self.not_mlflow(call, "the answer is a web page"));
        }
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map_err(|error| self.not_mlflow(call, &error.to_string()))
    }

    /// Sends and sorts the status; the body of a good answer is still unread.
    pub(crate) async fn send(&self, call: &str, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.broken(call, error))?;
        tracing::debug!(call, status = response.status().as_u16(), "mlflow");
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.failure(call, response).await)
    }

    /// Reads a body up to `limit` bytes.
    pub(crate) async fn read(&self, call: &str, mut response: Response, limit: u64) -> Result<Bytes, Error> {
        let too_large = || Error::TooLarge { what: format!("the answer to {call}"), limit };
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(call, error))? {
            if u64::try_from(body.len() + chunk.len()).unwrap_or(u64::MAX) > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The connection failed before or within an answer.
    pub(crate) fn broken(&self, call: &str, error: reqwest::Error) -> Error {
        let error = error.without_url();
        let (uri, call) = (self.uri().to_owned(), call.to_owned());
        if error.is_timeout() {
            Error::Timeout { uri, call, after: self.timeout }
        } else if error.is_builder() {
            Error::NotMlflow { uri, call, reason: error.to_string() }
        } else {
            Error::Unreachable { uri, call, source: error }
        }
    }

    pub(crate) fn not_mlflow(&self, call: &str, reason: &str) -> Error {
        Error::NotMlflow { uri: self.uri().to_owned(), call: call.to_owned(), reason: reason.to_owned() }
    }

    async fn failure(&self, call: &str, response: Response) -> Error {
        let status = response.status();
        let body = match self.read(call, response, REPLY_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) if error.is_retryable() => return error,
            Err(_) => Bytes::new(),
        };
        let parsed: Option<Refusal> = serde_json::from_slice(&body).ok();
        let message = match &parsed {
            Some(refusal) => shortened(&refusal.message),
            None => shortened(&String::from_utf8_lossy(&body)),
        };
        self.sorted(call, status, parsed.map(|refusal| refusal.error_code), message)
    }

    fn sorted(&self, call: &str, status: StatusCode, error_code: Option<String>, message: String) -> Error {
        let (call, code) = (call.to_owned(), status.as_u16());
        let Some(error_code) = error_code else {
            return match status {
                StatusCode::FORBIDDEN if message.contains("Invalid Host header") => {
                    Error::HostRefused { host: self.base.host_str().unwrap_or_default().to_owned() }
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Unauthorized { call, status: code },
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Error::NoSuchEndpoint { call },
                StatusCode::TOO_MANY_REQUESTS => Error::Unavailable { call, status: code, message },
                status if status.is_server_error() => Error::Unavailable { call, status: code, message },
                _ => self.not_mlflow(&call, &format!("status {code} without MLflow's error object")),
            };
        };
        match (status, error_code.as_str()) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Error::Unauthorized { call, status: code },
            // MLflow passes the database's words on: two writers of the same row, of which one came second.
            (StatusCode::BAD_REQUEST, "BAD_REQUEST") if message.contains("IntegrityError") => {
                Error::Contended { call, message }
            }
            (_, "RESOURCE_ALREADY_EXISTS") => Error::AlreadyExists { message },
            (StatusCode::NOT_FOUND, "RESOURCE_DOES_NOT_EXIST" | "NOT_FOUND") => Error::NotFound { what: call, message },
            (StatusCode::NOT_FOUND, "ENDPOINT_NOT_FOUND") => Error::NoSuchEndpoint { call },
            (StatusCode::NOT_IMPLEMENTED, _) => Error::Refused { call, status: code, error_code, message },
            (StatusCode::TOO_MANY_REQUESTS, _) => Error::Unavailable { call, status: code, message },
            (status, _) if status.is_server_error() => Error::Unavailable { call, status: code, message },
            _ => Error::Refused { call, status: code, error_code, message },
        }
    }
}

#[derive(serde::Deserialize)]
struct Refusal {
    error_code: String,
    #[serde(default)]
    message: String,
}

/// As in Python's client: a user name wins over a token; a login in the URI is used when neither is set.
fn login(args: &MlflowArgs, base: &Url) -> Login {
    if let Some(username) = args.username.as_ref().filter(|name| !name.is_empty()) {
        return Login::Basic { username: username.clone(), password: args.password.clone() };
    }
    if let Some(token) = args.token.as_ref().filter(|token| !token.expose().is_empty()) {
        return Login::Bearer(token.clone());
    }
    if base.username().is_empty() {
        return Login::Anonymous;
    }
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    Login::Basic {
        username: decoded(base.username()),
        password: base.password().map(|password| Secret::from(decoded(password))),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn is_html(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("text/html"))
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(uri: &str) -> Client {
        Client::new(&MlflowArgs::for_uri(uri)).unwrap()
    }

    fn sorted(status: u16, code: Option<&str>, message: &str) -> Error {
        client("http://mlflow.ns:5000").sorted(
            "GET x",
            StatusCode::from_u16(status).unwrap(),
            code.map(str::to_owned),
            message.to_owned(),
        )
    }

    #[test]
    fn answers_are_sorted_by_what_to_do_about_them() {
        assert!(sorted(503, None, "").is_retryable());
        assert!(sorted(500, Some("INTERNAL_ERROR"), "").is_retryable());
        assert!(sorted(429, Some("REQUEST_LIMIT_EXCEEDED"), "").is_retryable());
        assert!(!sorted(501, Some("NOT_IMPLEMENTED"), "").is_retryable());
        assert!(sorted(404, Some("RESOURCE_DOES_NOT_EXIST"), "").is_not_found());
        assert!(matches!(sorted(404, None, "<html>"), Error::NoSuchEndpoint { .. }));
        assert!(matches!(sorted(401, None, "no"), Error::Unauthorized { status: 401, .. }));
        assert!(matches!(sorted(400, Some("RESOURCE_ALREADY_EXISTS"), ""), Error::AlreadyExists { .. }));
        assert!(matches!(sorted(400, Some("INVALID_PARAMETER_VALUE"), ""), Error::Refused { status: 400, .. }));
        let raced = "(sqlite3.IntegrityError) UNIQUE constraint failed: params.key, params.run_uuid";
        assert!(sorted(400, Some("BAD_REQUEST"), raced).is_retryable());
        assert!(!sorted(400, Some("BAD_REQUEST"), "Bad Request").is_retryable());
        assert!(matches!(sorted(302, None, ""), Error::NotMlflow { .. }));
    }

    #[test]
    fn a_refused_host_names_the_setting_of_the_server() {
        let error = sorted(403, None, "Invalid Host header - possible DNS rebinding attack detected");
        let text = error.to_string();
        assert!(text.contains("MLFLOW_SERVER_ALLOWED_HOSTS=mlflow.ns,mlflow.ns:*"), "{text}");
    }

    #[test]
    fn a_uri_that_cannot_work_is_refused_without_being_shown() {
        for uri in ["localhost:8989", "file:///mlruns", "hush hush", "http://h/?a=b", ""] {
            let error = Client::new(&MlflowArgs::for_uri(uri)).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("MLFLOW_TRACKING_URI: "), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
    }

    #[test]
    fn credentials_in_the_uri_are_used_and_hidden() {
        let client = client("http://ann:pa%20ss@host:5000/base/");
        assert_eq!(client.uri(), "http://host:5000/base");
        let request = client.request("x", Method::GET, &["a b"]).unwrap().build().unwrap();
        assert_eq!(request.url().as_str(), "http://host:5000/base/a%20b");
        assert_eq!(request.headers()["authorization"], "Basic YW5uOnBhIHNz");
        assert!(!format!("{client:?}").contains("ann"));
    }

    #[test]
    fn a_token_is_sent_as_bearer() {
        let mut args = MlflowArgs::for_uri("http://host");
        args.token = Some(Secret::from("t0ken".to_owned()));
        let client = Client::new(&args).unwrap();
        let request = client.request("x", Method::GET, &["version"]).unwrap().build().unwrap();
        assert_eq!(request.headers()["authorization"], "Bearer t0ken");
        assert_eq!(request.url().as_str(), "http://host/version");
    }

    #[test]
    fn no_origin_is_sent_since_the_server_refuses_foreign_ones() {
        let request = client("http://host").request("x", Method::POST, &[]).unwrap();
        assert!(request.build().unwrap().headers().get("origin").is_none());
    }
}
