//! Reading a body: so much, so fast, or not at all.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::timeout;

use crate::Limits;
use crate::rejection::Rejection;

/// The whole body, byte for byte.
///
/// A declared length over the limit is refused without reading; one that grows over it, as soon as it has.
/// Memory is taken as bytes arrive, not as they are promised.
pub(crate) async fn read(body: Body, headers: &HeaderMap, limits: &Limits) -> Result<Bytes, Rejection> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|declared: u64| declared > limits.body as u64) {
        return Err(Rejection::TooLarge);
    }
    timeout(limits.body_time, collect(body, limits.body)).await.map_err(|_| Rejection::Slow)?
}

/// A body larger than this gets all the room it may need at once: growing by doubling would hold both the old and the
/// new. Room that nothing is written to takes no memory.
const LARGE: usize = 64 * 1024;

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Rejection> {
    let most = body.size_hint().upper().map_or(limit, |upper| limit.min(upper as usize));
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| Rejection::Broken)?.into_data() else { continue };
        if whole.len() + piece.len() > limit {
            return Err(Rejection::TooLarge);
        }
        if whole.len() <= LARGE && whole.len() + piece.len() > LARGE {
            whole.reserve(most.saturating_sub(whole.len()));
        }
        // Copied, though most bodies come in one piece: the piece would keep the connection's whole buffer for as
        // long as the delivery waits, and the connection would need another.
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    struct Pieces(std::vec::IntoIter<Vec<u8>>);

    impl hyper::body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece.into()))))
        }
    }

    /// Pieces of those sizes, each filled with its number.
    fn pieces(sizes: &[usize]) -> Vec<Vec<u8>> {
        sizes.iter().enumerate().map(|(number, &size)| vec![number as u8; size]).collect()
    }

    #[tokio::test]
    async fn pieces_come_together_in_order_up_to_the_limit() {
        for sizes in [&[][..], &[0], &[10], &[1, 0, 2, 7], &[3, 3, 3]] {
            let body = Body::new(Pieces(pieces(sizes).into_iter()));
            assert_eq!(collect(body, 10).await.unwrap(), pieces(sizes).concat(), "{sizes:?}");
        }
        for sizes in [&[11][..], &[10, 1], &[5, 5, 1]] {
            let body = Body::new(Pieces(pieces(sizes).into_iter()));
            assert!(matches!(collect(body, 10).await, Err(Rejection::TooLarge)), "{sizes:?}");
        }
    }
}
