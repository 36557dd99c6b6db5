//! Slices, and what comes between them.

use std::convert::Infallible;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::net::UnixStream;

use super::super::{Manners, Server, Stream};
use super::*;

const LARGE_BYTES: usize = 4 << 20;
const READERS: usize = 10;
/// What a client lets a server send ahead on its connection: Go's come to such windows by
/// themselves, and open them by half at a time.
const WINDOW_BYTES: u32 = 4 << 20;

fn cut(bytes: &Bytes) -> Vec<usize> {
    let mut body = Sliced::new(Full::new(bytes.clone()));
    assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
    let (mut sizes, mut all) = (Vec::new(), Vec::new());
    while let Some(frame) = body.frame().now_or_never().expect("it is all there") {
        let data = frame.expect("it does not fail").into_data().expect("there are no trailers");
        sizes.push(data.len());
        all.extend_from_slice(&data);
        let left = (bytes.len() - all.len()) as u64;
        assert_eq!(body.size_hint().exact(), Some(left));
        assert_eq!(body.is_end_stream(), left == 0, "the last slice is known as the last");
    }
    assert_eq!(&all[..], &bytes[..]);
    sizes
}

#[test]
fn slices_are_the_whole() {
    assert_eq!(cut(&Bytes::from_static(b"abc")), [3]);
    let bytes: Vec<u8> = (0..2 * SLICE_BYTES + 5).map(|at| at as u8).collect();
    assert_eq!(cut(&bytes.into()), [SLICE_BYTES, SLICE_BYTES, 5]);
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let bytes = if request.uri().path() == "/large" { LARGE_BYTES } else { 1 };
    Ok(Response::new(Full::new(vec![b'v'; bytes].into())))
}

/// Reads a body to its end; what came of it is noted, and the server may send as much again.
async fn read(response: h2::client::ResponseFuture, came: &std::cell::Cell<usize>) -> usize {
    let mut body = response.await.expect("it is answered").into_body();
    let mut all = 0;
    while let Some(data) = body.data().await {
        let data = data.expect("it goes on");
        all += data.len();
        came.set(came.get() + data.len());
        body.flow_control().release_capacity(data.len()).expect("it came");
    }
    all
}

// An event waits behind large answers on its connection for as long as each of them takes a little,
// not for as long as all of them take.
#[tokio::test]
async fn small_answer_comes_beside_large_ones() {
    let (here, there) = UnixStream::pair().expect("a pair can be made");
    let (_stop, shutdown) = crate::shutdown::channel();
    let manners = Manners {
        ping_interval: None,
        ping_timeout: std::time::Duration::from_secs(20),
        ping_pace: std::time::Duration::ZERO,
        streams_max: 100,
    };
    let service = hyper::service::service_fn(answer);
    let server = Server::with(manners);
    let serving = server.serve(Stream::Unix(there), service, false, shutdown);
    let came = std::cell::Cell::new(0);
    let asking = async {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(2 * WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (client, connection) =
            builder.handshake::<_, Bytes>(here).await.expect("HTTP/2 is spoken");
        let talk = async {
            let mut client = client.ready().await.expect("there is room");
            let mut ask = |path: &str| {
                let request = Request::get(format!("http://a{path}")).body(()).expect("it is one");
                client.send_request(request, true).expect("there is room").0
            };
            let large: Vec<_> = (0..READERS).map(|_| ask("/large")).collect();
            let reading = large.into_iter().map(|response| read(response, &came));
            let small = async {
                while came.get() < 2 * WINDOW_BYTES as usize {
                    tokio::task::yield_now().await;
                }
                let before = came.get();
                assert_eq!(read(ask("/small"), &came).await, 1);
                came.get() - before
            };
            let (small, all) = tokio::join!(small, futures_util::future::join_all(reading));
            assert_eq!(all, [LARGE_BYTES; READERS]);
            small
        };
        tokio::select! {
            small = talk => small,
            ended = connection => panic!("the connection ended: {ended:?}"),
        }
    };
    let before = tokio::select! {
        before = asking => before,
        () = serving => panic!("the server ended"),
    };
    let turn = READERS * SLICE_BYTES;
    assert!(before < 4 * turn, "{before} bytes came before it, of {turn} a turn");
}
