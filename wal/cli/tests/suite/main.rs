//! The command as people run it: golden scripts of its output, its exit status, and its manners in
//! a pipe.

mod lab;
mod manners;
mod script;
