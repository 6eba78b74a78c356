//! Pushing one branch: git's receive-pack protocol, which gix does not have yet.
//!
//! The server advertises its refs; if the branch is not where it is expected to be, nothing is
//! sent. Otherwise one command `old new ref` goes out with a pack of the new objects, and the
//! server itself compares and swaps: of two pushers with the same `old`, one gets `ng`.

use std::io::{Read, Write};

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::protocol::transport::client::{self, Capabilities, MessageKind, WriteMode};
use gix::protocol::transport::packetline::PacketLineRef;
use gix::protocol::transport::{Protocol, Service};

use super::fetch::full_name;
use super::object::{NewObject, pack};
use crate::error::GitError;
use crate::remote::Remote;
use crate::transport::{Connection, Fault, connect, first_line};
use crate::words::{self, Meaning};

pub(super) fn push(
    remote: &Remote,
    branch: &str,
    expected: Option<ObjectId>,
    new: ObjectId,
    objects: Option<&[NewObject]>,
) -> Result<(), GitError> {
    let reference = full_name(branch)?;
    let Connection { mut transport, fault } = connect(remote, Protocol::V1)?;
    let server = handshake(&mut *transport, &reference, &fault)?;
    if server.current == Some(new) {
        return Ok(());
    }
    if let Some(by) = server.blocked_by {
        return Err(GitError::BranchBlocked { branch: branch.to_owned(), by });
    }
    if server.current != expected {
        return Err(GitError::PushRace { branch: branch.to_owned() });
    }
    let objects = objects.ok_or_else(|| GitError::damaged("the commit is no longer at hand"))?;
    let old = expected.unwrap_or_else(|| ObjectId::null(gix::hash::Kind::Sha1));
    let mut request = Vec::new();
    packet(&mut request, format!("{old} {new} {reference}\0{}", server.wanted).as_bytes());
    request.extend_from_slice(b"0000");
    request.extend(pack(objects)?);
    let report =
        exchange(&mut *transport, &request, server.side_band).map_err(|error| fault.or(error))?;
    judge(&report, branch, &reference, &fault)
}

/// What the server said about itself and the branch.
struct Server {
    current: Option<ObjectId>,
    /// A branch of the server that cannot exist beside ours.
    blocked_by: Option<String>,
    /// The capabilities we ask for.
    wanted: String,
    side_band: bool,
}

fn handshake(
    transport: &mut (dyn Transport + Send),
    reference: &str,
    fault: &Fault,
) -> Result<Server, GitError> {
    let response =
        transport.handshake(Service::ReceivePack, &[]).map_err(|error| fault.or(error))?;
    let capabilities = response.capabilities;
    let (mut current, mut blocked_by) = (None, None);
    let mut refs =
        response.refs.ok_or_else(|| fault.or("the server offers no branches to push to"))?;
    while let Some(line) = refs.readline() {
        let line = line.map_err(|error| fault.or(error))?.map_err(|error| fault.or(error))?;
        let PacketLineRef::Data(data) = line else { break };
        let line = data.split(|byte| *byte == b'\0').next().unwrap_or_default().trim_end();
        if let Some((id, name)) = line.split_once_str(" ") {
            if name == reference.as_bytes() {
                current = ObjectId::from_hex(id).ok();
            } else if is_in_the_way(name, reference) {
                blocked_by.get_or_insert_with(|| branch_of(&name.to_str_lossy()));
            }
        }
    }
    drop(refs);
    if value_of(&capabilities, "report-status").is_none() {
        return Err(GitError::Protocol {
            detail: "the server does not report the result of a push".to_owned(),
        });
    }
    let side_band = value_of(&capabilities, "side-band-64k").is_some();
    let mut wanted = String::from(" report-status");
    for name in ["side-band-64k", "quiet"] {
        if value_of(&capabilities, name).is_some() {
            wanted.push(' ');
            wanted.push_str(name);
        }
    }
    if value_of(&capabilities, "object-format").is_some() {
        wanted.push_str(" object-format=sha1");
    }
    wanted.push_str(" agent=lockgate");
    Ok(Server { current, blocked_by, wanted, side_band })
}

