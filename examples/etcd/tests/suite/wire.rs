//! Raw requests.
