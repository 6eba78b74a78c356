//! Rate limits: GCRA (governor) over state that several workers share.
//!
//! The state of one limit is one number, its theoretical arrival time in nanoseconds of the host's
//! clock, in a cell that is read and swapped ([`SharedCells`]). That makes a limit exact across the
//! workers of one proxy, and lets it survive a worker's restart. The host's clock may step back: a
//! stored time that no clock could have left behind is pulled back to "just used up", so that a
//! step neither refills a limit nor blocks it for the length of the step.
//!
//! Concurrency: a decision is a bounded loop of read, decide, swap. Every lost round means that
//! another worker won it.

use core::cell::Cell;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU32;
use core::ops::Add;
use core::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::units::Span;

/// A burst of `requests`, then one more every `interval` ÷ `requests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawRateLimit", into = "RawRateLimit")]
pub struct RateLimit {
    /// The burst.
    pub requests: NonZeroU32,
    /// The time in which the whole burst comes back.
    pub interval: Duration,
}

impl RateLimit {
    /// **Errors:** no requests, or an interval outside of 1 ms to 24 h.
    pub fn new(requests: u32, interval: Duration) -> Result<Self, RateLimitError> {
        let requests = NonZeroU32::new(requests).ok_or(RateLimitError::Requests)?;
        if interval < MIN_INTERVAL || interval > MAX_INTERVAL {
            return Err(RateLimitError::Interval { got: Span(interval) });
        }
        Ok(Self { requests, interval })
    }

    /// Per endpoint, after the HMAC: 20 requests in 30 s, as the original.
    pub const fn endpoint_default() -> Self {
        Self { requests: requests(20), interval: Duration::from_secs(30) }
    }

    /// Per source address, for what is not authentic: 120 requests in 10 s.
    pub const fn pre_auth_default() -> Self {
        Self { requests: requests(120), interval: Duration::from_secs(10) }
    }

    fn quota(self) -> Quota {
        let interval = self.interval.min(MAX_INTERVAL);
        let period = (interval / self.requests.get()).max(Duration::from_nanos(1));
        Quota::with_period(period)
            .unwrap_or_else(|| Quota::per_second(self.requests))
            .allow_burst(self.requests)
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.requests, Span(self.interval))
    }
}

/// Why a rate limit is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateLimitError {
    /// Zero requests.
    #[error("requests must be at least 1")]
    Requests,
    /// Too short or too long.
    #[error("interval is {got}, expected 1ms to 24h")]
    Interval {
        /// What was given.
        got: Span,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRateLimit {
    requests: u32,
    interval: Span,
}

impl TryFrom<RawRateLimit> for RateLimit {
    type Error = RateLimitError;

    fn try_from(raw: RawRateLimit) -> Result<Self, RateLimitError> {
        Self::new(raw.requests, raw.interval.0)
    }
}

impl From<RateLimit> for RawRateLimit {
    fn from(limit: RateLimit) -> Self {
        Self { requests: limit.requests.get(), interval: Span(limit.interval) }
    }
}

/// Numbers that all workers see. In a proxy: its shared data.
pub trait SharedCells {
    /// The cell's number, if it has one, and a mark for [`swap`](Self::swap).
    fn load(&self, cell: &str) -> (Option<u64>, u32);

    /// Writes the cell unless somebody wrote it since `mark` was given out. Returns whether it was
    /// written.
    fn swap(&self, cell: &str, value: u64, mark: u32) -> bool;
}

/// What a limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Admitted,
    /// Not now.
    Limited {
        /// Until the next one would be admitted.
        retry_after: Duration,
    },
}

impl Verdict {
    /// True for [`Verdict::Admitted`].
    pub fn is_admitted(self) -> bool {
        self == Self::Admitted
    }
}

