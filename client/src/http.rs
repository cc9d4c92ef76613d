//! A typed client of one node's HTTP API.
//!
//! Every request has a time limit and every answer a size limit. Nothing is retried and no other node is asked: who may do
//! that, and with which bytes, is for the caller to know.

use crate::account::{AccountView, HistoryPage, HistoryQuery};
use crate::block::BlockView;
use crate::event::{EventTopic, Events, EventsQuery};
use crate::evidence::Evidence;
use crate::hold::{HoldView, HoldsPage, ReferencePage};
use crate::limits::{BandwidthView, KeysView, PolicyView};
use crate::problem::{Problem, ProblemCode};
use crate::status::{NodeStatus, ValidatorView};
use crate::transaction::{SubmitQuery, SubmitResponse, TransactionStatus, WAIT_TIMEOUT_MS_DEFAULT, Wait};
use farthing_core::genesis::Genesis;
use farthing_core::hash::Digest;
use farthing_core::keys::PublicKey;
use farthing_core::receipt::Receipt;
use farthing_core::state_proof::StateProof;
use farthing_core::transaction::{SignedTransaction, TransactionId};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a request may take, on top of what it asks the node to wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of an answer, far above what an honest node sends.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// A client of one node. Cloning it is cheap and shares its connections.
#[derive(Clone, Debug)]
pub struct Client {
    base: Url,
    http: reqwest::Client,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not the address of an API.
    #[error("{url:?} is not the address of a node's API: {reason}; write, for example, \"http://127.0.0.1:8080\"")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection: the request did not arrive.
    #[error("cannot connect to {url}: {reason}")]
    Unreachable {
        /// The node's address.
        url: String,
        /// What the operating system or TLS says.
        reason: String,
    },
    /// The connection broke or the time was up before the answer was complete: the request may have arrived.
    #[error("no answer from {url}: {reason}")]
    NoAnswer {
        /// The node's address.
        url: String,
        /// What happened.
        reason: String,
    },
    /// An answer that does not follow the API: the request may have arrived.
    #[error("{url} does not answer like a Farthing node: {reason}")]
    BadAnswer {
        /// The node's address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The node says why not.
    #[error("{0}")]
    Problem(Problem),
}

impl ClientError {
    /// The code of the problem that the node reported, if it did.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            ClientError::Problem(problem) => Some(problem.code),
            _ => None,
        }
    }

    /// Whether what was submitted may have arrived, so that its outcome is open. Not so if there was no connection, or if the
    /// node itself refused the request as a whole.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            ClientError::Address { .. } | ClientError::Unreachable { .. } => false,
            ClientError::NoAnswer { .. } | ClientError::BadAnswer { .. } => true,
            ClientError::Problem(problem) => problem.status >= 500 && problem.code != ProblemCode::Unavailable,
        }
    }

    /// Whether another node may well give the answer that this one did not.
    pub fn another_may_answer(&self) -> bool {
        match self {
            ClientError::Address { .. } => false,
            ClientError::Problem(problem) => {
                problem.status >= 500
                    || matches!(problem.code, ProblemCode::TooManyRequests | ProblemCode::RequestTimeout)
            }
            _ => true,
        }
    }
}

