//! How a record is written to stdout.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::failure::Failure;

/// The form of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Text as it is, a line each; anything else by its size
    Dynamic,
    /// Like dynamic
    #[value(hide = true)]
    Text,
    /// The bytes as they are, and a newline after each record
    Raw,
    /// One JSON object a line: partition, offset, timestamp, key and value (or value_base64)
    Json,
}

/// Everything that decides how a record looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Style {
    /// The value alone, or with its key before it.
    Plain {
        /// As bytes, whatever they are.
        raw: bool,
        /// Whether the key is shown.
        key: bool,
    },
    /// JSON.
    Json,
    /// The person's own form.
    Template(Vec<Piece>),
}

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Goes out as it is.
    Literal(String),
    /// `{{key}}`
    Key,
    /// `{{value}}`
    Value,
    /// `{{offset}}`
    Offset,
    /// `{{partition}}`
    Partition,
    /// `{{time}}`
    Time,
}

/// What is shown of a record.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Its partition.
    pub partition: u32,
    /// Its offset there.
    pub offset: i64,
    /// Milliseconds since 1970, negative if unknown.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: &'a [u8],
}

#[derive(Serialize)]
struct Line<'a> {
    partition: u32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl Style {
    /// The style that the options name.
    pub fn choose(shape: Shape, key: bool, template: Option<&str>) -> Result<Self, Failure> {
        match (template, shape) {
            (Some(template), _) => parse_template(template).map(Self::Template),
            (None, Shape::Json) => Ok(Self::Json),
            (None, Shape::Raw) => Ok(Self::Plain { raw: true, key }),
            (None, Shape::Dynamic | Shape::Text) => Ok(Self::Plain { raw: false, key }),
        }
    }

    /// Writes a record and the newline after it.
    pub fn write(&self, record: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Plain { raw, key } => {
                if *key {
                    out.write_all(b"[")?;
                    out.write_all(record.key.unwrap_or(b"null"))?;
                    out.write_all(b"] ")?;
                }
                if *raw { out.write_all(record.value)? } else { write_text(record.value, out)? }
            }
            Self::Json => serde_json::to_writer(&mut *out, &Line::from(record))?,
            Self::Template(pieces) => {
                for piece in pieces {
                    piece.write(record, out)?;
                }
            }
        }
        out.write_all(b"\n")
    }
}

impl Piece {
    fn write(&self, record: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Literal(text) => out.write_all(text.as_bytes()),
            Self::Key => out.write_all(record.key.unwrap_or(b"null")),
            Self::Value => out.write_all(record.value),
            Self::Offset => write!(out, "{}", record.offset),
            Self::Partition => write!(out, "{}", record.partition),
            Self::Time => write!(out, "{}", time_text(record.timestamp)),
        }
    }
}

impl<'a> From<&Shown<'a>> for Line<'a> {
    fn from(record: &Shown<'a>) -> Self {
        let (key, key_base64) = record.key.map_or((None, None), text_or_base64);
        let (value, value_base64) = text_or_base64(record.value);
        let timestamp = (record.timestamp >= 0).then_some(record.timestamp);
        Self {
            partition: record.partition,
            offset: record.offset,
            timestamp,
            key,
            key_base64,
            value,
            value_base64,
        }
    }
}

fn text_or_base64(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

fn write_text(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    match std::str::from_utf8(bytes) {
        Ok(_) => out.write_all(bytes),
        Err(_) => write!(out, "binary: ({} bytes)", bytes.len()),
    }
}

fn time_text(milliseconds: i64) -> String {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok().filter(|_| milliseconds >= 0);
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "unknown".to_owned())
}

fn parse_template(template: &str) -> Result<Vec<Piece>, Failure> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        push_literal(&mut pieces, before);
        let (name, after) = after.split_once("}}").ok_or_else(|| {
            Failure::usage(format!("`{{{{{after}` has no end")).with_fix("close it with }}")
        })?;
        pieces.push(match name.trim() {
            "key" => Piece::Key,
            "value" => Piece::Value,
            "offset" => Piece::Offset,
            "partition" => Piece::Partition,
            "time" => Piece::Time,
            other => {
                return Err(Failure::usage(format!("{{{{{other}}}}} is nothing a record has"))
                    .with_fix("use {{key}}, {{value}}, {{offset}}, {{partition}} or {{time}}"));
            }
        });
        rest = after;
    }
    push_literal(&mut pieces, rest);
    Ok(pieces)
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Literal(text.replace("\\t", "\t").replace("\\n", "\n")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Shown<'_> = Shown {
        partition: 2,
        offset: 41,
        timestamp: 1_700_000_000_123,
        key: Some(b"ada"),
        value: b"{\"n\":1}",
    };

    fn written(style: &Style, record: &Shown<'_>) -> String {
        let mut out = Vec::new();
        style.write(record, &mut out).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    fn style(shape: Shape, key: bool, template: Option<&str>) -> Style {
        Style::choose(shape, key, template).unwrap()
    }

    #[test]
    fn each_form_of_a_record() {
        let keyless = Shown { key: None, timestamp: -1, ..RECORD };
        let binary = Shown { value: &[0xff, 0], key: Some(&[0xfe]), ..RECORD };
        let cases = [
            (style(Shape::Dynamic, false, None), RECORD, "{\"n\":1}\n"),
            (style(Shape::Dynamic, true, None), RECORD, "[ada] {\"n\":1}\n"),
            (style(Shape::Raw, true, None), keyless, "[null] {\"n\":1}\n"),
            (style(Shape::Dynamic, false, None), binary, "binary: (2 bytes)\n"),
            (style(Shape::Raw, false, None), binary, "\u{fffd}\0\n"),
            (
                style(Shape::Json, false, None),
                RECORD,
                "{\"partition\":2,\"offset\":41,\"timestamp\":1700000000123,\"key\":\"ada\",\"value\":\"{\\\"n\\\":1}\"}\n",
            ),
            (
                style(Shape::Json, false, None),
                keyless,
                "{\"partition\":2,\"offset\":41,\"value\":\"{\\\"n\\\":1}\"}\n",
            ),
            (
                style(Shape::Json, false, None),
                Shown { timestamp: -1, ..binary },
                "{\"partition\":2,\"offset\":41,\"key_base64\":\"/g==\",\"value_base64\":\"/wA=\"}\n",
            ),
            (
                style(
                    Shape::Dynamic,
                    false,
                    Some("{{partition}}/{{ offset }}\\t{{key}}={{value}} at {{time}}"),
                ),
                RECORD,
                "2/41\tada={\"n\":1} at 2023-11-14T22:13:20.123Z\n",
            ),
            (style(Shape::Dynamic, false, Some("{{key}} {{time}}")), keyless, "null unknown\n"),
            (style(Shape::Dynamic, false, Some("")), RECORD, "\n"),
        ];
        for (style, record, expected) in cases {
            assert_eq!(written(&style, &record), expected, "{style:?}");
        }
    }

    #[test]
    fn a_template_that_asks_for_what_no_record_has_is_refused() {
        for template in ["{{colour}}", "{{value", "a {{}} b"] {
            assert_eq!(
                Style::choose(Shape::Dynamic, false, Some(template)).unwrap_err().exit_code(),
                2,
                "{template}"
            );
        }
    }
}
