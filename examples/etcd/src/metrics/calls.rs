//! gRPC, by method: the names are those of the interceptor that etcd uses.

use super::page::{Kind, Page};
use crate::grpc_method::{Method, Methods};
use crate::member::Member;

pub(super) fn write(page: &mut Page, member: &Member) {
    write_methods(page, &member.metrics.grpc);
    if member.config.extensive_metrics {
        let name = "grpc_server_handling_seconds";
        page.head(name, "How long calls took on the server.", Kind::Histogram);
        for method in member.metrics.grpc.iter().filter(|method| method.started() > 0) {
            page.buckets(name, &labels(method), &method.times());
        }
    }
    let name = "etcd_server_client_requests_total";
    page.head(name, "Calls by kind and by the version of the client.", Kind::Counter);
    for (version, kind, count) in member.metrics.clients.read() {
        page.sample(name, &[("client_api_version", version), ("type", kind)], count);
    }
}

/// What was called, and how it ended.
pub(super) fn write_methods(page: &mut Page, methods: &Methods) {
    let methods = || methods.iter();
    let mut each = |name: &str, help: &str, value: fn(&Method) -> u64| {
        page.head(name, help, Kind::Counter);
        for method in methods() {
            page.sample(name, &labels(method), value(method));
        }
    };
    each("grpc_server_started_total", "Calls started on the server.", Method::started);
    let help = "Messages of calls received by the server.";
    each("grpc_server_msg_received_total", help, Method::received);
    each("grpc_server_msg_sent_total", "Messages of calls sent by the server.", Method::sent);
    let name = "grpc_server_handled_total";
    page.head(name, "Calls ended on the server, by code.", Kind::Counter);
    for method in methods() {
        for (code, count) in method.handled() {
            let [a, b, c] = labels(method);
            page.sample(name, &[("grpc_code", code), a, b, c], count);
        }
    }
}

fn labels(method: &Method) -> [(&str, &str); 3] {
    [
        ("grpc_method", method.name),
        ("grpc_service", method.service_name),
        ("grpc_type", method.shape_name()),
    ]
}
