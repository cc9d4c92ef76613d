//! What the figures were measured on, and with what.

use serde::Serialize;
use std::fs;

/// The machine and the build.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Machine {
    /// The processor, as the system names it.
    pub cpu: String,
    /// How many threads it runs at once for this process.
    pub cores: usize,
    /// The memory, in MiB.
    pub memory_mib: u64,
    /// The load averages (1, 5 and 15 minutes) before anything was started: what else the machine was doing.
    pub load_average: String,
    /// How the programs were compiled.
    pub build: String,
    /// What curve arithmetic uses.
    pub curve_arithmetic: &'static str,
}

impl Machine {
    /// Looks at this machine; what the system does not tell is empty or 0.
    pub fn look() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory_kib: u64 = field(&read("/proc/meminfo"), "MemTotal").parse().unwrap_or(0);
        Machine {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: cores(),
            memory_mib: memory_kib / 1024,
            load_average: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            build: build(),
            curve_arithmetic: curve_arithmetic(),
        }
    }
}

/// How many threads run at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The value of the first line `name: value` of a file of `/proc`, without a unit.
pub fn field(text: &str, name: &str) -> String {
    let value = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name);
    let value = value.map_or("", |(_, value)| value.trim());
    value.strip_suffix(" kB").unwrap_or(value).to_string()
}

fn build() -> String {
    let profile = if cfg!(debug_assertions) { "debug assertions on" } else { "release" };
    format!("{} {}, {profile}", std::env::consts::ARCH, std::env::consts::OS)
}

/// The back end that curve25519-dalek chooses at run time among those that were compiled in.
fn curve_arithmetic() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        let is_compiled_in = cfg!(curve25519_dalek_backend = "avx512");
        if is_compiled_in && is_x86_feature_detected!("avx512ifma") && is_x86_feature_detected!("avx512vl") {
            return "AVX-512 IFMA";
        }
        if is_x86_feature_detected!("avx2") {
            return "AVX2";
        }
    }
    "64-bit integers"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_lose_their_unit() {
        let text = "Name:\tfarthing-node\nVmHWM:\t   12345 kB\nmodel name\t: AMD EPYC\nmodel name\t: other\n";
        for (name, expected) in [("VmHWM", "12345"), ("model name", "AMD EPYC"), ("Name", "farthing-node"), ("Vm", "")]
        {
            assert_eq!(field(text, name), expected, "{name}");
        }
    }
}
