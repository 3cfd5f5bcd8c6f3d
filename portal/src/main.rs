//! Accounts, organisations, the web pages and the JSON API: writes what tenants want.

fn main() {}
