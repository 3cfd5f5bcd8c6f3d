use std::fmt::Debug;

use anyhow::Context;
use e2e::laptop::Laptop;
use e2e::stream::{STEP_WITHIN, create_topic, produce, producer, read_all};
use e2e::wait::within;
use fluvio::metadata::AdminSpec;
use fluvio::metadata::customspu::{CustomSpuKey, CustomSpuSpec};
use fluvio::metadata::objects::Metadata;
use fluvio::metadata::smartmodule::{SmartModuleMetadata, SmartModuleSpec, SmartModuleWasm};
use fluvio::metadata::spg::SpuGroupSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::tableformat::{TableFormatColumnConfig, TableFormatSpec};
use fluvio::{FluvioAdmin, Isolation};
use futures_util::StreamExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smart_modules_and_table_formats_are_kept_listed_and_deleted_by_command() -> anyhow::Result<()> {
    let laptop = Laptop::new()?;
    laptop.start(&[]).await?;
    let path = |name: &str| laptop.home.path().join(name).to_string_lossy().into_owned();
    let (code, config) = (path("code.wasm"), path("orders.yaml"));
    std::fs::write(&code, b"\0asm\x01\0\0\0")?;
    std::fs::write(&config, "name: orders\ncolumns:\n  - keyPath: id\n  - keyPath: price\n")?;
    laptop.fluvio(&["smartmodule", "create", "upper", "--wasm-file", &code]).await?.succeed()?;
    laptop.fluvio(&["table-format", "create", "--config", &config]).await?.succeed()?;
    for (kind, name, more) in [("smartmodule", "upper", "28 B"), ("table-format", "orders", "id price")] {
        let table = laptop.fluvio(&[kind, "list"]).await?.succeed()?.text();
        assert!(table.contains(name) && table.contains(more), "{table}");
        let said = laptop.fluvio(&[kind, "list", "-O", "json"]).await?.succeed()?;
        let rows: serde_json::Value = serde_json::from_slice(&said.stdout)?;
        assert_eq!(rows[0]["name"], name);
        laptop.fluvio(&[kind, "delete", name]).await?.succeed()?;
        let again = laptop.fluvio(&[kind, "delete", name]).await?;
        assert_eq!(again.code, Some(1));
        let way_out = format!("fluvio {kind} list");
        assert!(again.stderr.contains("not found") && again.stderr.contains(&way_out), "{}", again.stderr);
    }
    Ok(())
}

/// Names of all objects of one type.
async fn names<S>(admin: &FluvioAdmin) -> anyhow::Result<Vec<String>>
where
    S: AdminSpec,
    S::Status: fluvio::dataplane::Encoder + fluvio::dataplane::Decoder + Debug,
{
    let all: Vec<Metadata<S>> = within("a list", STEP_WITHIN, admin.all::<S>()).await?;
    Ok(all.into_iter().map(|object| object.name).collect())
}

fn format() -> TableFormatSpec {
    let columns = Some(vec![TableFormatColumnConfig::new("$.id".to_string())]);
    TableFormatSpec { name: "orders".to_string(), columns, ..Default::default() }
}

fn module() -> anyhow::Result<SmartModuleSpec> {
    let mut meta = SmartModuleMetadata::default();
    meta.package.name = "map".to_string();
    meta.package.group = "acme".to_string();
    // Large enough that it crosses many packets, and not a run of one byte.
    let code: Vec<u8> =
        (0..1_000_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 9).to_be_bytes()).collect();
    let wasm = SmartModuleWasm::from_raw_wasm_bytes(&code)?;
    anyhow::ensure!(wasm.payload.len() > 1_000_000, "{}", wasm.payload.len());
    Ok(SmartModuleSpec { meta: Some(meta), summary: None, wasm })
}

fn spu() -> CustomSpuSpec {
    CustomSpuSpec { id: 6001, rack: Some("attic".to_string()), ..Default::default() }
}

