//! Every test with a socket.
