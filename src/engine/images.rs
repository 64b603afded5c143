//! Cloud images in the cache: what the lab file and the catalogue say of one, in the words of the download.

use crate::host::HostError;
use crate::host::download::{self, Cache, Digest, Fetched, Newest, Signature, Source, Told};
use crate::lab::catalogue::{self, Image};
use crate::lab::paths::Home;

use super::context::Engine;
use super::error::Result;
use super::run::StepContext;

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
    download::cached(&source(&engine.lab.image), &cache(&engine.home))
}

/// Brings the lab's image into the cache, telling how far it is.
pub async fn fetch(context: &StepContext) -> Result<Fetched> {
    let engine = &context.engine;
    let (source, cache) = (source(&engine.lab.image), cache(&engine.home));
    let mut tell = |told| match told {
        Told::Bytes { done, total } => context.progress(done, total),
        Told::Waiting(requirement) => context.waiting(requirement),
        Told::Note(text) => context.note(text),
    };
    tokio::select! {
        found = download::fetch(&source, &cache, engine.lab.limits.download_stall, &mut tell) => Ok(found?),
        () = engine.cancel.cancelled() => Err(HostError::Interrupted.into()),
    }
}
