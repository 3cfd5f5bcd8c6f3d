use fluvio::config::{Config, TlsConfig, TlsPolicy};

use super::*;

const OTHERS: &str = r#"# kept by hand
version = "2.0"
current_profile = "local"
client_id = "laptop"
colour = "teal"

[profile.local]
cluster = "local"
topic = "clicks" # a default of old

[cluster.local]
addr = "127.0.0.1:9003"
use_spu_local_address = true
flavour = "plain"

[cluster.local.tls]
tls_policy = "disabled"
"#;

fn cluster(endpoint: &str) -> CloudCluster {
    CloudCluster {
        endpoint: endpoint.to_owned(),
        domain: "calm-otter-1.fluvio.localhost".to_owned(),
        key: "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n".to_owned(),
        certificate: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_owned(),
        authority: "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n".to_owned(),
    }
}

fn profiles(text: &str) -> Profiles {
    Profiles::parse(text).unwrap()
}

/// What the published client makes of the text.
fn as_the_client_reads_it(profiles: &Profiles) -> Config {
    toml::from_str(&profiles.to_string()).unwrap()
}

#[test]
fn the_published_client_reads_what_we_write_into_an_empty_file() {
    let mut empty = profiles("");
    empty.set_cloud_cluster("main", &cluster("gw.example:9443"), false).unwrap();
    let config = as_the_client_reads_it(&empty);
    assert_eq!(config.version(), "2.0");
    assert_eq!(config.current_profile_name(), Some("main"), "the first profile is the current one");
    let read = config.current_cluster().unwrap();
    assert_eq!(read.endpoint, "gw.example:9443");
    assert!(!read.use_spu_local_address);
    assert_eq!(read.query_metadata_by_name::<String>("installation").as_deref(), Some("cloud"));
    let TlsPolicy::Verified(TlsConfig::Inline(certs)) = &read.tls else { panic!("{:?}", read.tls) };
    let expected = cluster("gw.example:9443");
    assert_eq!(certs.domain, expected.domain);
    assert_eq!(certs.key, expected.key);
    assert_eq!(certs.cert, expected.certificate);
    assert_eq!(certs.ca_cert, expected.authority);
}

#[test]
fn what_others_wrote_stays_letter_by_letter() {
    let mut all = profiles(OTHERS);
    all.set_cloud_cluster("main", &cluster("gw:1"), true).unwrap();
    let text = all.to_string();
    for line in OTHERS.lines().filter(|line| !line.starts_with("current_profile")) {
        assert!(text.contains(line), "lost: {line}\n{text}");
    }
    let config = as_the_client_reads_it(&all);
    assert_eq!(config.current_profile_name(), Some("main"));
    assert_eq!(config.cluster("local").unwrap().endpoint, "127.0.0.1:9003");
}

#[test]
fn the_current_profile_changes_only_when_asked() {
    for (make_current, expected) in [(true, "main"), (false, "local")] {
        let mut all = profiles(OTHERS);
        all.set_cloud_cluster("main", &cluster("gw:1"), make_current).unwrap();
        assert_eq!(all.current().as_deref(), Some(expected));
    }
}

#[test]
fn a_second_login_replaces_the_endpoint_and_keeps_foreign_keys() {
    let mut all = profiles("");
    all.set_cloud_cluster("main", &cluster("old:1"), true).unwrap();
    let mut again =
        profiles(&all.to_string().replace("[cluster.main]\n", "[cluster.main]\nnote = \"mine\"\n"));
    again.set_cloud_cluster("main", &cluster("new:2"), true).unwrap();
    let text = again.to_string();
    assert!(text.contains("note = \"mine\"") && text.contains("new:2") && !text.contains("old:1"), "{text}");
    assert_eq!(as_the_client_reads_it(&again).cluster("main").unwrap().endpoint, "new:2");
}

