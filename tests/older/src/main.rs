//! What a person does with an older release of the published client, judged by the test that runs it.
//!
//! ```text
//! older-clients VERSION job TOPIC     makes the topic, fills it, reads it, commits an offset, lists and deletes
//! older-clients VERSION held TOPIC    sends each line of standard input and prints it when it was consumed
//! ```
//!
//! The profile is the one that the environment's FLV_PROFILE_PATH names.

/// Any one step, on a busy machine.
const STEP_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// A record, before it is sent again by a new client: where its connection is cut while a batch is on its way, 0.23.4 waits
/// for that batch for ever.
const SENT_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// The same source for each release: their types differ, their names do not.
macro_rules! release {
    ($release:ident, $retries:expr) => {
        mod $release {
            use $release as fluvio;
            include!("client.rs");

            fn once(mut config: ConsumerConfigExtBuilder) -> ConsumerConfigExtBuilder {
                let retries: fn(&mut ConsumerConfigExtBuilder) = $retries;
                retries(&mut config);
                config
            }
        }
    };
}

release!(v0_23, |_| {});
release!(v0_28, |config| {
    config.retry_mode(fluvio::consumer::RetryMode::Disabled);
});

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["0.23.4", "job", topic] => v0_23::job(topic).await,
        ["0.28.0", "job", topic] => v0_28::job(topic).await,
        ["0.23.4", "held", topic] => v0_23::held(topic).await,
        ["0.28.0", "held", topic] => v0_28::held(topic).await,
        _ => anyhow::bail!("fix: older-clients 0.23.4|0.28.0 job|held TOPIC"),
    }
}
