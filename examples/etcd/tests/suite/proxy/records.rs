//! Members that are found by the records of a domain.

use drystone_etcd_api::etcdserverpb::PutRequest;

use super::running::{Proxy, command};
use crate::srv::names::Names;
use crate::srv::room::within;
use crate::support::calls::in_a_runtime;
use crate::support::programs;
use crate::support::server::{Server, free_port};

const SERVICE: &str = "_etcd-client._tcp.rack.test";

#[test]
fn members_are_found_by_the_records_of_a_domain() {
    let test = "proxy::records::members_are_found_by_the_records_of_a_domain";
    within(test, || {
        let server = Server::start(&programs::ours(), &[]);
        let port = server.client_address().rsplit_once(':').expect("it has one").1.to_owned();
        let names = Names::serve();
        names.add_service(SERVICE, "m1.rack.test", port.parse().expect("it is a number"));
        let nowhere = [format!("127.0.0.1:{}", free_port())];
        let found = ["--discovery-srv=rack.test", "--insecure-discovery"];
        let proxy = Proxy::start(&nowhere, &found);
        in_a_runtime(async {
            let put = PutRequest { key: "a".into(), ..PutRequest::default() };
            proxy.client().await.kv().put(put).await.expect("the member is found");
        });
        // What shows no certificate for the domain counts for nothing, and the flag does.
        let flags = [server.client_address()];
        let careful = Proxy::start(&flags, &["--discovery-srv=rack.test"]);
        assert!(careful.log().contains("is insecure"), "{}", careful.log());
        names.remove(SERVICE);
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut lost = command(&programs::ours(), &nowhere, free_port(), folder.path());
        let lost = lost.args(found).output().expect("the proxy can be started");
        let text = String::from_utf8_lossy(&lost.stderr);
        assert!(lost.status.code() == Some(1) && text.contains("dns lookup errors"), "{text}");
    });
}
