//! Waiting for something to become true in another process, where no event tells of it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often is asked.
const PACE: Duration = Duration::from_millis(25);

/// Asks until the answer is there. The error of the last question is in the error of the whole.
pub async fn until<T, F>(what: &str, within: Duration, mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let deadline = Instant::now() + within;
    loop {
        let answer = ask().await;
        match answer {
            Ok(Some(value)) => return Ok(value),
            Ok(None) if Instant::now() > deadline => bail!("not within {within:?}: {what}"),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("not within {within:?}: {what}")));
            }
            Ok(None) | Err(_) => tokio::time::sleep(PACE).await,
        }
    }
}
