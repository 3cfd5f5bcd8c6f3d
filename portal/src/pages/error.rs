//! The page of a problem.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};

use crate::pages::frame::Frame;
use crate::problem::Shown;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    shown: &'a Shown,
    request_id: &'a str,
}

/// A problem for people.
pub fn render(shown: &Shown, request_id: &str) -> Response {
    let page = ErrorPage { frame: Frame::bare(), shown, request_id };
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!("cannot render the error page: {error}");
            format!("{}\n{}\n", shown.detail, shown.fix).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problem;

    #[test]
    fn the_page_says_what_happened_and_what_to_do_and_escapes_it() {
        let shown = Problem::conflict("A <b> is taken.", "Choose another.").shown();
        let html = ErrorPage { frame: Frame::bare(), shown: &shown, request_id: "abc123" }.render().unwrap();
        assert!(
            html.contains("A &#60;b&#62; is taken.")
                && html.contains("Choose another.")
                && html.contains("abc123")
        );
    }
}
