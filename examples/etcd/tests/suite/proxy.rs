//! The proxy, `grpc-proxy start`: whether clients notice it, and whether members are spared.
//!
//! | room | asks |
//! |---|---|
//! | [`transparent`] | whether `etcdctl` gets the same answers through it, of ours and of etcd |
//! | [`beside`] | the same questions through it and through etcd's own proxy, field by field |
//! | [`watches`] | whether many watchers are one, and none misses or doubles anything |
//! | [`random`] | the same of watchers that nobody thought of, while members come and go |
//! | [`rights`] | whether nobody hears or reads what he may not |
//! | [`reads`] | what is kept, and that nobody sees what was before his own write |
//! | [`records`] | members that a domain names |
//! | [`endpoints`] | whether it learns who the members are |
//! | [`order`] | whether serializable reads never go back, with the flag for it |
//! | [`leasing`] | what it answers itself, and whether that is what a member would have said |
//! | [`failover`] | whether a watch and a lock outlive the member that they were at |
//! | [`papers`] | certificates on both sides |
//! | [`words`] | flags, statuses, pages, and who is listed |

mod beside;
mod endpoints;
mod failover;
mod leasing;
mod order;
mod papers;
mod random;
mod reads;
mod records;
mod rights;
pub(crate) mod running;
mod transparent;
mod watches;
mod words;
