//! The same questions through our proxy and through etcd's own, each in front of a fresh server.

use super::differs;
