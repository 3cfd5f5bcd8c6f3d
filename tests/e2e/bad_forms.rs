use std::time::{Duration, Instant};

use e2e::cloud::Cloud;
use e2e::http::Ask;
use e2e::person::Person;
use e2e::visitor::Visitor;
use e2e::wait::until;
use hyper::Method;
use serde_json::{Value, json};

async fn login(visitor: &Visitor, email: &str, password: &str) -> anyhow::Result<e2e::http::Answer> {
    visitor.post_json("/api/v1/login", &json!({"email": email, "password": password})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weak_password_is_refused_with_a_reason_and_makes_no_account() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    for password in ["", "short", "password", "12345678", "qwertyuiop", "letmein123", "aaaaaaaaaaaaaaa"] {
        let visitor = Visitor::of(cloud);
        let email = Person::fresh_email();
        let answer = visitor.sign_up(&email, password).await?;
        assert!(answer.status.is_client_error(), "{password:?} was answered {}", answer.status);
        let page = answer.text();
        assert!(page.contains(&email), "the form keeps what was typed");
        assert!(page.to_lowercase().contains("password"), "and says what is wrong");
        assert!(visitor.mails_to(&email).await?.is_empty(), "no mail for {password:?}");
    }
    let visitor = Visitor::of(cloud);
    let email = Person::fresh_email();
    let answer = visitor.sign_up(&email, &email).await?;
    assert!(answer.status.is_client_error(), "one's own address is no password");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_password_counts_to_its_last_byte() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let browser = Visitor::of(cloud);
    let (email, password) = (Person::fresh_email(), format!("{}ä last", "kelp gravel orbit ".repeat(6)));
    browser.sign_up(&email, &password).await?;
    let link = until("the mail", Duration::from_secs(10), async || {
        browser.verification_link(&email).await.map(Some)
    })
    .await?;
    browser.verify(&link).await?;
    login(&Visitor::of(cloud), &email, &password).await?.expect(200)?;
    let cut: String = password.chars().take(password.chars().count() - 1).collect();
    login(&Visitor::of(cloud), &email, &cut).await?.expect(401)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_already_used_looks_like_a_fresh_one() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let person = Person::sign_up(cloud).await?;
    let blank = |text: String, email: &str| {
        let token = e2e::visitor::attribute_values(&text, "value")
            .into_iter()
            .find(|value| value.len() > 20)
            .unwrap_or_default();
        let nonce = e2e::visitor::attribute_values(&text, "nonce").into_iter().next().unwrap_or_default();
        let mut text = text.replace(email, "EMAIL");
        for secret in [token, nonce] {
            if !secret.is_empty() {
                text = text.replace(&secret, "SECRET");
            }
        }
        text
    };
    let fresh = Person::fresh_email();
    let taken = Visitor::of(cloud).sign_up(&person.email, &Person::fresh_password()).await?;
    let new = Visitor::of(cloud).sign_up(&fresh, &Person::fresh_password()).await?;
    assert_eq!(taken.status, new.status);
    assert_eq!(taken.header("location"), new.header("location"));
    assert_eq!(blank(taken.text(), &person.email), blank(new.text(), &fresh));
    // The person who owns the address can still log in with the old password and nothing else.
    login(&Visitor::of(cloud), &person.email, &person.password).await?.expect(200)?;
    Ok(())
}

/// The middle of how long each of the two takes, asked in turn so that a busy moment meets both.
async fn medians(
    rounds: u32,
    mut one: impl AsyncFnMut() -> anyhow::Result<()>,
    mut other: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<(Duration, Duration)> {
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = Instant::now();
        one().await?;
        ones.push(begun.elapsed());
        let begun = Instant::now();
        other().await?;
        others.push(begun.elapsed());
    }
    ones.sort_unstable();
    others.sort_unstable();
    Ok((ones[ones.len() / 2], others[others.len() / 2]))
}

/// Skipping the password hash would show as a factor of ten or more; three tells that from noise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_and_unknown_addresses_take_the_same_work() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let person = Person::sign_up(cloud).await?;
    let known = async || {
        let answer = login(&Visitor::of(cloud), &person.email, "wrong kelp gravel orbit").await?;
        anyhow::ensure!(answer.status == 401 || answer.status == 429, "{}", answer.status);
        Ok(())
    };
    let mut unknown_answer = None;
    let unknown = async || {
        let answer = login(&Visitor::of(cloud), &Person::fresh_email(), "wrong kelp gravel orbit")
            .await?
            .expect(401)?;
        unknown_answer = Some(answer.json()?);
        Ok(())
    };
    // Few enough guesses at one account to stay below its limit.
    let (a, b) = medians(5, known, unknown).await?;
    assert!(a < b * 3 && b < a * 3, "log-in: known {a:?}, unknown {b:?}");
    let mut known_answer = login(&Visitor::of(cloud), &person.email, "wrong again, kelp").await?.json()?;
    let mut unknown_answer = unknown_answer.expect("it was asked");
    for answer in [&mut known_answer, &mut unknown_answer] {
        answer["request_id"] = Value::Null;
    }
    assert_eq!(known_answer, unknown_answer);

    let taken = async || {
        Visitor::of(cloud).sign_up(&person.email, "kelp gravel orbit seven").await?;
        Ok(())
    };
    let fresh = async || {
        Visitor::of(cloud).sign_up(&Person::fresh_email(), "kelp gravel orbit seven").await?;
        Ok(())
    };
    let (a, b) = medians(5, taken, fresh).await?;
    assert!(a < b * 3 && b < a * 3, "sign-up: taken {a:?}, fresh {b:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_works_once_and_not_after_its_time() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let browser = Visitor::of(cloud);
    let (email, password) = (Person::fresh_email(), Person::fresh_password());
    browser.sign_up(&email, &password).await?;
    let link = until("the mail", Duration::from_secs(10), async || {
        browser.verification_link(&email).await.map(Some)
    })
    .await?;

    // Looking changes nothing: mail scanners look.
    for _ in 0..3 {
        browser.get(&link).await?.expect(200)?;
    }
    let unverified = login(&Visitor::of(cloud), &email, &password).await?;
    assert_ne!(unverified.status, 200, "a look at the link verified the address");

    let form = browser.form(&link, "/verify").await?;
    let first = browser.submit(&form, &[]).await?;
    assert!(!first.status.is_client_error(), "{}", first.status);
    let stranger = Visitor::of(cloud);
    let again = stranger.get(&link).await?;
    let refused = match stranger.form(&link, "/verify").await {
        Ok(form) => stranger.submit(&form, &[]).await?.status.is_client_error(),
        Err(_) => true,
    };
    assert!(refused, "a used link was taken again: {}", again.status);
    assert!(stranger.cookies().keys().all(|name| !name.contains("session")), "and signed somebody in");

    // Another link, made old.
    let browser = Visitor::of(cloud);
    let (email, password) = (Person::fresh_email(), Person::fresh_password());
    browser.sign_up(&email, &password).await?;
    let link = until("the mail", Duration::from_secs(10), async || {
        browser.verification_link(&email).await.map(Some)
    })
    .await?;
    let mut database = cloud.database().await?;
    let aged = sqlx::query(
        "UPDATE email_links SET expires_at = now() - interval '1 second' \
         WHERE user_id = (SELECT id FROM users WHERE lower(email) = lower($1))",
    )
    .bind(&email)
    .execute(&mut database)
    .await?;
    assert_eq!(aged.rows_affected(), 1);
    let refused = match browser.form(&link, "/verify").await {
        Ok(form) => browser.submit(&form, &[]).await?.status.is_client_error(),
        Err(_) => true,
    };
    assert!(refused, "an expired link was taken");
    assert_ne!(login(&Visitor::of(cloud), &email, &password).await?.status, 200);

    for nonsense in ["", "x", "%00", &"a".repeat(5000)] {
        let answer = Visitor::of(cloud).get(&format!("/verify?token={nonsense}")).await?;
        assert!(!answer.status.is_server_error(), "{nonsense:?} was answered {}", answer.status);
    }
    Ok(())
}

/// Every route that takes a form, from the portal's own list: a new one is tried without being named here.
fn form_routes(cluster: &str) -> anyhow::Result<Vec<String>> {
    let list = std::fs::read_to_string(e2e::programs::tree()?.join("portal/src/routes.rs"))?;
    let some = "00000000-0000-4000-8000-000000000000";
    Ok(list
        .lines()
        .filter(|line| line.contains("post(pages::"))
        .filter_map(|line| line.split('"').nth(1))
        .map(|route| {
            route
                .replace("/clusters/{id}", &format!("/clusters/{cluster}"))
                .replace("{id}", some)
                .replace("{certificate}", some)
        })
        .collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_form_is_taken_without_its_own_token_from_its_own_page() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let (person, other) = (Person::sign_up(cloud).await?, Person::sign_up(cloud).await?);
    for each in [&person, &other] {
        each.browser.sign_in(&each.email, &each.password).await?;
    }
    let cluster = person.first_cluster().await?;
    let token = async |whose: &Person| -> anyhow::Result<String> {
        let form = whose.browser.form("/clusters/new", "/clusters").await?;
        Ok(form.csrf_token().expect("a token").to_string())
    };
    let (own, foreign) = (token(&person).await?, token(&other).await?);
    let sessions = person.browser.cookies();
    let routes = form_routes(&cluster.id)?;
    assert!(routes.len() >= 12, "the list of routes is read: {routes:?}");
    for route in &routes {
        let ask = |token: Option<&str>| {
            let fields = [("name", cluster.name.as_str()), ("csrf_token", token.unwrap_or_default())];
            Ask::new(Method::POST, route).form(if token.is_some() { &fields } else { &fields[..1] })
        };
        for (what, ask) in [
            ("no token", ask(None)),
            ("an empty token", ask(Some(""))),
            ("another person's token", ask(Some(&foreign))),
            ("another site", ask(Some(&own)).header("origin", "http://evil.example")),
            ("another site, by fetch metadata", ask(Some(&own)).header("sec-fetch-site", "cross-site")),
        ] {
            let answer = person.browser.ask(ask).await?;
            assert_eq!(answer.status, 403, "{route} with {what}");
        }
        let mut plain = Ask::new(Method::POST, route).header("content-type", "text/plain");
        plain.body = format!("name={}&csrf_token={own}", cluster.name).into();
        assert_eq!(person.browser.ask(plain).await?.status, 403, "{route} as text/plain");
    }
    assert_eq!(person.browser.cookies(), sessions, "nobody was signed out or in");
    assert_eq!(person.clusters().await?.len(), 1, "no forged cluster");
    assert_eq!(person.cluster(&cluster.id).await?.state, "running", "and none deleted");
    person.browser.get("/clusters").await?.expect(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_a_password_is_slowed_down() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let person = Person::sign_up(cloud).await?;
    let mut slowed = false;
    for guess in 0..60 {
        // Each from another address: the account itself is what is guessed at.
        let answer = login(&Visitor::of(cloud), &person.email, &format!("kelp gravel guess {guess}")).await?;
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some(), "it says when to try again");
            slowed = true;
            break;
        }
        assert_eq!(answer.status, 401);
    }
    assert!(slowed, "60 guesses at one account passed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_carries_its_guards() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let person = Person::sign_up(cloud).await?;
    person.browser.sign_in(&person.email, &person.password).await?;
    for path in [
        "/",
        "/signup",
        "/login",
        "/clusters",
        "/clusters/new",
        "/account",
        "/no-such-page",
        "/api/v1/clusters",
        "/api/v1/nothing",
    ] {
        let answer = person.browser.get(path).await?;
        assert!(!answer.status.is_server_error(), "{path}");
        let policy = answer.header("content-security-policy").unwrap_or_default().to_string();
        for directive in ["default-src", "frame-ancestors 'none'", "base-uri", "object-src"] {
            assert!(
                policy.contains(directive)
                    || (directive == "object-src" && policy.contains("default-src 'none'")),
                "{path}: {policy}"
            );
        }
        assert!(!policy.contains("unsafe-inline"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(answer.header("referrer-policy").is_some(), "{path}");
        assert!(answer.header("x-request-id").is_some(), "{path}");
    }
    for (name, _) in person.browser.cookies() {
        assert!(!name.is_empty());
    }
    let answer = Visitor::of(cloud).get("/clusters").await?;
    assert!(
        answer.status.is_redirection() || answer.status == 401,
        "a stranger sees no clusters: {}",
        answer.status
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_refresh_token_ends_the_session() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let person = Person::sign_up(cloud).await?;
    let visitor = Visitor::of(cloud);
    let refresh = |token: &str| {
        let body = json!({"refresh_token": token});
        let visitor = &visitor;
        async move { visitor.post_json("/api/v1/token", &body).await }
    };
    let next = refresh(&person.refresh_token).await?.expect(200)?.json()?;
    let next = next["refresh_token"].as_str().expect("a token").to_string();
    assert_ne!(next, person.refresh_token, "it rotates");
    refresh(&person.refresh_token).await?.expect(401)?;
    refresh(&next).await?.expect(401)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_refuses_what_it_does_not_know() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let person = Person::sign_up(cloud).await?;
    for body in [
        json!({"name": "x", "organisation_id": "00000000-0000-0000-0000-000000000000"}),
        json!({"name": "x", "max_storage_bytes": 1}),
        json!({"name": "UPPER"}),
        json!({"name": ""}),
        json!({"name": "a".repeat(200)}),
        json!({"name": "x", "spus": 0}),
        json!({"name": "x", "spus": -1}),
        json!({"name": "x", "spus": 1000}),
        json!({"spus": 1}),
        json!([]),
    ] {
        let answer = person.api.post_json("/api/v1/clusters", &body).await?;
        assert!(answer.status.is_client_error(), "{body} was answered {}", answer.status);
        assert_eq!(
            answer.header("content-type").map(|kind| kind.starts_with("application/problem+json")),
            Some(true),
            "{body}"
        );
        assert!(
            answer.json()?["fix"].as_str().is_some_and(|fix| !fix.is_empty()),
            "{body}: {}",
            answer.text()
        );
    }
    for token in [
        "",
        "x",
        "flvc_",
        "flvc_0000000000000000000000000000000000000000",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
    ] {
        person.api.with_token(token).get("/api/v1/clusters").await?.expect(401)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_makes_one_cluster_of_two_requests() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let person = Person::sign_up(cloud).await?;
    person.first_cluster().await?;
    let ask = |name: &str| {
        Ask::new(Method::POST, "/api/v1/clusters")
            .header("idempotency-key", "the-same")
            .json(&json!({"name": name}))
    };
    let first = person.api.ask(ask("twice")).await?.expect(201)?.json()?;
    let second = person.api.ask(ask("twice")).await?.expect(201)?.json()?;
    assert_eq!(first["id"], second["id"]);
    let other = person.api.ask(ask("another")).await?;
    assert!(other.status.is_client_error(), "one key, two wishes: {}", other.status);
    assert_eq!(person.clusters().await?.len(), 2);
    Ok(())
}
