//! Tables that are read and written row by row. The mirror is written in sets; see `apply`.

pub(crate) mod dead_letter;
pub(crate) mod held_change;
