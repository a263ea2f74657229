//! The files of the console's page, as they are in the source.

/// One file of the page.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// The value of its `content-type`.
    pub content_type: &'static str,
    /// The contents.
    pub text: &'static str,
}

/// Returns the file at a path.
#[must_use]
pub fn asset(path: &str) -> Option<Asset> {
    let (content_type, text) = match path {
        "/" => (HTML, include_str!("page/index.html")),
        "/console/style.css" => (CSS, include_str!("page/style.css")),
        "/console/icon.svg" => (SVG, include_str!("page/icon.svg")),
        "/console/main.js" => (SCRIPT, include_str!("page/main.js")),
        "/console/format.js" => (SCRIPT, include_str!("page/format.js")),
        "/console/plot.js" => (SCRIPT, include_str!("page/plot.js")),
        "/console/source.js" => (SCRIPT, include_str!("page/source.js")),
        "/console/table.js" => (SCRIPT, include_str!("page/table.js")),
        _ => return None,
    };
    Some(Asset { content_type, text })
}

/// The rights of the page: it may load its own files and ask its own server, and makes no markup out of texts.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
