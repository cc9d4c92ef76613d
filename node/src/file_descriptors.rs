//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides connections: RocksDB's files (512 at most), its log, libraries, listeners, the runtime's own.
const OTHERS: u64 = 512 + 128;

/// The operating system allows too few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this node may need {needed} open files and sockets, and the operating system allows it {allowed}: raise the limit \
     (`ulimit -n {needed}`, or LimitNOFILE={needed} in a systemd unit), or lower api.connections_max"
)]
pub struct TooFew {
    /// What the configuration may need.
    pub needed: u64,
    /// The hard limit.
    pub allowed: u64,
}

/// Sees to it that so many connections and everything else can be open, raising the soft limit as far as needed.
///
/// # Errors
/// [`TooFew`] if the hard limit is below that.
pub fn allow(connections: u64) -> Result<(), TooFew> {
    let needed = connections + OTHERS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // No limit at all is `None`.
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let too_few = TooFew { needed, allowed: maximum.or(current).unwrap_or(needed) };
    if maximum.is_some_and(|maximum| maximum < needed) {
        return Err(too_few);
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).map_err(|_| too_few)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_or_too_low() {
        let before = getrlimit(Resource::Nofile);
        assert_eq!(allow(0), Ok(()));
        let hard = before.maximum.unwrap_or(1 << 20);
        let possible = hard.min(4_096).saturating_sub(OTHERS);
        assert_eq!(allow(possible), Ok(()));
        assert!(getrlimit(Resource::Nofile).current.is_none_or(|current| current >= possible + OTHERS));
        if before.maximum.is_some() {
            let error = allow(hard).expect_err("more than the hard limit");
            assert_eq!(error, TooFew { needed: hard + OTHERS, allowed: hard });
            assert!(error.to_string().contains("ulimit -n"));
        }
    }
}
