//! How the program behaves towards whoever starts it: its words, its files, its end.

mod browsers;
mod end;
mod file;
mod sockets;
mod variables;
