//! Between etcd's messages and the store's own words, both ways.
//!
//! ```text
//!   pb::PutRequest --request.rs--> Command --> store --> Reply --response.rs--> pb::PutResponse
//!        etcd's sentinels (0, "", -1)     Option, enums              signed numbers again
//! ```
//!
//! The checks that need no state happen on the way in, in the order in which etcd does them: with
//! two things wrong in a request, the client hears of the same one.

mod request;
mod response;

pub(crate) use request::{compact, delete_range, put, range, txn};
pub(crate) use response::{
    delete_response, event, key_value, put_response, range_response, signed, txn_response,
};
