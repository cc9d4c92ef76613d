//! How much one address may take of the API: connections at a time, requests over time, bytes of bodies at a time, and bad signatures.
//!
//! Loopback is exempt from all of them, so that a reverse proxy, a wallet or a load generator on the same machine is not held back.
//! An IPv6 address stands for its /64, which is what one customer of a provider usually has. All tables are bounded.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The most addresses that have a bucket of their own.
const BUCKETS_MAX: usize = 16_384;

/// The longest that an address has to wait for what it spent beyond its bucket.
const DEBT_MAX: Duration = Duration::from_secs(60);

/// How many bad signatures an address may submit. Looking for one in a batch costs several times what a good one does; beyond
/// this, the address waits until it has made up for them.
pub(super) const BAD_SIGNATURES: RateLimit = RateLimit { requests_per_second: 10, burst: 200 };

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

/// Tokens are counted in nanoseconds of refill time, so that refilling needs no rounding. Negative while the address is in debt.
struct Bucket {
    tokens_ns: i64,
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
        self.with_bucket(address, now, |tokens_ns| {
            let rest_ns = *tokens_ns - self.token_ns();
            if rest_ns < 0 {
                return Err(Duration::from_nanos(rest_ns.unsigned_abs()));
            }
            *tokens_ns = rest_ns;
            Ok(())
        })
        .unwrap_or(Ok(()))
    }

    /// Whether there is a token in the address's bucket; takes nothing.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn check(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.with_bucket(address, now, |tokens_ns| match *tokens_ns - self.token_ns() {
            0.. => Ok(()),
            missing_ns => Err(Duration::from_nanos(missing_ns.unsigned_abs())),
        })
        .unwrap_or(Ok(()))
    }

    /// Takes so many tokens of the address's bucket, whether or not it has them.
    pub(super) fn charge(&self, address: IpAddr, tokens: usize, now: Instant) {
        let charge_ns = i64::try_from(tokens).unwrap_or(i64::MAX).saturating_mul(self.token_ns());
        let debt_max_ns = DEBT_MAX.as_nanos() as i64;
        self.with_bucket(address, now, |tokens_ns| {
            *tokens_ns = tokens_ns.saturating_sub(charge_ns).max(-debt_max_ns);
        });
    }

    /// Works on the address's refilled bucket; none for loopback.
    fn with_bucket<T>(&self, address: IpAddr, now: Instant, work: impl FnOnce(&mut i64) -> T) -> Option<T> {
        let address = canonical(address);
        if address.is_loopback() {
            return None;
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
        Some(work(&mut bucket.tokens_ns))
    }

    fn refilled_ns(&self, bucket: &Bucket, now: Instant) -> i64 {
        let elapsed_ns = now.saturating_duration_since(bucket.refilled_at).as_nanos();
        let elapsed_ns = i64::try_from(elapsed_ns).unwrap_or(i64::MAX);
        bucket.tokens_ns.saturating_add(elapsed_ns).min(self.capacity_ns())
    }

    fn token_ns(&self) -> i64 {
        1_000_000_000 / i64::from(self.limit.requests_per_second)
    }

    fn capacity_ns(&self) -> i64 {
        self.token_ns() * i64::from(self.limit.burst)
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

/// The bytes of bodies in memory, in all and by address, from their arrival until their request is answered.
#[derive(Clone)]
pub(super) struct BodyBudget {
    bytes_max: usize,
    held: Arc<Mutex<HeldBodies>>,
}

#[derive(Default)]
struct HeldBodies {
    bytes: usize,
    /// As many entries as there are connections, at most.
    by_address: HashMap<IpAddr, usize>,
}

/// What one request holds of the budget; dropping it gives it back.
pub(super) struct HeldBody {
    address: IpAddr,
    bytes: usize,
    budget: BodyBudget,
}

impl BodyBudget {
    /// A budget of so many bytes in all, an eighth of it for one address.
    pub(super) fn new(bytes_max: usize) -> BodyBudget {
        BodyBudget { bytes_max, held: Arc::default() }
    }

    /// Nothing yet, for a request from this address.
    pub(super) fn hold(&self, address: IpAddr) -> HeldBody {
        HeldBody { address: canonical(address), bytes: 0, budget: self.clone() }
    }

    fn held(&self) -> MutexGuard<'_, HeldBodies> {
        self.held.lock().expect("no holder of this lock panics")
    }
}

impl HeldBody {
    /// Holds so many bytes more; false if that is not possible.
    #[must_use]
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let mut held = self.budget.held();
        let of_address = held.by_address.get(&self.address).copied().unwrap_or(0) + bytes;
        let is_too_much = of_address > self.budget.bytes_max / 8 && !self.address.is_loopback();
        if is_too_much || held.bytes + bytes > self.budget.bytes_max {
            return false;
        }
        held.bytes += bytes;
        held.by_address.insert(self.address, of_address);
        self.bytes += bytes;
        true
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        let mut held = self.budget.held();
        held.bytes -= self.bytes;
        if let Some(of_address) = held.by_address.get_mut(&self.address) {
            *of_address -= self.bytes;
            if *of_address == 0 {
                held.by_address.remove(&self.address);
            }
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
    fn what_was_spent_beyond_the_bucket_has_to_be_made_up_for() {
        let (limiter, start) = (limiter(10, 100), Instant::now());
        let address = "203.0.113.7".parse().expect("an address");
        assert_eq!(limiter.check(address, start), Ok(()));
        limiter.charge(address, 99, start);
        assert_eq!(limiter.check(address, start), Ok(()), "one is left, and looking takes nothing");
        limiter.charge(address, 11, start);
        assert_eq!(limiter.check(address, start), Err(Duration::from_millis(1_100)));
        assert_eq!(limiter.take(address, start + Duration::from_millis(1_000)), Err(Duration::from_millis(100)));
        assert_eq!(limiter.check(address, start + Duration::from_millis(1_100)), Ok(()));
        // The debt is bounded, and nobody else's.
        limiter.charge(address, usize::MAX, start);
        limiter.charge(address, 1_024, start);
        assert_eq!(limiter.check(address, start), Err(DEBT_MAX + Duration::from_millis(100)));
        assert_eq!(limiter.check("203.0.113.8".parse().expect("an address"), start), Ok(()));
        limiter.charge("127.0.0.1".parse().expect("an address"), 1_024, start);
        assert_eq!(limiter.check("127.0.0.1".parse().expect("an address"), start), Ok(()));
    }

    #[test]
    fn bodies_are_bounded_in_all_and_by_address() {
        let budget = BodyBudget::new(800);
        let [one, other] = ["203.0.113.7", "203.0.113.8"].map(|text| text.parse().expect("an address"));
        let mut first = budget.hold(one);
        assert!(first.grow(60) && first.grow(40) && !first.grow(1), "an eighth of it is for one address");
        let mut second = budget.hold(one);
        assert!(!second.grow(1));
        assert!(budget.hold(other).grow(100));
        drop(first);
        assert!(second.grow(100), "what was given back can be had again");
        let mut proxy = budget.hold("127.0.0.1".parse().expect("an address"));
        assert!(proxy.grow(700) && !proxy.grow(1), "loopback may have all that is left");
        drop((second, proxy));
        let held = budget.held();
        assert_eq!((held.bytes, held.by_address.len()), (0, 0));
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
