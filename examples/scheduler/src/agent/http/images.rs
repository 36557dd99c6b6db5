//! The images of a node: listed, taken in, fetched, forgotten.
//!
//! An upload is written to a file first, which has no name, and becomes images when it is whole: a
//! client that is slow or goes away holds nothing but that file.

use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use futures_util::StreamExt;
use mason_node::image::import::{self, Source};
use mason_node::image::{Image, Platform, Reference};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{Desk, PULLS_MAX, UPLOADS_MAX, check_query, refused};
use crate::api::Refused;
use crate::api::wire::{Changed, ImageView, PullImage};

/// How long an upload may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Pieces of an upload that wait for the disk at most.
const PIECES_MAX: usize = 16;

/// Which image.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    name: String,
}

/// Which image, if it is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MaybeNamed {
    name: Option<String>,
}

/// `GET /v1/nodes/{node}/images`
pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Path(node): Path<String>,
) -> Result<Json<Vec<ImageView>>, Refused> {
    desk.check_node(&node)?;
    let store = desk.tools.images.store().clone();
    let all = tokio::task::spawn_blocking(move || store.list()).await;
    let all = all.expect("the store's calls do not panic")?.into_iter().map(|it| ImageView {
        name: it.name,
        digest: it.digest.to_string(),
        bytes: it.bytes,
    });
    Ok(Json(all.collect()))
}

/// `POST /v1/nodes/{node}/images`
pub(super) async fn import(
    State(desk): State<Arc<Desk>>,
    Path(node): Path<String>,
    named: Result<Query<MaybeNamed>, QueryRejection>,
    body: Body,
) -> Result<Json<Vec<ImageView>>, Refused> {
    desk.check_node(&node)?;
    let name = check_query(named)?.name;
    let name: Option<Reference> = name.map(|name| name.parse()).transpose()?;
    let Ok(_permit) = desk.uploading.try_acquire() else {
        return Err(refused::full(UPLOADS_MAX, "uploads"));
    };
    let mut file = receive(&desk, body).await?;
    let store = desk.tools.images.store().clone();
    let import = move || {
        let source = Source::Reader(&mut file);
        import::import(&store, source, name.as_ref(), &Platform::here())
    };
    let imported = tokio::task::spawn_blocking(import).await;
    let imported = imported.expect("an import does not panic")?;
    desk.tools.images_changed.notify_one();
    let views = imported.iter().flat_map(|it| it.names.iter().map(|name| view(name, &it.image)));
    Ok(Json(views.collect()))
}

/// Writes a body to a file without a name.
async fn receive(desk: &Desk, body: Body) -> Result<File, Refused> {
    const WHAT: &str = "the upload cannot be kept";
    let path = desk.uploads.join(format!("{:016x}", rand::random::<u64>()));
    let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let mut file = opened.map_err(|error| refused::io(WHAT, &error))?;
    let _ = std::fs::remove_file(&path);
    let (pieces, mut waiting) = mpsc::channel::<Bytes>(PIECES_MAX);
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(piece) = waiting.blocking_recv() {
            file.write_all(&piece)?;
        }
        file.rewind()?;
        Ok::<_, std::io::Error>(file)
    });
    let most = desk.limits.upload_bytes;
    let (mut bytes, mut body) = (0_u64, body.into_data_stream());
    loop {
        let piece = match tokio::time::timeout(SILENCE_MAX, body.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(piece))) => piece,
            Ok(Some(Err(error))) => {
                return Err(Refused::bad(format!("the upload broke off: {error}")));
            }
            Err(_) => {
                let error = format!("nothing came for {SILENCE_MAX:?}");
                return Err(Refused::new(StatusCode::REQUEST_TIMEOUT, error));
            }
        };
        bytes += piece.len() as u64;
        if bytes > most {
            let error = format!("the upload is longer than upload_bytes ({most} bytes)");
            return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, error));
        }
        // If the disk refuses, the writer says why.
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let written = writer.await.expect("writing does not panic");
    written.map_err(|error| refused::io(WHAT, &error))
}

/// `POST /v1/nodes/{node}/images/pull`
pub(super) async fn pull(
    State(desk): State<Arc<Desk>>,
    Path(node): Path<String>,
    body: Result<Json<PullImage>, JsonRejection>,
) -> Result<Json<ImageView>, Refused> {
    desk.check_node(&node)?;
    let Json(PullImage { name }) =
        body.map_err(|error| Refused::new(error.status(), error.body_text()))?;
    let name: Reference = name.parse()?;
    let Ok(_permit) = desk.pulls.try_acquire() else {
        return Err(refused::full(PULLS_MAX, "pulls"));
    };
    let image = desk.tools.images.pull(&name).await?;
    desk.tools.images_changed.notify_one();
    Ok(Json(view(&name, &image)))
}

/// `DELETE /v1/nodes/{node}/images?name=`
pub(super) async fn remove(
    State(desk): State<Arc<Desk>>,
    Path(node): Path<String>,
    named: Result<Query<Named>, QueryRejection>,
) -> Result<Json<Changed>, Refused> {
    desk.check_node(&node)?;
    let name: Reference = check_query(named)?.name.parse()?;
    let (store, water) = (desk.tools.images.store().clone(), desk.limits.images);
    let said = name.to_string();
    let removed = tokio::task::spawn_blocking(move || {
        let was_there = store.remove(&name)?;
        // Containers that run of it keep their layers.
        let freed = if was_there { store.gc(water)?.bytes_freed } else { 0 };
        Ok::<_, mason_node::image::Error>(was_there.then_some(freed))
    });
    match removed.await.expect("the store's calls do not panic")? {
        Some(freed) => {
            desk.tools.images_changed.notify_one();
            Ok(Json(Changed { revision: 0, message: format!("{freed} bytes are free again") }))
        }
        None => {
            let error = format!("{said} is not on node {node}");
            Err(Refused::new(StatusCode::NOT_FOUND, error))
        }
    }
}

fn view(name: &Reference, image: &Image) -> ImageView {
    let (name, digest) = (name.to_string(), image.digest.to_string());
    ImageView { name, digest, bytes: image.bytes }
}
