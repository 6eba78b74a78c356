//! The proxy as the edge sees it: time, source address, body, and numbers that all workers share.

use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use lockgate_edge::Surroundings;
use lockgate_edge::limit::SharedCells;
use lockgate_edge::reply::Reply;
use proxy_wasm::hostcalls;
use proxy_wasm::types::BufferType;

/// The proxy.
pub struct Host;

impl Host {
    /// Sends the answer. A request gets one: the caller keeps count.
    pub fn send(&self, reply: &Reply) {
        let headers: Vec<_> = reply.headers().collect();
        let headers = headers.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        if hostcalls::send_http_response(reply.status.into(), headers, Some(&reply.body)).is_err() {
            log::error!("the proxy took no answer");
        }
    }
}

impl Surroundings for Host {
    fn now(&self) -> u64 {
        let since =
            hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
        u64::try_from(since.unwrap_or(Duration::ZERO).as_nanos()).unwrap_or(u64::MAX)
    }

    fn source_address(&self) -> Vec<u8> {
        hostcalls::get_property(vec!["source", "address"]).ok().flatten().unwrap_or_default()
    }

    fn body(&self, range: Range<usize>) -> Option<Vec<u8>> {
        let piece = hostcalls::get_buffer(BufferType::HttpRequestBody, range.start, range.len());
        let piece = piece.ok().flatten().filter(|piece| piece.len() == range.len());
        // A proxy shows no buffer for a body without bytes.
        let piece = piece.or_else(|| range.is_empty().then(Vec::new));
        if piece.is_none() {
            log::error!("the proxy does not give the body that it announced");
        }
        piece
    }
}

/// Shared data: one cell is eight bytes, little-endian. What has another length is no number.
impl SharedCells for Host {
    fn load(&self, cell: &str) -> (Option<u64>, u32) {
        match hostcalls::get_shared_data(cell) {
            Ok((Some(bytes), mark)) => {
                let value = bytes.as_slice().try_into().ok().map(u64::from_le_bytes);
                (value, mark.unwrap_or(ABSENT))
            }
            Ok((None, mark)) => (None, mark.unwrap_or(ABSENT)),
            Err(_) => (None, ABSENT),
        }
    }

    fn swap(&self, cell: &str, value: u64, mark: u32) -> bool {
        hostcalls::set_shared_data(cell, Some(&value.to_le_bytes()), Some(mark)).is_ok()
    }
}

/// The mark of a cell that does not exist. The host compares marks only if the cell exists, and
/// counts real ones from 1 up: if another worker creates the cell first, this one differs. (Without
/// a mark the host would overwrite.)
const ABSENT: u32 = u32::MAX;
