//! What only a broker can show.
