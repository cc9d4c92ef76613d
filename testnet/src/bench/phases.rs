//! The phases of load that the validators are put under, one after the other.

use super::drive::{Phase, REQUEST_MAX, one_by_one, open_loop, saturate};
use super::network::{Network, Usage, cpu_seconds};
use super::report::Restart;
use super::say;
use super::transfers::{Senders, Signed};
use crate::load::latency::Summary;
use farthing_client::Wait;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the first, rough measurement of the throughput takes: it says how many transfers to sign.
const WARM_UP: Duration = Duration::from_secs(3);

/// Transfers that are signed for it: more than any machine executes in that time.
const WARM_UP_TRANSFERS: usize = 200_000;

/// How many times what the warm-up reached is signed for saturation, which must not run out, and how many a second at least.
const SIGNED_MARGIN: f64 = 2.5;
const SIGNED_PER_SECOND_MIN: f64 = 30_000.0;

/// How long the validators are saturated at a time while blocks are made, and how many times what they reached before is signed for it.
const FILL: Duration = Duration::from_secs(10);
const FILL_MARGIN: f64 = 2.0;

/// The parts of the saturated throughput at which latency is measured, in percent.
pub const SHARES: [u32; 3] = [10, 50, 90];

/// Single transfers on an idle network.
const SINGLES: usize = 20;

/// How long the load lasts before a validator is killed: as long as the state may be from one flush to the next.
const RESTART_LOAD: Duration = Duration::from_secs(5);

/// How long the validators may take to execute what is left when a phase ends.
const DRAIN: Duration = Duration::from_secs(30);

/// How long no more may be executed for them to have drained.
const REST: Duration = Duration::from_millis(1_000);

/// A network under load.
pub struct Phases {
    /// The network.
    pub network: Network,
    /// Who pays.
    pub senders: Senders,
    /// How long each phase lasts.
    pub seconds: u32,
}

/// What the phases measured.
pub struct Loaded {
    /// As much as the validators take.
    pub saturated: Phase,
    /// The same with one bad signature in every request.
    pub bad_signatures: Phase,
    /// At [`SHARES`] of that.
    pub partial_load: Vec<Phase>,
    /// At twice that.
    pub overload: Phase,
    /// Single transfers on an idle network, to final.
    pub single_final_ms: Summary,
    /// The same, to certified.
    pub single_certified_ms: Summary,
    /// What the validators used for the saturated phase and until they had drained.
    pub used: Usage,
    /// The processor time that this process used for it, in seconds.
    pub generator_cpu_seconds: f64,
    /// Transfers executed by all validators in that time.
    pub transfers_saturated: u64,
    /// The encoded size of a transfer.
    pub encoded_bytes: usize,
}

impl Phases {
    /// Runs all phases.
    ///
    /// # Errors
    /// If the validators fail.
    pub async fn run(&mut self) -> anyhow::Result<Loaded> {
        say("warming up");
        let signed = self.sign(WARM_UP_TRANSFERS);
        let rough = saturate(&self.network.clients, signed, WARM_UP).await?.executed_per_second;
        self.drain().await?;

        let count = (rough * SIGNED_MARGIN).max(SIGNED_PER_SECOND_MIN) * f64::from(self.seconds);
        let signed = self.sign(count as usize);
        let encoded_bytes = signed.size();
        say(&format!("saturating for {} s", self.seconds));
        let (before, executed, cpu) =
            (self.network.usage().await?, self.network.executed().await?, cpu_seconds(std::process::id())?);
        let saturated = saturate(&self.network.clients, signed, Duration::from_secs(self.seconds.into())).await?;
        self.drain().await?;
        let used = self.network.usage().await?.since(before);
        let transfers_saturated = self.network.executed().await? - executed;
        let generator_cpu_seconds = cpu_seconds(std::process::id())? - cpu;

        say(&format!("the same with one bad signature in each request of {REQUEST_MAX} transfers"));
        let mut signed = self.sign(count as usize);
        signed.spoil_one_in(REQUEST_MAX);
        let duration = Duration::from_secs(self.seconds.into());
        let bad_signatures = saturate(&self.network.clients, signed, duration).await?;
        self.drain().await?;

        say("single transfers");
        let (single_final_ms, single_certified_ms) = self.singles().await?;
        let mut partial_load = Vec::new();
        for share in SHARES {
            partial_load.push(self.at(saturated.executed_per_second * f64::from(share) / 100.0).await?);
        }
        let overload = self.at(saturated.executed_per_second * 2.0).await?;
        Ok(Loaded {
            saturated,
            bad_signatures,
            partial_load,
            overload,
            single_final_ms,
            single_certified_ms,
            used,
            generator_cpu_seconds,
            transfers_saturated,
            encoded_bytes,
        })
    }

