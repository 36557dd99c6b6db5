//! What mason decides, asked from outside.

mod manifest;
