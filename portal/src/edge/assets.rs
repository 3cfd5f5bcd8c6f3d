//! The style sheet, the script and the pictures, carried inside the program. Their addresses hold a part of
//! their hash, so browsers keep them for good and still see a new one at once.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use crate::problem::Problem;

#[derive(RustEmbed)]
#[folder = "../web/assets"]
struct Assets;

static ADDRESSES: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let address = |name: &str| {
        let file = Assets::get(name)?;
        let version = hex::encode(&file.metadata.sha256_hash()[..6]);
        Some((name.to_owned(), format!("/assets/{name}?v={version}")))
    };
    Assets::iter().filter_map(|name| address(&name)).collect()
});

/// The address of an asset, for templates.
pub fn address(name: &str) -> &'static str {
    ADDRESSES.get(name).map_or("/assets/missing", String::as_str)
}

/// `GET /assets/{name}`.
pub async fn serve(Path(name): Path<String>) -> Result<Response, Problem> {
    let file = Assets::get(&name).ok_or(Problem::Missing("file"))?;
    let kind = HeaderValue::try_from(file.metadata.mimetype()).map_err(|error| Problem::internal(&error))?;
    let mut response = file.data.into_owned().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, keep);
    Ok(response)
}

/// `GET /favicon.ico`: browsers ask for it whatever the page says.
pub async fn favicon() -> Result<Response, Problem> {
    serve(Path("logo.svg".into())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_templates_name_is_there() {
        for name in ["style.css", "live.js", "logo.svg"] {
            assert!(address(name).contains("?v="), "{name}");
        }
    }
}
