use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use e2e::chromium::{Chromium, Look};
use e2e::cloud::Cloud;
use e2e::person::Person;
use e2e::programs;
use e2e::stream::{create_topic, produce, producer, read_all};
use e2e::tenant::Tenant;
use e2e::wait::until;
use fantoccini::elements::Element;
use fluvio::Isolation;
use serde_json::json;

/// What a page that is there takes to show something.
const STEP_WITHIN: Duration = Duration::from_secs(20);
/// What a cluster takes to begin or to change its state, with the page following.
const CLUSTER_WITHIN: Duration = Duration::from_secs(60);
const RUNNING: &str = "[data-state=running]";
const DESKTOP: Look = Look { width: 1280, height: 900, dark: false };

async fn fill(page: &Chromium, field: &str, text: &str) -> anyhow::Result<()> {
    let write = async |element: Element| {
        element.clear().await?;
        element.send_keys(text).await
    };
    page.with(field, STEP_WITHIN, write).await
}

async fn press(page: &Chromium, button: &str) -> anyhow::Result<()> {
    page.with(button, STEP_WITHIN, async |element| element.click().await).await
}

async fn text_of(page: &Chromium, place: &str) -> anyhow::Result<String> {
    page.with(place, STEP_WITHIN, async |element| element.text().await).await
}

