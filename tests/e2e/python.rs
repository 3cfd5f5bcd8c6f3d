use std::process::Command;

use e2e::cloud::Cloud;
use e2e::person::Person;
use e2e::stream::{create_topic, read_all};
use e2e::tenant::Tenant;
use fluvio::Isolation;

/// What a person would write: log in, produce, consume. Secrets come on standard input.
const SCRIPT: &str = r#"
import sys
from fluvio import cloud, Fluvio, Offset, ConsumerConfig
remote, email, topic = sys.argv[1:4]
cloud.login(email=email, password=sys.stdin.readline().rstrip("\n"), remote=remote)
fluvio = Fluvio.connect()
producer = fluvio.topic_producer(topic)
for number in range(50):
    producer.send_string(f"python {number}")
producer.flush()
config = ConsumerConfig()
config.disable_continuous()
stream = fluvio.partition_consumer(topic, 0).stream_with_config(Offset.beginning(), config)
values = [record.value_string() for record in stream]
assert values == [f"python {number}" for number in range(50)], values
print("all records came back")
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_wheel_logs_in_produces_and_consumes() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::of(Person::sign_up(cloud).await?).await?;
    create_topic(&tenant.admin().await?, "from-python", 1).await?;
    let interpreter = tokio::task::spawn_blocking(e2e::python::interpreter).await??;
    let home = tempfile::tempdir()?;
    let input = tempfile::NamedTempFile::new()?;
    std::fs::write(input.path(), format!("{}\n", tenant.person.password))?;
    let output = Command::new("timeout")
        .args(["--signal=KILL", "90"])
        .arg(interpreter)
        .args(["-c", SCRIPT, &cloud.portal(), &tenant.person.email, "from-python"])
        .env("HOME", home.path())
        .env_remove("FLV_PROFILE_PATH")
        .stdin(std::fs::File::open(input.path())?)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("all records came back"));
    // And the Rust client reads what Python wrote.
    let records = read_all(&tenant.client().await?, "from-python", 0, Isolation::ReadCommitted).await?;
    assert_eq!(records.len(), 50);
    assert_eq!(records[49].value, b"python 49");
    Ok(())
}
