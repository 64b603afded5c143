//! What machines are made of: the golden templates on disk, and the cloud images in the cache that they are baked from.
//!
//! Here, what the lab file and the catalogue say of an image, in the words of the download.

pub mod template;
pub mod templates;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::host::download::{self, Cache, Digest, Fetched, Newest, Signature, Source, Told};
use crate::host::{self, HostError};
use crate::lab::catalogue::{self, Image};
use crate::lab::paths::Home;
use crate::plan::step::StepId;

use crate::engine::context::Engine;
use crate::engine::error::Result;
use crate::engine::event::{Event, Unmet};
use crate::engine::run::StepContext;

/// Returns where images are kept.
pub fn cache(home: &Home) -> Cache {
    Cache { images: home.images(), locks: home.locks() }
}

/// Returns an image as something to be had.
pub fn source(image: &Image) -> Source {
    let newest = image.newest.as_ref().map(|newest| Newest {
        name: format!("{}-{}", image.name, image.arch.word()),
        url: newest.url.clone(),
        list: newest.list.clone(),
        signature: newest.signature.as_ref().map(|signature| Signature {
            url: signature.url.clone(),
            key: signature.key.clone(),
            keyring: catalogue::keyring(&signature.keyring).unwrap_or_default(),
        }),
    });
    Source {
        url: image.url.clone(),
        digest: image.digest.as_deref().and_then(Digest::from_hex),
        size: image.size,
        newest,
    }
}

/// Returns the lab's image, if it is in the cache.
pub fn cached(engine: &Engine) -> Option<Fetched> {
    cached_image(&engine.lab.image, &engine.home)
}

/// Returns an image, if it is in the cache.
pub fn cached_image(image: &Image, home: &Home) -> Option<Fetched> {
    download::cached(&source(image), &cache(home))
}

/// Brings the lab's image into the cache, telling how far it is.
pub async fn fetch(context: &StepContext) -> Result<Fetched> {
    let engine = &context.engine;
    let stall = engine.lab.limits.download_stall;
    let mut tell = |event| context.send(event);
    Ok(bring(&engine.lab.image, &engine.home, stall, &engine.cancel, &context.step.id, &mut tell).await?)
}

/// Brings an image into the cache, or finds it there. What happens is told as of `step`.
pub async fn bring(
    image: &Image,
    home: &Home,
    stall: Duration,
    cancel: &CancellationToken,
    step: &StepId,
    tell: &mut (dyn FnMut(Event) + Send),
) -> host::Result<Fetched> {
    let mut told = |told| {
        let step = step.clone();
        tell(match told {
            Told::Bytes { done, total } => Event::Progress { step, done, total },
            Told::Waiting { what, seen } => {
                Event::Waiting { step, requirement: Unmet { what: what.to_owned(), seen } }
            }
            Told::Note(text) => Event::Note { step: Some(step), text },
        });
    };
    let (source, cache) = (source(image), cache(home));
    tokio::select! {
        found = download::fetch(&source, &cache, stall, &mut told) => found,
        () = cancel.cancelled() => Err(HostError::Interrupted),
    }
}
