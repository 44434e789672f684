//! The API's documents: OpenAPI 3.1 from the code's own types, Swagger UI and ReDoc. All of it is inside the binary.
//!
//! The pages name all else relative to themselves, so that they work wherever a proxy puts them.

mod file;
mod openapi;

use std::sync::{Arc, OnceLock};

use hyper::body::Bytes;
use hyper::header::HeaderMap;

use super::error::Refusal;
use super::reply::Reply;
use file::File;

pub use openapi::openapi_json;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SWAGGER_PAGE: &str = include_str!("docs/pages/swagger-ui.html");
const SWAGGER_START: &str = include_str!("docs/pages/swagger-initializer.js");
const REDOC_PAGE: &str = include_str!("docs/pages/redoc.html");
/// What starts ReDoc. The crate's own line leaves a gap of 50 pixels above the menu, for a head that this page lacks.
const REDOC_START: &str =
    "Redoc.init(new URL('openapi.json', document.baseURI).href, {}, document.getElementById('redoc-container'));\n";
/// The image that ReDoc would fetch for its footer, and so tell others who reads the documents.
const REDOC_LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";
/// An image without content, which ReDoc leaves out.
const NO_LOGO: &str = "data:,";

/// What makes a file.
type Source = fn() -> Result<Bytes, Refusal>;

/// Every file with its path, its type and what makes it.
const FILES: [(&str, &str, Source); 9] = [
    ("/openapi.json", "application/json", || openapi().map(Bytes::from)),
    ("/docs", HTML, || Ok(SWAGGER_PAGE.replace("BASE", "./").into())),
    // Seen from here, everything is one floor up.
    ("/docs/", HTML, || Ok(SWAGGER_PAGE.replace("BASE", "../").into())),
    ("/docs/swagger-initializer.js", SCRIPT, || Ok(Bytes::from_static(SWAGGER_START.as_bytes()))),
    ("/docs/swagger-ui-bundle.js", SCRIPT, || vendored("swagger-ui-bundle.js")),
    ("/docs/swagger-ui.css", "text/css; charset=utf-8", || vendored("swagger-ui.css")),
    ("/docs/favicon-32x32.png", "image/png", || vendored("favicon-32x32.png")),
    ("/redoc", HTML, || Ok(Bytes::from_static(REDOC_PAGE.as_bytes()))),
    ("/redoc/redoc.js", SCRIPT, || Ok(redoc_script().into())),
];

/// The documents, made and compressed when first asked for: a service that nobody reads about keeps its memory.
#[derive(Debug, Default)]
pub struct Docs {
    files: [OnceLock<File>; FILES.len()],
}

impl Docs {
    /// The document at `path`, to a request with these headers.
    pub(super) fn answer(&self, path: &str, headers: &HeaderMap) -> Result<Reply, Refusal> {
        self.file(path)?.answer(headers)
    }

    fn file(&self, path: &str) -> Result<&File, Refusal> {
        let mut files = FILES.iter().zip(&self.files);
        let ((_, content_type, source), made) = files.find(|((at, ..), _)| *at == path).ok_or(Refusal::NOT_FOUND)?;
        if let Some(file) = made.get() {
            return Ok(file);
        }
        // Two who come at once both make it; nobody waits for the other.
        let file = File::new(content_type, source()?)?;
        Ok(made.get_or_init(|| file))
    }
}

fn openapi() -> Result<String, Refusal> {
    openapi_json().map_err(|error| {
        tracing::error!(%error, "the OpenAPI document does not serialize");
        Refusal::INTERNAL
    })
}

/// A file of Swagger UI as its makers have it.
fn vendored(name: &str) -> Result<Bytes, Refusal> {
    let found = utoipa_swagger_ui::serve(name, Arc::new(utoipa_swagger_ui::Config::from("openapi.json")));
    let found = found.map_err(|error| {
        tracing::error!(%error, "Swagger UI cannot be served");
        Refusal::INTERNAL
    })?;
    match found.ok_or(Refusal::NOT_FOUND)?.bytes {
        std::borrow::Cow::Borrowed(bytes) => Ok(Bytes::from_static(bytes)),
        std::borrow::Cow::Owned(bytes) => Ok(Bytes::from(bytes)),
    }
}

/// ReDoc's bundle and the line that starts it. The crate has the bundle only inside a page, where the content security policy
/// would have to allow inline scripts.
fn redoc_script() -> String {
    let page = aide::redoc::Redoc::new("openapi.json").html();
    let bundle = page.split_once("<script>").and_then(|(_, rest)| rest.rsplit_once("Redoc.init("));
    bundle.map_or("", |(bundle, _)| bundle).replace(REDOC_LOGO, NO_LOGO) + REDOC_START
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crates_redoc_page_is_cut_where_it_should_be() {
        let page = aide::redoc::Redoc::new("/openapi.json").html();
        assert_eq!(page.matches(REDOC_LOGO).count(), 1, "ReDoc has another logo");
        let docs = Docs::default();
        let script = std::str::from_utf8(docs.file("/redoc/redoc.js").unwrap().plain()).unwrap();
        assert!(script.len() > 500_000, "the bundle is missing: {} bytes", script.len());
        assert_eq!(script.matches("Redoc.init(").count(), 1);
        assert!(!script.contains("</script>"), "more than the script");
    }

    #[test]
    fn every_file_is_there() {
        let docs = Docs::default();
        for (path, ..) in FILES {
            assert!(!docs.file(path).unwrap().plain().is_empty(), "{path}");
        }
    }
}
