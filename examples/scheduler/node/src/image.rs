//! The images of a node: fetched or imported, verified, unpacked once, shared by all containers.
//!
//! An image is a tree of content named by its digest. What a container needs of it is a few folders
//! to stack with overlayfs and a small configuration. Everything on the way there comes from
//! strangers: a registry that lies, a line that breaks, an archive made to write outside its
//! folder.
//!
//! ```text
//!   busybox:1.36 ──► manifest sha256:… ─┬─► config sha256:…     entrypoint, env, user, diff ids
//!     (reference)      (store index)    └─► layer sha256:… ──►  layers/<diff id>/   (a lowerdir)
//!                                            (a tar, packed)     unpacked once, never changed
//!
//!   pull ───┐
//!   import ─┼──► staged file ──► digest verified ──► blob ──► unpack ──► commit(name)
//!   builtin ┘
//! ```
//!
//! Read [`reference`](mod@reference) for names, [`store`] for what is on disk and what a crash may
//! leave, [`unpack`] for how a hostile layer is held, [`import`] and [`pull`] for where images come
//! from, and [`builtin`] for the one that is always there.
//!
//! Left out: pushing and building images, schema 1 manifests, signatures, and fetching layers from
//! other nodes.

pub mod builtin;
mod codec;
mod digest;
mod error;
pub mod import;
pub mod manifest;
pub mod pull;
pub mod reference;
pub mod store;
mod tar;
pub mod unpack;

pub use digest::Digest;
pub use error::Error;
pub use manifest::Platform;
pub use reference::Reference;
pub use store::{Image, Store, StoreConfig};