/// Counts one request of an endpoint. `now` is in nanoseconds since the Unix epoch.
pub fn charge_endpoint(
    cells: &impl SharedCells,
    endpoint: &Endpoint,
    limit: RateLimit,
    now: u64,
) -> Verdict {
    let cell = [ENDPOINT_CELLS, endpoint.as_str()].concat();
    decide(cells, &cell, limit, now, Access::Charge)
}

/// Takes back what [`charge_endpoint`] counted: the request turned out not to be the endpoint's to
/// pay for.
pub fn give_back_endpoint(cells: &impl SharedCells, endpoint: &Endpoint, limit: RateLimit) {
    give_back(cells, &[ENDPOINT_CELLS, endpoint.as_str()].concat(), limit);
}

/// Where a request came from, as the proxy decided (never from a header).
///
/// **Shape:** an IPv4 address, the /64 of an IPv6 address, or unknown (a socket without an
/// address): all unknown ones share one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// IPv4, also when it was mapped into IPv6.
    V4([u8; 4]),
    /// The upper half of an IPv6 address.
    V6([u8; 8]),
    /// No address.
    Unknown,
}

impl Source {
    /// Reads `address:port`, `[address]:port` or a bare address.
    pub fn parse(text: &[u8]) -> Self {
        let Ok(text) = core::str::from_utf8(text) else { return Self::Unknown };
        let address = text
            .parse::<SocketAddr>()
            .map(|socket| socket.ip())
            .or_else(|_| text.parse::<IpAddr>());
        match address.map(|address| address.to_canonical()) {
            Ok(IpAddr::V4(v4)) => Self::V4(v4.octets()),
            Ok(IpAddr::V6(v6)) => Self::V6(upper_half(v6)),
            Err(_) => Self::Unknown,
        }
    }

    /// The slot of the fixed table. Two sources may share one: it limits only what is not
    /// authentic.
    fn slot(self) -> u64 {
        let (kind, bytes) = match self {
            Self::V4(bytes) => (4, u64::from(u32::from_be_bytes(bytes))),
            Self::V6(bytes) => (6, u64::from_be_bytes(bytes)),
            Self::Unknown => (0, 0),
        };
        mix(bytes ^ mix(kind)) % PRE_AUTH_SLOTS
    }
}

/// The limit of one source on what is not authentic and on what is no fresh event. Reading it
/// charges nothing.
#[derive(Clone, Copy, Debug)]
pub struct PreAuth {
    /// The limit of one source.
    pub limit: RateLimit,
}

impl PreAuth {
    /// What the source would be told now.
    pub fn peek(&self, cells: &impl SharedCells, source: Source, now: u64) -> Verdict {
        decide(cells, &pre_auth_cell(source), self.limit, now, Access::Peek)
    }

    /// Counts one request.
    pub fn charge(&self, cells: &impl SharedCells, source: Source, now: u64) -> Verdict {
        decide(cells, &pre_auth_cell(source), self.limit, now, Access::Charge)
    }

    /// Takes back what [`charge`](Self::charge) counted.
    pub fn give_back(&self, cells: &impl SharedCells, source: Source) {
        give_back(cells, &pre_auth_cell(source), self.limit);
    }
}

fn pre_auth_cell(source: Source) -> String {
    format!("{PRE_AUTH_CELLS}{:x}", source.slot())
}

fn upper_half(address: Ipv6Addr) -> [u8; 8] {
    let mut half = [0; 8];
    half.iter_mut().zip(address.octets()).for_each(|(to, from)| *to = from);
    half
}

/// The finaliser of SplitMix64: spreads neighbouring addresses over the table.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Peek,
    Charge,
}

