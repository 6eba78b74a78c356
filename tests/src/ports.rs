//! Free ports below the range from which the kernel takes source ports, so that no outgoing
//! connection is in the way.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;

static OFFSET: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that nobody listens on. Two calls in one process never give the same one.
///
/// # Errors
/// The whole range is taken.
pub fn free() -> Result<u16> {
    let span = LAST - FIRST;
    // Processes that run side by side begin at different places.
    let start = (std::process::id().wrapping_mul(97) % u32::from(span)) as u16;
    for _ in 0..span {
        let offset = OFFSET.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(offset) % span;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {LAST}")
}
