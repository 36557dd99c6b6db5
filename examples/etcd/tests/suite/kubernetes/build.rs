//! The API server, from Debian's source package: version 1.20 is the last that has all of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::debian::Archive;
use crate::support::programs::{install, run};
use crate::support::say;

const RELEASE: &str = "kubernetes-1.20.2";
const TREE: &str = "src/k8s.io/kubernetes";
/// Where Debian 12 puts the compiler that this source was still built with.
const GO: &str = "/usr/lib/go-1.19";
/// Where it puts packages written in Go.
const GO_CODE: &str = "/usr/share/gocode/src";

/// The program, or why there is none. Built once for a build folder.
pub(super) fn api_server() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(RELEASE);
    let program = folder.join("kube-apiserver");
    if program.is_file() {
        return Ok(program);
    }
    let reflect = "golang-github-modern-go-reflect2-dev";
    install(&["golang-1.19-go", reflect, "curl", "openssl", "dpkg-dev"])?;
    say("fetching and building Kubernetes' API server: this takes some minutes");
    fetch(&folder)?;
    make_documents(&folder)?;
    // Renamed when it is whole: a test that is interrupted must not leave half a program.
    let made = folder.join("made");
    let words = ["build", "-o", "made", "k8s.io/kubernetes/cmd/kube-apiserver"];
    run(go(&folder).args(words))?;
    std::fs::rename(made, &program).map_err(|error| error.to_string())?;
    Ok(program)
}

/// The source, where Go looks for it.
fn fetch(folder: &Path) -> Result<(), String> {
    let archive = Archive::open(folder, "deb-src http://deb.debian.org/debian bookworm main")?;
    archive.apt(&["source", "--download-only", "kubernetes"])?;
    let tree = folder.join(TREE);
    std::fs::create_dir_all(&tree).map_err(|error| error.to_string())?;
    let unpack = format!("tar xzf *.orig.tar.gz --strip-components=1 -C {TREE}");
    run(Command::new("sh").current_dir(folder).args(["-c", &unpack]))?;
    // The one that comes with it does not know the maps of Go 1.18, and crashes over each.
    let reflect = "github.com/modern-go/reflect2";
    let replace = format!("rm -r vendor/{reflect} && cp -rL {GO_CODE}/{reflect} vendor/{reflect}");
    run(Command::new("sh").current_dir(tree).args(["-c", &replace]))
}

/// The one generated file that the source does not have: descriptions of all kinds of objects,
/// without which the server does not start.
fn make_documents(folder: &Path) -> Result<(), String> {
    let find = "(grep -rlE --include=doc.go '^// ?\\+k8s:openapi-gen=true' pkg staging/src/k8s.io; \
                grep -rl --include=*.go '+k8s:openapi-gen=true' staging/src/k8s.io/apimachinery \
                staging/src/k8s.io/client-go/pkg) | xargs -n1 dirname | sort -u | \
                grep -v -e sample-apiserver -e code-generator | \
                sed -e 's#^staging/src/#k8s.io/kubernetes/vendor/#' \
                    -e 's#^pkg#k8s.io/kubernetes/pkg#' | paste -sd,";
    let tree = folder.join(TREE);
    let found = Command::new("sh").current_dir(&tree).args(["-c", find]).output();
    let found = found.map_err(|error| format!("cannot look through the source: {error}"))?;
    let kinds = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    let generator = "k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen";
    run(go(folder).args(["build", "-o", "openapi-gen", generator]))?;
    let mut generate = Command::new(folder.join("openapi-gen"));
    setting(&mut generate, folder).current_dir(&tree);
    generate.args(["-h", "hack/boilerplate/boilerplate.generatego.txt"]);
    generate.args(["-O", "zz_generated.openapi", "-p", "k8s.io/kubernetes/pkg/generated/openapi"]);
    generate.args(["-r", "/dev/null", "-i", &kinds, "--output-base"]).arg(folder.join("src"));
    run(&mut generate)
}

fn go(folder: &Path) -> Command {
    let mut go = Command::new(format!("{GO}/bin/go"));
    setting(&mut go, folder).current_dir(folder);
    go
}

/// Go as it was before modules, which this source still has its dependencies laid out for.
fn setting<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{GO}/bin:{path}")).env("GOROOT", GO);
    command.env("GO111MODULE", "off").env("CGO_ENABLED", "0").env("GOFLAGS", "");
    command.env("GOPATH", folder).env("GOCACHE", folder.join("cache"))
}