/// Whether git would have to keep one ref as a folder and as a file.
fn is_in_the_way(name: &[u8], reference: &str) -> bool {
    let is_below = |inner: &[u8], outer: &[u8]| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with(b"/"))
    };
    is_below(name, reference.as_bytes()) || is_below(reference.as_bytes(), name)
}

fn branch_of(reference: &str) -> String {
    first_line(reference.strip_prefix("refs/heads/").unwrap_or(reference))
}

/// The value of a capability: empty if it has none, None if the server lacks it.
fn value_of(capabilities: &Capabilities, name: &str) -> Option<String> {
    let capability = capabilities.capability(name)?;
    Some(capability.value().map(|value| value.to_str_lossy().into_owned()).unwrap_or_default())
}

/// Sends the request and returns the packet lines of the report, and the last message of the
/// server's hooks.
fn exchange(
    transport: &mut (dyn Transport + Send),
    request: &[u8],
    side_band: bool,
) -> Result<Report, client::Error> {
    let (mut writer, mut reader) =
        transport.request(WriteMode::Binary, MessageKind::Flush, false)?.into_parts();
    // A server that refuses early closes its end; what it says is worth more than the broken pipe.
    let written = writer.write_all(request).and_then(|()| writer.flush());
    drop(writer);
    let mut report = Report::default();
    let mut nested = Vec::new();
    while let Some(line) = reader.readline() {
        let line =
            line?.map_err(|error| client::Error::Io(std::io::Error::other(error.to_string())))?;
        let PacketLineRef::Data(data) = line else { break };
        match (side_band, data.split_first()) {
            (true, Some((1, rest))) => nested.extend_from_slice(rest),
            (true, Some((2 | 3, rest))) => report.note(&rest.to_str_lossy()),
            (true, _) => {}
            (false, _) => report.lines.push(data.trim_end().to_str_lossy().into_owned()),
        }
    }
    drop(reader.read_to_end(&mut Vec::new()));
    if side_band {
        report.lines = unpacket(&nested);
    }
    if report.lines.is_empty() {
        written?;
    }
    Ok(report)
}

#[derive(Default)]
struct Report {
    lines: Vec<String>,
    /// What hooks printed, shortened.
    said: String,
}

impl Report {
    fn note(&mut self, text: &str) {
        // Gitea and GitLab put a message between lines that say nothing: `error:`, `=====`.
        let says_something =
            |line: &String| line.trim_start_matches("error:").contains(char::is_alphanumeric);
        for line in text.lines().map(first_line).filter(says_something) {
            if self.said.len() < 500 {
                if !self.said.is_empty() {
                    self.said.push_str("; ");
                }
                self.said.push_str(&line);
            }
        }
    }
}

fn judge(report: &Report, branch: &str, reference: &str, fault: &Fault) -> Result<(), GitError> {
    let mut unpacked = None;
    for line in &report.lines {
        if let Some(result) = line.strip_prefix("unpack ") {
            unpacked = Some(result);
        } else if let Some(name) = line.strip_prefix("ok ") {
            if name.split(' ').next() == Some(reference) && unpacked == Some("ok") {
                return Ok(());
            }
        } else if let Some(reason) =
            line.strip_prefix("ng ").and_then(|rest| rest.strip_prefix(reference))
        {
            return Err(refusal(branch, reason.trim(), unpacked, &report.said));
        }
    }
    match unpacked {
        Some(result) if result != "ok" => Err(refusal(branch, result, unpacked, &report.said)),
        _ => Err(fault.or("the server did not report the result of the push")),
    }
}

/// Sorts the reasons that git servers give, together with what their hooks printed.
fn refusal(branch: &str, reason: &str, unpacked: Option<&str>, said: &str) -> GitError {
    let all = if said.is_empty() { reason.to_owned() } else { format!("{reason} ({said})") };
    if let Some(by) = blocking_ref(&all) {
        return GitError::BranchBlocked { branch: branch.to_owned(), by };
    }
    match words::meaning(&all) {
        Some(Meaning::Race) => return GitError::PushRace { branch: branch.to_owned() },
        Some(Meaning::Outage | Meaning::Slow) => {
            return GitError::Unreachable { detail: first_line(&all) };
        }
        _ => {}
    }
    if unpacked.is_some_and(|result| result != "ok") {
        // Something is wrong with the server's disk, or the parent went away: later it may work.
        return GitError::Protocol {
            detail: first_line(&format!("the server could not unpack the commit: {all}")),
        };
    }
    GitError::PushRejected { branch: branch.to_owned(), reason: first_line(&all) }
}

