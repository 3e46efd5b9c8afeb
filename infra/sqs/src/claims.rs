//! The claim check: what is too large for a message lies in S3 under its hash.
//!
//! Two calls, `PUT` and `GET` of an object, signed by AWS's own signer (Signature Version 4).

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use regrove_events::with_causes;
use tokio::sync::OnceCell;
use url::Url;

use crate::{Error, OpenError, SqsArgs, message};

/// Largest data of one event in S3, in bytes: 64 MiB.
pub const CLAIM_BYTES_MAX: u64 = 64 << 20;

/// Folder of the bucket.
const FOLDER: &str = "claims/";
/// How long S3 may take for one object.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Data of large events, in a bucket.
#[derive(Debug)]
pub(crate) struct Claims {
    bucket: String,
    endpoint: Option<Url>,
    client: OnceCell<reqwest::Client>,
}

impl Claims {
    /// Those of the bucket that the arguments name, if they name one.
    pub(crate) fn new(args: &SqsArgs) -> Result<Option<Self>, OpenError> {
        let Some(bucket) = args.claim_bucket.clone().filter(|bucket| !bucket.is_empty()) else { return Ok(None) };
        let admitted = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(admitted) {
            return Err(OpenError::Bucket { bucket });
        }
        Ok(Some(Self { bucket, endpoint: args.s3_endpoint.clone(), client: OnceCell::new() }))
    }

    /// Where data are or will be.
    pub(crate) fn reference(&self, data: &[u8]) -> String {
        format!("s3://{}/{FOLDER}{}", self.bucket, message::hash(data))
    }

    /// The key of a reference into this bucket's folder; `None` for everybody else's.
    fn key<'a>(&self, reference: &'a str) -> Option<&'a str> {
        let key = reference.strip_prefix("s3://")?.strip_prefix(self.bucket.as_str())?.strip_prefix('/')?;
        let hash = key.strip_prefix(FOLDER)?;
        hash.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')).then_some(key)
    }

    /// Whether a reference is ours to follow.
    pub(crate) fn owns(&self, reference: &str) -> bool {
        self.key(reference).is_some()
    }

    /// Stores data and returns when S3 has them.
    pub(crate) async fn put(&self, config: &SdkConfig, reference: &str, data: Bytes) -> Result<(), Error> {
        let fault = |reason: String| Error::Bucket { what: "writing", reference: reference.to_owned(), reason };
        let key = self.key(reference).ok_or_else(|| fault("it is not in this bucket".to_owned()))?;
        let response = self.call(config, Method::PUT, key, data).await.map_err(fault)?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(fault(said(status, response).await))
    }

    /// Fetches data and compares them with their hash.
    pub(crate) async fn get(&self, config: &SdkConfig, reference: &str) -> Result<Bytes, Error> {
        let fault = |reason: String| Error::Bucket { what: "reading", reference: reference.to_owned(), reason };
        let wrong = |reason: String| Error::Claim { reference: reference.to_owned(), reason };
        let key = self.key(reference).ok_or_else(|| wrong("it is not in this bucket".to_owned()))?;
        let mut response = self.call(config, Method::GET, key, Bytes::new()).await.map_err(fault)?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Err(wrong("it is gone; the bucket's lifecycle is shorter than the queue's retention".to_owned()));
        }
        if !status.is_success() {
            return Err(fault(said(status, response).await));
        }
        let mut data = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| fault(error.to_string()))? {
            if (data.len() + chunk.len()) as u64 > CLAIM_BYTES_MAX {
                return Err(wrong(format!("it has more than {CLAIM_BYTES_MAX} bytes")));
            }
            data.extend_from_slice(&chunk);
        }
        let found = self.reference(&data);
        if found != reference {
            return Err(wrong(format!("its bytes belong to {found}")));
        }
        Ok(data.into())
    }

    async fn call(
        &self,
        config: &SdkConfig,
        method: Method,
        key: &str,
        data: Bytes,
    ) -> Result<reqwest::Response, String> {
        let region = config.region().map(|region| region.as_ref().to_owned()).ok_or("AWS_REGION is not set")?;
        let address = self.address(config, &region, key)?;
        let provider = config.credentials_provider().ok_or("no AWS credentials are configured")?;
        let identity = provider.provide_credentials().await.map_err(|error| with_causes(&error))?.into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&region)
            .name("s3")
            .time(now())
            .settings(settings)
            .build()
            .map_err(|error| with_causes(&error))?
            .into();
        let body = SignableBody::Bytes(&data);
        let signable = SignableRequest::new(method.as_str(), address.as_str(), std::iter::empty(), body)
            .map_err(|error| with_causes(&error))?;
        let (instructions, _) = sign(signable, &params).map_err(|error| with_causes(&error))?.into_parts();
        let client = self.client.get_or_try_init(async || http_client(&address)).await?;
        let mut request = client.request(method, address);
        for (name, value) in instructions.headers() {
            let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            request = request.header(name, value);
        }
        request.body(data).send().await.map_err(|error| with_causes(&error))
    }

    /// By path at an endpoint of one's own, by host at Amazon's.
    fn address(&self, config: &SdkConfig, region: &str, key: &str) -> Result<Url, String> {
        let own = match &self.endpoint {
            Some(endpoint) => Some(endpoint.to_string()),
            None => config.endpoint_url().map(str::to_owned),
        };
        let bucket = &self.bucket;
        let text = match own {
            Some(endpoint) => format!("{}/{bucket}/{key}", endpoint.trim_end_matches('/')),
            None => format!("https://{bucket}.s3.{region}.amazonaws.com/{key}"),
        };
        text.parse().map_err(|error| format!("{text}: {error}"))
    }
}

fn http_client(address: &Url) -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).no_proxy();
    // TLS roots cost milliseconds to read, and a FROM-scratch image may have none.
    let builder = if address.scheme() == "https" { builder } else { builder.tls_certs_only([]) };
    builder.build().map_err(|error| with_causes(&error))
}

async fn said(status: StatusCode, response: reqwest::Response) -> String {
    let body: String = response.text().await.unwrap_or_default().chars().take(512).collect();
    format!("S3 answered {status}: {body}")
}

/// A signature holds for minutes from the time that it names.
fn now() -> SystemTime {
    SystemTime::now()
}
