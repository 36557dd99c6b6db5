//! What changed in etcd between 3.4 and 3.6, or would bring 3.4 down: asked of ours alone.