fn decide(
    cells: &impl SharedCells,
    cell: &str,
    limit: RateLimit,
    now: u64,
    access: Access,
) -> Verdict {
    let quota = limit.quota();
    let now = now.min(LATEST_NOW);
    // A full bucket that was just used up: no request leaves a later time behind.
    let latest = now
        .saturating_add(nanos(quota.replenish_interval().saturating_mul(quota.burst_size().get())));
    let store = CellStore { cells, cell, latest, access };
    let clock = HostClock { now, started: Cell::new(false) };
    let limiter: RateLimiter<NotKeyed, _, _, NoOpMiddleware<HostInstant>> =
        RateLimiter::new(quota, store, clock);
    match limiter.check() {
        Ok(()) => Verdict::Admitted,
        Err(until) => Verdict::Limited { retry_after: until.wait_time_from(HostInstant(now)) },
    }
}

/// The opposite of one admitted request: its share of the interval is taken off the arrival time.
/// A bucket that has filled up since stays full.
fn give_back(cells: &impl SharedCells, cell: &str, limit: RateLimit) {
    let share = nanos(limit.quota().replenish_interval());
    for _ in 0..MAX_ROUNDS {
        let (Some(stored), mark) = cells.load(cell) else { return };
        if cells.swap(cell, stored.saturating_sub(share), mark) {
            return;
        }
    }
}

/// One cell as governor's state.
struct CellStore<'a, C> {
    cells: &'a C,
    cell: &'a str,
    latest: u64,
    access: Access,
}

impl<C: SharedCells> StateStore for CellStore<'_, C> {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        for _ in 0..MAX_ROUNDS {
            let (stored, mark) = self.cells.load(self.cell);
            if stored.is_some_and(|stored| stored > self.latest.saturating_add(nanos(WORKER_SKEW)))
            {
                // The clock stepped back. Written down even if nothing is admitted: the wait begins
                // here.
                self.cells.swap(self.cell, self.latest, mark);
                continue;
            }
            let (verdict, arrival) = judge(stored.map(Nanos::from))?;
            if self.access == Access::Peek || self.cells.swap(self.cell, arrival.as_u64(), mark) {
                return Ok(verdict);
            }
        }
        // Lost every round: judged as used up, so that a limit is never exceeded.
        judge(Some(Nanos::from(self.latest))).map(|(verdict, _)| verdict)
    }
}

/// The host's time, fixed for one decision. Governor measures from the clock's first reading, and
/// all workers must measure from the same point: the first reading is the Unix epoch.
struct HostClock {
    now: u64,
    started: Cell<bool>,
}

impl Clock for HostClock {
    type Instant = HostInstant;

    fn now(&self) -> HostInstant {
        if self.started.replace(true) { HostInstant(self.now) } else { HostInstant(0) }
    }
}

/// Nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HostInstant(u64);

impl Add<Nanos> for HostInstant {
    type Output = Self;

    fn add(self, other: Nanos) -> Self {
        Self(self.0.saturating_add(other.as_u64()))
    }
}

impl Reference for HostInstant {
    fn duration_since(&self, earlier: Self) -> Nanos {
        Nanos::from(self.0.saturating_sub(earlier.0))
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.as_u64()).unwrap_or(self.0))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const fn requests(count: u32) -> NonZeroU32 {
    match NonZeroU32::new(count) {
        Some(count) => count,
        None => NonZeroU32::MIN,
    }
}

const MIN_INTERVAL: Duration = Duration::from_millis(1);
const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// The year 2262: keeps sums of times inside of 64 bits.
const LATEST_NOW: u64 = u64::MAX / 2;
/// Workers read the clock before they read the cell: one that was held up in between must not take
/// a rival's newer time for a step back. A real step of less than this only adds itself to the
/// wait.
const WORKER_SKEW: Duration = Duration::from_secs(1);
/// Workers that race for one cell win one after the other, so a loser of this many rounds has as
/// many rivals.
const MAX_ROUNDS: u32 = 64;
/// Slots of the pre-authentication table. Shared data never shrinks: its size must not depend on
/// who sends.
const PRE_AUTH_SLOTS: u64 = 4096;
const ENDPOINT_CELLS: &str = "lockgate/limit/v1/endpoint/";
const PRE_AUTH_CELLS: &str = "lockgate/limit/v1/source/";
