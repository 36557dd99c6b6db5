//! A text in a source, and what stands there instead: how bugs are kept.
//!
//! ```text
//!     what is known of the bug, in a line or more
//!     raft/src/file.rs
//!     ---- instead of
//!     what the source says, once
//!     ---- it says
//!     what it should not
//! ```
//!
//! A bug that takes more than one goes on with a line `---- and in`, the next file, and so on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A text in a source, and what stands there instead.
pub(crate) struct Patch {
    /// The source that it is in.
    pub(crate) file: String,
    instead_of: String,
    says: String,
}

impl Patch {
    /// The patches at the end of a text, and what stands above them.
    pub(crate) fn parse_all(text: &str) -> Option<(&str, Vec<Patch>)> {
        let mut parts = text.split("---- and in\n");
        let (head, first) = Patch::parse(parts.next()?)?;
        let more = parts.map(|part| Patch::parse_bare(part.split_once('\n')?));
        let patches = std::iter::once(Some(first)).chain(more).collect::<Option<_>>()?;
        Some((head, patches))
    }

    /// The patch at the end of a text, and what stands above it.
    pub(crate) fn parse(text: &str) -> Option<(&str, Patch)> {
        let at = text.find("\n---- instead of\n")?;
        let (head, file) = text[..at].rsplit_once('\n')?;
        Some((head, Patch::parse_bare((file, &text[at + 1..]))?))
    }

    /// The file, and what stands below its name.
    fn parse_bare((file, text): (&str, &str)) -> Option<Patch> {
        let text = text.strip_prefix("---- instead of\n")?;
        let (instead_of, says) = text.split_once("\n---- it says\n")?;
        let owned = str::to_owned;
        let (file, instead_of) = (owned(file), owned(instead_of));
        Some(Patch { file, instead_of, says: owned(says.strip_suffix('\n')?) })
    }

    /// The same with `text` in the place of `variable` in what the source should not say.
    pub(crate) fn with(mut self, variable: &str, text: &str) -> Patch {
        self.says = self.says.replace(variable, text);
        self
    }

    /// The source with the bug in it, if its text is there once and it changes something.
    pub(crate) fn put_into(&self, source: &str) -> Option<String> {
        let once = source.matches(&self.instead_of).count() == 1;
        (once && self.says != self.instead_of).then(|| source.replace(&self.instead_of, &self.says))
    }
}

/// The story of a bug: lines that begin with `# `.
pub(crate) fn story(head: &str) -> Option<String> {
    Some(head.strip_prefix("# ")?.replace("\n# ", " "))
}

/// All bugs in a folder, by name.
pub(crate) fn read_all<B>(
    folder: &Path,
    parse: impl Fn(&str, &str) -> Option<B>,
) -> anyhow::Result<Vec<B>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("{}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "txt"));
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match parse(&name, &fs::read_to_string(path)?) {
            Some(bug) => Ok(bug),
            None => bail!("{} is not a mutant", path.display()),
        }
    };
    paths.iter().map(read).collect()
}
