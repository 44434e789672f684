//! The bearer token of a request (RFC 6750, section 2.1).

use hyper::header::{AUTHORIZATION, HeaderMap};
use thiserror::Error;

/// Why a request carries no bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BearerError {
    /// There is no Authorization header.
    #[error("there is no Authorization header")]
    Absent,
    /// It is not `Bearer` and one token.
    #[error("the Authorization header is malformed")]
    Malformed,
}

/// The token, not verified. The scheme may be written in any case (RFC 9110, section 11.1).
///
/// # Errors
/// [`BearerError`].
pub fn token(headers: &HeaderMap) -> Result<&str, BearerError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(BearerError::Absent)?;
    if values.next().is_some() {
        return Err(BearerError::Malformed);
    }
    let text = str::from_utf8(value.as_bytes()).map_err(|_| BearerError::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(BearerError::Malformed)?;
    // Without a branch for each byte, so that the compiler compares many bytes at a time.
    let is_token = !token.is_empty() && token.bytes().fold(true, |so_far, c| so_far & c.is_ascii_graphic());
    if scheme.eq_ignore_ascii_case("bearer") && is_token { Ok(token) } else { Err(BearerError::Malformed) }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn token_of(values: &[&str]) -> Result<String, BearerError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        token(&headers).map(str::to_owned)
    }

    #[test]
    fn one_bearer_header_is_a_token() {
        assert_eq!(token_of(&["Bearer abc.def"]).as_deref(), Ok("abc.def"));
        assert_eq!(token_of(&["bearer abc"]).as_deref(), Ok("abc"));
    }

    #[test]
    fn anything_else_is_not() {
        assert_eq!(token_of(&[]), Err(BearerError::Absent));
        for value in ["", "Bearer", "Bearer ", "Bearer  a", "Bearer a b", "Basic abc", "abc", "Bearer\ta", "Bearer é"]
        {
            assert_eq!(token_of(&[value]), Err(BearerError::Malformed), "{value:?}");
        }
        assert_eq!(token_of(&["Bearer a", "Bearer b"]), Err(BearerError::Malformed));
    }
}
