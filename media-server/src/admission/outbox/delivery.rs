//! Tells the control plane, a few streams at a time.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::Shared;
use super::queue::Entry;
use super::store::Store;
use crate::admission::call::{CallError, Caller, Endpoint};

/// Calls at a time. An event is small and a call short; more would only load a control plane that comes back.
const CALLS: usize = 4;

/// Delivers until it is dropped.
pub(super) async fn deliver(shared: Arc<Shared>, caller: Caller) {
    let mut calls = FuturesUnordered::new();
    let mut down = false;
    loop {
        if let Some(endpoint) = shared.endpoint.get() {
            while calls.len() < CALLS {
                let Some((stream, entry)) = shared.lock_queue().take(Instant::now()) else { break };
                let (caller, endpoint) = (caller.clone(), Arc::clone(&endpoint));
                calls.push(async move {
                    let outcome = call(&caller, &endpoint, &entry).await;
                    (stream, entry, endpoint, outcome)
                });
            }
        }
        let due = shared.lock_queue().next_due().filter(|_| calls.len() < CALLS);
        let wait = async {
            match due {
                Some(due) if shared.endpoint.get().is_some() => tokio::time::sleep_until(due.into()).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((stream, entry, endpoint, outcome)) = calls.next(), if !calls.is_empty() => {
                finish(&shared, &stream, &entry, &endpoint, outcome, &mut down).await;
            }
            () = shared.filled.notified() => {}
            () = shared.endpoint.0.changed.notified() => shared.lock_queue().hurry(),
            () = wait => {}
        }
    }
}

/// What became of one try.
enum Outcome {
    Acknowledged,
    /// The file cannot be read: it will not be told.
    Unreadable(std::io::Error),
    Failed(CallError),
}

async fn call(caller: &Caller, endpoint: &Endpoint, entry: &Entry) -> Outcome {
    let kept = entry.clone();
    let body = match tokio::task::spawn_blocking(move || Store::load(&kept)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return Outcome::Unreadable(error),
        Err(error) => return Outcome::Unreadable(std::io::Error::other(error)),
    };
    match caller.post(endpoint, &entry.id, Bytes::from(body)).await {
        Ok(_) => Outcome::Acknowledged,
        Err(error) => Outcome::Failed(error),
    }
}

async fn finish(
    shared: &Arc<Shared>,
    stream: &str,
    entry: &Entry,
    endpoint: &Endpoint,
    outcome: Outcome,
    down: &mut bool,
) {
    let arrived = match outcome {
        Outcome::Acknowledged => {
            if std::mem::take(down) {
                tracing::info!(url = endpoint.url, "control plane takes events again");
            }
            true
        }
        Outcome::Unreadable(error) => {
            tracing::error!(path = %entry.path.display(), %error, "an event cannot be read and will not be told");
            true
        }
        Outcome::Failed(error) => {
            // Once, not at every try: what waits is in the metric.
            if !std::mem::replace(down, true) {
                let (url, remedy) = (endpoint.url.as_str(), error.remedy());
                tracing::warn!(url, %error, remedy, "control plane does not take events: they are kept and told later");
            }
            false
        }
    };
    if arrived {
        // The file goes before the next of the stream is told: after a crash it is repeated alone, not out of order.
        let (keeper, gone) = (Arc::clone(shared), entry.clone());
        let removed =
            tokio::task::spawn_blocking(move || keeper.tell("told event", Store::forget(&gone))).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "outbox folder");
        }
    }
    let mut queue = shared.lock_queue();
    queue.done(stream, arrived, Instant::now(), rand::random());
    shared.metrics.outbox_pending.set(queue.len() as i64);
}
