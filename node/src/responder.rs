//! Answers peers' requests from storage, on threads of its own: reading megabytes must not hold up the driver.
//!
//! Validators come before full nodes: one thread answers nobody else, the other answers full nodes only while no validator
//! waits. What waits here is bounded by the network, which hands over only a few requests of a peer until their answers are
//! written ([`crate::network::REQUESTS_UNANSWERED_MAX`]).

use crate::network::{Network, Peer};
use crate::replica::log::Ticket;
use crate::replica::serve::{self, Request, Sources, Unsynced};
use crate::storage::StorageError;
use crossbeam_channel::{Receiver, Sender, select_biased, unbounded};
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// A request to be answered.
pub struct Job {
    /// Whose.
    pub to: Peer,
    /// What it asks.
    pub request: Request,
    /// What must not be answered.
    pub unsynced: Option<Unsynced>,
}

/// The threads. They end when it is dropped.
pub struct Responder {
    validators: Option<Sender<Job>>,
    followers: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Responder {
    /// Starts the threads. A failure of storage, after which the node must stop, goes to `failed`.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(
        sources: Sources,
        network: Network,
        failed: mpsc::UnboundedSender<Result<Ticket, StorageError>>,
    ) -> std::io::Result<Responder> {
        let (validators, validators_in) = unbounded();
        let (followers, followers_in) = unbounded();
        let worker = |followers| Worker {
            sources: sources.clone(),
            network: network.clone(),
            failed: failed.clone(),
            validators: validators_in.clone(),
            followers,
        };
        let workers = [worker(None), worker(Some(followers_in))];
        let spawn = |worker: Worker| std::thread::Builder::new().name("responder".into()).spawn(move || worker.run());
        let threads = workers.into_iter().map(spawn).collect::<std::io::Result<_>>()?;
        Ok(Responder { validators: Some(validators), followers: Some(followers), threads })
    }

    /// Has a request answered. If the threads have stopped after a failure, nothing happens: the failure was told.
    pub fn answer(&self, job: Job) {
        let jobs = match job.to {
            Peer::Validator(_) => &self.validators,
            Peer::Follower(_) => &self.followers,
        };
        let _ = jobs.as_ref().expect("only dropping takes it").send(job);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.validators = None;
        self.followers = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has aborted the process already.
            let _ = thread.join();
        }
    }
}

struct Worker {
    sources: Sources,
    network: Network,
    failed: mpsc::UnboundedSender<Result<Ticket, StorageError>>,
    validators: Receiver<Job>,
    /// None for the thread that answers validators only.
    followers: Option<Receiver<Job>>,
}

impl Worker {
    fn run(self) {
        while let Some(job) = self.next() {
            if job.request == Request::FetchManifest {
                self.sources.snapshots.refresh_in_background();
            }
            match serve::answer(&self.sources, job.request, job.unsynced) {
                Ok(message) => self.network.send(job.to, message),
                Err(error) => {
                    // If nobody listens any more the node is stopping.
                    let _ = self.failed.send(Err(error));
                    return;
                }
            }
        }
    }

    /// The next request, a validator's if any waits; none once the responder is dropped.
    fn next(&self) -> Option<Job> {
        let Some(followers) = &self.followers else { return self.validators.recv().ok() };
        select_biased! {
            recv(self.validators) -> job => job.ok(),
            recv(followers) -> job => job.ok(),
        }
    }
}
