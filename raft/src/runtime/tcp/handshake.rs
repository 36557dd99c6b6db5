//! How two ends of a connection find out that they mean each other.
//!
//! ```text
//!     who dialled                                who accepted
//!        Hello     cluster, who, whom, challenge ──►
//!                         ◄── Welcome   version, or why not; challenge
//!        Proof     hash over both ──►
//!
//!     Hello, 64 bytes                            Welcome, 48 bytes
//!      0  8  magic "dryraft\n"                    0  8  magic
//!      8  2  oldest version spoken                8  2  oldest version spoken
//!     10  2  newest version spoken               10  2  newest version spoken
//!     12  1  purpose: 1 messages, 2 a snapshot   12  2  the version to speak, 0 if refused
//!     13  3  zeros                               14  1  verdict: 0 welcome, else why not
//!     16  8  cluster                             15  1  zero
//!     24  8  sender                              16  8  who this is
//!     32  8  receiver                            24 16  challenge
//!     40 16  challenge                           40  8  checksum of the 40 bytes before
//!     56  8  checksum of the 56 bytes before
//! ```
//!
//! Numbers are little-endian. The lengths, the magic, the versions, the verdict and the checksums
//! stay where they are in every future version, so that an old node and a new one can tell each
//! other that they have no version in common.
//!
//! The *key* of the connection is the hash of both, byte for byte: it holds both challenges, which
//! are never the same again. Whoever plays a recorded connection again meets another challenge, and
//! so another key: the recorded Proof is refused, and so would be every frame behind it.
//!
//! Somebody whose first bytes are not the magic is not answered at all.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::runtime::tcp::pipe::Pipe;
use crate::runtime::tcp::refusal::Refusal;
use crate::types::NodeId;

/// The versions that are spoken here: the highest that both sides speak is used.
pub(super) const VERSIONS: (u16, u16) = (1, 1);

pub(super) const MAGIC: [u8; 8] = *b"dryraft\n";
pub(super) const HELLO_BYTES: usize = 64;
pub(super) const WELCOME_BYTES: usize = 48;
pub(super) const PROOF_BYTES: usize = 8;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Messages = 1,
    Snapshot = 2,
}

/// What who accepted says to a Hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Welcome = 0,
    Version = 1,
    Cluster = 2,
    Receiver = 3,
    Sender = 4,
    Full = 5,
    Other = 6,
}

impl Verdict {
    fn from_byte(byte: u8) -> Verdict {
        match byte {
            0 => Verdict::Welcome,
            1 => Verdict::Version,
            2 => Verdict::Cluster,
            3 => Verdict::Receiver,
            4 => Verdict::Sender,
            5 => Verdict::Full,
            _ => Verdict::Other,
        }
    }

    fn of(refusal: &Refusal) -> Verdict {
        match refusal {
            Refusal::Version { .. } => Verdict::Version,
            Refusal::Cluster { .. } => Verdict::Cluster,
            Refusal::Receiver { .. } => Verdict::Receiver,
            Refusal::Sender { .. } => Verdict::Sender,
            Refusal::Full => Verdict::Full,
            _ => Verdict::Other,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Welcome => "welcome",
            Verdict::Version => "no protocol version in common",
            Verdict::Cluster => "it is of another cluster",
            Verdict::Receiver => "it is another node",
            Verdict::Sender => "it does not believe who this is",
            Verdict::Full => "it has too many connections",
            Verdict::Other => "for a reason that is not known here",
        })
    }
}

/// The first bytes of who dials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) versions: (u16, u16),
    pub(super) purpose: u8,
    pub(super) cluster: u64,
    pub(super) sender: NodeId,
    pub(super) receiver: NodeId,
    pub(super) challenge: [u8; 16],
}