/// The ref that a server names as standing in the way: `'refs/heads/a' exists; cannot create
/// 'refs/heads/a/b'`. Source: refs_verify_refnames_available in git's refs.c.
fn blocking_ref(said: &str) -> Option<String> {
    let (before, _) = said.split_once("' exists; cannot create '")?;
    let (_, name) = before.rsplit_once('\'')?;
    Some(branch_of(name))
}

fn packet(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(format!("{:04x}", data.len() + 4).as_bytes());
    out.extend_from_slice(data);
}

/// The packet lines in a buffer, up to the flush.
fn unpacket(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some((length, rest)) = bytes.split_at_checked(4) {
        let length =
            std::str::from_utf8(length).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let Some((line, rest)) =
            length.and_then(|length| length.checked_sub(4)).and_then(|n| rest.split_at_checked(n))
        else {
            break;
        };
        lines.push(line.trim_end().to_str_lossy().into_owned());
        bytes = rest;
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    fn judged(lines: &[&str], said: &str) -> Result<(), GitError> {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        let mut report = Report { lines, said: String::new() };
        report.note(said);
        judge(&report, "b", "refs/heads/b", &Fault::default())
    }

    #[test]
    fn only_unpack_ok_and_ok_for_our_branch_is_a_success() {
        assert_eq!(judged(&["unpack ok", "ok refs/heads/b"], ""), Ok(()));
        assert!(judged(&["unpack ok", "ok refs/heads/bb"], "").is_err());
        assert!(judged(&["ok refs/heads/b"], "").is_err());
        assert!(judged(&["unpack ok"], "").is_err());
        assert!(judged(&[], "").unwrap_err().is_passing());
    }

    #[test]
    fn each_reason_of_a_server_has_its_error() {
        for (reason, race) in [
            ("non-fast-forward", true),
            ("failed to update ref", true),
            ("cannot lock ref 'refs/heads/b': is at x but expected y", true),
            ("reference already exists", true),
            ("pre-receive hook declined", false),
            ("protected branch hook declined", false),
            ("deny updating a hidden ref", false),
            ("branch is currently checked out", false),
        ] {
            let line = format!("ng refs/heads/b {reason}");
            let error = judged(&["unpack ok", &line], "").unwrap_err();
            let as_expected = if race {
                matches!(error, GitError::PushRace { .. })
            } else {
                matches!(error, GitError::PushRejected { .. })
            };
            assert!(as_expected, "{reason}: {error:?}");
        }
        for (reason, said) in [
            ("fatal error in commit_refs", ""),
            ("Internal Server Error", ""),
            ("pre-receive hook declined", "GitLab: Internal API unreachable\n"),
            ("failed", "error: the server is in maintenance mode"),
        ] {
            let error =
                judged(&["unpack ok", &format!("ng refs/heads/b {reason}")], said).unwrap_err();
            assert!(matches!(error, GitError::Unreachable { .. }), "{reason}: {error:?}");
        }
        let blocked = "error: cannot lock ref 'refs/heads/b': 'refs/heads/b/x' exists; cannot create 'refs/heads/b'";
        let error =
            judged(&["unpack ok", "ng refs/heads/b failed to update ref"], blocked).unwrap_err();
        assert_eq!(error, GitError::BranchBlocked { branch: "b".to_owned(), by: "b/x".to_owned() });
        let full = judged(
            &["unpack unable to create temporary file", "ng refs/heads/b unpacker error"],
            "",
        )
        .unwrap_err();
        assert!(full.is_passing());
        let said = judged(
            &["unpack ok", "ng refs/heads/b pre-receive hook declined"],
            "GH006: Protected\nbranch",
        )
        .unwrap_err();
        assert!(said.to_string().contains("GH006: Protected; branch"), "{said}");
        let framed = "error:\nerror: User permission denied for writing.\nerror:\n=====\n\n";
        let said = judged(&["unpack ok", "ng refs/heads/b pre-receive hook declined"], framed)
            .unwrap_err();
        assert!(
            said.to_string().ends_with(
                "pre-receive hook declined (error: User permission denied for writing.)"
            ),
            "{said}"
        );
    }
}
