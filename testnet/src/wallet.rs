//! Setting up the wallet for a testnet, by running `farthing` as a user would.
//!
//! The wallet's files are where `farthing` finds them: in the user's configuration directory, or in `FARTHING_HOME`.

use crate::accounts;
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// The wallet's profile of the testnet.
pub const PROFILE: &str = "local";

/// How long one command of the wallet may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// The wallet's program.
pub struct Wallet {
    binary: PathBuf,
}

impl Wallet {
    /// The wallet that this program is.
    pub fn new(binary: &Path) -> Wallet {
        Wallet { binary: binary.into() }
    }

    /// Makes the developers' keys and the profile, which becomes the current one. What is there already stays.
    ///
    /// # Errors
    /// If the wallet refuses, for instance because it holds another key of the same name.
    pub async fn set_up(&self, apis: &[String], genesis: &Path) -> anyhow::Result<()> {
        for name in accounts::developers() {
            let seed = hex::encode(accounts::key(&name).seed().as_slice());
            self.run(&["keys", "import", "--name", &name, "--no-password", "--seed-file", "-"], &seed)
                .await
                .with_context(|| {
                    format!(
                        "cannot store the key of {name} in the wallet; to leave a wallet of yours alone, set FARTHING_HOME to \
                         another directory"
                    )
                })?;
        }
        let genesis = genesis.to_str().context("the state directory's path is not Unicode: choose another --state")?;
        let mut arguments = vec!["profile", "add", PROFILE, "--genesis", genesis, "--from", "dev-1", "--use"];
        for api in apis {
            arguments.extend(["--api", api]);
        }
        self.run(&arguments, "").await.context("cannot make the wallet's profile")?;
        Ok(())
    }

    /// Runs a command of the wallet with this standard input, and returns what it prints.
    ///
    /// # Errors
    /// If it fails, with what it prints on standard error.
    pub async fn run(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.binary.display()))?;
        let mut stdin = child.stdin.take().context("the wallet's standard input is a pipe")?;
        let work = async {
            // The wallet may end without reading: then what it says counts, not that the pipe is closed.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
            child.wait_with_output().await
        };
        let shown = || format!("`farthing {}`", arguments.join(" "));
        let output = tokio::time::timeout(COMMAND_TIMEOUT, work)
            .await
            .with_context(|| format!("{} takes more than {} s", shown(), COMMAND_TIMEOUT.as_secs()))?
            .with_context(shown)?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("{} failed ({}): {}{}", shown(), output.status, printed, errors.trim_end());
        }
        Ok(printed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn commands_get_their_input_and_give_their_output() {
        let shell = Wallet::new(Path::new("/bin/sh"));
        assert_eq!(shell.run(&["-c", "cat; echo \"$0\"", "x"], "seed\n").await.expect("success"), "seed\nx\n");
        let error = shell.run(&["-c", "echo out; echo bad >&2; exit 4"], "").await.expect_err("exit 4");
        let message = format!("{error:#}");
        assert!(message.contains("exit status: 4") && message.contains("out\nbad"), "{message}");
        let error = Wallet::new(Path::new("/nowhere/farthing")).run(&[], "").await.expect_err("no program");
        assert!(format!("{error:#}").contains("cannot start /nowhere/farthing"));
    }
}
