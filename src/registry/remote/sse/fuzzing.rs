//! The fuzzer's way in, built for it alone (`--cfg fuzzing`): the reader of event streams, without a network before it.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::super::stream::events_until;
use super::{Noise, endpoint_of, read, stream_error};

/// An event, and what was made of it.
#[derive(Debug, PartialEq)]
pub struct Told {
    /// Its type, its data, its id and the wait that it asks for.
    pub event: (Option<String>, Option<String>, Option<String>, Option<u64>),
    /// The message in it, as it is understood.
    pub message: Option<String>,
    /// Where messages go from now on, or why they do not go there.
    pub endpoint: Option<Result<Url, String>>,
}

/// The events of a body that comes in these pieces, together at most `most` bytes, from the server at `base`; or why they
/// are not read to their end.
pub fn events_of(
    pieces: Vec<Vec<u8>>,
    most: Option<usize>,
    base: &Url,
) -> Result<Vec<Told>, String> {
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let response = http::Response::new(reqwest::Body::wrap_stream(pieces)).into();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let noise = Noise::until(Duration::from_secs(10));
        let mut events = events_until(CancellationToken::new(), response, noise, most);
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| stream_error(error).to_string())?;
            let data = event.data.clone().unwrap_or_default();
            let names_endpoint = event.event.as_deref() == Some("endpoint");
            told.push(Told {
                message: read(&data).map(|message| format!("{message:?}")),
                endpoint: names_endpoint
                    .then(|| endpoint_of(&data, base, base).map_err(|error| error.to_string())),
                event: (event.event, event.data, event.id, event.retry),
            });
        }
        Ok(told)
    })
}
