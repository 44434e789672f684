//! The API's documents: OpenAPI 3.1 from the code's own types, Swagger UI and ReDoc. All of it is inside the binary.
//!
//! The pages use relative links, so that they work below any path of a proxy.

pub mod answers;
pub mod description;
mod file;
mod openapi;

use std::sync::{Arc, OnceLock};

use hyper::body::Bytes;

use super::endpoint::{self, Call, Endpoint, Spec};
use super::error::Refusal;
use super::limits::class::Class;
use super::reply::Reply;
use file::File;

pub use openapi::openapi_json;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SWAGGER_PAGE: &str = include_str!("docs/pages/swagger-ui.html");
const SWAGGER_START: &str = include_str!("docs/pages/swagger-initializer.js");
const REDOC_PAGE: &str = include_str!("docs/pages/redoc.html");
/// Starts ReDoc. The crate's own line leaves a gap of 50 pixels above the menu, for a header that this page lacks.
const REDOC_START: &str =
    "Redoc.init(new URL('openapi.json', document.baseURI).href, {}, document.getElementById('redoc-container'));\n";
/// The image that ReDoc would fetch for its footer. The fetch would reveal readers to a third party.
const REDOC_LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";
/// An image without content, which ReDoc leaves out.
const NO_LOGO: &str = "data:,";

/// Makes a file, from the described endpoints where it needs them.
type Source = fn(&[Spec]) -> Result<Bytes, Refusal>;

/// Every file: its path, its label in metrics, its content type and its source.
const FILES: [(&str, &str, &str, Source); 9] = [
    ("/openapi.json", "/openapi.json", "application/json", |specs| openapi(specs).map(Bytes::from)),
    ("/docs", "/docs", HTML, |_| Ok(SWAGGER_PAGE.replace("BASE", "./").into())),
    // With the slash at the end, relative links start one level deeper.
    ("/docs/", "/docs", HTML, |_| Ok(SWAGGER_PAGE.replace("BASE", "../").into())),
    ("/docs/swagger-initializer.js", "/docs", SCRIPT, |_| Ok(Bytes::from_static(SWAGGER_START.as_bytes()))),
    ("/docs/swagger-ui-bundle.js", "/docs", SCRIPT, |_| vendored("swagger-ui-bundle.js")),
    ("/docs/swagger-ui.css", "/docs", "text/css; charset=utf-8", |_| vendored("swagger-ui.css")),
    ("/docs/favicon-32x32.png", "/docs", "image/png", |_| vendored("favicon-32x32.png")),
    ("/redoc", "/redoc", HTML, |_| Ok(Bytes::from_static(REDOC_PAGE.as_bytes()))),
    ("/redoc/redoc.js", "/redoc/redoc.js", SCRIPT, |_| Ok(redoc_script().into())),
];

/// The endpoints of the documents about those of the API.
#[must_use]
pub fn endpoints(api: &[Endpoint]) -> Vec<Endpoint> {
    let specs: Arc<[_]> = api.iter().filter_map(Endpoint::spec).collect();
    let endpoint = |(path, label, content_type, source)| {
        let document = Document { content_type, source, specs: Arc::clone(&specs), made: OnceLock::new() };
        endpoint::get(path, Class::DOCS).label(label).handle(document, answer)
    };
    FILES.into_iter().map(endpoint).collect()
}

/// A document. It is made and compressed at its first request, so that documents that nobody reads take no memory.
struct Document {
    content_type: &'static str,
    source: Source,
    specs: Arc<[Spec]>,
    made: OnceLock<File>,
}

async fn answer(document: Arc<Document>, call: Call) -> Result<Reply, Refusal> {
    document.file()?.answer(&call.head.headers)
}

impl Document {
    fn file(&self) -> Result<&File, Refusal> {
        if let Some(file) = self.made.get() {
            return Ok(file);
        }
        // Two requests at once both make it; neither waits for the other.
        let file = File::new(self.content_type, (self.source)(&self.specs)?)?;
        Ok(self.made.get_or_init(|| file))
    }
}

fn openapi(specs: &[Spec]) -> Result<String, Refusal> {
    openapi_json(specs).map_err(|error| {
        tracing::error!(%error, "the OpenAPI document does not serialize");
        Refusal::INTERNAL
    })
}

/// A file of Swagger UI, unchanged.
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
        let script = redoc_script();
        assert!(script.len() > 500_000, "the bundle is missing: {} bytes", script.len());
        assert_eq!(script.matches("Redoc.init(").count(), 1);
        assert!(!script.contains("</script>"), "more than the script");
    }

    #[test]
    fn every_file_is_there() {
        for (path, _, _, source) in FILES {
            assert!(!source(&[]).unwrap().is_empty(), "{path}");
        }
    }
}