    /// Kills a validator while `per_second` transfers a second are executed, and starts it again.
    ///
    /// # Errors
    /// If it does not get ready.
    pub async fn restart(&mut self, per_second: f64) -> anyhow::Result<Restart> {
        let count = (per_second * SIGNED_MARGIN).max(SIGNED_PER_SECOND_MIN) * RESTART_LOAD.as_secs_f64();
        let signed = self.sign(count as usize);
        say("killing a validator under load and starting it again");
        saturate(&self.network.clients, signed, RESTART_LOAD).await?;
        self.restart_first().await
    }

    /// Keeps the validators saturated until they have made so many blocks, then kills one and starts it again.
    ///
    /// # Errors
    /// If the validators fail.
    pub async fn fill_and_restart(&mut self, blocks: u64) -> anyhow::Result<Restart> {
        let first = self.network.height().await?;
        say("warming up");
        let signed = self.sign(WARM_UP_TRANSFERS);
        let mut per_second = saturate(&self.network.clients, signed, WARM_UP).await?.executed_per_second;
        let mut made_before = 0;
        loop {
            let made = self.network.height().await? - first;
            if made >= blocks {
                break;
            }
            anyhow::ensure!(made > made_before, "the validators make no more blocks");
            made_before = made;
            say(&format!("{made} of {blocks} blocks are there: saturating for {} s", FILL.as_secs()));
            let count = (per_second * FILL_MARGIN).max(SIGNED_PER_SECOND_MIN) * FILL.as_secs_f64();
            let signed = self.sign(count as usize);
            per_second = saturate(&self.network.clients, signed, FILL).await?.executed_per_second;
        }
        say("killing a validator and starting it again");
        self.restart_first().await
    }

    async fn restart_first(&mut self) -> anyhow::Result<Restart> {
        let seconds = self.network.restart_first().await?.as_secs_f64();
        let (blocks, transactions) = self.network.replayed_by_first().await?;
        Ok(Restart { seconds, blocks, transactions })
    }

    async fn singles(&mut self) -> anyhow::Result<(Summary, Summary)> {
        let (to_final, to_certified) = (self.sign(SINGLES), self.sign(SINGLES));
        let client = &self.network.clients[0];
        Ok((
            one_by_one(client, &to_final, Wait::Final).await?,
            one_by_one(client, &to_certified, Wait::Certified).await?,
        ))
    }

    /// An open loop at this rate.
    async fn at(&mut self, per_second: f64) -> anyhow::Result<Phase> {
        let rate = (per_second as u32).max(1);
        let signed = self.sign(rate as usize * self.seconds as usize);
        say(&format!("{rate} transfers a second for {} s", self.seconds));
        let phase = open_loop(&self.network.clients, signed, rate, self.seconds).await?;
        self.drain().await?;
        Ok(phase)
    }

    fn sign(&mut self, count: usize) -> Signed {
        let genesis = &self.network.genesis;
        self.senders.sign(&genesis.chain_hash(), genesis.parameters(), count)
    }

    /// Waits until no more is executed, so that one phase does not burden the next.
    async fn drain(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + DRAIN;
        let mut before = self.network.executed().await?;
        while Instant::now() < deadline {
            sleep(REST).await;
            let now = self.network.executed().await?;
            if now == before {
                return Ok(());
            }
            before = now;
        }
        anyhow::bail!("the validators still execute {} s after the load has ended", DRAIN.as_secs())
    }
}
