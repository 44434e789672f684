//! The API's documents: OpenAPI 3.1 from the code's own types, Swagger UI and ReDoc. All of it is inside the binary.

mod openapi;

use std::sync::{Arc, OnceLock};

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};

use super::error::Refusal;
use super::reply::Reply;

pub use openapi::openapi_json;

/// Own scripts only; styles that the pages set on their elements; ReDoc's search runs in a worker made from a blob.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:; base-uri 'self'; \
     frame-ancestors 'none'",
);
const TITLE: &str = "User Management API";
const REDOC_PAGE: &str = "<!DOCTYPE html>
<html lang=\"en\">
  <head>
    <meta charset=\"UTF-8\">
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
    <title>User Management API</title>
    <link rel=\"icon\" type=\"image/png\" href=\"/docs/favicon-32x32.png\">
    <style>body { margin: 0; }</style>
  </head>
  <body>
    <div id=\"redoc-container\"></div>
    <script src=\"/redoc/redoc.js\"></script>
  </body>
</html>
";
/// What starts ReDoc. The crate's own line leaves a gap of 50 pixels above the menu, for a head that this page lacks.
const REDOC_START: &str = "Redoc.init('/openapi.json', {}, document.getElementById('redoc-container'));\n";
/// The image that ReDoc would fetch for its footer, and so tell others who reads the documents.
const REDOC_LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";
/// An image without content, which ReDoc leaves out.
const NO_LOGO: &str = "data:,";

/// The documents, made when first asked for: a service that nobody reads about keeps its memory.
#[derive(Debug, Default)]
pub struct Docs {
    openapi: OnceLock<Bytes>,
    redoc_script: OnceLock<Bytes>,
}

impl Docs {
    pub(super) fn openapi(&self) -> Result<Reply, Refusal> {
        let text = if let Some(text) = self.openapi.get() {
            text.clone()
        } else {
            let text = openapi_json().map_err(|error| {
                tracing::error!(%error, "the OpenAPI document does not serialize");
                Refusal::INTERNAL
            })?;
            self.openapi.get_or_init(|| Bytes::from(text)).clone()
        };
        Ok(Reply::of_type(StatusCode::OK, "application/json", text))
    }

    /// Swagger UI's page at `/docs`, its files below.
    pub(super) fn swagger_ui(path: &str) -> Result<Reply, Refusal> {
        let file = path.strip_prefix("/docs").unwrap_or_default().trim_start_matches('/');
        // Under any name but localhost, Swagger UI would show the document to a validator on the web.
        let config = utoipa_swagger_ui::Config::from("/openapi.json").try_it_out_enabled(true).validator_url("none");
        let found = utoipa_swagger_ui::serve(file, Arc::new(config)).map_err(|error| {
            tracing::error!(%error, "Swagger UI cannot be served");
            Refusal::INTERNAL
        })?;
        let found = found.ok_or(Refusal::NOT_FOUND)?;
        let body = if file.is_empty() {
            // The page names its files relative to itself, and /docs has no slash at its end.
            let page = String::from_utf8_lossy(&found.bytes).replace("<head>", "<head><base href=\"/docs/\">");
            Bytes::from(page.replace("<title>Swagger UI", &format!("<title>{TITLE}")))
        } else {
            match found.bytes {
                std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
            }
        };
        let content_type = HeaderValue::try_from(found.content_type).map_err(|_| Refusal::INTERNAL)?;
        let mut reply = page("text/html; charset=utf-8", body);
        if !file.is_empty() {
            reply.headers.insert(hyper::header::CONTENT_TYPE, content_type);
        }
        Ok(reply)
    }

    pub(super) fn redoc() -> Reply {
        page("text/html; charset=utf-8", REDOC_PAGE)
    }

    /// ReDoc's bundle and the line that starts it. The crate has the bundle only inside a page, where the content security
    /// policy would have to allow inline scripts.
    pub(super) fn redoc_script(&self) -> Reply {
        let script = self.redoc_script.get_or_init(|| {
            let page = aide::redoc::Redoc::new("/openapi.json").html();
            let bundle = page.split_once("<script>").and_then(|(_, rest)| rest.rsplit_once("Redoc.init("));
            let bundle = bundle.map_or("", |(bundle, _)| bundle).replace(REDOC_LOGO, NO_LOGO);
            Bytes::from(bundle + REDOC_START)
        });
        page("text/javascript; charset=utf-8", script.clone())
    }
}

fn page(content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Reply::of_type(StatusCode::OK, content_type, body);
    reply.headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crates_redoc_page_is_cut_where_it_should_be() {
        let page = aide::redoc::Redoc::new("/openapi.json").html();
        assert_eq!(page.matches(REDOC_LOGO).count(), 1, "ReDoc has another logo");
        let script = Docs::default().redoc_script().body;
        let script = std::str::from_utf8(&script).unwrap();
        assert!(script.len() > 500_000, "the bundle is missing: {} bytes", script.len());
        assert_eq!(script.matches("Redoc.init(").count(), 1);
        assert!(!script.contains("</script>"), "more than the script");
    }
}
