//! Under TLS: certificates of ours, of others, and of the wrong node.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;
use crate::runtime::tcp::Tls;

/// Signs certificates of nodes.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    fn signed(&self, node: NodeId) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![format!("node-{node}")]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A node that trusts `self` and shows what `signer` says of it.
    fn tls(&self, node: NodeId, signer: &Authority) -> Tls {
        let (chain, key) = signer.signed(node);
        let roots = self.issuer.pem();
        Tls::from_pem(roots.as_bytes(), chain.as_bytes(), key.as_bytes()).unwrap()
    }
}

/// The same transport, and nobody reads along.
#[test]
fn nodes_of_one_authority_talk() {
    in_time(async {
        let authority = Authority::new();
        let mut one = Seat::new(config(1).tls(authority.tls(1, &authority))).await;
        let mut two = Seat::new(config(2).tls(authority.tls(2, &authority))).await;
        let relay = Relay::new(two.address(), usize::MAX).await;
        one.tcp.peer(2, Some(relay.address.clone()));
        two.learn(1, &one);
        one.reach(2, &mut two).await;
        two.reach(1, &mut one).await;
        let secret = b"nobody reads this but node 2";
        for number in 1..=100 {
            one.tcp.send(2, GroupId(0), vec![append(1, 2, number, Bytes::from_static(secret))]);
            two.rounds(number).await;
        }
        let recorded = relay.recorded.lock().clone();
        assert!(recorded.len() > 100 * secret.len());
        assert!(!recorded.windows(secret.len()).any(|window| window == secret));
    });
}

/// A certificate of another authority is worth nothing, whichever side it is on.
#[test]
fn a_certificate_of_another_authority_is_refused() {
    in_time(async {
        let (ours, theirs) = (Authority::new(), Authority::new());
        let mut two = Seat::new(config(2).tls(ours.tls(2, &ours))).await;
        // It believes us, but we do not believe it.
        let one = Seat::new(config(1).tls(ours.tls(1, &theirs))).await;
        one.learn(2, &two);
        eventually("refused", || two.refused(RefusalKind::Io) > 0).await;
        // It does not believe us.
        let three = Seat::new(config(3).tls(theirs.tls(3, &ours))).await;
        three.learn(2, &two);
        eventually("refused", || three.refused(RefusalKind::Io) > 0).await;
        assert_eq!(two.tcp.metrics().accepted, 0);
        assert!(two.inbound.try_recv().is_err(), "nothing came in");
    });
}

/// A node that may be in the cluster may not be another one.
#[test]
fn a_node_cannot_pretend_to_be_another() {
    in_time(async {
        let authority = Authority::new();
        let two = Seat::new(config(2).tls(authority.tls(2, &authority))).await;
        // Node 4 says that it is node 1.
        let liar = Seat::new(config(1).tls(authority.tls(4, &authority))).await;
        liar.learn(2, &two);
        eventually("refused", || two.refused(RefusalKind::Sender) > 0).await;
        // Node 4 listens where node 3 was.
        let one = Seat::new(config(1).tls(authority.tls(1, &authority))).await;
        let squatter = Seat::new(config(3).tls(authority.tls(4, &authority))).await;
        one.learn(3, &squatter);
        eventually("refused", || one.refused(RefusalKind::Io) > 0).await;
        assert_eq!(two.tcp.metrics().accepted + squatter.tcp.metrics().accepted, 0);
    });
}

/// Half of a cluster under TLS is no cluster: the other half hears nothing.
#[test]
fn plain_and_tls_do_not_mix() {
    in_time(async {
        let authority = Authority::new();
        let two = Seat::new(config(2).tls(authority.tls(2, &authority))).await;
        let one = Seat::new(config(1)).await;
        one.learn(2, &two);
        two.learn(1, &one);
        eventually("refused", || two.refused(RefusalKind::Io) > 0).await;
        eventually("refused", || one.refused(RefusalKind::Foreign) > 0).await;
        assert_eq!(one.tcp.metrics().accepted + two.tcp.metrics().accepted, 0);
    });
}
