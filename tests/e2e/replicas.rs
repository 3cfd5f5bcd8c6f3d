use std::time::Duration;

use e2e::cloud::Cloud;
use e2e::http::{self, Ask};
use e2e::person::Person;
use e2e::replica::Replica;
use e2e::visitor::Visitor;
use e2e::wait::{until, within};
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A page's events arrive far sooner than the timer's look, which is every five seconds.
const EVENT_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_up_login_and_retries_go_on_at_whichever_portal_answers() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let other = Replica::start(cloud, "replica-accounts", |_| {})?;
    let (one, two) = (cloud.portal(), other.url());
    let (email, password) = (Person::fresh_email(), Person::fresh_password());

    let mut browser = Visitor::at(&one);
    let form = browser.form("/signup", "/signup").await?;
    // The form was drawn by the one and is sent to the other.
    browser.base.clone_from(&two);
    browser.submit(&form, &[("email", &email), ("password", &password)]).await?.expect(200)?;
    browser.base.clone_from(&one);
    let link = browser.verification_link(&email).await?;
    let form = browser.form(&link, "/verify").await?;
    browser.base.clone_from(&two);
    browser.submit(&form, &[]).await?.expect(303)?;
    browser.base.clone_from(&one);
    let page = browser.get("/clusters").await?.expect(200)?.text();
    assert!(page.contains(&email), "the sign-in made by one portal is one at the other");

    let body = json!({ "email": email, "password": password });
    let tokens = Visitor::at(&two).post_json("/api/v1/login", &body).await?.expect(200)?.json()?;
    let mut api = Visitor::at(&one).with_token(tokens["access_token"].as_str().unwrap());
    api.get("/api/v1/me").await?.expect(200)?;
    let refresh = json!({ "refresh_token": tokens["refresh_token"] });
    Visitor::at(&one).post_json("/api/v1/token", &refresh).await?.expect(200)?;

    let create = |name: &str| {
        let body = json!({ "name": name });
        Ask::new(Method::POST, "/api/v1/clusters").json(&body).header("idempotency-key", "once")
    };
    let first = api.ask(create("orders")).await?.expect(201)?.json()?;
    api.base.clone_from(&two);
    let again = api.ask(create("orders")).await?.expect(201)?;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json()?["id"], first["id"]);
    api.ask(create("others")).await?.expect(409)?;

    browser.base.clone_from(&two);
    let form = browser.form("/clusters", "/logout").await?;
    browser.submit(&form, &[]).await?;
    browser.base.clone_from(&one);
    browser.set_cookies(browser.cookies());
    let page = browser.get("/clusters").await?;
    assert!(page.status.is_redirection(), "logged out at one portal is logged out at the other");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_made_at_one_portal_reaches_the_pages_of_the_other() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let other = Replica::start(cloud, "replica-live", |_| {})?;
    let person = Person::sign_up(cloud).await?;
    let watching = http::open(&other.url(), Ask::get("/clusters/events"), &person.browser.caller()).await?;
    let mut events = watching.into_body();
    read_until(&mut events, "main").await?;
    person.api.post_json("/api/v1/clusters", &json!({ "name": "made-elsewhere" })).await?.expect(201)?;
    read_until(&mut events, "made-elsewhere").await
}

