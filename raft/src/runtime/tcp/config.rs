//! Who a transport is, and how much it takes upon itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::runtime::tcp::pipe::Dial;
use crate::types::NodeId;

#[cfg(feature = "tls")]
use crate::runtime::tcp::tls::Tls;

/// Who a transport is, and how much it takes upon itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TcpConfig {
    /// Which cluster. Peers of another one are refused.
    pub cluster: u64,
    /// Which node of it.
    pub node: NodeId,
    /// Bounds on memory and time.
    pub limits: Limits,
    /// Whether connections are under TLS, on both sides. `None`: in the clear, and peers are
    /// believed what they say they are.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    /// How connections are made, if not by the transport: it goes before `tls`.
    pub dial: Option<Arc<dyn Dial>>,
}

/// Bounds on memory and time.
///
/// What comes in and has not been taken is at most `inbound_bytes_max`, and one frame for each
/// connection, in bytes as they travel: read, they take up to sixteen times that if they are all
/// blank entries, and little more if they are not. What goes out is `outbound_bytes_max` and one
/// write for each peer. Connections from outside are at most `handshakes_max`, and
/// `1 + fetches_max` for each peer and for each of `strangers_max`.
///
/// All nodes of a cluster have the same times.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest frame. A message that takes more is dropped, and one from a peer ends the
    /// connection, before it is read.
    pub frame_bytes_max: usize,
    /// How much is gathered into one frame and one write, unless a single message takes more.
    pub write_bytes: usize,
    /// Messages that wait for one peer, as they are counted by
    /// [`Entry::bytes`](crate::Entry::bytes). Beyond it, the oldest are dropped.
    pub outbound_bytes_max: usize,
    /// Frames that wait to be taken, from all peers together. Beyond it, peers wait.
    pub inbound_bytes_max: usize,
    /// Connections that have not shown yet who they are. Beyond it, the oldest are dropped.
    pub handshakes_max: usize,
    /// Connections from nodes that are no [peers](super::Tcp::peer) of this one.
    pub strangers_max: usize,
    /// Snapshots that one peer fetches at once.
    pub fetches_max: usize,
    /// How long a connection may take until both sides know each other.
    pub handshake: Duration,
    /// How long a peer may be silent before it is reported as
    /// [`Down`](crate::runtime::Inbound::Down). Groups that have gone quiet learn by it that their
    /// leader's machine is gone, so it is about as long as an election. It is pinged three times in
    /// that.
    pub patience: Duration,
    /// How long it may be silent, or take for one frame, before its connection is ended.
    pub silence: Duration,
    /// How long to wait before dialling again, at first and at most; a part of it is random.
    pub backoff: (Duration, Duration),
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            frame_bytes_max: 8 << 20,
            write_bytes: 256 << 10,
            outbound_bytes_max: 16 << 20,
            inbound_bytes_max: 64 << 20,
            handshakes_max: 64,
            strangers_max: 16,
            fetches_max: 4,
            handshake: Duration::from_secs(5),
            patience: Duration::from_secs(1),
            silence: Duration::from_secs(10),
            backoff: (Duration::from_millis(20), Duration::from_secs(1)),
        }
    }
}

impl Limits {
    /// How many frames may wait to be taken.
    pub(super) fn inbound_frames(&self) -> usize {
        (self.inbound_bytes_max / self.frame_bytes_max.max(1)).max(1)
    }
}

impl TcpConfig {
    /// This node of this cluster, in the clear, with the usual limits.
    #[must_use]
    pub fn new(cluster: u64, node: NodeId) -> TcpConfig {
        TcpConfig {
            cluster,
            node,
            limits: Limits::default(),
            #[cfg(feature = "tls")]
            tls: None,
            dial: None,
        }
    }

    /// Under TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> TcpConfig {
        self.tls = Some(tls);
        self
    }

    /// With connections that the caller makes. Those that it takes, it hands over by
    /// [`Tcp::take_wire`](super::Tcp::take_wire).
    #[must_use]
    pub fn dial(mut self, dial: Arc<dyn Dial>) -> TcpConfig {
        self.dial = Some(dial);
        self
    }

    /// With these limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> TcpConfig {
        self.limits = limits;
        self
    }
}

impl fmt::Display for TcpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {:#018x}", self.node, self.cluster)
    }
}
