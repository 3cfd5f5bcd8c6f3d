use e2e::cloud::Cloud;
use e2e::person::Person;
use e2e::replica;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_picks_an_open_region_and_its_endpoint_is_what_clients_get() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("regions", &[])?;
    let person = Person::sign_up(&cloud).await?;
    let page = person.browser.get("/clusters/new").await?.expect(200)?.text();
    assert!(!page.contains("name=\"region\""), "a choice of one is none");

    let add = ["region", "add", "far", "--title", "Far away", "--runtime", "kubernetes"];
    let with = |endpoint: &'static str| [&add[..], &["--endpoint", endpoint]].concat();
    replica::portal(&cloud, &with("gateway.far.example.com:9443"))?;
    assert!(replica::portal(&cloud, &with("nowhere")).is_err());
    let listed = replica::portal(&cloud, &["region", "list"])?;
    assert!(listed.contains("gateway.far.example.com:9443") && listed.contains("local"), "{listed}");

    let regions = person.api.get("/api/v1/regions").await?.expect(200)?.json()?;
    let first = &regions["items"][0];
    assert_eq!((&first["name"], &first["default"]), (&json!("local"), &json!(true)));
    assert_eq!(first["endpoint"], json!(cloud.gateway()?.to_string()));
    assert_eq!(regions["items"][1]["title"], "Far away");
    let page = person.browser.get("/clusters/new").await?.expect(200)?.text();
    assert!(page.contains("Far away"));

    let body = json!({ "name": "there", "region": "far" });
    let made = person.api.post_json("/api/v1/clusters", &body).await?.expect(201)?.json()?;
    assert_eq!(made["region"], "far");
    assert_eq!(made["runtime"], "kubernetes");
    assert_eq!(made["endpoint"], "gateway.far.example.com:9443");
    let page = person.browser.get(&format!("/clusters/{}", made["id"].as_str().unwrap())).await?;
    assert!(page.expect(200)?.text().contains("gateway.far.example.com:9443"));
    let here = person.first_cluster().await?;
    assert_eq!(here.endpoint, cloud.gateway()?.to_string(), "the other region's clusters have their own");
    // The gateways moved: whoever asks again is told.
    replica::portal(&cloud, &with("new.far.example.com:9443"))?;
    assert_eq!(person.cluster("there").await?.endpoint, "new.far.example.com:9443");

    replica::portal(&cloud, &["region", "close", "far"])?;
    let body = json!({ "name": "more", "region": "far" });
    let refused = person.api.post_json("/api/v1/clusters", &body).await?.expect(409)?.json()?;
    assert!(refused["fix"].as_str().unwrap().contains("local"), "{refused}");
    let body = json!({ "name": "more", "region": "mars" });
    person.api.post_json("/api/v1/clusters", &body).await?.expect(422)?;
    assert_eq!(person.cluster("there").await?.endpoint, "new.far.example.com:9443", "it goes on");

    // Without any region a person still gets an account, and is told what is the matter.
    replica::portal(&cloud, &["region", "close", "local"])?;
    let late = Person::sign_up(&cloud).await?;
    assert!(late.clusters().await?.is_empty());
    let refused = late.api.post_json("/api/v1/clusters", &json!({ "name": "any" })).await?.expect(409)?;
    assert!(refused.json()?["detail"].as_str().unwrap().contains("No region"));
    Ok(())
}
