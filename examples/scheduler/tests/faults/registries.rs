//! Registries that are off, or lie.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use mason_core::record::{Phase, Reason};
use mason_core::spec::{Job, PullPolicy, Task};
use mason_node::image::Digest;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::Site;
use crate::support::{Kind, Solo};

/// What a registry has of an image: by the last word of the path that asks for it.
type Shelf = Vec<(String, Vec<u8>)>;

/// A registry that says what it is told to say.
async fn serve(listener: TcpListener, shelf: Arc<Shelf>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, shelf.clone()));
    }
}

async fn answer(stream: TcpStream, shelf: Arc<Shelf>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    while line.trim() != "" {
        line.clear();
        stream.read_line(&mut line).await?;
    }
    let found = shelf.iter().find(|(name, _)| path.ends_with(name.as_str()));
    let (status, body) = found.map_or(("404 Not Found", &[][..]), |(_, body)| ("200 OK", body));
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.get_mut().write_all(head.as_bytes()).await?;
    stream.get_mut().write_all(body).await
}

/// An image with one layer, whose bytes are not those that its name says.
fn lying() -> (Shelf, Digest) {
    let layer = vec![7; 4096];
    let digest = Digest::of(&layer);
    let config = format!(
        r#"{{"os":"linux","rootfs":{{"type":"layers","diff_ids":["{digest}"]}},"config":{{}}}}"#
    );
    let describe = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        format!(r#"{{"mediaType":"","digest":"{digest}","size":{}}}"#, bytes.len())
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
        describe(config.as_bytes()),
        describe(&layer)
    );
    let other = vec![8; layer.len()];
    let of_config = Digest::of(config.as_bytes()).to_string();
    let all = vec![
        ("/manifests/1".to_owned(), manifest.into_bytes()),
        (of_config, config.into_bytes()),
        (digest.to_string(), other),
    ];
    (all, digest)
}

/// All files and folders below one, but for those of the layer whose digest is right.
fn below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.insert(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            below(&entry.path(), found);
        }
    }
}

/// A registry that is off, or gives something else than it says, ends the run by name; and nothing
/// of what it gave is used, then or later.
pub(crate) async fn an_image_that_cannot_be_had_is_told_and_nothing_of_it_used(kind: Kind) {
    let solo = Solo::start(kind).await;
    let mut site = Site::open("image", kind, &[solo.url()]).await;
    // A port that nobody listens on, as long as nobody is given it.
    let off = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lies = listener.local_addr().unwrap();
    let (shelf, digest) = lying();
    let registry = tokio::spawn(serve(listener, Arc::new(shelf)));
    site.server();
    let insecure = format!("{off},{lies}");
    let mut words = vec!["--listen", "127.0.0.1:0"];
    for host in insecure.split(',') {
        words.extend(["--insecure-registry", host]);
    }
    let urls = [solo.url()];
    site.agent_with(&urls, &words, None);
    let fine = site.make("fine", Job::single(Task::new("tiny", &["true"]))).await;
    assert_eq!(site.ended(&fine).await, Phase::Succeeded);
    let images = site.agents[0].data_dir.join("images");
    let mut before = BTreeSet::new();
    below(&images, &mut before);
    let ends = async |name: &str, image: &str, pull: PullPolicy| {
        let mut job = Job::single(Task::new(image, &["true"]));
        job.task.pull = pull;
        let key = site.make(name, job).await;
        assert_eq!(site.ended(&key).await, Phase::Failed);
        let exit = site.see(|it| it.mirror.job(&key).unwrap().pasts[&0].value.exit.clone());
        assert_eq!((exit.reason, exit.started_at), (Reason::ImagePull, None), "{exit:?}");
        exit.message
    };
    let message = ends("off", &format!("{off}/app:1"), PullPolicy::Missing).await;
    assert!(message.contains(&off.to_string()) && message.contains("refused"), "{message}");
    let image = format!("{lies}/app:1");
    let message = ends("lies", &image, PullPolicy::Missing).await;
    assert!(message.contains(&image) && message.contains(&digest.to_string()), "{message}");
    let message = ends("later", &image, PullPolicy::Never).await;
    assert!(message.contains("not on this node"), "{message}");
    let mut after = BTreeSet::new();
    below(&images, &mut after);
    let hex = digest.to_string().replace("sha256:", "");
    let of_it: Vec<_> = after.difference(&before).filter(|path| path.contains(&hex)).collect();
    assert!(of_it.is_empty(), "{of_it:?}");
    registry.abort();
    site.close().await;
}