impl Client {
    /// A client of the API at `url`, such as `http://127.0.0.1:8080` or `https://node.example`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Address`] if `url` is not an `http` or `https` address without query.
    pub fn new(url: &str) -> Result<Client, ClientError> {
        let wrong = |reason: &str| ClientError::Address { url: url.chars().take(200).collect(), reason: reason.into() };
        let mut base = Url::parse(url.trim()).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("it must start with http:// or https://"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("it must not have a query or fragment"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        // Whoever installed a provider first keeps it; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("farthing/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&base) {
            // A proxy would look for the node on its own loopback interface.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| wrong(&root_cause(&error)))?;
        Ok(Client { base, http })
    }

    /// The address of the API, without a slash at the end.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Submits transactions, at most [`crate::TRANSACTIONS_MAX`], and waits as `query` says.
    ///
    /// # Errors
    /// [`ClientError`]; see [`ClientError::may_have_arrived`].
    pub async fn submit(
        &self,
        transactions: &[SignedTransaction],
        query: SubmitQuery,
    ) -> Result<SubmitResponse, ClientError> {
        self.submit_bytes(transactions.iter().flat_map(SignedTransaction::encode).collect(), query).await
    }

    /// Submits transactions that are encoded already, one after the other.
    ///
    /// # Errors
    /// [`ClientError`]; see [`ClientError::may_have_arrived`].
    pub async fn submit_bytes(&self, encoded: Vec<u8>, query: SubmitQuery) -> Result<SubmitResponse, ClientError> {
        self.submit_bytes_as(encoded, query).await
    }

    /// As [`Client::submit_bytes`], but of the answer only what `T` wants to know is read, for those who submit very many.
    ///
    /// # Errors
    /// [`ClientError`]; see [`ClientError::may_have_arrived`].
    pub async fn submit_bytes_as<T: DeserializeOwned>(
        &self,
        encoded: Vec<u8>,
        query: SubmitQuery,
    ) -> Result<T, ClientError> {
        let wait_ms = match query.wait {
            Wait::Accepted => 0,
            Wait::Final | Wait::Certified => query.timeout_ms.unwrap_or(WAIT_TIMEOUT_MS_DEFAULT),
        };
        let request = self
            .request(Method::POST, "v1/transactions")
            .query(&query)
            .timeout(REQUEST_TIMEOUT + Duration::from_millis(wait_ms))
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(encoded);
        self.answer(request).await
    }

    /// What the node knows of a transaction.
    ///
    /// # Errors
    /// [`ClientError`]. A transaction that the node does not know is an answer: [`crate::TransactionState::Unknown`].
    pub async fn transaction(&self, id: &TransactionId) -> Result<TransactionStatus, ClientError> {
        self.get(&format!("v1/transactions/{id}")).await
    }

    /// The proof of what became of a transaction. It is not checked here: call [`Receipt::verify`].
    ///
    /// # Errors
    /// [`ClientError`], with [`ProblemCode::NotCertifiedYet`] if there is none yet.
    pub async fn receipt(&self, id: &TransactionId) -> Result<Receipt, ClientError> {
        self.get(&format!("v1/transactions/{id}/receipt")).await
    }

    /// The account of an address in its text form.
    ///
    /// # Errors
    /// [`ClientError`], with [`ProblemCode::NoSuchAccount`] if there is none.
    pub async fn account(&self, address: &str) -> Result<AccountView, ClientError> {
        self.get(&format!("v1/accounts/{address}")).await
    }

    /// The proof of an account's state. It is not checked here: call [`StateProof::verify`].
    ///
    /// # Errors
    /// [`ClientError`], with [`ProblemCode::NoSuchAccount`] if there is none.
    pub async fn account_proof(&self, address: &str) -> Result<StateProof, ClientError> {
        self.get(&format!("v1/accounts/{address}/proof")).await
    }

    /// A page of an account's history, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn history(&self, address: &str, query: &HistoryQuery) -> Result<HistoryPage, ClientError> {
        let request = self.request(Method::GET, &format!("v1/accounts/{address}/history")).query(query);
        self.answer(request).await
    }

    /// What an account may still send.
    ///
    /// # Errors
    /// [`ClientError`], with [`ProblemCode::NoSuchAccount`] if there is none.
    pub async fn bandwidth(&self, address: &str) -> Result<BandwidthView, ClientError> {
        self.get(&format!("v1/accounts/{address}/bandwidth")).await
    }

    /// The delegated keys of an account.
    ///
    /// # Errors
    /// [`ClientError`], with [`ProblemCode::NoSuchAccount`] if there is none.
    pub async fn keys(&self, address: &str) -> Result<KeysView, ClientError> {
        self.get(&format!("v1/accounts/{address}/keys")).await
    }

    /// The proof of a delegated key's state. It is not checked here: call [`StateProof::verify`].
    ///
    /// # Errors
    /// [`ClientError`], with [`ProblemCode::NoSuchKey`] if there is none.
    pub async fn key_proof(&self, address: &str, public_key: &PublicKey) -> Result<StateProof, ClientError> {
        self.get(&format!("v1/accounts/{address}/keys/{public_key}/proof")).await
    }

    /// The owner's own limits of an account.
    ///
    /// # Errors
    /// [`ClientError`], with [`ProblemCode::NoSuchAccount`] if there is none.
    pub async fn policy(&self, address: &str) -> Result<PolicyView, ClientError> {
        self.get(&format!("v1/accounts/{address}/policy")).await
    }

    /// A page of the holds that an account is payer or payee of, closed ones too, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn holds(&self, address: &str, query: &HistoryQuery) -> Result<HoldsPage, ClientError> {
        self.answer(self.request(Method::GET, &format!("v1/accounts/{address}/holds")).query(query)).await
    }

    /// A hold.
    ///
    /// # Errors
    /// [`ClientError`], with [`ProblemCode::NoSuchHold`] if there is and was none.
    pub async fn hold(&self, id: &TransactionId) -> Result<HoldView, ClientError> {
        self.get(&format!("v1/holds/{id}")).await
    }

    /// The proof of a hold's state. It is not checked here: call [`StateProof::verify`].
    ///
    /// # Errors
    /// [`ClientError`], with [`ProblemCode::NoSuchHold`] if there is none.
    pub async fn hold_proof(&self, id: &TransactionId) -> Result<StateProof, ClientError> {
        self.get(&format!("v1/holds/{id}/proof")).await
    }

