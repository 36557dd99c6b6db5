//! Whom `user:group` means in an image.
//!
//! # Problem
//! The names are in the image's own `/etc/passwd` and `/etc/group`, and an image is hostile until
//! proven otherwise: its `/etc/passwd` may be a link to the node's, a device, or a gigabyte.
//!
//! # Idea
//! The layers are looked through from the top, as the overlay would show them, and no link is
//! followed: a whiteout or an opaque folder hides what is below, a link is refused by name. Numbers
//! need no file, except for the groups that a user is in besides.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fgetxattr, fstat, open, openat2};
use rustix::io::Errno;

use super::Error;

/// Longest file of names that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A user, by numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub user: u32,
    /// Its group's id.
    pub group: u32,
    /// Of other groups that it is in.
    pub groups: Vec<u32>,
}

/// Looks up `user`, `user:group`, by number or by name; layers from the base up. Nothing is root.
///
/// # Errors
/// A name is not in the image's files, or they are no plain files.
pub fn look_up(text: &str, layers: &[PathBuf]) -> Result<Identity, Error> {
    let field = "image.user";
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let mut found = Identity::default();
    let number = if user.is_empty() { Some(0) } else { user.parse::<u32>().ok() };
    let passwd = file(layers, "passwd")?;
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|entry| {
        let id = entry.get(2).and_then(|id| id.parse::<u32>().ok());
        match number {
            Some(number) => id == Some(number),
            None => entry[0] == user && id.is_some(),
        }
    });
    let id = |at: usize| entry.as_ref().and_then(|entry| entry.get(at)?.parse::<u32>().ok());
    found.user = match number.or(id(2)) {
        Some(number) => number,
        None => {
            let reason = format!("there is no user `{user}` in the image's /etc/passwd");
            return Err(Error::refused(field, reason));
        }
    };
    found.group = id(3).unwrap_or(0);
    let groups = file(layers, "group")?;
    let groups = || groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let group_id = |entry: &[&str]| entry.get(2).and_then(|id| id.parse::<u32>().ok());
    if let Some(group) = group {
        let by_name = || groups().find(|entry| entry[0] == group).and_then(|e| group_id(&e));
        found.group = group.parse().ok().or_else(by_name).ok_or_else(|| {
            let reason = format!("there is no group `{group}` in the image's /etc/group");
            Error::refused(field, reason)
        })?;
        return Ok(found);
    }
    if let Some(name) = entry.as_ref().map(|entry| entry[0]) {
        let has = |entry: &Vec<&str>| {
            entry.get(3).is_some_and(|names| names.split(',').any(|member| member == name))
        };
        found.groups = groups().filter(has).filter_map(|entry| group_id(&entry)).collect();
    }
    Ok(found)
}

/// What lies at a place in one layer.
enum Lies {
    /// A plain file or folder.
    Open(File),
    /// Nothing: ask the layer below.
    Nothing,
    /// Nothing, and nothing below counts.
    Hidden,
}

/// The text of `/etc/<name>`, empty if there is none.
fn file(layers: &[PathBuf], name: &str) -> Result<String, Error> {
    for layer in layers.iter().rev() {
        let refuse = |reason: String| Error::refused("image.user", reason);
        let etc = match look(layer, Path::new("etc"), FileType::Directory) {
            Ok(Lies::Open(etc)) => etc,
            Ok(Lies::Nothing) => continue,
            Ok(Lies::Hidden) => break,
            Err(error) => return Err(refuse(format!("the image's /etc: {error}"))),
        };
        let path = Path::new("etc").join(name);
        match look(layer, &path, FileType::RegularFile) {
            Ok(Lies::Open(file)) => {
                let mut text = String::new();
                return match file.take(FILE_BYTES_MAX).read_to_string(&mut text) {
                    Ok(_) => Ok(text),
                    Err(error) => Err(refuse(format!("the image's /etc/{name}: {error}"))),
                };
            }
            Ok(Lies::Nothing) if !is_opaque(&etc) => {}
            Ok(_) => break,
            Err(error) => return Err(refuse(format!("the image's /etc/{name}: {error}"))),
        }
    }
    Ok(String::new())
}

fn look(layer: &Path, path: &Path, kind: FileType) -> Result<Lies, std::io::Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(layer, flags, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let place = OFlags::PATH | OFlags::CLOEXEC;
    let found = match openat2(&root, path, place, Mode::empty(), resolve) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Lies::Nothing),
        Err(Errno::LOOP) => return Err(std::io::Error::other("it is a link; name numbers")),
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&found)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice if stat.st_rdev == 0 => return Ok(Lies::Hidden),
        found if found == kind => {}
        _ => return Err(std::io::Error::other("it is neither file nor folder")),
    }
    // What it is was asked of the place itself, so what is opened is no device.
    let read = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(Lies::Open(File::from(openat2(&root, path, read, Mode::empty(), resolve)?)))
}

fn is_opaque(folder: &File) -> bool {
    let mut value = [0; 1];
    ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|name| fgetxattr(folder, *name, &mut value[..]).is_ok() && &value == b"y")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const PASSWD: &str = "root:x:0:0::/:/bin/sh\nweb:x:101:82::/:\nodd:x\n";
    const GROUP: &str = "root:x:0:\nwww:x:82:\nlogs:x:90:daemon,web\n";

    fn layer(root: &Path, name: &str, passwd: Option<&str>) -> PathBuf {
        let layer = root.join(name);
        fs::create_dir_all(layer.join("etc")).unwrap();
        if let Some(passwd) = passwd {
            fs::write(layer.join("etc/passwd"), passwd).unwrap();
            fs::write(layer.join("etc/group"), GROUP).unwrap();
        }
        layer
    }

    /// Who a task runs as decides what it may touch.
    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let root = tempfile::tempdir().unwrap();
        let layers = [layer(root.path(), "base", Some(PASSWD)), layer(root.path(), "top", None)];
        let who = |user, group, groups: &[u32]| Identity { user, group, groups: groups.into() };
        for (text, expected) in [
            ("", who(0, 0, &[])),
            ("web", who(101, 82, &[90])),
            ("101", who(101, 82, &[90])),
            ("7", who(7, 0, &[])),
            ("web:logs", who(101, 90, &[])),
            ("7:8", who(7, 8, &[])),
        ] {
            assert_eq!(look_up(text, &layers).unwrap(), expected, "{text}");
        }
        for bad in ["odd", "nobody", "web:nothing", "-1", "4294967296"] {
            let error = look_up(bad, &layers).unwrap_err().to_string();
            assert!(error.starts_with("image.user: there is no"), "{bad}: {error}");
        }
    }

    /// An image whose list of users is a link reads the node's, if one follows it.
    #[test]
    fn links_in_an_image_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let base = layer(root.path(), "base", Some(PASSWD));
        let link = layer(root.path(), "link", None);
        symlink("/etc/passwd", link.join("etc/passwd")).unwrap();
        let error = look_up("web", &[base.clone(), link]).unwrap_err().to_string();
        assert!(error.contains("/etc/passwd: it is a link"), "{error}");
        let whole = root.path().join("whole");
        fs::create_dir(&whole).unwrap();
        symlink("/etc", whole.join("etc")).unwrap();
        let error = look_up("root", &[base, whole]).unwrap_err().to_string();
        assert!(error.contains("/etc: it is a link"), "{error}");
    }
}
