//! Request bodies: read within a limit and a time, parsed into typed fields, wiped afterwards.

mod given;
mod rules;
mod violation;

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::timeout;
use zeroize::Zeroizing;

pub use given::{Broken, Given, Secret, Shape};
pub use rules::{MAX_VALUES, check};
pub use violation::Violation;

/// How much of a body over the limit is read and discarded before the refusal, in multiples of the limit. Without that,
/// a client that is still sending would see a reset instead of the answer.
const DISCARDED_BODIES: usize = 16;

/// Why a body can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyError {
    /// Not declared as JSON.
    #[error("the content type is not JSON")]
    NotJsonType,
    /// Over the limit.
    #[error("the body is too large")]
    TooLarge,
    /// Not there in time.
    #[error("the body came too slowly")]
    TooSlow,
    /// The connection broke, or the framing.
    #[error("the body is incomplete")]
    Incomplete,
    /// Not JSON, or not UTF-8, or nested too deeply.
    #[error("the body is not JSON")]
    NotJson,
    /// JSON, but no object.
    #[error("the body is not an object")]
    NotAnObject,
    /// An object in it has a key twice.
    #[error("the body has a key twice")]
    DuplicateKey,
    /// More than [`MAX_VALUES`] in it.
    #[error("the body has too many values")]
    TooManyValues,
}

/// Reads the body of a request, which has to be declared as JSON.
///
/// # Errors
/// [`BodyError::NotJsonType`], [`BodyError::TooLarge`], [`BodyError::TooSlow`], [`BodyError::Incomplete`].
pub async fn receive<B>(
    headers: &HeaderMap,
    body: B,
    max_bytes: usize,
    patience: Duration,
) -> Result<Zeroizing<Vec<u8>>, BodyError>
where
    B: Body + Unpin,
{
    if !is_json(headers) {
        return Err(BodyError::NotJsonType);
    }
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    timeout(patience, collect(body, declared, max_bytes)).await.map_err(|_| BodyError::TooSlow)?
}

/// Parses a body that keeps the rules of all bodies. A type whose fields are [`Given`] takes every such body.
///
/// # Errors
/// The errors of [`check`].
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BodyError> {
    check(bytes)?;
    serde_json::from_slice(bytes).map_err(|_| BodyError::NotJson)
}

async fn collect<B>(mut body: B, declared: Option<usize>, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, BodyError>
where
    B: Body + Unpin,
{
    // Room for what is declared. Without that, little: the bodies of many requests may never come.
    let mut bytes = Zeroizing::new(Vec::with_capacity(declared.unwrap_or(0).clamp(1024, max_bytes)));
    let mut received = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Incomplete)?.into_data() else { continue };
        let mut data = data;
        received = received.saturating_add(hyper::body::Buf::remaining(&data));
        if received > max_bytes.saturating_mul(DISCARDED_BODIES) {
            break;
        }
        while received <= max_bytes && hyper::body::Buf::has_remaining(&data) {
            let chunk = hyper::body::Buf::chunk(&data);
            append(&mut bytes, chunk);
            let length = chunk.len();
            hyper::body::Buf::advance(&mut data, length);
        }
    }
    if received > max_bytes { Err(BodyError::TooLarge) } else { Ok(bytes) }
}

/// Appends `chunk`. Where there is no room, the bytes move by hand, because a vector that grows leaves a copy of passwords
/// behind.
fn append(bytes: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    let length = bytes.len() + chunk.len();
    if length > bytes.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * length));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
    bytes.extend_from_slice(chunk);
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}
