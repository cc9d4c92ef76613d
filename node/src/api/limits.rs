//! How much one address may take of the API: connections at a time, and requests over time.
//!
//! Loopback is exempt from both, so that a reverse proxy, a wallet or a load generator on the same machine is not held back.
//! An IPv6 address stands for its /64, which is what one customer of a provider usually has. Both tables are bounded.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The most addresses that have a bucket of their own.
const BUCKETS_MAX: usize = 16_384;

/// How fast one address may send requests: a token bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    /// Requests per second in the long run, at least 1.
    pub requests_per_second: u32,
    /// Requests at once after a pause, at least 1.
    pub burst: u32,
}

/// Token buckets by address.
pub(super) struct RateLimiter {
    limit: RateLimit,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

/// Tokens are counted in nanoseconds of refill time, so that refilling needs no rounding.
struct Bucket {
    tokens_ns: u64,
    refilled_at: Instant,
}

impl RateLimiter {
    /// A limiter with no requests counted yet.
    pub(super) fn new(limit: RateLimit) -> RateLimiter {
        assert!(limit.requests_per_second >= 1 && limit.burst >= 1, "a rate limit lets at least one request through");
        RateLimiter { limit, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes one token of the address's bucket.
    ///
    /// # Errors
    /// How long until there is a token again.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let address = canonical(address);
        if address.is_loopback() {
            return Ok(());
        }
        let mut buckets = self.buckets.lock().expect("no holder of this lock panics");
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(&address) {
            buckets.retain(|_, bucket| self.refilled_ns(bucket, now) < self.capacity_ns());
            // Thousands of addresses are busy at once: forget them all rather than refuse newcomers or grow.
            if buckets.len() >= BUCKETS_MAX {
                buckets.clear();
            }
        }
        let full = Bucket { tokens_ns: self.capacity_ns(), refilled_at: now };
        let bucket = buckets.entry(address).or_insert(full);
        bucket.tokens_ns = self.refilled_ns(bucket, now);
        bucket.refilled_at = now;
        match bucket.tokens_ns.checked_sub(self.token_ns()) {
            Some(rest) => {
                bucket.tokens_ns = rest;
                Ok(())
            }
            None => Err(Duration::from_nanos(self.token_ns() - bucket.tokens_ns)),
        }
    }

    fn refilled_ns(&self, bucket: &Bucket, now: Instant) -> u64 {
        let elapsed_ns = now.saturating_duration_since(bucket.refilled_at).as_nanos();
        let elapsed_ns = u64::try_from(elapsed_ns).unwrap_or(u64::MAX);
        bucket.tokens_ns.saturating_add(elapsed_ns).min(self.capacity_ns())
    }

    fn token_ns(&self) -> u64 {
        1_000_000_000 / u64::from(self.limit.requests_per_second)
    }

    fn capacity_ns(&self) -> u64 {
        self.token_ns() * u64::from(self.limit.burst)
    }
}

/// Open connections by address. As many entries as there are connections, at most.
#[derive(Clone)]
pub(super) struct ConnectionCounts {
    per_address_max: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One counted connection; dropping it ends the count.
pub(super) struct CountedConnection {
    address: IpAddr,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl ConnectionCounts {
    /// Allows each address so many connections at a time.
    pub(super) fn new(per_address_max: usize) -> ConnectionCounts {
        ConnectionCounts { per_address_max, counts: Arc::default() }
    }

    /// Counts a connection, or `None` if the address has as many as it may.
    pub(super) fn admit(&self, address: IpAddr) -> Option<CountedConnection> {
        let address = canonical(address);
        let mut counts = self.counts.lock().expect("no holder of this lock panics");
        let count = counts.entry(address).or_insert(0);
        if *count >= self.per_address_max && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(CountedConnection { address, counts: self.counts.clone() })
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().expect("no holder of this lock panics");
        let count = counts.get_mut(&self.address).expect("counted when admitted");
        *count -= 1;
        if *count == 0 {
            counts.remove(&self.address);
        }
    }
}

/// The address that limits go by: IPv4 also where it is written as IPv6, and the /64 of an IPv6 address.
fn canonical(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(requests_per_second: u32, burst: u32) -> RateLimiter {
        RateLimiter::new(RateLimit { requests_per_second, burst })
    }

    #[test]
    fn a_bucket_empties_and_refills_evenly() {
        let (limiter, start) = (limiter(10, 3), Instant::now());
        let address = "203.0.113.7".parse().expect("an address");
        for _ in 0..3 {
            assert_eq!(limiter.take(address, start), Ok(()));
        }
        assert_eq!(limiter.take(address, start), Err(Duration::from_millis(100)));
        assert_eq!(limiter.take(address, start + Duration::from_millis(40)), Err(Duration::from_millis(60)));
        assert_eq!(limiter.take(address, start + Duration::from_millis(100)), Ok(()));
        // A long pause fills the bucket to its burst and no further.
        let later = start + Duration::from_secs(3_600);
        let served = (0..10).filter(|_| limiter.take(address, later).is_ok()).count();
        assert_eq!(served, 3);
    }

    #[test]
    fn addresses_are_told_apart_by_what_one_customer_has() {
        let (limiter, now) = (limiter(1, 1), Instant::now());
        for (address, served) in [
            ("203.0.113.7", true),
            ("203.0.113.8", true),
            ("::ffff:203.0.113.8", false),
            ("2001:db8::1", true),
            ("2001:db8::ffff:1", false),
            ("2001:db8:0:1::1", true),
            ("127.0.0.1", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("::1", true),
        ] {
            assert_eq!(limiter.take(address.parse().expect("an address"), now).is_ok(), served, "{address}");
        }
    }

    #[test]
    fn the_table_of_buckets_is_bounded() {
        let (limiter, now) = (limiter(1, 1), Instant::now());
        for number in 0..3 * BUCKETS_MAX as u32 {
            assert!(limiter.take(IpAddr::from(number.to_be_bytes()), now).is_ok() || number >> 24 == 127);
            assert!(limiter.buckets.lock().expect("a lock").len() <= BUCKETS_MAX);
        }
        // Buckets that are full again make room without forgetting the busy ones.
        let later = now + Duration::from_secs(1);
        let busy = "203.0.113.7".parse().expect("an address");
        assert!(limiter.take(busy, later).is_ok());
        for number in 0..BUCKETS_MAX as u32 / 2 {
            let _ = limiter.take(IpAddr::from((number + (1 << 31)).to_be_bytes()), later);
        }
        assert!(limiter.take(busy, later).is_err());
    }

    #[test]
    fn connections_are_counted_until_they_end() {
        let counts = ConnectionCounts::new(2);
        let (address, other) = ("203.0.113.7".parse().expect("an address"), "203.0.113.8".parse().expect("an address"));
        let first = counts.admit(address).expect("one is allowed");
        let _second = counts.admit(address).expect("two are allowed");
        assert!(counts.admit(address).is_none());
        assert!(counts.admit(other).is_some());
        drop(first);
        assert!(counts.admit(address).is_some());
        let loopback = "127.0.0.1".parse().expect("an address");
        let many: Vec<_> = (0..10).map(|_| counts.admit(loopback)).collect();
        assert!(many.iter().all(Option::is_some));
    }
}
