//! Headless Chromium through chromedriver, each with a profile folder of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;

use crate::guard::Guard;
use crate::wait::{until, until_blocking};

/// A browser window.
#[derive(Debug)]
pub struct Chromium {
    pub client: Client,
    _guard: Guard,
}

/// What the visitor's device and taste ask for.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

impl Chromium {
    pub async fn open(look: Look) -> anyhow::Result<Chromium> {
        let folder = tempfile::Builder::new().prefix("fchromium").tempdir_in("/tmp")?.keep();
        let guard = Guard::over(&folder, "chromedriver", None)?;
        let port = driver(&folder)?;
        let mut arguments = vec![
            "--headless".to_string(),
            "--no-sandbox".to_string(),
            "--disable-gpu".to_string(),
            "--disable-quic".to_string(),
            "--no-first-run".to_string(),
            "--disable-background-networking".to_string(),
            "--disable-component-update".to_string(),
            "--disable-sync".to_string(),
            "--disable-dev-shm-usage".to_string(),
            "--hide-scrollbars".to_string(),
            format!("--user-data-dir={}", folder.join("profile").display()),
            format!("--window-size={},{}", look.width, look.height),
        ];
        if look.dark {
            arguments.push("--blink-settings=preferredColorScheme=0".to_string());
        }
        let mut chrome = json!({"args": arguments});
        if look.width < 600 {
            chrome["mobileEmulation"] =
                json!({"deviceMetrics": {"width": look.width, "height": look.height, "pixelRatio": 2.0}});
        }
        let capabilities = serde_json::Map::from_iter([
            ("browserName".to_string(), json!("chrome")),
            ("goog:chromeOptions".to_string(), chrome),
        ]);
        let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(capabilities);
        let client = builder
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("chromedriver does not open a session")?;
        Ok(Chromium { client, _guard: guard })
    }

    /// The first element that a CSS selector names, as soon as the page has one.
    pub async fn shows(&self, what: &str, limit: Duration) -> anyhow::Result<Element> {
        self.with(what, limit, async |element| Ok(element)).await
    }

    /// What came of using the first element that a CSS selector names. A page that follows its cluster replaces
    /// elements at any moment: one that went, or lay under another, before it could be used is looked for again.
    pub async fn with<T>(
        &self,
        what: &str,
        limit: Duration,
        mut use_it: impl AsyncFnMut(Element) -> Result<T, CmdError>,
    ) -> anyhow::Result<T> {
        until(what, limit, async || match self.client.find(Locator::Css(what)).await {
            Ok(element) => Ok(Some(use_it(element).await?)),
            Err(error) if error.is_no_such_element() => Ok(None),
            Err(error) => Err(error.into()),
        })
        .await
    }

    /// The whole page as a picture, kept for people to look at.
    pub async fn picture(&self, path: &Path) -> anyhow::Result<()> {
        let picture = self.client.screenshot().await?;
        ensure!(picture.starts_with(b"\x89PNG"), "not a picture");
        std::fs::write(path, picture)?;
        Ok(())
    }

    pub async fn close(self) -> anyhow::Result<()> {
        Ok(self.client.clone().close().await?)
    }
}

/// Starts chromedriver on a port of its own choice and reads which from its log.
fn driver(folder: &Path) -> anyhow::Result<u16> {
    let log = folder.join("driver.log");
    let program = ["/usr/bin/chromedriver", "/usr/lib/chromium/chromedriver"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap_or("chromedriver");
    let out = std::fs::File::create(&log)?;
    Command::new(program)
        .arg("--port=0")
        .arg(format!("--log-path={}", folder.join("verbose.log").display()))
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::null())
        .spawn()
        .context("chromedriver is not installed\nfix: apt-get install -y chromium chromium-driver")?;
    until_blocking("chromedriver listens", Duration::from_secs(20), || {
        let text = std::fs::read_to_string(&log).ok()?;
        let from = text.find("started successfully on port ")?;
        text[from..]
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .ok()
    })
}
