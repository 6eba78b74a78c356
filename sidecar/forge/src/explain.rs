//! Refusals that only a second question explains.
//!
//! A forge says 404 of a pull request that was deleted, of a repository that the token may not see,
//! and of one whose pull requests are switched off. Only where one of these was said is the
//! repository itself asked for, and then its pull requests: at most two requests more, of an
//! operation that has failed already.

use async_trait::async_trait;
use serde_json::Value;

use crate::error::{ForgeError, ForgeFault};
use crate::says;

/// What a client asks to explain a refusal.
#[async_trait]
pub(crate) trait Explain: Sync {
    /// The repository, as the forge shows it.
    async fn repository(&self, operation: &'static str) -> Result<Value, ForgeError>;

    /// Whether its pull requests can be seen: a list of one.
    async fn any_pull(&self, operation: &'static str) -> Result<(), ForgeError>;

    /// What a pull request is called.
    fn name_of(&self, number: u64) -> String;

    /// The address of a repository that has moved, from the interface's address that the forge
    /// named; `None`: that is the best there is.
    async fn moved(&self, _operation: &'static str, _to: &str) -> Option<String> {
        None
    }

    /// What came of an operation on the repository's pull requests as a whole.
    async fn of_all<T: Send>(&self, outcome: Result<T, ForgeError>) -> Result<T, ForgeError> {
        match outcome {
            Err(ForgeError { operation, place, fault: ForgeFault::Moved { to } }) => {
                let to = self.moved(operation, &to).await.unwrap_or(to);
                Err(ForgeError { operation, place, fault: ForgeFault::Moved { to } })
            }
            Err(error) if is_unclear(&error.fault) => {
                match self.repository(error.operation).await {
                    Ok(repository) => Err(replaced(error, says::switched_off(&repository))),
                    Err(other) if matches!(error.fault, ForgeFault::NotFound(_)) => Err(other),
                    Err(_) => Err(error),
                }
            }
            outcome => outcome,
        }
    }

    /// The better explanation of an error.
    async fn explained(&self, error: ForgeError) -> ForgeError {
        match self.of_all::<()>(Err(error.clone())).await {
            Err(error) => error,
            Ok(()) => error,
        }
    }

    /// What came of switching something off: what was deleted has nothing left to switch off.
    async fn off(&self, number: u64, outcome: Result<(), ForgeError>) -> Result<(), ForgeError> {
        match self.of_one(number, outcome).await {
            Err(ForgeError { fault: ForgeFault::Gone(_), .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// What came of an operation on one pull request, which was there when its number was noted.
    async fn of_one<T: Send>(
        &self,
        number: u64,
        outcome: Result<T, ForgeError>,
    ) -> Result<T, ForgeError> {
        let Err(ForgeError { operation, fault: ForgeFault::NotFound(_), .. }) = &outcome else {
            return self.of_all(outcome).await;
        };
        let operation = *operation;
        let outcome = self.of_all(outcome).await;
        match outcome {
            Err(error) if matches!(error.fault, ForgeFault::NotFound(_)) => {
                self.any_pull(operation).await?;
                Err(ForgeError { fault: ForgeFault::Gone(self.name_of(number)), ..error })
            }
            outcome => outcome,
        }
    }
}

/// What may have another reason than the forge says.
fn is_unclear(fault: &ForgeFault) -> bool {
    matches!(fault, ForgeFault::NotFound(_) | ForgeFault::PermissionDenied { .. })
}

fn replaced(error: ForgeError, fault: Option<ForgeFault>) -> ForgeError {
    match fault {
        Some(fault) => ForgeError { fault, ..error },
        None => error,
    }
}
