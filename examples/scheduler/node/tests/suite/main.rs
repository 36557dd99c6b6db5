//! What a node does, on real parts: real registries, real archives, real file systems.

mod image;
