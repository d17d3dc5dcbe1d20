//! Forgets events that are older than the settings say, a small batch at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::access::store;
use crate::app::App;
use crate::clock;

const BATCH: u32 = 500;
const INTERVAL: Duration = Duration::from_hours(1);
/// Between batches, so that admissions get the writer in between.
const BREATH: Duration = Duration::from_millis(50);
const DAY_MS: i64 = 24 * 3600 * 1000;

/// Runs until `stop`.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    let kept = i64::from(app.config.publish.event_retention_days) * DAY_MS;
    loop {
        let pause = match store::prune(&app.db, clock::now() - kept, BATCH).await {
            Ok(gone) if gone == u64::from(BATCH) => BREATH,
            Ok(_) => INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "cannot forget old events");
                INTERVAL
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