impl Hello {
    pub(super) fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut out = [0; HELLO_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&self.versions.0.to_le_bytes());
        out[10..12].copy_from_slice(&self.versions.1.to_le_bytes());
        out[12] = self.purpose;
        out[16..24].copy_from_slice(&self.cluster.to_le_bytes());
        out[24..32].copy_from_slice(&self.sender.to_le_bytes());
        out[32..40].copy_from_slice(&self.receiver.to_le_bytes());
        out[40..56].copy_from_slice(&self.challenge);
        let checksum = xxh3_64(&out[..56]);
        out[56..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Hello, Refusal> {
        if bytes[..8] != MAGIC || u64_at(bytes, 56) != xxh3_64(&bytes[..56]) {
            return Err(Refusal::Foreign);
        }
        Ok(Hello {
            versions: (u16_at(bytes, 8), u16_at(bytes, 10)),
            purpose: bytes[12],
            cluster: u64_at(bytes, 16),
            sender: u64_at(bytes, 24),
            receiver: u64_at(bytes, 32),
            challenge: bytes[40..56].try_into().expect("sixteen bytes"),
        })
    }
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Welcome {
    pub(super) versions: (u16, u16),
    pub(super) version: u16,
    pub(super) verdict: u8,
    pub(super) node: NodeId,
    pub(super) challenge: [u8; 16],
}

impl Welcome {
    pub(super) fn encode(&self) -> [u8; WELCOME_BYTES] {
        let mut out = [0; WELCOME_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&self.versions.0.to_le_bytes());
        out[10..12].copy_from_slice(&self.versions.1.to_le_bytes());
        out[12..14].copy_from_slice(&self.version.to_le_bytes());
        out[14] = self.verdict;
        out[16..24].copy_from_slice(&self.node.to_le_bytes());
        out[24..40].copy_from_slice(&self.challenge);
        let checksum = xxh3_64(&out[..40]);
        out[40..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; WELCOME_BYTES]) -> Result<Welcome, Refusal> {
        if bytes[..8] != MAGIC || u64_at(bytes, 40) != xxh3_64(&bytes[..40]) {
            return Err(Refusal::Foreign);
        }
        Ok(Welcome {
            versions: (u16_at(bytes, 8), u16_at(bytes, 10)),
            version: u16_at(bytes, 12),
            verdict: bytes[14],
            node: u64_at(bytes, 16),
            challenge: bytes[24..40].try_into().expect("sixteen bytes"),
        })
    }
}

/// The highest version that both speak.
pub(super) fn common(theirs: (u16, u16), ours: (u16, u16)) -> Result<u16, Refusal> {
    let newest = theirs.1.min(ours.1);
    if newest >= theirs.0.max(ours.0) { Ok(newest) } else { Err(Refusal::Version { theirs, ours }) }
}

/// What seeds the checksums of a connection.
pub(super) fn key(hello: &[u8; HELLO_BYTES], welcome: &[u8; WELCOME_BYTES]) -> u64 {
    let mut both = [0; HELLO_BYTES + WELCOME_BYTES];
    both[..HELLO_BYTES].copy_from_slice(hello);
    both[HELLO_BYTES..].copy_from_slice(welcome);
    xxh3_64(&both)
}

pub(super) fn proof(key: u64) -> [u8; PROOF_BYTES] {
    xxh3_64_with_seed(b"drystone raft proof", key).to_le_bytes()
}

/// Dials' side of the handshake. The key, if all is well.
pub(super) async fn dial(pipe: &mut dyn Pipe, hello: &Hello) -> Result<u64, Refusal> {
    let hello_bytes = hello.encode();
    pipe.write_all(&hello_bytes).await?;
    pipe.flush().await?;
    let mut welcome_bytes = [0; WELCOME_BYTES];
    pipe.read_exact(&mut welcome_bytes).await?;
    let welcome = Welcome::decode(&welcome_bytes)?;
    if welcome.verdict == Verdict::Version as u8 {
        return Err(Refusal::Version { theirs: welcome.versions, ours: hello.versions });
    }
    if welcome.verdict != Verdict::Welcome as u8 {
        return Err(Refusal::There(Verdict::from_byte(welcome.verdict)));
    }
    let version = common(welcome.versions, hello.versions)?;
    if welcome.version != version {
        return Err(Refusal::Version { theirs: welcome.versions, ours: hello.versions });
    }
    if welcome.node != hello.receiver || !pipe.vouches_for(hello.receiver) {
        return Err(Refusal::Sender { claimed: welcome.node });
    }
    let key = key(&hello_bytes, &welcome_bytes);
    pipe.write_all(&proof(key)).await?;
    pipe.flush().await?;
    Ok(key)
}

/// The other side. `judge` says whether the caller is let in; it is told why not if it is not.
pub(super) async fn accept<T>(
    pipe: &mut dyn Pipe,
    node: NodeId,
    judge: impl FnOnce(&Hello, &dyn Pipe) -> Result<T, Refusal>,
) -> Result<(Hello, T, u64), Refusal> {
    let mut hello_bytes = [0; HELLO_BYTES];
    // The magic first: somebody else may never send more.
    pipe.read_exact(&mut hello_bytes[..8]).await.map_err(|_| Refusal::Foreign)?;
    if hello_bytes[..8] != MAGIC {
        return Err(Refusal::Foreign);
    }
    pipe.read_exact(&mut hello_bytes[8..]).await.map_err(|_| Refusal::Foreign)?;
    let hello = Hello::decode(&hello_bytes)?;
    let judged = common(hello.versions, VERSIONS)
        .and_then(|version| judge(&hello, &*pipe).map(|judged| (version, judged)));
    let answer = |version, verdict, challenge| {
        let verdict = verdict as u8;
        Welcome { versions: VERSIONS, version, verdict, node, challenge }.encode()
    };
    let (version, judged) = match judged {
        Ok(judged) => judged,
        Err(refusal) => {
            let _ = pipe.write_all(&answer(0, Verdict::of(&refusal), [0; 16])).await;
            let _ = pipe.shutdown().await;
            return Err(refusal);
        }
    };
    let welcome_bytes = answer(version, Verdict::Welcome, challenge());
    pipe.write_all(&welcome_bytes).await?;
    pipe.flush().await?;
    let key = key(&hello_bytes, &welcome_bytes);
    let mut found = [0; PROOF_BYTES];
    pipe.read_exact(&mut found).await.map_err(|_| Refusal::Torn)?;
    if found != proof(key) {
        return Err(Refusal::Challenge);
    }
    Ok((hello, judged, key))
}

/// Sixteen bytes that nobody can foresee and that do not come twice. Each `RandomState` is a new
/// key of a keyed hash, the first one of a thread drawn from the operating system.
pub(super) fn challenge() -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&random().to_le_bytes());
    out[8..].copy_from_slice(&random().to_le_bytes());
    out
}

/// A number that nobody can foresee.
pub(super) fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(0);
    hasher.finish()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
