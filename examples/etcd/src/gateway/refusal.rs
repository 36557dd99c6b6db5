//! An error of gRPC as one of HTTP.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::logging::push_json_string;

/// The answer to a request that `status` refuses.
pub(super) fn refusal(status: &Status) -> Response<Body> {
    let body = Body::new(Full::new(Bytes::from(json(status))));
    let mut response = super::json_response(http_status(status.code()), body);
    if status.code() == Code::Unauthenticated
        && let Ok(message) = HeaderValue::from_str(status.message())
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, message);
    }
    response
}

/// The status as JSON.
pub(super) fn json(status: &Status) -> String {
    let mut json = format!("{{\"code\":{}", i32::from(status.code()));
    if !status.message().is_empty() {
        json.push_str(",\"message\":");
        push_json_string(&mut json, status.message());
    }
    json.push('}');
    json
}

/// As version 2 of grpc-gateway has them.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // nginx's number for a client that did not wait; it has no name.
        Code::Cancelled => StatusCode::from_u16(499).expect("it is between 100 and 999"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Scripts branch on the number that curl prints.
    #[test]
    fn codes_have_the_numbers_of_the_gateway() {
        let numbers: Vec<u16> =
            (0..17).map(|code| http_status(Code::from_i32(code)).as_u16()).collect();
        let expected =
            [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn errors_are_spelled_as_etcd_spells_them() {
        let check = |status: Status, expected: &str| assert_eq!(json(&status), expected);
        check(Status::not_found("Not Found"), r#"{"code":5,"message":"Not Found"}"#);
        check(Status::unknown("\"leader\" x"), r#"{"code":2,"message":"\"leader\" x"}"#);
        let refused = refusal(&Status::unauthenticated("etcdserver: invalid auth token"));
        assert_eq!(refused.status(), 401);
        let says = &refused.headers()[header::WWW_AUTHENTICATE];
        assert_eq!(says, "etcdserver: invalid auth token");
    }
}
