//! How fast a client may use the API.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::edge::address::ClientAddress;
use crate::problem::Problem;

/// Counts each request by its client's address.
pub async fn by_address(
    State(app): State<App>,
    address: ClientAddress,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    app.rates.requests.take(address.rate_key()).await?;
    Ok(next.run(request).await)
}
