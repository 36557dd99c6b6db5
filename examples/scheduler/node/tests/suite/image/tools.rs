//! Debian's own registry and tools: what they make must come in, and come back out the same.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use mason_node::image::import::{Source, import};
use mason_node::image::pull::PullConfig;
use mason_node::image::{Error, Platform};

use super::{name, pull, store};

/// Whether all these programs are there, installed if need be. Says loudly which are not.
fn have(programs: &[&str]) -> bool {
    static ONCE: Mutex<bool> = Mutex::new(false);
    let missing = || -> Vec<&str> {
        let there = |program: &&&str| Path::new("/usr/bin").join(program).is_file();
        programs.iter().filter(|program| !there(program)).copied().collect()
    };
    let mut asked = ONCE.lock().unwrap_or_else(PoisonError::into_inner);
    if !missing().is_empty() && !*asked {
        *asked = true;
        for arguments in [&["update"][..], &["install", "-y", "docker-registry", "skopeo", "umoci"]]
        {
            let mut apt = Command::new("apt-get");
            // Run level 1 keeps the package from starting a service of its own.
            apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
            let _ = apt.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
    let missing = missing();
    if !missing.is_empty() {
        eprintln!("SKIPPED: no {missing:?}, and apt-get cannot install them");
    }
    missing.is_empty()
}

fn sh(folder: &Path, text: &str) {
    let output = Command::new("sh").arg("-ec").arg(text).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An OCI layout `layout:v1` of two layers, the second of which takes a file of the first away.
fn layout(folder: &Path) {
    sh(
        folder,
        "umoci init --layout layout; umoci new --image layout:v1
         umoci unpack --image layout:v1 b1
         mkdir -p b1/rootfs/bin b1/rootfs/etc; echo one > b1/rootfs/etc/one
         echo hi > b1/rootfs/bin/hi; chmod 4755 b1/rootfs/bin/hi
         umoci repack --image layout:v1 b1
         umoci unpack --image layout:v1 b2
         rm b2/rootfs/etc/one; ln -s ../bin/hi b2/rootfs/etc/link
         umoci repack --image layout:v1 b2
         umoci config --image layout:v1 --config.cmd hi --config.user 7:8 \
            --config.env A=b --config.workingdir /etc --config.label k=v --config.stopsignal 12",
    );
}

/// Every way that a real layout can be handed over gives one and the same image.
#[test]
fn layouts_and_archives_of_real_tools_come_in() {
    if !have(&["skopeo", "umoci"]) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    layout(temp.path());
    sh(
        temp.path(),
        "tar -cf layout.tar -C layout .; gzip -k layout.tar
         skopeo copy -q oci:layout:v1 docker-archive:saved.tar:example.com/saved:1
         skopeo copy -q oci:layout:v1 oci-archive:copied.tar:example.com/copied:2",
    );
    let (_temp, store) = store();
    let here = Platform::here();
    let app = name("app:1");
    let mut digests = Vec::new();
    for file in ["layout", "layout.tar", "layout.tar.gz"] {
        let source = Source::Path(temp.path().join(file));
        let imported = import(&store, source, Some(&app), &here).unwrap();
        digests.push(imported[0].image.digest);
    }
    let mut reader = std::fs::File::open(temp.path().join("layout.tar.gz")).unwrap();
    let imported = import(&store, Source::Reader(&mut reader), Some(&app), &here).unwrap();
    let image = &imported[0].image;
    assert!(digests.iter().all(|digest| *digest == image.digest));
    let config = &image.config;
    assert_eq!((config.cmd[0].as_str(), config.user.as_str()), ("hi", "7:8"));
    assert_eq!((config.working_dir.as_str(), config.labels["k"].as_str()), ("/etc", "v"));
    assert_eq!(config.stop_signal.as_deref(), Some("12"));
    assert!(config.env.contains(&"A=b".to_owned()));
    let tags = import(&store, Source::Path(temp.path().join("layout")), None, &here);
    assert!(tags.unwrap_err().to_string().contains("give it one"), "a tag alone is no name");
    for (file, text) in
        [("saved.tar", "example.com/saved:1"), ("copied.tar", "example.com/copied:2")]
    {
        let imported = import(&store, Source::Path(temp.path().join(file)), None, &here).unwrap();
        assert_eq!(imported[0].names, [name(text)], "{file}");
        assert_eq!(
            imported[0].image.layers, image.layers,
            "{file}: the same layers, unpacked once"
        );
        assert_eq!(imported[0].image.config, image.config, "{file}");
    }
    // What overlayfs makes of the layers is what the image's maker saw.
    let top = mount(&image.layers);
    assert!(top.path().join("merged/bin/hi").is_file());
    assert!(!top.path().join("merged/etc/one").exists(), "taken away by the second layer");
    let link = std::fs::read_link(top.path().join("merged/etc/link")).unwrap();
    assert_eq!(link, Path::new("../bin/hi"));
    sh(top.path(), "umount merged");
}

fn mount(layers: &[std::path::PathBuf]) -> tempfile::TempDir {
    let top = tempfile::tempdir().unwrap();
    let lower: Vec<String> = layers.iter().rev().map(|path| path.display().to_string()).collect();
    let lower = lower.join(":");
    sh(
        top.path(),
        &format!("mkdir merged; mount -t overlay overlay -o ro,lowerdir={lower} merged"),
    );
    top
}

/// A layout that somebody changed on the way is refused, by digest.
#[test]
fn a_changed_layout_is_refused() {
    if !have(&["skopeo", "umoci"]) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    layout(temp.path());
    sh(
        temp.path(),
        "skopeo copy -q oci:layout:v1 oci:clean:v1; cd clean/blobs/sha256
         printf x | dd of=$(ls -S | tail -1) \
         bs=1 seek=5 conv=notrunc status=none",
    );
    let (_temp, store) = store();
    let source = Source::Path(temp.path().join("clean"));
    let result = import(&store, source, Some(&name("app")), &Platform::here());
    assert!(matches!(result, Err(Error::WrongDigest { .. })), "{result:?}");
    assert!(store.list().unwrap().is_empty());
    let empty = tempfile::tempdir().unwrap();
    let source = Source::Path(empty.path().to_owned());
    let result = import(&store, source, Some(&name("app")), &Platform::here());
    assert!(result.unwrap_err().to_string().contains("neither `oci-layout` nor"));
}

/// A registry of Debian's on loopback, ended with the test.
struct Registry {
    child: Child,
    host: String,
    _data: tempfile::TempDir,
}

impl Registry {
    fn start() -> Registry {
        let data = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n",
            data.path().display()
        );
        let path = data.path().join("config.yml");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        while TcpStream::connect(&host).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "the registry ended");
            std::thread::yield_now();
        }
        Registry { child, host, _data: data }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The way that most images come: by tag, by digest, through a mirror, from a real registry.
#[test]
fn a_real_registry_serves_by_tag_by_digest_and_as_a_mirror() {
    if !have(&["docker-registry", "skopeo", "umoci"]) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    layout(temp.path());
    let registry = Registry::start();
    let host = registry.host.clone();
    for (text, format) in [("library/app:v1", "oci"), ("library/app:v2s2", "v2s2")] {
        sh(
            temp.path(),
            &format!(
                "skopeo copy -q --format {format} --dest-tls-verify=false oci:layout:v1 \
                 docker://{host}/{text}"
            ),
        );
    }
    let (_temp, store) = store();
    let image = pull(&store, PullConfig::default(), &format!("{host}/library/app:v1")).unwrap();
    assert!(image.layers[0].join("bin/hi").is_file());
    let by_digest = format!("{host}/library/app@{}", image.digest);
    assert_eq!(pull(&store, PullConfig::default(), &by_digest).unwrap().digest, image.digest);
    let docker = pull(&store, PullConfig::default(), &format!("{host}/library/app:v2s2")).unwrap();
    assert_eq!(docker.layers, image.layers, "docker's manifests lead to the same layers");
    let mirrors = [("docker.io".to_owned(), format!("http://{host}"))].into();
    let config = PullConfig { mirrors, ..PullConfig::default() };
    let mirrored = pull(&store, config.clone(), "app:v1").unwrap();
    assert_eq!(mirrored.digest, image.digest);
    assert_eq!(store.unpack_count(), 2, "two layers, however they came");
    let missing = pull(&store, config.clone(), "app:none");
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    drop(registry);
    let tries = PullConfig { tries: 2, backoff: std::time::Duration::from_millis(1), ..config };
    let down = pull(&store, tries, "app:v1");
    assert!(matches!(down, Err(Error::Unreachable { .. })), "{down:?}");
    assert!(store.image(&name("app:v1")).unwrap().is_some(), "what is here stays usable");
}
