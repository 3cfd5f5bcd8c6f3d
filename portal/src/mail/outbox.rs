//! The outbox: mails as files in a folder, newest first. For a cloud on one machine that has no mail server.

use std::io;
use std::path::Path;

use tokio::fs;

/// Mails shown at once.
const MOST_SHOWN: usize = 100;
/// A mail larger than this is not ours.
const MOST_BYTES: u64 = 64 * 1024;

/// One mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The file's name without its ending; the address of its page.
    pub id: String,
    /// The receiver.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// When it was sent, as the mail says.
    pub date: String,
    /// The text.
    pub text: String,
}

/// Writes one mail; whoever lists the folder sees it whole or not at all.
pub async fn write(directory: &Path, message: &[u8]) -> io::Result<()> {
    // A time-ordered id: names sort by age.
    let id = uuid::Uuid::now_v7().simple().to_string();
    let partial = directory.join(format!("{id}.partial"));
    fs::write(&partial, message).await?;
    fs::rename(&partial, directory.join(format!("{id}.eml"))).await
}

/// The newest mails.
pub async fn list(directory: &Path) -> io::Result<Vec<Mail>> {
    let mut ids = Vec::new();
    let mut entries = fs::read_dir(directory).await?;
    while let Some(entry) = entries.next_entry().await? {
        if let Some(id) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".eml")) {
            ids.push(id.to_owned());
        }
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.truncate(MOST_SHOWN);
    let mut mails = Vec::new();
    for id in ids {
        mails.extend(read(directory, &id).await?);
    }
    Ok(mails)
}

/// One mail. `None`: there is none, or the id is not one of ours.
pub async fn read(directory: &Path, id: &str) -> io::Result<Option<Mail>> {
    if id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(None);
    }
    let path = directory.join(format!("{id}.eml"));
    let bytes = match fs::metadata(&path).await {
        Ok(found) if found.len() <= MOST_BYTES => fs::read(&path).await?,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(parse(id, &String::from_utf8_lossy(&bytes))))
}

/// Takes a mail apart: our letters are plain ASCII and need no decoding.
fn parse(id: &str, raw: &str) -> Mail {
    let raw = raw.replace("\r\n", "\n");
    let (head, text) = raw.split_once("\n\n").unwrap_or((&raw, ""));
    let field = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_default().trim().to_owned()
    };
    Mail { id: id.into(), to: field("To"), subject: field("Subject"), date: field("Date"), text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MailConfig;
    use crate::mail::{Mailer, letters};

    #[tokio::test]
    async fn a_sent_letter_is_listed_and_read_with_its_link_whole() {
        let folder = tempfile::tempdir().unwrap();
        let config = MailConfig::Outbox { directory: folder.path().into() };
        let mailer = Mailer::new(&config, &tokio_util::sync::CancellationToken::new()).unwrap();
        let link = format!("http://127.0.0.1:8080/verify?token={}", crate::edge::secret::make());
        mailer.send("ada@example.com", letters::verify(&link)).await.unwrap();
        mailer.send("bob@example.com", letters::address_in_use("http://x")).await.unwrap();

        let mails = list(folder.path()).await.unwrap();
        let to: Vec<&str> = mails.iter().map(|mail| mail.to.as_str()).collect();
        assert_eq!(to, ["bob@example.com", "ada@example.com"]);
        assert!(mails[1].text.lines().any(|line| line == link), "{}", mails[1].text);
        assert_eq!(mails[1].subject, "Verify your address for Fluvio Cloud");
        assert_eq!(read(folder.path(), &mails[0].id).await.unwrap().unwrap(), mails[0]);
    }

    #[tokio::test]
    async fn no_name_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret.eml"), "To: x\n\ny").unwrap();
        let inner = folder.path().join("outbox");
        std::fs::create_dir(&inner).unwrap();
        for id in ["../secret", "..", "", "%2e%2e", "/etc/passwd", "nothing"] {
            assert_eq!(read(&inner, id).await.unwrap(), None, "{id}");
        }
    }
}