async fn check_all(admin: &FluvioAdmin) -> anyhow::Result<()> {
    let formats =
        within("formats", STEP_WITHIN, admin.list::<TableFormatSpec, _>(vec!["rder".to_string()])).await?;
    assert_eq!((formats.len(), formats[0].name.as_str(), &formats[0].spec), (1, "orders", &format()));
    let found =
        within("modules", STEP_WITHIN, admin.list::<SmartModuleSpec, _>(vec!["acme/map".to_string()]))
            .await?;
    assert_eq!((found.len(), found[0].name.as_str()), (1, "map-acme-0.1.0"));
    assert!(found[0].spec == module()?, "the code is what was uploaded");
    let short = admin.list_with_params::<SmartModuleSpec, String>(vec![], true);
    let short = within("a summary", STEP_WITHIN, short).await?.remove(0).spec;
    let length = short.summary.context("a summary")?.wasm_length;
    assert_eq!((length as usize, short.wasm.payload.len()), (module()?.wasm.payload.len(), 0));
    let custom = within("custom SPUs", STEP_WITHIN, admin.all::<CustomSpuSpec>()).await?;
    assert_eq!((custom.len(), &custom[0].spec), (1, &spu()));
    let spus = within("SPUs", STEP_WITHIN, admin.all::<SpuSpec>()).await?;
    let away: Vec<_> = spus.iter().filter(|spu| spu.spec.is_custom()).collect();
    assert_eq!((spus.len(), away.len(), away[0].status.is_online()), (3, 1, false));
    let groups = within("groups", STEP_WITHIN, admin.all::<SpuGroupSpec>()).await?;
    assert_eq!((groups.len(), groups[0].name.as_str(), groups[0].spec.replicas), (1, "main", 2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_stored_listed_watched_and_there_again_after_kill_9_of_the_sc() -> anyhow::Result<()> {
    let laptop = Laptop::new()?;
    laptop.start(&["--spu", "2"]).await?;
    let admin = laptop.admin().await?;
    let mut watched = within("a watch", STEP_WITHIN, admin.watch::<SmartModuleSpec>()).await?;
    let mut told = async || -> anyhow::Result<_> {
        let news = async { watched.next().await.context("news")?.context("news") };
        Ok(within("news", STEP_WITHIN, news).await?.inner())
    };
    assert!(told().await?.all.is_empty());

    within("stored", STEP_WITHIN, admin.create("orders".to_string(), false, format())).await?;
    within("stored", STEP_WITHIN, admin.create("map".to_string(), false, module()?)).await?;
    within("stored", STEP_WITHIN, admin.create("custom-spu-6001".to_string(), false, spu())).await?;
    let news = told().await?;
    assert_eq!((news.changes.len(), news.changes[0].content.name.as_str()), (1, "map-acme-0.1.0"));
    let twice = within("refused", STEP_WITHIN, admin.create("orders".to_string(), false, format())).await;
    assert!(format!("{:#}", twice.expect_err("it is there")).contains("already exists"));
    let group = SpuGroupSpec { replicas: 1, min_id: 7000, ..Default::default() };
    let refused = within("refused", STEP_WITHIN, admin.create("more".to_string(), false, group)).await;
    assert!(format!("{:#}", refused.expect_err("no groups")).contains("fluvio cluster start --spu"));
    check_all(&admin).await?;

    laptop.server("sc").await?.kill()?;
    laptop.start(&[]).await?;
    let admin = laptop.admin().await?;
    check_all(&admin).await?;

    // Topics go where they went before.
    create_topic(&admin, "after", 4).await?;
    let client = laptop.client().await?;
    produce(&producer(&client, "after").await?, &[b"one".to_vec()]).await?;
    let mut n_records = 0;
    for partition in 0..4 {
        n_records += read_all(&client, "after", partition, Isolation::ReadCommitted).await?.len();
    }
    assert_eq!(n_records, 1);

    within("deleted", STEP_WITHIN, admin.delete::<TableFormatSpec>("orders".to_string())).await?;
    within("deleted", STEP_WITHIN, admin.delete::<SmartModuleSpec>("acme/map@0.1.0".to_string())).await?;
    within("deleted", STEP_WITHIN, admin.delete::<CustomSpuSpec>(CustomSpuKey::Id(6001))).await?;
    let again = within("refused", STEP_WITHIN, admin.delete::<TableFormatSpec>("orders".to_string())).await;
    assert!(format!("{:#}", again.expect_err("it is gone")).contains("not found"));
    assert!(names::<TableFormatSpec>(&admin).await?.is_empty());
    assert!(names::<SmartModuleSpec>(&admin).await?.is_empty());
    assert!(names::<CustomSpuSpec>(&admin).await?.is_empty());
    assert_eq!(names::<SpuSpec>(&admin).await?, ["main-0", "main-1"]);
    Ok(())
}
