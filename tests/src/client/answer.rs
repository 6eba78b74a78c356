//! What came back, and the reader of HTTP/1.1 answers.

use std::io::{ErrorKind, Read};

use anyhow::{Context, Result, bail};

/// A complete answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Interim answers that came before, such as 100.
    pub interim: Vec<u16>,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Errors
    /// The body is not JSON; the text shows it.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("status {}: {}", self.status, self.text()))
    }

    /// `Retry-After` in seconds.
    pub fn retry_after(&self) -> Option<u64> {
        self.header("retry-after")?.parse().ok()
    }

    /// Whether the server ends the connection after this.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Reads one answer; `rest` holds what was read beyond the last one.
pub(super) fn read(stream: &mut impl Read, rest: &mut Vec<u8>) -> Result<Answer> {
    let mut interim = Vec::new();
    loop {
        let (status, headers) = read_head(stream, rest)?;
        if (100..200).contains(&status) {
            interim.push(status);
            continue;
        }
        let mut answer = Answer { status, headers, body: Vec::new(), interim };
        answer.body = read_body(stream, rest, &answer)?;
        return Ok(answer);
    }
}

/// Reads an interim or final head and nothing of a body.
pub(super) fn read_head(
    stream: &mut impl Read,
    rest: &mut Vec<u8>,
) -> Result<(u16, Vec<(String, String)>)> {
    let end = loop {
        if let Some(at) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if fill(stream, rest)? == 0 {
            bail!(
                "the connection ended before an answer; so far {:?}",
                String::from_utf8_lossy(rest)
            );
        }
    };
    let head: Vec<u8> = rest.drain(..end + 4).collect();
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.trim_end().split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("a status in {first:?}"))?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok((status, headers))
}

fn read_body(stream: &mut impl Read, rest: &mut Vec<u8>, answer: &Answer) -> Result<Vec<u8>> {
    if answer.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        return read_chunks(stream, rest);
    }
    if let Some(length) = answer.header("content-length") {
        let length = length.parse()?;
        return take(stream, rest, length);
    }
    if answer.status == 204 || answer.status == 304 {
        return Ok(Vec::new());
    }
    while fill(stream, rest)? > 0 {}
    Ok(std::mem::take(rest))
}

fn read_chunks(stream: &mut impl Read, rest: &mut Vec<u8>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = loop {
            if let Some(at) = rest.windows(2).position(|window| window == b"\r\n") {
                break rest.drain(..at + 2).collect::<Vec<u8>>();
            }
            if fill(stream, rest)? == 0 {
                bail!("the connection ended between two chunks");
            }
        };
        let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16)?;
        let mut chunk = take(stream, rest, size + 2)?;
        chunk.truncate(size);
        if chunk.is_empty() {
            return Ok(body);
        }
        body.append(&mut chunk);
    }
}

fn take(stream: &mut impl Read, rest: &mut Vec<u8>, length: usize) -> Result<Vec<u8>> {
    while rest.len() < length {
        if fill(stream, rest)? == 0 {
            bail!("the connection ended after {} of {length} bytes", rest.len());
        }
    }
    Ok(rest.drain(..length).collect())
}

/// Reads once; 0 is the end of the stream, with or without a proper TLS goodbye.
fn fill(stream: &mut impl Read, rest: &mut Vec<u8>) -> Result<usize> {
    let mut buffer = [0; 16 * 1024];
    let count = loop {
        match stream.read(&mut buffer) {
            // A child of this process has ended: where a read has a timeout, the kernel does not
            // begin it anew.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other,
        }
    };
    let count = match count {
        Ok(count) => count,
        Err(error)
            if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) =>
        {
            0
        }
        Err(error) => return Err(error).context("reading the answer"),
    };
    rest.extend(buffer.iter().take(count));
    Ok(count)
}