#[test]
fn a_cluster_that_is_not_of_the_cloud_is_never_overwritten() {
    let mut all = profiles(OTHERS);
    let refused = all.set_cloud_cluster("local", &cluster("gw:1"), true);
    assert_eq!(refused, Err(ProfileError::NotOurs("local".to_owned())));
    assert_eq!(all.to_string(), OTHERS);
}

#[test]
fn the_list_is_sorted_and_reads_both_spellings_of_the_endpoint() {
    let mut all = profiles(OTHERS);
    all.set_cloud_cluster("a-first", &cluster("gw:1"), false).unwrap();
    let rows: Vec<_> =
        all.list().into_iter().map(|row| (row.profile, row.current, row.endpoint, row.tls)).collect();
    let row = |name: &str, current, endpoint: &str, tls: &str| {
        (name.to_owned(), current, endpoint.to_owned(), tls.to_owned())
    };
    assert_eq!(
        rows,
        [row("a-first", false, "gw:1", "verified"), row("local", true, "127.0.0.1:9003", "disabled")]
    );
}

#[test]
fn renaming_moves_the_current_mark_and_never_lands_on_another() {
    let mut all = profiles(OTHERS);
    all.rename("local", "home").unwrap();
    assert_eq!(all.current().as_deref(), Some("home"));
    assert_eq!(all.cluster_of("home").as_deref(), Some("local"));
    all.set_cloud_cluster("main", &cluster("gw:1"), false).unwrap();
    assert_eq!(all.rename("main", "home"), Err(ProfileError::Taken("home".to_owned())));
    assert_eq!(all.rename("none", "x"), Err(ProfileError::Unknown("none".to_owned())));
}

#[test]
fn deleting_takes_the_cluster_along_only_when_nobody_else_uses_it() {
    let mut all = profiles(&format!("{OTHERS}\n[profile.twin]\ncluster = \"local\"\n"));
    all.delete("local").unwrap();
    assert_eq!(all.current(), None);
    assert!(as_the_client_reads_it(&all).cluster("local").is_some());
    all.delete("twin").unwrap();
    assert!(as_the_client_reads_it(&all).cluster("local").is_none());
    assert_eq!(all.delete("twin"), Err(ProfileError::Unknown("twin".to_owned())));
}

#[test]
fn switching_needs_a_known_profile() {
    let mut all = profiles(OTHERS);
    assert_eq!(all.switch("nope"), Err(ProfileError::Unknown("nope".to_owned())));
    all.set_plain_cluster("other", "h:1");
    all.switch("other").unwrap();
    assert_eq!(as_the_client_reads_it(&all).current_profile_name(), Some("other"));
}

#[test]
fn the_cluster_on_this_machine_takes_its_name_from_nobody_else() {
    let mut profiles = Profiles::parse("").unwrap();
    profiles.set_plain_cluster("mine", "10.0.0.7:9003");
    profiles.set_local_cluster("local", "localhost:9003").unwrap();
    assert!(profiles.is_local("local") && !profiles.is_local("mine"));
    assert_eq!(profiles.current().as_deref(), Some("local"));
    profiles.set_local_cluster("local", "localhost:9103").unwrap();
    let text = profiles.to_string();
    assert!(text.contains("localhost:9103") && text.contains("tls_policy = \"disabled\""), "{text}");
    profiles.delete("local").unwrap();
    assert!(profiles.current().is_none() && !profiles.exists("local"));

    let another = |text: &str| Profiles::parse(text).unwrap().takes_local_cluster("local").is_err();
    let cluster = |endpoint: &str, tls: &str| {
        format!(
            "[profile.local]\ncluster = \"local\"\n[cluster.local]\nendpoint = \"{endpoint}\"\n[cluster.local.tls]\ntls_policy = \"{tls}\"\n"
        )
    };
    assert!(!another(&cluster("localhost:9003", "disabled")), "upstream's own");
    assert!(!another(&cluster("[::1]:9003", "disabled")));
    assert!(another(&cluster("localhost:9003", "verified")));
    assert!(another(&cluster("10.0.0.7:9003", "disabled")));
    assert!(another("[profile.local]\ncluster = \"elsewhere\"\n"));
}