/// Reads a stream of events until one holds the text.
async fn read_until(events: &mut Incoming, text: &str) -> anyhow::Result<()> {
    let mut seen = String::new();
    within(&format!("an event with {text}"), EVENT_WITHIN, async {
        while !seen.contains(text) {
            let frame = events.frame().await.ok_or_else(|| anyhow::anyhow!("the stream ended"))??;
            seen += &String::from_utf8_lossy(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        }
        anyhow::Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_counted_over_all_portals() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let other = Replica::start(cloud, "replica-rates", |_| {})?;
    let person = Person::sign_up(cloud).await?;
    let mut stranger = Visitor::at(&cloud.portal());
    let body = json!({ "email": person.email, "password": "not the password" });
    let mut tried = 0;
    loop {
        stranger.base = if tried % 2 == 0 { cloud.portal() } else { other.url() };
        let answer = stranger.post_json("/api/v1/login", &body).await?;
        if answer.status.as_u16() == 429 {
            assert!(answer.header("retry-after").is_some());
            break;
        }
        assert_eq!(answer.status.as_u16(), 401);
        tried += 1;
        // Ten at once and one each twenty seconds; two portals that count alone would let twenty pass.
        assert!(tried < 15, "the portals count each for itself");
    }
    assert!(tried >= 10, "{tried} tries passed, ten may");
    for portal in [cloud.portal(), other.url()] {
        stranger.base = portal;
        stranger.post_json("/api/v1/login", &body).await?.expect(429)?;
    }
    let right = json!({ "email": person.email, "password": person.password });
    Visitor::at(&other.url()).post_json("/api/v1/login", &right).await?.expect(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_guesses_that_come_at_once_at_both_portals_no_more_pass_than_at_one() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let other = Replica::start(cloud, "replica-at-once", |_| {})?;
    let person = Person::sign_up(cloud).await?;
    let body = json!({ "email": person.email, "password": "not the password" });
    let mut here = Visitor::at(&cloud.portal());
    let guesses =
        |visitor: &Visitor| -> Vec<Visitor> { (0..20).map(|_| visitor.with_token("none")).collect() };
    let mut all = guesses(&here);
    here.base = other.url();
    all.extend(guesses(&here));
    let asked = all.iter().map(|visitor| visitor.post_json("/api/v1/login", &body));
    let answers = futures_util::future::try_join_all(asked).await?;
    let count = |status: u16| answers.iter().filter(|answer| answer.status.as_u16() == status).count();
    // A portal that has no time for a password says so instead of letting everybody wait.
    let (passed, too_busy) = (count(401), count(503));
    assert_eq!(passed + count(429) + too_busy, 40, "nothing else is answered");
    // One more each twenty seconds, on a machine that takes so long.
    assert!(passed <= 12 && passed + too_busy >= 10, "{passed} passed, ten may; {too_busy} were put off");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portal_without_its_database_lives_and_is_not_ready_and_counts_alone() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let url_file = cloud.state().join("replica-away.database-url");
    std::fs::write(&url_file, "postgres:///cloud?host=/nonexistent&user=cloud_portal")?;
    let away = Replica::start(cloud, "replica-away", |table| {
        table.insert("database_url_file".into(), url_file.display().to_string().into());
        let rates = table["rates"].as_table_mut().unwrap();
        rates.insert("requests".into(), 3.into());
    })?;
    let visitor = Visitor::at(&away.url());
    visitor.get("/healthz").await?.expect(200)?;
    visitor.get("/readyz").await?.expect(503)?;
    until("the portal's own count holds", Duration::from_secs(20), async || {
        // All on one connection at once: two hundred a second may pass.
        let mut stream = TcpStream::connect(&away.address).await?;
        let ask = |end: &str| format!("GET /api/v1/nothing HTTP/1.1\r\nHost: x\r\n{end}\r\n");
        stream.write_all((ask("").repeat(200) + &ask("Connection: close\r\n")).as_bytes()).await?;
        let mut answers = String::new();
        stream.read_to_string(&mut answers).await?;
        let count = |status: &str| answers.matches(&format!("HTTP/1.1 {status} ")).count();
        assert_eq!(count("404") + count("429"), 201, "nothing else is answered");
        assert!(count("404") >= 3, "three may come at once");
        Ok((count("429") > 0).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portal_that_is_told_to_stop_says_so_and_serves_until_nobody_is_sent_to_it() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let mut leaving = Replica::start(cloud, "replica-leaving", |table| {
        table.insert("drain_seconds".into(), 600.into());
    })?;
    let visitor = Visitor::at(&leaving.url());
    visitor.get("/readyz").await?.expect(200)?;
    leaving.signal(Signal::TERM)?;
    until("it is not ready", Duration::from_secs(20), async || {
        Ok((visitor.get("/readyz").await?.status.as_u16() == 503).then_some(()))
    })
    .await?;
    visitor.get("/healthz").await?.expect(200)?;
    visitor.get("/signup").await?.expect(200)?;
    leaving.signal(Signal::TERM)?;
    assert!(leaving.ended()?.success());
    Ok(())
}