/// The verification link, from the outbox that the page links to.
async fn read_mail(page: &Chromium, cloud: &Cloud, email: &str) -> anyhow::Result<()> {
    let visitor = e2e::visitor::Visitor::of(cloud);
    let link =
        until("the mail", Duration::from_secs(10), async || visitor.verification_link(email).await.map(Some))
            .await?;
    Ok(page.client.goto(&(cloud.portal() + &link)).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_up_in_a_browser_and_consumes() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let pictures = programs::output("screenshots/main-job")?;
    let page = Chromium::open(DESKTOP).await?;
    let (email, password) = (Person::fresh_email(), Person::fresh_password());
    page.client.goto(&cloud.portal()).await?;
    page.picture(&pictures.join("1-landing.png")).await?;
    page.client.goto(&format!("{}/signup", cloud.portal())).await?;
    fill(&page, "#email", &email).await?;
    fill(&page, "#password", &password).await?;
    page.picture(&pictures.join("2-sign-up.png")).await?;
    press(&page, "main button[type=submit]").await?;
    read_mail(&page, cloud, &email).await?;
    page.picture(&pictures.join("3-verify.png")).await?;
    press(&page, "main button[type=submit]").await?;

    // The first cluster comes by itself, and the page says so without being loaded again.
    page.shows(RUNNING, CLUSTER_WITHIN).await?;
    page.picture(&pictures.join("4-dashboard.png")).await?;
    let browser = e2e::visitor::Visitor::of(cloud);
    let person = Person::log_in(browser, email.clone(), password).await?;
    let cluster = person.first_cluster().await?;
    page.client.goto(&format!("{}/clusters/{}", cloud.portal(), cluster.id)).await?;
    assert!(text_of(&page, "#endpoint").await?.contains(&cluster.endpoint));
    let all = text_of(&page, "body").await?;
    assert!(all.contains("fluvio cloud login"), "the page says how to connect");
    page.picture(&pictures.join("5-cluster.png")).await?;

    let tenant = Tenant::of(person).await?;
    create_topic(&tenant.admin().await?, "from-the-page", 1).await?;
    let client = tenant.client().await?;
    produce(&producer(&client, "from-the-page").await?, &[b"hello".to_vec()]).await?;
    assert_eq!(read_all(&client, "from-the-page", 0, Isolation::ReadCommitted).await?.len(), 1);
    page.client.refresh().await?;
    page.picture(&pictures.join("6-connected.png")).await?;

    // A new cluster by form, then deleted by typing its name.
    page.client.goto(&format!("{}/clusters/new", cloud.portal())).await?;
    fill(&page, "#name", "by-form").await?;
    press(&page, "main button[type=submit]").await?;
    page.shows(RUNNING, CLUSTER_WITHIN).await?;
    assert!(tenant.person.clusters().await?.iter().any(|each| each.name == "by-form"));
    let console =
        page.client.execute("return document.querySelectorAll('script:not([src])').length", vec![]).await?;
    assert_eq!(console, 0, "no inline scripts");
    page.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_page_changes_state_without_being_loaded_again() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    let page = signed_in(cloud, &tenant.person, DESKTOP).await?;
    page.client.goto(&format!("{}/clusters/{}", cloud.portal(), tenant.cluster.id)).await?;
    page.shows(RUNNING, STEP_WITHIN).await?;
    page.client.execute("window.sameDocument = true", vec![]).await?;
    // Deleted and brought back by command, while the page is only looked at.
    let path = format!("/api/v1/clusters/{}", tenant.cluster.id);
    tenant.person.api.delete(&path).await?.expect(202)?;
    page.shows("[data-state=deleting], [data-state=deleted]", STEP_WITHIN).await?;
    tenant.person.api.post_json(&format!("{path}/undelete"), &json!({})).await?.expect(200)?;
    page.shows(RUNNING, CLUSTER_WITHIN).await?;
    let same = page.client.execute("return window.sameDocument === true", vec![]).await?;
    assert_eq!(same, true, "the page was loaded again");
    page.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_paused_in_a_dialog_and_resumed_by_a_button() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    let page = signed_in(cloud, &tenant.person, DESKTOP).await?;
    page.client.goto(&format!("{}/clusters/{}", cloud.portal(), tenant.cluster.id)).await?;
    let shows = async |what: &str| page.shows(what, CLUSTER_WITHIN).await.map(drop);
    shows(RUNNING).await?;
    press(&page, "#pause").await?;
    shows("#pause-dialog[open]").await?;
    press(&page, "#pause-dialog a[data-close]").await?;
    shows("#pause-dialog:not([open])").await?;
    assert_eq!(
        tenant.person.cluster(&tenant.cluster.id).await?.state,
        "running",
        "nothing was asked for yet"
    );
    press(&page, "#pause").await?;
    press(&page, "#pause-dialog button[type=submit]").await?;
    shows("[data-state=pausing], [data-state=paused]").await?;
    press(&page, "#resume").await?;
    shows(RUNNING).await?;
    page.close().await
}

async fn signed_in(cloud: &Cloud, person: &Person, look: Look) -> anyhow::Result<Chromium> {
    let page = Chromium::open(look).await?;
    page.client.goto(&format!("{}/login", cloud.portal())).await?;
    fill(&page, "#email", &person.email).await?;
    fill(&page, "#password", &person.password).await?;
    press(&page, "main button[type=submit]").await?;
    until("signed in", Duration::from_secs(20), async || {
        Ok((!page.client.current_url().await?.path().starts_with("/login")).then_some(()))
    })
    .await?;
    Ok(page)
}

async fn shoot(
    page: &Chromium,
    cloud: &Cloud,
    folder: &Path,
    name: &str,
    path: &str,
    width: u32,
) -> anyhow::Result<()> {
    page.client.goto(&(cloud.portal() + path)).await?;
    page.shows("main", STEP_WITHIN).await?;
    page.picture(&folder.join(format!("{name}.png"))).await?;
    let wide = page.client.execute("return document.documentElement.scrollWidth", vec![]).await?;
    let wide = wide.as_u64().unwrap_or(u64::MAX);
    anyhow::ensure!(wide <= u64::from(width), "{name} is {wide} wide on a screen of {width}");
    let blank = page.client.execute(BLANK, vec![]).await?;
    anyhow::ensure!(blank == false, "{name} shows nothing");
    let spilled = page.client.execute(SPILLED, vec![]).await?;
    anyhow::ensure!(
        spilled.as_array().is_some_and(Vec::is_empty),
        "{name}: outside their card are {spilled}"
    );
    Ok(())
}

/// What reaches out of its card; what scrolls inside of it does not.
const SPILLED: &str = "
    const scrolls = e => e && (/auto|scroll|hidden|clip/.test(getComputedStyle(e).overflowX));
    const hidden = (e, card) => { for (let p = e.parentElement; p && p !== card; p = p.parentElement) if (scrolls(p)) return true; };
    return [...document.querySelectorAll('main .card *')].filter(e => {
        const card = e.closest('.card'), box = e.getBoundingClientRect();
        return box.width > 0 && box.right > card.getBoundingClientRect().right + 1 && !hidden(e, card);
    }).map(e => e.tagName + ' ' + e.className);";

const BLANK: &str = "return document.querySelector('main').innerText.trim().length < 10";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_pictured_on_phone_and_desktop_in_light_and_dark() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    cloud.grant_operator(&tenant.person.email)?;
    let file = tenant.home.path().join("press.toml").display().to_string();
    let rules = [
        "--allow",
        "produce,consume:orders-europe-*",
        "--allow",
        "consume:prices",
        "--allow",
        "admin:scratch-*",
    ];
    let words = ["cloud", "certificate", "create", &tenant.cluster.name, "--file", &file];
    tenant.fluvio(&[&words[..], &rules].concat()).await?.succeed()?;
    let certificates = tenant.person.certificates(&tenant.cluster.id).await?;
    let press = certificates.iter().find(|each| each["label"] == "press.toml").context("not listed")?;
    let press = press["id"].as_str().context("an id")?;
    for (device, width, height) in [("desktop", 1280, 900), ("phone", 390, 844)] {
        for (tone, dark) in [("light", false), ("dark", true)] {
            let look = Look { width, height, dark };
            let folder = programs::output(&format!("screenshots/{device}-{tone}"))?;
            let cluster = format!("/clusters/{}", tenant.cluster.id);
            let (profile, rights) = (format!("{cluster}/profile"), format!("{cluster}/rights/{press}"));
            let stranger = Chromium::open(look).await?;
            for (name, path) in
                [("landing", "/"), ("sign-up", "/signup"), ("login", "/login"), ("outbox", "/outbox")]
            {
                shoot(&stranger, cloud, &folder, name, path, width).await?;
            }
            stranger.close().await?;
            let page = signed_in(cloud, &tenant.person, look).await?;
            for (name, path) in [
                ("dashboard", "/clusters"),
                ("new-cluster", "/clusters/new"),
                ("cluster", cluster.as_str()),
                ("profile", profile.as_str()),
                ("rights", rights.as_str()),
                ("account", "/account"),
                ("fleet", "/fleet"),
                ("not-found", "/no-such-page"),
            ] {
                shoot(&page, cloud, &folder, name, path, width).await?;
            }
            let tone_seen = page
                .client
                .execute("return matchMedia('(prefers-color-scheme: dark)').matches", vec![])
                .await?;
            assert_eq!(tone_seen, dark, "the browser shows the tone that was asked for");
            page.close().await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_page_is_for_operators_and_shows_every_tenant() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let (operator, other) = (Person::sign_up(cloud).await?, Person::sign_up(cloud).await?);
    let theirs = other.first_cluster().await?;
    operator.browser.sign_in(&operator.email, &operator.password).await?;
    let before = operator.browser.get("/fleet").await?;
    assert!(before.status == 404 || before.status == 403, "{}", before.status);
    cloud.grant_operator(&operator.email)?;
    let page = operator.browser.get("/fleet").await?.expect(200)?.text();
    let label = theirs.domain.split('.').next().expect("a label").to_string();
    assert!(page.contains(&label) || page.contains(&theirs.id), "another tenant's cluster is on it");
    Ok(())
}