    /// A page of what was paid with a reference, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reference(&self, reference: &Digest, query: &HistoryQuery) -> Result<ReferencePage, ClientError> {
        self.answer(self.request(Method::GET, &format!("v1/references/{reference}")).query(query)).await
    }

    /// A stream of events, from a cursor on, or from now without one. Returns when the node begins to answer; set a time limit of your
    /// own, since a stream has none.
    ///
    /// # Errors
    /// [`ClientError`], with [`ProblemCode::Pruned`] or [`ProblemCode::NotKept`] if the node does not reach back that far.
    pub async fn events(&self, topic: &EventTopic, after: Option<&str>) -> Result<Events, ClientError> {
        let url = self.base.join(&topic.path()).expect("paths of this module are relative references");
        let query = EventsQuery { after: after.map(str::to_string) };
        let mut response = self.http.get(url).query(&query).send().await.map_err(|error| self.transport(&error))?;
        if response.status().is_success() {
            return Ok(Events::new(response, self.url().into(), query.after));
        }
        let body = self.read(&mut response).await?;
        Err(self.problem(response.status(), &body))
    }

    /// The block at `height`, or the newest one without it.
    ///
    /// # Errors
    /// [`ClientError`], with [`ProblemCode::NoSuchBlock`] if there is none yet.
    pub async fn block(&self, height: Option<u64>) -> Result<BlockView, ClientError> {
        let height = height.map_or_else(|| "latest".to_string(), |height| height.to_string());
        self.get(&format!("v1/blocks/{height}")).await
    }

    /// How the node is doing.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<NodeStatus, ClientError> {
        self.get("v1/status").await
    }

    /// Proof of equivocations, one for each validator that the node convicted. It is not checked here: call [`Evidence::verify`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn evidence(&self) -> Result<Vec<Evidence>, ClientError> {
        self.get("v1/evidence").await
    }

    /// The committee as the node sees it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn validators(&self) -> Result<Vec<ValidatorView>, ClientError> {
        self.get("v1/validators").await
    }

    /// The genesis document that the node runs on. Trust it only as far as the node.
    ///
    /// # Errors
    /// [`ClientError`], [`ClientError::BadAnswer`] if the document is not valid.
    pub async fn genesis(&self) -> Result<Genesis, ClientError> {
        let body = self.body(self.request(Method::GET, "v1/genesis")).await?;
        let text = std::str::from_utf8(&body).map_err(|error| self.bad_answer(error.to_string()))?;
        Genesis::from_json(text).map_err(|error| self.bad_answer(error.to_string()))
    }

    /// The figures for operators, in Prometheus' text form.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let body = self.body(self.request(Method::GET, "metrics")).await?;
        String::from_utf8(body).map_err(|error| self.bad_answer(error.to_string()))
    }

    /// Whether `/readyz` says that the node takes transactions.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] or [`ClientError::NoAnswer`].
    pub async fn is_ready(&self) -> Result<bool, ClientError> {
        let response = self.request(Method::GET, "readyz").send().await.map_err(|error| self.transport(&error))?;
        Ok(response.status().is_success())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.base.join(path).expect("paths of this module are relative references");
        self.http.request(method, url).timeout(REQUEST_TIMEOUT)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.answer(self.request(Method::GET, path)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let body = self.body(request).await?;
        serde_json::from_slice(&body).map_err(|error| self.bad_answer(error.to_string()))
    }

    /// The body of a successful answer; any other is an error.
    async fn body(&self, request: RequestBuilder) -> Result<Vec<u8>, ClientError> {
        let mut response = request.send().await.map_err(|error| self.transport(&error))?;
        let status = response.status();
        let body = self.read(&mut response).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(self.problem(status, &body))
    }

    fn problem(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<Problem>(body) {
            // The status line decides which family it is of, whatever the body says.
            Ok(problem) => ClientError::Problem(Problem { status: status.as_u16(), ..problem }),
            Err(_) => self.bad_answer(format!("HTTP status {status} without a reason")),
        }
    }

    async fn read(&self, response: &mut Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.transport(&error))? {
            if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
                return Err(self.bad_answer(format!("the answer is longer than {RESPONSE_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn transport(&self, error: &reqwest::Error) -> ClientError {
        let url = self.url().to_string();
        if error.is_connect() {
            return ClientError::Unreachable { url, reason: root_cause(error) };
        }
        let reason = if error.is_timeout() { "the time was up".into() } else { root_cause(error) };
        ClientError::NoAnswer { url, reason }
    }

    fn bad_answer(&self, reason: String) -> ClientError {
        ClientError::BadAnswer { url: self.url().into(), reason: reason.chars().take(300).collect() }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What really went wrong: the innermost error, since reqwest's own text says little more than "error sending request".
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
